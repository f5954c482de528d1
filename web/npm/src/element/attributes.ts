// The element's attributes, each a property as well.

const MODES = ['generate', 'edit', 'ask'] as const;
const LOADING = ['lazy', 'eager', 'manual'] as const;
const THEMES = ['auto', 'light', 'dark'] as const;

/** On a server there are no elements to extend. */
const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

export class Attributes extends Base {
  static readonly observedAttributes: readonly string[] = [
    'src', 'mode', 'prompt', 'seed', 'steps', 'guidance', 'loading', 'theme', 'lang', 'disabled', 'required', 'name',
  ];

  /**
   * Folder of the model, or its manifest. Elements of one `src` share one engine.
   * @attr
   * @default "model/"
   */
  get src(): string {
    return new URL(this.getAttribute('src') ?? 'model/', this.ownerDocument.baseURI).href;
  }
  set src(value: string | null | undefined) {
    this.#reflect('src', value);
  }

  /**
   * What its button does.
   * @attr
   * @default "generate"
   */
  get mode(): 'generate' | 'edit' | 'ask' {
    return this.#oneOf('mode', MODES);
  }
  set mode(value: 'generate' | 'edit' | 'ask') {
    this.#reflect('mode', value);
  }

  /**
   * What to draw, what to change, or what to ask; follows what is typed, until a form's reset.
   * @attr
   * @default ""
   */
  get prompt(): string {
    return this.getAttribute('prompt') ?? '';
  }
  set prompt(value: string | null | undefined) {
    this.#reflect('prompt', value);
  }

  /**
   * One seed gives one picture; without it each is another.
   * @attr
   * @default null
   */
  get seed(): number | null {
    return this.#number('seed');
  }
  set seed(value: number | null | undefined) {
    this.#reflect('seed', value);
  }

  /**
   * Decoding steps; without it the model's own.
   * @attr
   * @default null
   */
  get steps(): number | null {
    return this.#number('steps');
  }
  set steps(value: number | null | undefined) {
    this.#reflect('steps', value);
  }

  /**
   * How strongly the text counts; without it the model's own.
   * @attr
   * @default null
   */
  get guidance(): number | null {
    return this.#number('guidance');
  }
  set guidance(value: number | null | undefined) {
    this.#reflect('guidance', value);
  }

  /**
   * When the model is fetched: at the first use, at once (a new `src` as well), or only when load() is called or its button pressed.
   * @attr
   * @default "lazy"
   */
  get loading(): 'lazy' | 'eager' | 'manual' {
    return this.#oneOf('loading', LOADING);
  }
  set loading(value: 'lazy' | 'eager' | 'manual') {
    this.#reflect('loading', value);
  }

  /**
   * Colours; auto follows the system.
   * @attr
   * @default "auto"
   */
  get theme(): 'auto' | 'light' | 'dark' {
    return this.#oneOf('theme', THEMES);
  }
  set theme(value: 'auto' | 'light' | 'dark') {
    this.#reflect('theme', value);
  }

  /**
   * Takes no input. A disabled fieldset around it does the same.
   * @attr
   * @default false
   */
  get disabled(): boolean {
    return this.hasAttribute('disabled');
  }
  set disabled(value: boolean) {
    this.toggleAttribute('disabled', Boolean(value));
  }

  /**
   * A form around it does not go before there is a result.
   * @attr
   * @default false
   */
  get required(): boolean {
    return this.hasAttribute('required');
  }
  set required(value: boolean) {
    this.toggleAttribute('required', Boolean(value));
  }

  /**
   * Under which a form sends the result: a PNG file, or the answer.
   * @attr
   * @default ""
   */
  get name(): string {
    return this.getAttribute('name') ?? '';
  }
  set name(value: string | null | undefined) {
    this.#reflect('name', value);
  }

  #reflect(name: string, value: unknown): void {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }

  #oneOf<Word extends string>(name: string, allowed: readonly [Word, ...Word[]]): Word {
    const value = this.getAttribute(name);
    return allowed.find((word) => word === value) ?? allowed[0];
  }

  #number(name: string): number | null {
    const value = this.getAttribute(name);
    return value === null || value.trim() === '' || !Number.isFinite(Number(value)) ? null : Number(value);
  }
}

/** Takes over the properties that a page set before the element was defined. */
export function upgrade(element: HTMLElement, names: string[]): void {
  const own = element as unknown as { [name: string]: unknown };
  for (const name of names) {
    if (!Object.hasOwn(element, name)) continue;
    const value = own[name];
    delete own[name];
    own[name] = value;
  }
}
