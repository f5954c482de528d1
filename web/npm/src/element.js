// <unigen-editor>: draws, edits and answers in any page. What it offers: ../custom-elements.json; types: element.d.ts.
// The engine and its wasm are fetched only when they are asked for; elements of one `src` share one engine.

import { sheet } from './element.css.js';
import { words } from './element.words.js';

const MODES = ['generate', 'edit', 'ask'];
const LOADING = ['lazy', 'eager', 'manual'];
const THEMES = ['auto', 'light', 'dark'];
/** Pixels a side of the picture to edit and of the mask over it. */
const SIDE = 512;
/** Smallest, first and largest width of the brush in these pixels. */
const BRUSH = [SIDE / 32, SIDE / 8, SIDE / 2];
/** The part of a call that is the load it waits for, where there is one. */
const LOAD = 0.5;

/** Engines by the address of their model: the promise of one, and tokens of the elements that use it. */
const engines = new Map();

/** An element that nobody can reach any more gives up its engine, also one that never was in a page. */
const unreachable = new FinalizationRegistry(({ src, user }) => release(src, user));

function acquire(src, user) {
  let shared = engines.get(src);
  if (!shared) {
    const engine = import('./engine.js').then(({ Engine }) => Engine.create({ model: src }));
    engines.set(src, (shared = { engine, users: new Set() }));
    engine.catch(() => engines.get(src) === shared && engines.delete(src));
  }
  shared.users.add(user);
  return shared.engine;
}

function release(src, user) {
  const shared = engines.get(src);
  shared?.users.delete(user);
  if (shared?.users.size !== 0) return;
  engines.delete(src);
  shared.engine.then((engine) => engine.close(), () => {});
}

