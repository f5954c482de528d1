// The engine without any element: a model in a worker. Types and their meaning: engine.d.ts.

/** The largest side of a picture that goes to the worker, in pixels; models see far less. */
const MAX_SIDE = 2048;
/** The part of a call that is the load it waits for, where there is one. */
const LOAD = 0.5;

export class EngineError extends Error {
  constructor({ code, text, hint = '' }) {
    super(text);
    this.name = 'EngineError';
    this.code = code;
    this.hint = hint;
  }
}

export class Engine extends EventTarget {
  #options;
  #worker = null;
  #started = null;
  #calls = new Map();
  #nextId = 1;
  #loading = null;
  #model = null;
  // Drawing and describing take turns: those under way or waiting, and the promise that the last of them has ended.
  #turns = new Set();
  #last = Promise.resolve();
  // Workers lost since a call last went well.
  #losses = 0;
  #closed = false;

  static async create(options = {}) {
    const engine = new Engine();
    engine.#options = { model: 'model/', backend: 'auto', busy: 'queue', ...options };
    await engine.#start();
    return engine;
  }

  get model() {
    return this.#model;
  }

  get busy() {
    return this.#turns.size > 0;
  }

  async load(model = this.#options.model, { signal, onprogress } = {}) {
    signal?.throwIfAborted();
    const manifest = manifestOf(model);
    this.#begin(manifest);
    const listener = rising(onprogress);
    for (;;) {
      const loading = this.#loading;
      loading.waiting += 1;
      loading.listeners.add(listener);
      try {
        return await until(loading.promise, signal);
      } catch (error) {
        // The last one to lose interest ends the download.
        if (signal?.aborted && loading.waiting === 1) this.#end(loading, signal.reason);
        if (signal?.aborted || !this.#recovers(error) || this.#loading.manifest !== manifest) throw error;
      } finally {
        loading.waiting -= 1;
        loading.listeners.delete(listener);
      }
    }
  }

  async generate({ prompt, seed, count = 1, ...sampling }, options = {}) {
    const request = { type: 'generate', prompt: String(prompt), seed: seedOf(seed), count: Number(count) };
    return this.#draw({ ...request, sampling }, options);
  }

  async edit({ image, instruction, mask, seed, ...sampling }, options = {}) {
    options.signal?.throwIfAborted();
    const request = { type: 'edit', instruction: String(instruction), seed: seedOf(seed), image: await pixelsOf(image) };
    if (mask) request.mask = await pixelsOf(mask);
    return this.#draw({ ...request, sampling }, options);
  }

  async inpaint({ image, mask, prompt, seed, ...sampling }, options = {}) {
    options.signal?.throwIfAborted();
    const request = { type: 'inpaint', prompt: String(prompt), seed: seedOf(seed) };
    request.image = await pixelsOf(image);
    request.mask = await pixelsOf(mask);
    return this.#draw({ ...request, sampling }, options);
  }

  async describe({ image, question, maxTokens, temperature, seed = 0 }, { signal, onprogress, ontoken } = {}) {
    signal?.throwIfAborted();
    const request = { type: 'describe', image: await pixelsOf(image), question: String(question), seed: seedOf(seed) };
    const answer = await this.#turn({ ...request, maxTokens, temperature }, signal, onprogress, {
      token: ({ text }) => ontoken?.(text),
    });
    return answer.text;
  }

  async capabilities() {
    await this.#start();
    const { type, ...capabilities } = await this.#post({ type: 'capabilities' }).answer;
    return capabilities;
  }

  async unload() {
    await this.#release({ type: 'unload' });
  }

  async purge() {
    await this.#release({ type: 'purge' });
  }

  close() {
    this.#closed = true;
    this.#stop(new EngineError({ code: 'closed', text: 'The engine was closed.', hint: 'Create another one.' }));
  }

  /** A worker that has said that it runs. */
  #start() {
    if (this.#closed) {
      throw new EngineError({ code: 'closed', text: 'The engine was closed.', hint: 'Create another one.' });
    }
    this.#started ??= new Promise((resolve, reject) => {
      const worker = newWorker(this.#options.worker);
      this.#worker = worker;
      this.#calls.set(0, { resolve, reject });
      worker.onmessage = ({ data }) => worker === this.#worker && this.#receive(data);
      worker.onerror = (event) => {
        event.preventDefault();
        const text = event.message || 'its script could not be loaded';
        if (worker === this.#worker) this.#lost('crashed', `The engine's worker failed: ${text}`);
      };
    });
    return this.#started;
  }

  #stop(error) {
    this.#worker?.terminate();
    this.#worker = this.#started = this.#loading = this.#model = null;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(error);
  }

  #receive({ id, event }) {
    const { type, ...detail } = event;
    if (type === 'deviceLost') return this.#lost('devicelost', `The GPU was lost: ${detail.reason}`);
    // After a panic nothing in the worker's memory can be relied on.
    if (detail.code === 'crashed') return this.#lost('crashed', detail.text);
    const call = this.#calls.get(id);
    if (!call) return;
    if (type === 'started' || type === 'done') {
      this.#calls.delete(id);
      call.resolve(detail.result);
    } else if (type === 'error') {
      this.#calls.delete(id);
      call.reject(new EngineError(detail));
    } else {
      try {
        call.on?.[type]?.(detail);
      } finally {
        // The worker does not run ahead of what the page has seen.
        if (type !== 'progress' && this.#calls.has(id)) this.#post({ type: 'seen', target: id });
      }
    }
  }

  /** The worker is of no more use: once, a new one takes its place. */
  #lost(code, reason) {
    const loading = this.#loading;
    const recovering = this.#losses === 0 && loading !== null;
    this.#losses += 1;
    const hint = recovering ? 'The engine is starting again by itself.' : 'Load the model again; if that fails, too, reload the page.';
    this.#stop(new EngineError({ code, text: reason, hint }));
    if (recovering) this.#begin(loading.manifest);
    this.#emit('devicelost', { reason, recovering });
  }

  /** Whether a call that failed is to be tried again: the engine, once lost, starts again by itself. */
  #recovers(error) {
    return ['devicelost', 'crashed'].includes(error?.code) && this.#loading !== null;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #post(request, on) {
    const id = this.#nextId++;
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, on }));
    // Whoever waits for the answer sees its failure.
    answer.catch(() => {});
    this.#worker.postMessage({ id, request });
    return { id, answer };
  }

  /** Asks, and asks to cancel when the signal says so; both promises: the caller's, and that the worker is done with it. */
  #ask(request, signal, on) {
    signal?.throwIfAborted();
    const { id, answer } = this.#post(request, on);
    const cancel = () => this.#calls.has(id) && this.#post({ type: 'cancel', target: id });
    signal?.addEventListener('abort', cancel, { once: true });
    const ended = answer.catch(() => {}).then(() => signal?.removeEventListener('abort', cancel));
    return { answer: until(answer, signal), ended };
  }

  /** Loads a model where that is not under way or done; ends the load of another. */
  #begin(manifest) {
    if (this.#loading?.manifest === manifest) return;
    this.#drop('Another model is being loaded.');
    this.#options.model = manifest;
    this.#loading = this.#load(manifest);
  }

  /** Ends a load; one that is done stays. */
  #end(loading, reason) {
    loading.abort.abort(reason);
    if (this.#loading === loading && !this.#model) this.#loading = null;
  }

  /** Forgets the model, and ends its load if that is under way. */
  #drop(why) {
    if (this.#loading) this.#end(this.#loading, new EngineError({ code: 'cancelled', text: why, hint: 'Load the model again.' }));
    this.#loading = this.#model = null;
  }

  #load(manifest) {
    const loading = { manifest, waiting: 0, listeners: new Set(), abort: new AbortController() };
    // A damaged file is fetched again.
    const progress = rising((detail) => {
      for (const listener of loading.listeners) listener(detail);
      this.#emit('progress', detail);
    });
    loading.promise = (async () => {
      await this.#start();
      // Without the promise the browser may still keep the weights, until it runs out of room.
      navigator.storage?.persist?.().catch(() => {});
      const request = { type: 'load', manifest, backend: this.#options.backend };
      const { type, ...model } = await this.#ask(request, loading.abort.signal, { progress }).answer;
      loading.abort.signal.throwIfAborted();
      this.#model = model;
      this.#emit('ready', model);
      return model;
    })();
    loading.promise.catch(() => {
      if (this.#loading === loading) this.#loading = null;
    });
    return loading;
  }

  async #release(request) {
    await this.#last;
    this.#drop('The model was dropped.');
    await this.#start();
    await this.#post(request).answer;
  }

  async #draw(request, { signal, onprogress, onstep, previews = Boolean(onstep) }) {
    request.sampling = { ...request.sampling, previews };
    const { images, settings } = await this.#turn(request, signal, onprogress, {
      step: (step) => onstep?.({ ...step, previews: step.previews.map(imageData) }),
    });
    return { images: images.map((drawn) => ({ ...drawn, image: imageData(drawn.image) })), settings };
  }

  /** Runs a request alone, by the busy policy. */
  async #turn(request, signal, onprogress, on) {
    signal?.throwIfAborted();
    const tell = rising(onprogress);
    let start = 0;
    const load = (detail) => {
      start = LOAD;
      tell({ ...detail, fraction: LOAD * detail.fraction });
    };
    const progress = (detail) => tell({ ...detail, fraction: start + (1 - start) * detail.fraction });
    if (this.#options.busy === 'reject' && this.busy) {
      throw new EngineError({ code: 'busy', text: 'The engine is at work.', hint: 'Wait for it, or cancel its work.' });
    }
    if (this.#options.busy === 'latest') {
      const newer = new EngineError({ code: 'cancelled', text: 'A newer call took its place.' });
      for (const other of this.#turns) other.abort(newer);
    }
    const turn = new AbortController();
    const follow = () => turn.abort(signal.reason);
    signal?.addEventListener('abort', follow, { once: true });
    this.#turns.add(turn);
    const previous = this.#last;
    let end;
    this.#last = new Promise((resolve) => (end = resolve));
    let ended = previous;
    try {
      await until(previous, turn.signal);
      for (;;) {
        try {
          await this.load(undefined, { signal: turn.signal, onprogress: load });
          const asked = this.#ask(request, turn.signal, { ...on, progress });
          ended = asked.ended;
          const result = await asked.answer;
          this.#losses = 0;
          return result;
        } catch (error) {
          if (!this.#recovers(error)) throw error;
        }
      }
    } finally {
      signal?.removeEventListener('abort', follow);
      ended.then(() => {
        this.#turns.delete(turn);
        end();
      });
    }
  }
}

