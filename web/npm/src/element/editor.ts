// The custom element: attributes, properties, methods and events over an engine that it shares.

import type { Engine } from '../engine.ts';
import { canvasOf, MAX_PICTURE } from '../pixels.ts';
import { course, type Tell } from '../progress.ts';
import type { Capabilities, DrawOptions, Model, Picture, Progress, Result, Sampling } from '../types.d.ts';
import { Attributes, upgrade } from './attributes.ts';
import { middle } from './crop.ts';
import { Seat } from './engines.ts';
import type { EditorEventMap, EditorResult } from './events.ts';
import { Failure, forPage, forVisitor, isCancelled, isNews } from './failure.ts';
import { Field } from './form.ts';
import { isWorking, View, type Shown, type State } from './view.ts';
import { wordsFor, type Words } from './words.ts';

const STATES = ['idle', 'loading', 'ready', 'running', 'error'] as const;

interface Call {
  seed?: number;
  signal?: AbortSignal;
}

interface DrawCall extends Call {
  steps?: number;
  guidance?: number;
}

/**
 * Draws a picture from a prompt, changes one as told, or answers a question about one, on the visitor's own machine.
 *
 * @tag unigen-editor
 *
 * @attr {string} [lang=the page's] - English, or Chinese for tags that begin with zh.
 *
 * @slot poster - Shown until there is a picture; without it, words that say what the element is.
 * @slot unsupported - Shown where the browser lacks what the engine needs; without it, words that say so.
 * @slot actions - More buttons, in the toolbar.
 *
 * @csspart stage - The box with the picture, in its shape.
 * @csspart canvas - The picture.
 * @csspart before - The picture before an edit.
 * @csspart mask - What the brush painted. By keyboard: arrows move the brush, Space paints, E erases, [ and ] change its size.
 * @csspart slider - Moves between before and after.
 * @csspart progress - How far the work is.
 * @csspart intro - The words of the poster.
 * @csspart load - Button that loads the model, before anything is drawn.
 * @csspart prompt - The text field.
 * @csspart submit - Button that begins, and cancels.
 * @csspart toolbar - The buttons below.
 * @csspart open - Button that opens a picture.
 * @csspart brush - Button that turns the brush on.
 * @csspart eraser - Button that makes the brush an eraser.
 * @csspart size - Slider for the size of the brush.
 * @csspart save - Button that saves the result.
 * @csspart answer - The answer.
 * @csspart message - What is going on, and what went wrong.
 *
 * @cssprop [--unigen-size=22rem] - Width.
 * @cssprop --unigen-accent - Colour of the main button, of progress and of focus.
 * @cssprop --unigen-on-accent - Text on it.
 * @cssprop --unigen-surface - Background.
 * @cssprop --unigen-sunken - Background of the stage and of fields.
 * @cssprop --unigen-text - Text.
 * @cssprop --unigen-muted - Lesser text.
 * @cssprop --unigen-line - Lines.
 * @cssprop [--unigen-radius=14px] - Roundness.
 *
 * @cssstate idle - No model yet.
 * @cssstate loading - The model is on its way.
 * @cssstate ready - Ready.
 * @cssstate running - At work.
 * @cssstate error - Something failed.
 */
export class UniGenEditor extends Attributes {
  static readonly formAssociated: boolean = true;

