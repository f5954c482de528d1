// What one sees of the element, and what the visitor does with it.

import { isImageData, sizeOf } from '../pixels.ts';
import { Brush, SIZES } from './brush.ts';
import { dress } from './style.ts';
import type { Mode, Words } from './words.ts';
import type { UnknownWord } from '../types.d.ts';

export type State = 'idle' | 'loading' | 'ready' | 'running' | 'error';

/** What the visitor asks for. */
export interface Actions {
  submit(): void;
  cancel(): void;
  load(): void;
  open(file: File | null): void;
  save(): void;
  type(text: string): void;
}

/** What there is to see. */
export interface Shown {
  words: Words;
  mode: Mode;
  state: State;
  /** Takes no input. */
  off: boolean;
  supported: boolean;
  /** Whether a button that loads the model makes sense; `always`: also over a picture. */
  start: 'no' | 'poster' | 'always';
  prompt: string;
  picture: OffscreenCanvas | ImageData | null;
  /** What the picture shows, in words. */
  caption: string;
  before: OffscreenCanvas | null;
  saves: boolean;
  done: boolean;
  /** Words that the model has not learned. */
  unknown: UnknownWord[];
  answer: string;
}

const ICON = 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01';

export class View {
  /** Where the browser says that the form needs a result. */
  readonly anchor: HTMLElement;
  #root: ShadowRoot;
  #brush: Brush;
  #shown: Shown | null = null;
  #drawn: { [layer in 'canvas' | 'before']?: OffscreenCanvas | ImageData } = {};
  #ui: ReturnType<typeof build>;

  constructor(root: ShadowRoot, actions: Actions) {
    this.#root = root;
    this.#ui = build(root);
    this.anchor = this.#ui.submit;
    this.#brush = new Brush(this.#ui.mask, this.#ui.ring, () => this.#renderBrush());
    this.dress();
    this.#listen(actions);
  }