/** Tells how far a call is in fractions that never fall, also where it is begun again. */
function rising(tell) {
  let far = 0;
  return (detail) => {
    far = Math.max(far, detail.fraction);
    tell?.({ ...detail, fraction: far });
  };
}

/** The promise's end, or the signal's reason if that comes first. */
function until(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** The engine's worker, a module beside this one unless `address` says otherwise, also where its script is of another origin. */
function newWorker(address) {
  const from = new URL(address ?? import.meta.url, document.baseURI);
  if (/^https?:$/.test(from.protocol) && from.origin !== location.origin) {
    const url = address ? from : new URL('./worker.js', from);
    const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' });
    return new Worker(URL.createObjectURL(script), { type: 'module', name: 'unigen' });
  }
  if (address) return new Worker(from, { type: 'module', name: 'unigen' });
  // Bundlers look for these very words.
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'unigen' });
}

function manifestOf(model) {
  const url = new URL(model, document.baseURI);
  if (url.pathname.endsWith('.json')) return url.href;
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return new URL('manifest.json', url).href;
}

function seedOf(seed = crypto.getRandomValues(new Uint32Array(1))[0]) {
  if (Number.isSafeInteger(seed) && seed >= 0) return seed;
  const hint = 'Choose a whole number from 0 to 9007199254740991.';
  throw new EngineError({ code: 'config', text: `The seed is ${seed}.`, hint });
}

function imageData({ width, height, pixels }) {
  return new ImageData(new Uint8ClampedArray(pixels.buffer, pixels.byteOffset, pixels.byteLength), width, height);
}

/** Width, height and pixels of a picture, at most MAX_SIDE a side. */
async function pixelsOf(picture) {
  let source = picture;
  try {
    if (picture instanceof ImageData || picture instanceof Blob) source = await createImageBitmap(picture);
  } catch (error) {
    const hint = 'Choose a PNG, JPEG, WebP, GIF or AVIF picture.';
    throw new EngineError({ code: 'image', text: `The picture cannot be read: ${error.message}`, hint });
  }
  const width = source?.naturalWidth ?? source?.width;
  const height = source?.naturalHeight ?? source?.height;
  if (!(width > 0 && height > 0)) {
    throw new EngineError({ code: 'image', text: 'The picture has no pixels.', hint: 'Choose another one.' });
  }
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(w, h).getContext('2d', { willReadFrequently: true });
  context.drawImage(source, 0, 0, w, h);
  if (source !== picture) source.close();
  const { data } = context.getImageData(0, 0, w, h);
  return { width: w, height: h, pixels: new Uint8Array(data.buffer) };
}