/** An element with properties, attributes (`aria-` and `part` among them) and children. */
function make(tag, { part, role, label, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  if (part) node.setAttribute('part', part);
  if (role) node.setAttribute('role', role);
  if (label) node.setAttribute('aria-label', label);
  node.append(...children);
  return node;
}

/** A failure that the element itself tells of, in its own language. */
class Failure extends Error {
  constructor(code, text, hint) {
    super(text);
    Object.assign(this, { code, hint });
  }
}

export class UniGenEditor extends HTMLElement {
  static formAssociated = true;
  static observedAttributes = ['src', 'mode', 'prompt', 'seed', 'steps', 'guidance', 'loading', 'theme', 'lang', 'disabled', 'name'];

  #internals = this.attachInternals();
  #ui;
  // Stands for the element among the users of an engine, which do not keep it alive.
  #user = {};
  #src = null;
  #engine = null;
  #listeners = new AbortController();
  // The calls that have not ended, and of these the one that draws or answers.
  #calls = new Set();
  #work = null;
  #loaded = false;
  #hurrying = false;
  #state = 'idle';
  #image = null;
  #mask = null;
  #result = null;
  #capabilities = null;
  #formDisabled = false;
  // What the form sends; the prompt that the page gave, and whether the visitor is changing it.
  #value = null;
  #given = null;
  #typing = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open', delegatesFocus: true });
    root.adoptedStyleSheets = [sheet()];
    this.#build(root);
  }

  connectedCallback() {
    for (const name of [...UniGenEditor.observedAttributes, 'image', 'mask']) this.#upgrade(name);
    this.#render();
    this.#hurry();
  }

  disconnectedCallback() {
    // A move disconnects and connects in one task; only an element that stays away gives up its engine.
    setTimeout(() => {
      if (this.isConnected) return;
      this.cancel();
      this.#letGo();
    });
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === 'prompt' && !this.#typing) this.#given = after;
    if (name === 'src' && this.#src !== null) {
      this.cancel();
      this.#letGo();
    }
    if (name === 'src' || name === 'loading') this.#hurry();
    this.#render();
  }

  formDisabledCallback(disabled) {
    this.#formDisabled = disabled;
    this.#render();
  }

  formResetCallback() {
    this.cancel();
    this.#result = null;
    this.#put(null);
    this.#reflect('prompt', this.#given);
    this.#send(null);
    if (this.#state === 'error') this.#settle();
    this.#render();
  }

  formStateRestoreCallback(state) {
    if (typeof state === 'string') this.#type(state);
  }

  // Attributes.

  get src() {
    return new URL(this.getAttribute('src') ?? 'model/', this.ownerDocument.baseURI).href;
  }
  set src(value) {
    this.#reflect('src', value);
  }
  get mode() {
    return this.#oneOf('mode', MODES);
  }
  set mode(value) {
    this.#reflect('mode', value);
  }
  get prompt() {
    return this.getAttribute('prompt') ?? '';
  }
  set prompt(value) {
    this.#reflect('prompt', value);
  }
  get seed() {
    return this.#number('seed');
  }
  set seed(value) {
    this.#reflect('seed', value);
  }
  get steps() {
    return this.#number('steps');
  }
  set steps(value) {
    this.#reflect('steps', value);
  }
  get guidance() {
    return this.#number('guidance');
  }
  set guidance(value) {
    this.#reflect('guidance', value);
  }
  get loading() {
    return this.#oneOf('loading', LOADING);
  }
  set loading(value) {
    this.#reflect('loading', value);
  }
  get theme() {
    return this.#oneOf('theme', THEMES);
  }
  set theme(value) {
    this.#reflect('theme', value);
  }
  get disabled() {
    return this.hasAttribute('disabled');
  }
  set disabled(value) {
    this.toggleAttribute('disabled', Boolean(value));
  }
  get name() {
    return this.getAttribute('name') ?? '';
  }
  set name(value) {
    this.#reflect('name', value);
  }

  // Properties.

  get image() {
    return this.#image;
  }
  set image(value) {
    this.#image = value ?? null;
    this.#mask = null;
    this.#result = null;
    this.#showImage().catch((error) => this.#fail(error));
  }
  get mask() {
    return this.#mask;
  }
  set mask(value) {
    this.#mask = value ?? null;
    this.#render();
  }
  get result() {
    return this.#result;
  }
  get capabilities() {
    return this.#capabilities;
  }
  get form() {
    return this.#internals.form;
  }

  // Methods.

  load({ signal } = {}) {
    return this.#load(signal);
  }

  #load(signal, onprogress) {
    return this.#call(signal, async (abort) => {
      if (!UniGenEditor.supported) {
        const { unsupported, unsupportedHint } = this.#words;
        throw new Failure('unsupported', unsupported, unsupportedHint);
      }
      const acquired = this.#acquire();
      // Before the engine's code is here, so that nobody asks a model that is on its way for a picture.
      if (!this.#loaded) this.#become('loading');
      const engine = await acquired;
      const model = await engine.load(undefined, { signal: abort.signal, onprogress });
      await this.#ready(engine, model);
      return model;
    });
  }

  generate({ prompt = this.prompt, ...request } = {}) {
    return this.#run('generate', request, async (engine, sampling, options) => {
      const { images, settings } = await engine.generate({ prompt, ...sampling }, options);
      return { task: 'generate', prompt, ...drawn(images[0], settings) };
    });
  }

  edit({ image = this.#image, mask = this.#mask, instruction = this.prompt, ...request } = {}) {
    return this.#run('edit', request, async (engine, sampling, options) => {
      const source = await square(this.#needed(image), this.#words);
      const change = { image: source, instruction, mask: mask ? await square(mask, this.#words) : this.#ui.painted(), ...sampling };
      const { images, settings } = await engine.edit(change, options);
      return { task: 'edit', prompt: instruction, ...drawn(images[0], settings), before: source };
    });
  }

  describe({ image = this.#image, question = this.prompt, ...request } = {}) {
    return this.#run('ask', request, async (engine, { seed }, { signal, onprogress }) => {
      const ontoken = (text) => (this.#ui.answer.textContent = text);
      const answer = await engine.describe({ image: this.#needed(image), question, seed }, { signal, onprogress, ontoken });
      return { task: 'ask', prompt: question, answer };
    });
  }

  /** Ends what is under way; its promise rejects with an AbortError. */
  cancel() {
    for (const call of this.#calls) call.abort();
  }

  /** The result's picture as a PNG file with its record, or null. */
  async toBlob() {
    if (!this.#result?.image) return null;
    const { task, prompt, seed, settings, model, image } = this.#result;
    const { writePng } = await import('./png.js');
    return writePng(image, { task, prompt, seed, ...settings, model: model?.name, modelHash: model?.hash });
  }

  /** Drops the weights of all models from the browser's storage. */
  async purge() {
    await (await this.#acquire()).purge();
    this.#loaded = false;
    this.#become('idle');
  }

  static get supported() {
    return typeof WebAssembly === 'object' && typeof Worker === 'function' && typeof OffscreenCanvas === 'function';
  }

  // Work.

  #run(task, { signal, ...over }, work) {
    return this.#call(signal, async (abort) => {
      if (this.loading === 'manual' && !this.#loaded) {
        const { notLoaded, notLoadedHint } = this.#words;
        throw new Failure('notloaded', notLoaded, notLoadedHint);
      }
      this.#work?.abort();
      this.#work = abort;
      let start = 0;
      const tell = (detail, fraction) => this.#work === abort && this.#progress({ ...detail, fraction });
      await this.#load(abort.signal, (detail) => {
        start = LOAD;
        tell(detail, LOAD * detail.fraction);
      });
      this.#become('running');
      const onprogress = (detail) => tell(detail, start + (1 - start) * detail.fraction);
      const onstep = (step) => {
        if (this.#work !== abort) return;
        this.#ui.preview(step.previews[0]);
        this.#emit('step', { step: step.step, steps: step.steps, preview: step.previews[0] });
      };
      const { seed, steps, guidance } = this;
      const sampling = defined({ seed, steps, guidance, ...over });
      const engine = await this.#acquire();
      const done = await work(engine, sampling, { signal: abort.signal, onprogress, onstep });
      const result = { ...done, model: engine.model };
      this.#result = result;
      if (result.image && task !== 'ask') this.#put(result.image);
      this.#become('ready');
      await this.#sendResult(result);
      this.#emit('result', result);
      return result;
    });
  }

  /** Runs a call, which its signal and `cancel` end; a failure is told once. */
  async #call(signal, work) {
    const abort = new AbortController();
    const follow = () => abort.abort(signal.reason);
    signal?.addEventListener('abort', follow, { once: true });
    this.#calls.add(abort);
    const end = () => {
      this.#calls.delete(abort);
      if (this.#work === abort) this.#work = null;
    };
    try {
      if (signal?.aborted) follow();
      abort.signal.throwIfAborted();
      return await work(abort);
    } catch (error) {
      end();
      throw this.#fail(error, abort.signal);
    } finally {
      end();
      signal?.removeEventListener('abort', follow);
      // A failure leaves the state to other calls; the last of them may have nothing to say about it.
      if (this.#calls.size === 0 && this.#working) this.#settle();
      this.#render();
    }
  }

  /** Loads at once where that is wanted; once, however many attributes change in a row. */
  #hurry() {
    if (this.#hurrying) return;
    this.#hurrying = true;
    queueMicrotask(() => {
      this.#hurrying = false;
      if (this.loading === 'eager' && this.isConnected) this.load().catch(() => {});
    });
  }

  /** The picture that the next edit changes. */
  #put(image) {
    this.#image = image;
    this.#mask = null;
    this.#ui.clearMask();
    this.#ui.brush.setAttribute('aria-pressed', 'false');
  }

  #needed(image) {
    if (image) return image;
    const { noImage, noImageHint } = this.#words;
    throw new Failure('image', noImage, noImageHint);
  }

  async #acquire() {
    const src = this.src;
    if (this.#src !== src) {
      this.#letGo();
      this.#src = src;
      unreachable.register(this, { src, user: this.#user }, this.#user);
    }
    const engine = await acquire(src, this.#user);
    if (this.#engine !== engine && this.#src === src) {
      this.#engine = engine;
      this.#listeners = new AbortController();
      UniGenEditor.#follow(engine, new WeakRef(this), this.#listeners.signal);
    }
    return engine;
  }

  /** Lets an element hear of the engine, which does not keep it alive. */
  static #follow(engine, element, signal) {
    engine.addEventListener('progress', ({ detail }) => element.deref()?.#overhear(detail), { signal });
    engine.addEventListener('ready', ({ detail }) => element.deref()?.#ready(engine, detail).catch(() => {}), { signal });
    engine.addEventListener('devicelost', ({ detail }) => element.deref()?.#lost(detail), { signal });
  }

  /** A load that any element asked for; work that waits for it tells of it as a part of its own. */
  #overhear(detail) {
    if (!this.#work) this.#progress(detail);
  }

  #progress(detail) {
    if (this.#working) this.#ui.progress.value = detail.fraction;
    this.#ui.say(this.#words.phases[detail.phase]);
    this.#emit('progress', detail);
  }

  /** The model is there, for the first time or again after the engine was lost: told once. */
  async #ready(engine, model) {
    const capabilities = await engine.capabilities();
    if (this.#engine !== engine) return;
    this.#capabilities = capabilities;
    if (this.#loaded) return;
    this.#loaded = true;
    if (this.#state !== 'running') this.#become('ready');
    this.#emit('ready', model);
  }

  #lost(detail) {
    this.#loaded = false;
    this.#emit('devicelost', detail);
    if (detail.recovering) {
      // What is under way goes on by itself.
      if (this.#calls.size === 0) this.load().catch(() => {});
    } else {
      this.#become('error');
      this.#ui.say(`${this.#words.lost} ${this.#words.lostHint}`);
    }
  }

  #letGo() {
    if (this.#src !== null) release(this.#src, this.#user);
    unreachable.unregister(this.#user);
    this.#listeners.abort();
    this.#src = this.#engine = this.#capabilities = null;
    this.#loaded = false;
    this.#become('idle');
  }

  /** Tells of a failure once, and gives back what to throw. The state is that of calls which are still under way. */
  #fail(error, signal) {
    const alone = this.#calls.size === 0;
    if (signal?.aborted || error?.name === 'AbortError' || error?.code === 'cancelled') {
      if (alone) this.#settle();
      if (!told.has(error)) this.#emit('cancel');
    } else {
      const { message = String(error), hint = '' } = error ?? {};
      // A browser's own exceptions have numbers for codes.
      const code = typeof error?.code === 'string' ? error.code : 'crashed';
      if (alone) this.#become('error');
      const words = error instanceof Failure ? undefined : this.#words.failures[code];
      this.#ui.say(words ?? [message, hint].filter(Boolean).join(' '));
      if (!told.has(error)) this.#emit('error', { code, text: message, hint, error });
    }
    if (error instanceof Object) told.add(error);
    return error;
  }

  async #sendResult(result) {
    if (result.answer !== undefined) return this.#send(result.answer);
    const file = new File([await this.toBlob()], 'unigen.png', { type: 'image/png' });
    // The form may have been reset meanwhile.
    if (this.#result === result) this.#send(file);
  }

  /** What the form sends; what the visitor typed goes beside it, for when the browser brings the page back. */
  #send(value) {
    this.#value = value;
    this.#internals.setFormValue(value, this.prompt);
  }

  /** The visitor changes the prompt. */
  #type(text) {
    this.#typing = true;
    this.prompt = text;
    this.#typing = false;
    this.#send(this.#value);
  }

  #settle() {
    this.#become(this.#loaded ? 'ready' : 'idle');
  }

  #become(state) {
    this.#state = state;
    for (const other of ['idle', 'loading', 'ready', 'running', 'error']) this.#internals.states.delete(other);
    this.#internals.states.add(state);
    this.#render();
  }

  #emit(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // Attributes and properties.

  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  #reflect(name, value) {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }

  #oneOf(name, allowed) {
    const value = this.getAttribute(name);
    return allowed.includes(value) ? value : allowed[0];
  }

  #number(name) {
    const value = this.getAttribute(name);
    return value === null || value.trim() === '' || !Number.isFinite(Number(value)) ? null : Number(value);
  }

  get #words() {
    const lang = this.lang || this.closest('[lang]')?.lang || navigator.language;
    return words[lang.toLowerCase().startsWith('zh') ? 'zh' : 'en'];
  }

  // What one sees.

  #build(root) {
    const before = make('canvas', { part: 'before', className: 'layer', hidden: true });
    const canvas = make('canvas', { part: 'canvas', className: 'layer', role: 'img' });
    const mask = make('canvas', { part: 'mask', className: 'layer mask', role: 'application', width: SIDE, height: SIDE, tabIndex: 0, hidden: true });
    const ring = make('span', { className: 'ring', ariaHidden: 'true', hidden: true });
    const split = make('input', { part: 'slider', type: 'range', min: 0, max: 100, value: 50, className: 'split', hidden: true });
    const poster = make('slot', { name: 'poster' });
    const unsupported = make('slot', { name: 'unsupported' });
    const loadButton = make('button', { part: 'load', type: 'button', className: 'load' });
    const progress = make('progress', { part: 'progress', max: 1, value: 0, hidden: true });
    const stage = make('div', { part: 'stage', className: 'stage' }, before, canvas, mask, ring, split, make('div', { className: 'empty' }, poster, unsupported, loadButton), progress);
    const message = make('p', { part: 'message', className: 'message', role: 'status' });
    const answer = make('output', { part: 'answer', className: 'answer' });
    const file = make('input', { type: 'file', accept: 'image/*', hidden: true });
    const open = make('button', { part: 'open', type: 'button' });
    const brush = make('button', { part: 'brush', type: 'button', ariaPressed: 'false' });
    const save = make('button', { part: 'save', type: 'button' });
    const toolbar = make('div', { part: 'toolbar', className: 'toolbar' }, open, brush, save, make('slot', { name: 'actions' }));
    const prompt = make('input', { part: 'prompt', type: 'text', maxLength: 2000, enterKeyHint: 'go' });
    const submit = make('button', { part: 'submit', type: 'button', className: 'primary' });
    root.append(stage, answer, make('div', { className: 'bar' }, prompt, submit), toolbar, message, file);

    const painter = paint(mask, ring);
    this.#ui = {
      before, canvas, mask, ring, split, poster, unsupported, loadButton, progress, answer, file, open, brush, save, prompt, submit, message,
      say: (text) => {
        if (message.textContent !== text) message.textContent = text;
      },
      preview: (image) => show(canvas, image),
      painted: () => painter.mask(),
      clearMask: () => painter.clear(),
    };

    prompt.addEventListener('input', () => this.#type(prompt.value));
    prompt.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.isComposing) this.#submit();
      if (event.key === 'Escape') this.cancel();
    });
    submit.addEventListener('click', () => this.#submit());
    loadButton.addEventListener('click', () => this.load().catch(() => {}));
    open.addEventListener('click', () => file.click());
    file.addEventListener('change', () => file.files[0] && (this.image = file.files[0]));
    save.addEventListener('click', () => this.#save());
    brush.addEventListener('click', () => {
      const on = brush.getAttribute('aria-pressed') !== 'true';
      brush.setAttribute('aria-pressed', String(on));
      if (!on) painter.clear();
      this.#render();
    });
    split.addEventListener('input', () => this.#compare());
    stage.addEventListener('dragover', (event) => event.preventDefault());
    stage.addEventListener('drop', (event) => {
      event.preventDefault();
      const dropped = [...event.dataTransfer.files].find(({ type }) => type.startsWith('image/'));
      if (dropped && this.mode !== 'generate' && !this.#off) this.image = dropped;
    });
  }

  get #off() {
    return this.disabled || this.#formDisabled;
  }

  get #working() {
    return this.#state === 'running' || this.#state === 'loading';
  }

  #submit() {
    if (this.#off) return;
    if (this.#working) return this.cancel();
    const work = { generate: () => this.generate(), edit: () => this.edit(), ask: () => this.describe() }[this.mode];
    work().catch(() => {});
  }

  async #save() {
    const blob = await this.toBlob();
    if (!blob) return;
    const href = URL.createObjectURL(blob);
    make('a', { href, download: 'unigen.png' }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }

  async #showImage() {
    const image = this.#image;
    const canvas = image && (await square(image, this.#words));
    if (image !== this.#image) return;
    this.#ui.clearMask();
    if (canvas) show(this.#ui.canvas, canvas);
    this.#render();
  }

  #compare() {
    this.#ui.canvas.style.setProperty('clip-path', this.#ui.split.hidden ? 'none' : `inset(0 0 0 ${this.#ui.split.value}%)`);
  }

  #render() {
    const ui = this.#ui;
    if (!ui) return;
    const [t, mode, state, off] = [this.#words, this.mode, this.#state, this.#off];
    const working = this.#working;
    const supported = UniGenEditor.supported;
    const picture = this.#result?.image ?? this.#image;
    const before = this.#result?.before;

    ui.poster.hidden = !supported || Boolean(picture) || state === 'running';
    ui.unsupported.hidden = supported;
    ui.unsupported.textContent = `${t.unsupported} ${t.unsupportedHint}`;
    ui.loadButton.hidden = !supported || this.loading !== 'manual' || this.#loaded || working;
    ui.canvas.hidden = !picture && state !== 'running';
    ui.canvas.setAttribute('aria-label', this.#result?.prompt || t.picture);
    if (this.#result?.image && state !== 'running') show(ui.canvas, this.#result.image);
    ui.before.hidden = ui.split.hidden = !before || working || brushing(ui);
    if (before) show(ui.before, before);
    this.#compare();
    ui.mask.hidden = ui.ring.hidden = mode !== 'edit' || !picture || !brushing(ui);
    ui.mask.setAttribute('aria-label', t.mask);
    ui.progress.hidden = !working;
    if (!working) ui.progress.value = 0;
    ui.answer.hidden = mode !== 'ask';
    ui.answer.textContent = mode === 'ask' ? (this.#result?.answer ?? '') : '';

    if (ui.prompt.value !== this.prompt) ui.prompt.value = this.prompt;
    ui.prompt.disabled = off;
    ui.prompt.placeholder = t.placeholder[mode];
    ui.prompt.setAttribute('aria-label', t.label[mode]);
    ui.submit.disabled = off || !supported;
    ui.submit.textContent = working ? t.cancel : t.submit[mode];
    ui.open.hidden = mode === 'generate';
    ui.brush.hidden = mode !== 'edit' || !picture;
    ui.save.hidden = !this.#result?.image;
    for (const [button, text] of [[ui.open, t.open], [ui.brush, t.brush], [ui.save, t.save], [ui.loadButton, t.load]]) {
      button.textContent = text;
      button.disabled = off;
    }
    ui.split.setAttribute('aria-label', t.compare);
    ui.progress.setAttribute('aria-label', t.progress);
    if (state === 'ready' && this.#result) ui.say(t.done);
    else if (state === 'running') ui.say(t.drawing);
    else if (state === 'idle' || state === 'ready') ui.say('');
  }
}

/** Errors that an element has told of. */
const told = new WeakSet();

function brushing(ui) {
  return ui.brush.getAttribute('aria-pressed') === 'true';
}

function drawn({ image, seed }, settings) {
  return { image, seed, settings };
}

function defined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));
}

function show(canvas, picture) {
  if (canvas.width !== picture.width) canvas.width = picture.width;
  if (canvas.height !== picture.height) canvas.height = picture.height;
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
}

/** The largest square in the middle of a picture, as the model sees it. */
async function square(picture, words) {
  const bitmap = picture instanceof Blob || picture instanceof ImageData ? await readable(picture, words) : picture;
  const [width, height] = [bitmap.naturalWidth ?? bitmap.width, bitmap.naturalHeight ?? bitmap.height];
  const side = Math.min(width, height);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  canvas.getContext('2d').drawImage(bitmap, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  return canvas;
}

async function readable(picture, { unreadable, unreadableHint }) {
  try {
    return await createImageBitmap(picture);
  } catch {
    throw new Failure('image', unreadable, unreadableHint);
  }
}

/**
 * Painting on a canvas, with the pointer or with the same keys as in the app; `ring` shows the brush. `mask` is what was painted in white on black, or
 * undefined.
 */
function paint(canvas, ring) {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  Object.assign(context, { lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff' });
  let brush = [SIDE / 2, SIDE / 2];
  let [, size] = BRUSH;
  let [down, erases] = [false, false];
  const show = () => {
    const part = (pixels) => `${(100 * pixels) / SIDE}%`;
    for (const [name, pixels] of [['left', brush[0]], ['top', brush[1]], ['width', size]]) ring.style.setProperty(name, part(pixels));
    ring.classList.toggle('erases', erases);
  };
  const move = (to, paints) => {
    if (paints) {
      Object.assign(context, { lineWidth: size, globalCompositeOperation: erases ? 'destination-out' : 'source-over' });
      context.beginPath();
      context.moveTo(...brush);
      // Canvases leave out lines without a length.
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
    }
    brush = to;
    show();
  };
  const at = ({ offsetX, offsetY }) => [(offsetX * SIDE) / canvas.clientWidth, (offsetY * SIDE) / canvas.clientHeight];
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    down = true;
    brush = at(event);
    move(brush, true);
  });
  canvas.addEventListener('pointermove', (event) => move(at(event), down));
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => (down = false));

  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  const step = (...by) => move(brush.map((place, i) => within(place + (by[i] * size) / 2, 0, SIDE)), false);
  const resize = (factor) => (size = within(size * factor, BRUSH[0], BRUSH[2]));
  const keys = {
    ArrowLeft: () => step(-1, 0),
    ArrowRight: () => step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    ' ': () => move(brush, true),
    Enter: () => move(brush, true),
    e: () => (erases = !erases),
    E: () => (erases = !erases),
    '[': () => resize(0.8),
    ']': () => resize(1.25),
  };
  canvas.addEventListener('keydown', (event) => {
    if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
    show();
  });
  show();
  return {
    clear: () => {
      context.clearRect(0, 0, SIDE, SIDE);
      erases = false;
      show();
    },
    mask: () => {
      const { data } = context.getImageData(0, 0, SIDE, SIDE);
      // What was painted may have been erased.
      if (!data.some((value, i) => i % 4 === 3 && value > 127)) return undefined;
      const mask = new OffscreenCanvas(SIDE, SIDE);
      const target = mask.getContext('2d');
      target.fillRect(0, 0, SIDE, SIDE);
      target.drawImage(canvas, 0, 0);
      return mask;
    },
  };
}

if (!customElements.get('unigen-editor')) customElements.define('unigen-editor', UniGenEditor);
