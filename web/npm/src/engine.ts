// The engine without any element: a model in a worker. What it takes and gives: types.ts.

import { numbers, oneOf, text } from './checks.ts';
import { EngineError, type Failure } from './error.ts';
import { canvasOf, imageData, MAX_PICTURE, maskOf, pixelsOf, type Pixels } from './pixels.ts';
import { course, rising, type Tell } from './progress.ts';
import { retouch } from './retouch.ts';
import { blocked, spawn } from './spawn.ts';
import type {
  CallOptions,
  Capabilities,
  DescribeOptions,
  DescribeRequest,
  DrawOptions,
  EditRequest,
  EngineEventMap,
  EngineOptions,
  GenerateRequest,
  InpaintRequest,
  Model,
  Picture,
  Result,
  Sampling,
  Settings,
  Step,
  UnknownWord,
} from './types.d.ts';

export { EngineError, type ErrorCode } from './error.ts';
export type * from './types.d.ts';

/** What a call gives while it is under way, by the type of the event. */
interface Listeners {
  progress?: Tell;
  step?: (step: Omit<Step, 'previews'> & { previews: Pixels[] }) => void;
  token?: (token: { text: string }) => void;
}

/** A call that the worker has not answered. */
interface Call {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  on?: Listeners;
}

/** A load under way or done, and those who wait for it. */
interface Loading {
  manifest: string;
  promise: Promise<Model>;
  waiting: number;
  listeners: Set<Tell>;
  abort: AbortController;
}

/** A request to the worker: web/src/protocol.rs. */
interface Request {
  type: string;
  [field: string]: unknown;
}

/** An event of the worker about a call. */
interface Message {
  id: number;
  event: { type: string; [field: string]: unknown };
}

export class Engine extends EventTarget {
  #options: Required<Omit<EngineOptions, 'worker'>> & Pick<EngineOptions, 'worker'>;
  #worker: Worker | null = null;
  #started: Promise<void> | null = null;
  #calls: Map<number, Call> = new Map();
  #nextId = 1;
  #loading: Loading | null = null;
  #model: Model | null = null;
  // Drawing and describing take turns: those under way or waiting, and the promise that the last of them has ended.
  #turns: Set<AbortController> = new Set();
  #last: Promise<void> = Promise.resolve();
  // Workers lost since a call last went well.
  #losses = 0;
  #closed = false;

  private constructor({ model = 'model/', backend = 'auto', busy = 'queue', worker }: EngineOptions) {
    super();
    oneOf('backend', backend, ['auto', 'webgpu', 'cpu']);
    oneOf('busy', busy, ['reject', 'queue', 'latest']);
    this.#options = { model, backend, busy, worker };
  }