  /** After a move, perhaps into another document. */
  dress(): void {
    dress(this.#root);
  }

  say(text: string): void {
    const { message } = this.#ui;
    if (message.textContent !== text) message.textContent = text;
  }

  preview(image: ImageData): void {
    this.#draw('canvas', image);
  }

  progress(fraction: number): void {
    this.#ui.progress.value = fraction;
  }

  answer(text: string): void {
    this.#ui.answer.textContent = text;
  }

  /** What the brush painted, or undefined. */
  painted(): OffscreenCanvas | undefined {
    return this.#brush.mask();
  }

  /** Puts the brush away, and with it what it painted. */
  clearMask(): void {
    this.#ui.brush.setAttribute('aria-pressed', 'false');
    this.#brush.clear();
  }

  render(shown: Shown): void {
    this.#shown = shown;
    const { words, mode, state, off, supported, picture, before } = shown;
    const ui = this.#ui;
    const focused = this.#root.activeElement as HTMLButtonElement | null;
    const working = isWorking(state);
    const painting = mode === 'edit' && Boolean(picture) && isOn(ui.brush);

    if (picture && state !== 'running') this.#draw('canvas', picture);
    if (before) this.#draw('before', before);
    this.#shape(picture);
    ui.poster.hidden = !supported || Boolean(picture) || state === 'running';
    ui.intro.textContent = words.intro;
    ui.unsupported.hidden = supported;
    ui.unsupported.textContent = words.failures.unsupported;
    ui.load.hidden = !supported || working || shown.start === 'no' || (shown.start === 'poster' && Boolean(picture));
    ui.canvas.hidden = !picture && state !== 'running';
    ui.canvas.setAttribute('aria-label', shown.caption);
    ui.before.hidden = ui.slider.hidden = !before || working || painting;
    this.#compare();
    ui.mask.hidden = ui.ring.hidden = !painting;
    ui.mask.setAttribute('aria-label', words.mask);
    ui.progress.hidden = !working;
    if (!working) ui.progress.value = 0;
    ui.answer.hidden = mode !== 'ask';
    ui.answer.textContent = shown.answer;

    if (ui.prompt.value !== shown.prompt) ui.prompt.value = shown.prompt;
    ui.prompt.disabled = off;
    ui.prompt.placeholder = words.placeholder[mode];
    ui.prompt.setAttribute('aria-label', words.label[mode]);
    ui.submit.disabled = off || !supported;
    ui.submit.textContent = working ? words.cancel : words.submit[mode];
    ui.open.hidden = mode === 'generate';
    ui.brush.hidden = mode !== 'edit' || !picture;
    ui.eraser.hidden = ui.size.hidden = !painting;
    ui.save.hidden = !shown.saves;
    const labels: [HTMLButtonElement, string][] = [
      [ui.open, words.open],
      [ui.brush, words.brush],
      [ui.eraser, words.eraser],
      [ui.save, words.save],
      [ui.load, words.load],
    ];
    for (const [button, text] of labels) {
      button.textContent = text;
      button.disabled = off;
    }
    ui.size.disabled = off;
    ui.size.setAttribute('aria-label', words.size);
    ui.slider.setAttribute('aria-label', words.compare);
    ui.progress.setAttribute('aria-label', words.progress);
    this.#renderBrush();
    if (state === 'ready' && shown.done) this.say(finished(shown));
    else if (state === 'running') this.say(words.drawing);
    else if (state === 'idle' || state === 'ready') this.say('');

    // What had the focus may be gone now; it stays in the element.
    if (focused && (focused.hidden || focused.disabled)) [ui.submit, ui.prompt].find((node) => !node.disabled)?.focus();
  }

  #renderBrush(): void {
    const { eraser, size } = this.#ui;
    eraser.setAttribute('aria-pressed', String(this.#brush.erases));
    size.value = String(100 * this.#brush.size);
  }

  /** The stage has the picture's shape, and the mask as well. */
  #shape(picture: Shown['picture']): void {
    const [width, height] = picture ? sizeOf(picture) : [1, 1];
    const ratio = String(width / height);
    const { style } = this.#ui.stage;
    if (style.getPropertyValue('--_ratio') === ratio) return;
    style.setProperty('--_ratio', ratio);
    this.#brush.shape(width, height);
  }

  #draw(layer: 'canvas' | 'before', picture: OffscreenCanvas | ImageData): void {
    if (this.#drawn[layer] === picture) return;
    this.#drawn[layer] = picture;
    const canvas = this.#ui[layer];
    [canvas.width, canvas.height] = [picture.width, picture.height];
    const context = canvas.getContext('2d');
    if (isImageData(picture)) context?.putImageData(picture, 0, 0);
    else context?.drawImage(picture, 0, 0);
  }

  #compare(): void {
    const { canvas, slider } = this.#ui;
    canvas.style.setProperty('clip-path', slider.hidden ? 'none' : `inset(0 0 0 ${slider.value}%)`);
  }

  #listen(actions: Actions): void {
    const { prompt, submit, load, open, file, save, brush, eraser, size, slider } = this.#ui;
    const off = () => this.#shown?.off ?? true;
    prompt.addEventListener('input', () => actions.type(prompt.value));
    prompt.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !isComposing(event)) actions.submit();
    });
    submit.addEventListener('click', () => actions.submit());
    load.addEventListener('click', () => actions.load());
    open.addEventListener('click', () => file.click());
    file.addEventListener('change', () => {
      const [chosen] = file.files ?? [];
      // Else the browser would not tell of the same file again.
      file.value = '';
      if (chosen) actions.open(chosen);
    });
    save.addEventListener('click', () => actions.save());
    brush.addEventListener('click', () => {
      if (isOn(brush)) this.clearMask();
      else brush.setAttribute('aria-pressed', 'true');
      if (this.#shown) this.render(this.#shown);
    });
    eraser.addEventListener('click', () => {
      this.#brush.erases = !this.#brush.erases;
      this.#renderBrush();
    });
    size.addEventListener('input', () => (this.#brush.size = size.valueAsNumber / 100));
    slider.addEventListener('input', () => this.#compare());

    const { host } = this.#root as { host: Element };
    host.addEventListener('keydown', (event) => {
      const { key } = event as KeyboardEvent;
      if (key !== 'Escape' || isComposing(event as KeyboardEvent) || !isWorking(this.#shown?.state)) return;
      // Once more it closes the dialog around the element.
      event.preventDefault();
      event.stopPropagation();
      actions.cancel();
    });
    // Anywhere on the element, so that no file takes the place of the page.
    host.addEventListener('dragover', (event) => carriesFiles(event as DragEvent) && event.preventDefault());
    host.addEventListener('drop', (event) => {
      if (!carriesFiles(event as DragEvent)) return;
      event.preventDefault();
      if (off() || this.#shown?.mode === 'generate') return;
      const files = [...((event as DragEvent).dataTransfer?.files ?? [])];
      // Some systems give no type; the browser finds out.
      const dropped = files.find(({ type }) => type.startsWith('image/')) ?? files.find(({ type }) => type === '');
      actions.open(dropped ?? null);
    });
  }
}

export function isWorking(state?: State): boolean {
  return state === 'running' || state === 'loading';
}

function isOn(toggle: HTMLElement): boolean {
  return toggle.getAttribute('aria-pressed') === 'true';
}

/** What to say of a result: of words that mean nothing to the model, which they are and what it knows instead. */
function finished({ words, unknown }: Shown): string {
  const named = unknown.map(({ word, nearest }) => (nearest === undefined ? `“${word}”` : `“${word}” (→ “${nearest}”)`));
  return named.length === 0 ? words.done : `${words.done} ${words.unknown} ${named.join(', ')}`;
}

/** Whether a key belongs to an input method; some browsers say so by the number alone. */
function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}

function carriesFiles({ dataTransfer }: DragEvent): boolean {
  return Boolean(dataTransfer?.types.includes('Files'));
}

interface Attributes {
  part?: string;
  role?: string;
  [property: string]: unknown;
}

/** An element with properties, a part and a role, and children. */
function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { part, role, ...properties }: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const node = Object.assign(document.createElement(tag), properties);
  if (part) node.setAttribute('part', part);
  if (role) node.setAttribute('role', role);
  node.append(...children);
  return node;
}

function icon(): SVGSVGElement {
  const [svg, path] = (['svg', 'path'] as const).map((tag) => document.createElementNS('http://www.w3.org/2000/svg', tag)) as [SVGSVGElement, SVGPathElement];
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICON);
  svg.append(path);
  return svg;
}

/** The nodes of the shadow tree. */
function build(root: ShadowRoot) {
  const before = make('canvas', { part: 'before', className: 'layer', hidden: true });
  const canvas = make('canvas', { part: 'canvas', className: 'layer', role: 'img' });
  const mask = make('canvas', { part: 'mask', className: 'layer mask', role: 'application', tabIndex: 0, hidden: true });
  const ring = make('span', { className: 'ring', ariaHidden: 'true', hidden: true });
  const slider = make('input', { part: 'slider', type: 'range', min: 0, max: 100, value: 50, className: 'split', hidden: true });
  const intro = make('span', { part: 'intro' });
  const poster = make('slot', { name: 'poster' }, make('div', { className: 'intro' }, icon(), intro));
  const unsupported = make('slot', { name: 'unsupported' });
  const load = make('button', { part: 'load', type: 'button', className: 'load' });
  const empty = make('div', { className: 'empty' }, poster, unsupported, load);
  const progress = make('progress', { part: 'progress', max: 1, value: 0, hidden: true });
  const stage = make('div', { part: 'stage', className: 'stage' }, before, canvas, mask, ring, slider, empty, progress);
  const answer = make('output', { part: 'answer', className: 'answer' });
  const prompt = make('input', { part: 'prompt', type: 'text', maxLength: 2000, enterKeyHint: 'go' });
  const submit = make('button', { part: 'submit', type: 'button', className: 'primary' });
  const file = make('input', { type: 'file', accept: 'image/*', hidden: true });
  const open = make('button', { part: 'open', type: 'button' });
  const brush = make('button', { part: 'brush', type: 'button', ariaPressed: 'false' });
  const eraser = make('button', { part: 'eraser', type: 'button', ariaPressed: 'false', hidden: true });
  const size = make('input', { part: 'size', type: 'range', className: 'size', min: 100 * SIZES.min, max: 100 * SIZES.max, step: 'any', hidden: true });
  const save = make('button', { part: 'save', type: 'button' });
  const actions = make('slot', { name: 'actions' });
  const toolbar = make('div', { part: 'toolbar', className: 'toolbar' }, open, brush, eraser, size, save, actions);
  const message = make('p', { part: 'message', className: 'message', role: 'status' });
  root.append(stage, answer, make('div', { className: 'bar' }, prompt, submit), toolbar, message, file);
  return {
    stage, before, canvas, mask, ring, slider, intro, poster, unsupported, load, progress, answer, prompt, submit, file, open, brush, eraser, size, save, message,
  };
}
