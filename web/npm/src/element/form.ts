// The element as a field of a form: what it sends, what comes back with the page, and whether the form may go.

/** What a form sends of the element: a PNG file or an answer. */
export type Value = File | string | null;

export class Field {
  readonly internals: ElementInternals;
  #value: Value = null;

  constructor(internals: ElementInternals) {
    this.internals = internals;
  }

  get value(): Value {
    return this.#value;
  }

  /** What the form sends; what the visitor typed goes beside it, for when the browser brings the page back. */
  send(value: Value, typed: string): void {
    this.#value = value;
    this.internals.setFormValue(value, typed);
  }

  /** Whether the form may go; where not, the browser says `message` at `anchor`. */
  check(required: boolean, message: string, anchor: HTMLElement): void {
    const missing = required && this.#value === null;
    if (missing) this.internals.setValidity({ valueMissing: true }, message, anchor);
    else this.internals.setValidity({});
  }
}