  #field: Field = new Field(this.attachInternals());
  #view: View;
  #seat: Seat = new Seat(this, {
    // A load that any element asked for; work that waits for it tells of it as a part of its own.
    progress: (detail) => this.#work === null && this.#progress(detail),
    ready: (engine, model) => void this.#ready(engine, model).catch(() => {}),
    lost: (detail) => this.#lost(detail),
  });
  // The calls that have not ended, and of these the one that draws or answers.
  #calls: Set<AbortController> = new Set();
  #work: AbortController | null = null;
  #loaded = false;
  #hurrying = false;
  #state: State = 'idle';
  #image: Picture | null = null;
  // The picture as it is on the stage.
  #picture: OffscreenCanvas | ImageData | null = null;
  #mask: Picture | null = null;
  #result: EditorResult | null = null;
  #capabilities: Capabilities | null = null;
  #formDisabled = false;
  // The prompt that the page gave, and whether the visitor is changing it.
  #given: string | null = null;
  #typing = false;

  constructor() {
    super();
    this.#view = new View(this.attachShadow({ mode: 'open', delegatesFocus: true }), {
      submit: () => this.#submit(),
      cancel: () => this.cancel(),
      load: () => void this.load().catch(() => {}),
      open: (file) => {
        if (file) this.image = file;
        else this.#fail(this.#unreadable());
      },
      save: () => void this.#save(),
      type: (text) => this.#type(text),
    });
  }

  /** @internal */
  connectedCallback(): void {
    this.#view.dress();
    upgrade(this, [...UniGenEditor.observedAttributes, 'image', 'mask']);
    this.#render();
    this.#hurry();
  }

  /** @internal */
  adoptedCallback(): void {
    this.#view.dress();
  }

  /** @internal */
  disconnectedCallback(): void {
    // A move disconnects and connects in one task; only an element that stays away gives up its engine.
    setTimeout(() => {
      if (this.isConnected) return;
      this.cancel();
      this.#letGo();
    });
  }

  /** @internal */
  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after) return;
    if (name === 'prompt' && !this.#typing) this.#given = after;
    if (name === 'src' && this.#seat.isTaken) {
      this.cancel();
      this.#letGo();
    }
    if (name === 'src' || name === 'loading') this.#hurry();
    this.#render();
  }

  /** @internal */
  formDisabledCallback(disabled: boolean): void {
    this.#formDisabled = disabled;
    this.#render();
  }

  /** @internal */
  formResetCallback(): void {
    this.cancel();
    this.#result = null;
    this.#put(null);
    this.prompt = this.#given;
    this.#field.send(null, this.prompt);
    if (this.#state === 'error') this.#settle();
    this.#render();
  }

  /** @internal */
  formStateRestoreCallback(state: unknown): void {
    if (typeof state === 'string') this.#type(state);
  }

  // Properties.

  /** The picture to change or to ask about; after a drawing, what was drawn. */
  get image(): Picture | null {
    return this.#image;
  }
  set image(value: Picture | null | undefined) {
    this.#image = value ?? null;
    this.#mask = null;
    this.#result = null;
    this.#showImage();
  }

  /** Opaque white where the picture may change; without it what the brush painted, else all. */
  get mask(): Picture | null {
    return this.#mask;
  }
  set mask(value: Picture | null | undefined) {
    this.#mask = value ?? null;
    this.#render();
  }

  /** The last result. */
  get result(): EditorResult | null {
    return this.#result;
  }

  /** Backend, adapter, memory and storage, once the model is loaded. */
  get capabilities(): Capabilities | null {
    return this.#capabilities;
  }

  /** The form that it belongs to. */
  get form(): HTMLFormElement | null {
    return this.#field.internals.form;
  }

  /** The labels that name it. */
  get labels(): NodeList {
    return this.#field.internals.labels;
  }

  /** What keeps a form from going. */
  get validity(): ValidityState {
    return this.#field.internals.validity;
  }

  /** The same in words. */
  get validationMessage(): string {
    return this.#field.internals.validationMessage;
  }

  /** Whether a form asks it: not where it is disabled. */
  get willValidate(): boolean {
    return this.#field.internals.willValidate;
  }

  // Methods.

  /** Whether a form may go. */
  checkValidity(): boolean {
    return this.#field.internals.checkValidity();
  }

  /** The same; where not, the visitor is told. */
  reportValidity(): boolean {
    return this.#field.internals.reportValidity();
  }

  /** Fetches the model and makes it ready. */
  load({ signal }: { signal?: AbortSignal } = {}): Promise<Model> {
    return this.#load(signal);
  }

  /** Draws a picture. What is left out comes from the attributes. */
  generate({ prompt = this.prompt, ...request }: DrawCall & { prompt?: string } = {}): Promise<EditorResult> {
    return this.#run(request, async (engine, sampling, options) => {
      return { task: 'generate', prompt, ...drawn(await engine.generate({ prompt, ...sampling }, options)) };
    });
  }

  /** Changes the picture. */
  edit({
    image = this.#image ?? undefined,
    mask = this.#mask ?? undefined,
    instruction = this.prompt,
    ...request
  }: DrawCall & { image?: Picture; mask?: Picture; instruction?: string; imageGuidance?: number } = {}): Promise<EditorResult> {
    return this.#run(request, async (engine, sampling, options) => {
      const source = await this.#readable(image);
      const change = { image: source, instruction, mask: mask ?? this.#view.painted(), ...sampling };
      const after = drawn(await engine.edit(change, options));
      const before = after.image && middle(source, after.image.width, after.image.height);
      return { task: 'edit', prompt: instruction, ...after, before };
    });
  }

  /** Answers a question about the picture. */
  describe({
    image = this.#image ?? undefined,
    question = this.prompt,
    ...request
  }: Call & { image?: Picture; question?: string } = {}): Promise<EditorResult> {
    return this.#run(request, async (engine, { seed }, { signal, onprogress }) => {
      const ontoken = (text: string) => this.#view.answer(text);
      const answer = await engine.describe({ image: await this.#readable(image), question, seed }, { signal, onprogress, ontoken });
      return { task: 'ask', prompt: question, answer, unknown: await engine.unknownWords(question) };
    });
  }

  /** Ends what is under way within a step; its promise rejects with an AbortError. */
  cancel(): void {
    for (const call of this.#calls) call.abort();
  }

  /** The result as a PNG file with prompt, seed, model and settings in it. */
  async toBlob(): Promise<Blob | null> {
    if (!this.#result?.image) return null;
    const { task, prompt, seed, settings, model, image } = this.#result;
    const { writePng } = await import('../png.ts');
    return writePng(image, { task: task === 'ask' ? undefined : task, prompt, seed, ...settings, model: model?.name, modelHash: model?.hash });
  }

  /** Deletes the weights of all models that this site keeps. */
  async purge(): Promise<void> {
    await (await this.#acquire()).purge();
    this.#loaded = false;
    this.#become('idle');
  }

  /** Whether this browser has what the engine needs. */
  static get supported(): boolean {
    return typeof WebAssembly === 'object' && typeof Worker === 'function' && typeof OffscreenCanvas === 'function';
  }

  // Work.

  #load(signal?: AbortSignal, onprogress?: Tell): Promise<Model> {
    return this.#call(signal, async (abort) => {
      if (!UniGenEditor.supported) {
        const text = 'This browser lacks WebAssembly, workers or OffscreenCanvas.';
        throw new Failure('unsupported', 'unsupported', text, 'Use a current browser.');
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

  #run(
    { signal, ...over }: DrawCall & Sampling,
    work: (engine: Engine, sampling: Sampling & { seed?: number }, options: DrawOptions) => Promise<Omit<EditorResult, 'model'>>,
  ): Promise<EditorResult> {
    return this.#call(signal, async (abort) => {
      if (this.loading === 'manual' && !this.#loaded) {
        throw new Failure('notloaded', 'manual', 'The model is not loaded.', 'Call load(), or let the visitor press “Load the model”.');
      }
      this.#work?.abort();
      this.#work = abort;
      const tell = course((detail) => this.#work === abort && this.#progress(detail));
      await this.#load(abort.signal, tell.load);
      this.#become('running');
      const onstep: DrawOptions['onstep'] = ({ step, steps, previews: [preview] }) => {
        if (this.#work !== abort) return;
        if (preview) this.#view.preview(preview);
        this.#emit('step', { step, steps, preview });
      };
      const { seed, steps, guidance } = this;
      const sampling = defined({ seed, steps, guidance, ...over });
      const engine = await this.#acquire();
      const done = await work(engine, sampling, { signal: abort.signal, onprogress: tell.work, onstep });
      const result = { ...done, model: engine.model };
      this.#result = result;
      if (result.image) this.#put(result.image);
      this.#become('ready');
      await this.#sendResult(result);
      this.#emit('result', result);
      return result;
    });
  }

  /** Runs a call, which its signal and `cancel` end; a failure is told once. */
  async #call<T>(signal: AbortSignal | undefined, work: (abort: AbortController) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const follow = () => abort.abort(signal?.reason);
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
      if (this.#calls.size === 0 && isWorking(this.#state)) this.#settle();
      this.#render();
    }
  }

  /** Loads at once where that is wanted; once, however many attributes change in a row. */
  #hurry(): void {
    if (this.#hurrying) return;
    this.#hurrying = true;
    queueMicrotask(() => {
      this.#hurrying = false;
      if (this.loading === 'eager' && this.isConnected) this.load().catch(() => {});
    });
  }

  /** The picture that the next edit changes. */
  #put(image: ImageData | null): void {
    this.#image = image;
    this.#picture = image;
    this.#mask = null;
    this.#view.clearMask();
  }

  async #showImage(): Promise<void> {
    const image = this.#image;
    try {
      const picture = image && (await this.#readable(image));
      if (image !== this.#image) return;
      this.#picture = picture;
      this.#view.clearMask();
      if (this.#state === 'error') this.#settle();
      this.#render();
    } catch (error) {
      // It may have another picture by now.
      if (image === this.#image) this.#fail(error);
    }
  }

  /** The picture on a canvas, or a failure that the visitor understands. */
  async #readable(image: Picture | undefined): Promise<OffscreenCanvas> {
    if (!image) throw new Failure('image', 'noImage', 'There is no picture yet.', 'Set `image`, or let the visitor open one.');
    try {
      return await canvasOf(image, MAX_PICTURE);
    } catch (error) {
      throw this.#unreadable((error as Error).message);
    }
  }

  #unreadable(text = 'What was dropped is no picture.'): Failure {
    return new Failure('image', 'unreadable', text, 'Choose a PNG, JPEG, WebP, GIF or AVIF picture.');
  }

  async #acquire(): Promise<Engine> {
    const { src } = this;
    if (!this.#seat.isAt(src)) this.#letGo();
    return this.#seat.take(src);
  }

  #progress(detail: Progress): void {
    if (isWorking(this.#state)) this.#view.progress(detail.fraction);
    this.#view.say(this.#words.phases[detail.phase]);
    this.#emit('progress', detail);
  }

  /** The model is there, for the first time or again after the engine was lost: told once. */
  async #ready(engine: Engine, model: Model): Promise<void> {
    const capabilities = await engine.capabilities();
    if (this.#seat.engine !== engine) return;
    this.#capabilities = capabilities;
    if (this.#loaded) return;
    this.#loaded = true;
    if (this.#state !== 'running') this.#become('ready');
    this.#emit('ready', model);
  }

  #lost(detail: { reason: string; recovering: boolean }): void {
    this.#loaded = false;
    this.#emit('devicelost', detail);
    if (detail.recovering) {
      // What is under way goes on by itself.
      if (this.#calls.size === 0) this.load().catch(() => {});
    } else if (this.#calls.size === 0) {
      this.#become('error');
      this.#view.say(this.#words.failures.devicelost);
    }
  }

  #letGo(): void {
    this.#seat.leave();
    this.#capabilities = null;
    this.#loaded = false;
    this.#become('idle');
  }

  /** Tells of a failure once, and gives back what to throw. The state is that of calls which are still under way. */
  #fail(error: unknown, signal?: AbortSignal): unknown {
    const alone = this.#calls.size === 0;
    const news = isNews(error);
    if (signal?.aborted || isCancelled(error)) {
      if (alone) this.#settle();
      if (news) this.#emit('cancel', null);
    } else {
      if (alone) this.#become('error');
      this.#view.say(forVisitor(error, this.#words));
      if (news) this.#emit('error', forPage(error));
    }
    return error;
  }

  async #sendResult(result: EditorResult): Promise<void> {
    if (result.answer !== undefined) return this.#send(result.answer);
    const blob = await this.toBlob();
    // The form may have been reset meanwhile.
    if (blob && this.#result === result) this.#send(new File([blob], 'unigen.png', { type: 'image/png' }));
  }

  #send(value: File | string): void {
    this.#field.send(value, this.prompt);
    this.#render();
  }

  /** The visitor changes the prompt. */
  #type(text: string): void {
    this.#typing = true;
    this.prompt = text;
    this.#typing = false;
    this.#field.send(this.#field.value, this.prompt);
  }

  #submit(): void {
    if (this.#off) return;
    if (isWorking(this.#state)) return this.cancel();
    const work = { generate: () => this.generate(), edit: () => this.edit(), ask: () => this.describe() }[this.mode];
    work().catch(() => {});
  }

  async #save(): Promise<void> {
    const blob = await this.toBlob();
    if (!blob) return;
    const href = URL.createObjectURL(blob);
    Object.assign(document.createElement('a'), { href, download: 'unigen.png' }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }

  #settle(): void {
    this.#become(this.#loaded ? 'ready' : 'idle');
  }

  #become(state: State): void {
    this.#state = state;
    const { states } = this.#field.internals;
    for (const other of STATES) states.delete(other);
    states.add(state);
    this.#render();
  }

  #emit<K extends keyof EditorEventMap>(type: K, detail: EditorEventMap[K]['detail']): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #render(): void {
    // An attribute may change before the constructor is done.
    if (!this.#view) return;
    const { mode, loading } = this;
    const t = this.#words;
    const result = this.#result;
    const start = this.#loaded || loading === 'eager' ? 'no' : loading === 'manual' ? 'always' : 'poster';
    const shown: Shown = {
      words: t,
      mode,
      state: this.#state,
      off: this.#off,
      supported: UniGenEditor.supported,
      start,
      prompt: this.prompt,
      picture: result?.image ?? this.#picture,
      caption: (result?.image && result.prompt) || t.picture,
      before: result?.before ?? null,
      saves: Boolean(result?.image),
      done: Boolean(result),
      unknown: result?.unknown ?? [],
      answer: mode === 'ask' ? (result?.answer ?? '') : '',
    };
    this.#view.render(shown);
    this.#field.check(this.required, t.required[mode], this.#view.anchor);
  }

  get #off(): boolean {
    return this.disabled || this.#formDisabled;
  }

  get #words(): Words {
    return wordsFor(this);
  }

  override addEventListener<K extends keyof EditorEventMap>(
    type: K,
    listener: (event: EditorEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }
}

function drawn({ images: [first], settings, unknown }: Result): Pick<EditorResult, 'image' | 'seed' | 'settings' | 'unknown'> {
  return { image: first?.image, seed: first?.seed, settings, unknown };
}

function defined<T extends object>(object: T): { [name in keyof T]?: Exclude<T[name], null> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined)) as { [name in keyof T]?: Exclude<T[name], null> };
}
