// Failures as an element tells them: to the visitor in words of their own, to the page in a developer's.

import { EngineError, type ErrorCode } from '../error.ts';
import { words, type Cause, type Words } from './words.ts';

/** A failure that the element itself tells of, about something that has words of its own. */
export class Failure extends EngineError {
  readonly about: Cause;

  constructor(code: ErrorCode, about: Cause, text: string, hint: string) {
    super({ code, text, hint });
    this.about = about;
  }
}

/** What an event says of an error of any kind. */
export interface Told {
  code: ErrorCode;
  text: string;
  hint: string;
  error: unknown;
}

/** The error for the page: whatever was thrown has a code and says what to do. */
export function forPage(error: unknown): Told {
  const { message = String(error), hint, code: given } = (error ?? {}) as Partial<EngineError>;
  // A browser's own exceptions have numbers for codes.
  const code = typeof given === 'string' ? given : 'crashed';
  const { failures } = words.en;
  return { code, text: message, hint: hint || failures[code as Cause] || failures.crashed, error };
}

/** The error for the visitor. */
export function forVisitor(error: unknown, { failures }: Words): string {
  if (error instanceof Failure) return failures[error.about];
  return failures[forPage(error).code as Cause] ?? failures.crashed;
}

/** Whether an error says that somebody wanted the end. */
export function isCancelled(error: unknown): boolean {
  const { name, code } = (error ?? {}) as Partial<EngineError>;
  return name === 'AbortError' || code === 'cancelled';
}

/** Errors that an element has told of. */
const told: WeakSet<object> = new WeakSet();

/** Whether an error is told of for the first time. */
export function isNews(error: unknown): boolean {
  if (!(error instanceof Object)) return true;
  const news = !told.has(error);
  told.add(error);
  return news;
}
