// Failures as the engine tells them.

/** What kind of failure it is; stays the same from version to version. */
export type ErrorCode =
  | 'config'
  | 'weights'
  | 'text'
  | 'image'
  | 'device'
  | 'io'
  | 'cancelled'
  | 'network'
  | 'integrity'
  | 'manifest'
  | 'memory'
  | 'unsupported'
  | 'notloaded'
  | 'busy'
  | 'protocol'
  | 'crashed'
  | 'devicelost'
  | 'closed';

/** A failure as it travels between page and worker. */
export interface Failure {
  code: ErrorCode;
  text: string;
  hint?: string;
}

export class EngineError extends Error {
  readonly code: ErrorCode;
  /** What to do; may be empty. */
  readonly hint: string;
  /** The option at fault, where it is one: `steps`, `seed`, `backend` and so on. */
  readonly option?: string;

  constructor({ code, text, hint = '', option }: Failure & { option?: string }) {
    super(text);
    this.name = 'EngineError';
    this.code = code;
    this.hint = hint;
    this.option = option;
  }
}