  /** Starts a worker and its wasm; downloads no model yet. */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const engine = new Engine(options);
    await engine.#start();
    return engine;
  }

  /** The loaded model, or null. */
  get model(): Model | null {
    return this.#model;
  }

  /** Whether a call other than load is under way. */
  get busy(): boolean {
    return this.#turns.size > 0;
  }

  /** Fetches a model (the browser keeps it) and makes it ready. Called twice with one model it loads once. */
  async load(model: string | URL = this.#options.model, { signal, onprogress }: CallOptions = {}): Promise<Model> {
    signal?.throwIfAborted();
    const manifest = manifestOf(model);
    let loading = this.#begin(manifest);
    const listener = rising(onprogress);
    for (;;) {
      loading.waiting += 1;
      loading.listeners.add(listener);
      try {
        return await until(loading.promise, signal);
      } catch (error) {
        // The last one to lose interest ends the download.
        if (signal?.aborted && loading.waiting === 1) this.#end(loading, signal.reason);
        if (signal?.aborted || !this.#recovers(error) || this.#loading?.manifest !== manifest) throw error;
      } finally {
        loading.waiting -= 1;
        loading.listeners.delete(listener);
      }
      loading = this.#begin(manifest);
    }
  }

  /** Draws pictures. Loads the model first where that has not been done. */
  async generate({ prompt, negative, ...options }: GenerateRequest, call: DrawOptions = {}): Promise<Result> {
    const { seed = anySeed(), count = 1, ...sampling } = numbers(pick(options, ['seed', 'count', ...SAMPLING]));
    return this.#draw({ type: 'generate', prompt: text('prompt', prompt), seed, count }, { ...sampling, ...away(negative) }, call);
  }

  /** Changes a picture as told, all of it or under a mask. */
  async edit({ image, instruction, mask, ...options }: EditRequest, call: DrawOptions = {}): Promise<Result> {
    call.signal?.throwIfAborted();
    const { seed = anySeed(), ...sampling } = numbers(pick(options, ['seed', ...SAMPLING]));
    const request: Request = { type: 'edit', instruction: text('instruction', instruction), seed };
    if (mask) return this.#retouch(request, image, mask, sampling, call);
    request.image = await pixelsOf(image);
    return this.#draw(request, sampling, call);
  }

  /** Draws under a mask; takes no model that sees. */
  async inpaint({ image, mask, prompt, negative, ...options }: InpaintRequest, call: DrawOptions = {}): Promise<Result> {
    call.signal?.throwIfAborted();
    const { seed = anySeed(), ...sampling } = numbers(pick(options, ['seed', ...SAMPLING]));
    return this.#retouch({ type: 'inpaint', prompt: text('prompt', prompt), seed }, image, mask, { ...sampling, ...away(negative) }, call);
  }

  /** Answers a question about a picture. */
  async describe({ image, question, ...options }: DescribeRequest, { signal, onprogress, ontoken }: DescribeOptions = {}): Promise<string> {
    signal?.throwIfAborted();
    const { seed = 0, ...rest } = numbers(pick(options, ['seed', 'maxTokens', 'temperature']));
    const request = { type: 'describe', question: text('question', question), image: await pixelsOf(image), seed, ...rest };
    const answer = await this.#turn<{ text: string }>(request, signal, onprogress, { token: ({ text }) => ontoken?.(text) });
    return answer.text;
  }

  /** The words of a text that the loaded model has not learned; none where no model is loaded, or nobody has listed its words. */
  async unknownWords(words: string): Promise<UnknownWord[]> {
    const request = { type: 'unknown', text: text('words', words) };
    if (!this.#model) return [];
    const { unknown } = await this.#post<{ unknown: UnknownWord[] }>(request).answer;
    return unknown;
  }

  async capabilities(): Promise<Capabilities> {
    await this.#start();
    const { type, ...capabilities } = await this.#post<Capabilities & { type: string }>({ type: 'capabilities' }).answer;
    return capabilities;
  }

  /** Drops the model from memory, after the calls before it; the browser still keeps its weights. A load alone ends with `cancelled`. */
  async unload(): Promise<void> {
    await this.#release({ type: 'unload' });
  }

  /** Drops the model from memory and the weights of all models from the browser's storage; as `unload` otherwise. */
  async purge(): Promise<void> {
    await this.#release({ type: 'purge' });
  }

  /** Ends the worker; calls under way fail with `closed`. */
  close(): void {
    this.#closed = true;
    this.#stop(new EngineError({ code: 'closed', text: 'The engine was closed.', hint: 'Create another one.' }));
  }

  /** A worker that has said that it runs. */
  #start(): Promise<void> {
    if (this.#closed) {
      throw new EngineError({ code: 'closed', text: 'The engine was closed.', hint: 'Create another one.' });
    }
    this.#started ??= new Promise<unknown>((resolve, reject) => {
      const worker = spawn(this.#options.worker);
      this.#worker = worker;
      this.#calls.set(0, { resolve, reject });
      worker.onmessage = ({ data }) => worker === this.#worker && this.#receive(data);
      worker.onerror = (event) => {
        event.preventDefault();
        if (worker !== this.#worker) return;
        // An event without words: the script never ran.
        if (event.message) return this.#lost('crashed', `The engine's worker failed: ${event.message}`);
        const text = "The engine's worker could not be started: its script cannot be loaded.";
        this.#stop(new EngineError({ code: 'unsupported', text, hint: blocked(this.#options.worker) }));
      };
    }).then(() => {});
    // Whoever asks for it next may try again.
    this.#started.catch(() => (this.#started = null));
    return this.#started;
  }

  #stop(error: EngineError): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#started = null;
    this.#loading = null;
    this.#model = null;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(error);
  }

  #receive({ id, event }: Message): void {
    const { type, ...detail } = event;
    if (type === 'deviceLost') return this.#lost('devicelost', `The GPU was lost: ${detail.reason}`);
    // After a panic nothing in the worker's memory can be relied on.
    if (detail.code === 'crashed') return this.#lost('crashed', String(detail.text));
    const call = this.#calls.get(id);
    if (!call) return;
    if (type === 'started' || type === 'done') {
      this.#calls.delete(id);
      call.resolve(detail.result);
    } else if (type === 'error') {
      this.#calls.delete(id);
      if (id === 0) return this.#stop(new EngineError(detail as unknown as Failure));
      call.reject(new EngineError(detail as unknown as Failure));
    } else {
      try {
        const listener = call.on?.[type as keyof Listeners] as ((detail: unknown) => void) | undefined;
        listener?.(detail);
      } finally {
        // The worker does not run ahead of what the page has seen.
        if (type !== 'progress' && this.#calls.has(id)) this.#post({ type: 'seen', target: id });
      }
    }
  }

  /** The worker is of no more use: once, a new one takes its place. */
  #lost(code: 'crashed' | 'devicelost', reason: string): void {
    const loading = this.#loading;
    const recovering = this.#losses === 0 && loading !== null;
    this.#losses += 1;
    const hint = recovering ? 'The engine is starting again by itself.' : 'Load the model again; if that fails, too, reload the page.';
    this.#stop(new EngineError({ code, text: reason, hint }));
    if (recovering) this.#begin(loading.manifest);
    this.#emit('devicelost', { reason, recovering });
  }

  /** Whether a call that failed is to be tried again: the engine, once lost, starts again by itself. */
  #recovers(error: unknown): boolean {
    return ['devicelost', 'crashed'].includes((error as EngineError)?.code) && this.#loading !== null;
  }

  #emit(type: keyof EngineEventMap, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #post<T>(request: Request, on?: Listeners): { id: number; answer: Promise<T> } {
    const id = this.#nextId++;
    const answer = new Promise<T>((resolve, reject) => this.#calls.set(id, { resolve: resolve as Call['resolve'], reject, on }));
    // Whoever waits for the answer sees its failure.
    answer.catch(() => {});
    this.#worker?.postMessage({ id, request });
    return { id, answer };
  }

  /** Asks, and asks to cancel when the signal says so; both promises: the caller's, and that the worker is done with it. */
  #ask<T>(request: Request, signal: AbortSignal, on: Listeners): { answer: Promise<T>; ended: Promise<void> } {
    signal.throwIfAborted();
    const { id, answer } = this.#post<T>(request, on);
    const cancel = () => {
      const call = this.#calls.get(id);
      if (!call) return;
      // Whoever called has gone on, and listens no more.
      call.on = undefined;
      this.#post({ type: 'cancel', target: id });
    };
    signal.addEventListener('abort', cancel, { once: true });
    const ended = answer.then(() => {}, () => {}).then(() => signal.removeEventListener('abort', cancel));
    return { answer: until(answer, signal), ended };
  }

  /** Loads a model where that is not under way or done; ends the load of another. */
  #begin(manifest: string): Loading {
    if (this.#loading?.manifest === manifest) return this.#loading;
    this.#drop('Another model is being loaded.');
    this.#options.model = manifest;
    return (this.#loading = this.#load(manifest));
  }

  /** Ends a load; one that is done stays. */
  #end(loading: Loading, reason: unknown): void {
    loading.abort.abort(reason);
    if (this.#loading === loading && !this.#model) this.#loading = null;
  }

  /** Forgets the model, and ends its load if that is under way. */
  #drop(why: string): void {
    if (this.#loading) this.#end(this.#loading, new EngineError({ code: 'cancelled', text: why, hint: 'Load the model again.' }));
    this.#loading = null;
    this.#model = null;
  }

  #load(manifest: string): Loading {
    const listeners = new Set<Tell>();
    const abort = new AbortController();
    // A damaged file is fetched again.
    const progress = rising((detail) => {
      for (const listener of listeners) listener(detail);
      this.#emit('progress', detail);
    });
    const load = async () => {
      await this.#start();
      // Without the promise the browser may still keep the weights, until it runs out of room.
      navigator.storage?.persist?.().catch(() => {});
      const request = { type: 'load', manifest, backend: this.#options.backend };
      const { type, ...model } = await this.#ask<Model & { type: string }>(request, abort.signal, { progress }).answer;
      abort.signal.throwIfAborted();
      this.#model = model;
      this.#emit('ready', model);
      return model;
    };
    const loading = { manifest, promise: load(), waiting: 0, listeners, abort };
    loading.promise.catch(() => {
      if (this.#loading === loading) this.#loading = null;
    });
    return loading;
  }

  async #release(request: Request): Promise<void> {
    await this.#last;
    this.#drop('The model was dropped.');
    await this.#start();
    await this.#post(request).answer;
  }

  async #draw(request: Request, sampling: Sampling, { signal, onprogress, onstep, previews = Boolean(onstep) }: DrawOptions): Promise<Result> {
    const asked = { ...request, sampling: { ...sampling, previews: Boolean(previews) } };
    const { images, settings, unknown } = await this.#turn<Images>(asked, signal, onprogress, {
      step: (step) => onstep?.({ ...step, previews: step.previews.map(imageData) }),
    });
    return { images: images.map((drawn) => ({ ...drawn, image: imageData(drawn.image) })), settings, unknown };
  }

  /** Draws under a mask; around it, and at its edge, is the picture as it was given. */
  async #retouch(request: Request, image: Picture, mask: Picture, sampling: Sampling, call: DrawOptions): Promise<Result> {
    const picture = await canvasOf(image, MAX_PICTURE);
    const pixels = await pixelsOf(picture);
    const white = await maskOf(mask, pixels);
    const { images, ...rest } = await this.#draw({ ...request, image: pixels, mask: white }, sampling, call);
    // The worker sees a smaller one of a large picture; the edge of the mask is that of the large one.
    const exact = pixels.width === picture.width ? white : await maskOf(mask, picture);
    const retouched = images.map(async (drawn) => ({ ...drawn, image: await retouch(picture, drawn.image, exact) }));
    return { images: await Promise.all(retouched), ...rest };
  }

  /** Runs a request alone, by the busy policy. */
  async #turn<T>(request: Request, signal: AbortSignal | undefined, onprogress: Tell | undefined, on: Listeners): Promise<T> {
    signal?.throwIfAborted();
    const { load, work } = course(onprogress);
    if (this.#options.busy === 'reject' && this.busy) {
      throw new EngineError({ code: 'busy', text: 'The engine is at work.', hint: 'Wait for it, or cancel its work.' });
    }
    if (this.#options.busy === 'latest') {
      const newer = new EngineError({ code: 'cancelled', text: 'A newer call took its place.' });
      for (const other of this.#turns) other.abort(newer);
    }
    const turn = new AbortController();
    const follow = () => turn.abort(signal?.reason);
    signal?.addEventListener('abort', follow, { once: true });
    this.#turns.add(turn);
    const previous = this.#last;
    let end = () => {};
    this.#last = new Promise<void>((resolve) => (end = resolve));
    let ended = previous;
    try {
      await until(previous, turn.signal);
      for (;;) {
        try {
          await this.load(undefined, { signal: turn.signal, onprogress: load });
          const asked = this.#ask<T>(request, turn.signal, { ...on, progress: work });
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

  override addEventListener<K extends keyof EngineEventMap>(
    type: K,
    listener: (event: EngineEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }
}

/** What comes of a drawing. */
interface Images {
  images: { image: Pixels; seed: number; codes: number[] }[];
  settings: Settings;
  unknown: UnknownWord[];
}

const SAMPLING = ['steps', 'guidance', 'imageGuidance', 'temperature'] as const;

/** What a drawing is led away from, where that is given. */
function away(negative?: string | null): { negative?: string } {
  return negative === undefined || negative === null ? {} : { negative: text('negative', negative) };
}

/** The fields that have one of these names. */
function pick<T extends object, Name extends keyof T>(from: T, names: readonly Name[]): Pick<T, Name> {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as Pick<T, Name>;
}

/** The promise's end, or the signal's reason if that comes first. */
function until<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function manifestOf(model: string | URL): string {
  const url = new URL(model, document.baseURI);
  if (url.pathname.endsWith('.json')) return url.href;
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  // A folder's query, which may be a signature, is the manifest's.
  const manifest = new URL('manifest.json', url);
  manifest.search = url.search;
  return manifest.href;
}

function anySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
