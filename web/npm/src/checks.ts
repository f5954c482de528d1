// What a caller may ask for: every wrong option is named, with what it may be, before anything is sent to the worker.

import { EngineError } from './error.ts';

function wrong(option: string, value: unknown, hint: string): EngineError {
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return new EngineError({ code: 'config', option, text: `The option \`${option}\` is ${shown}.`, hint });
}

const whole = (low: number, high: number) => ({
  fits: (value: number) => Number.isSafeInteger(value) && value >= low && value <= high,
  hint: `Choose a whole number from ${low} to ${high}.`,
});
const between = (low: number, high: number) => ({
  fits: (value: number) => value >= low && value <= high,
  hint: `Choose a number from ${low} to ${high}.`,
});

/** The largest whole number that travels to the worker as one of 32 bits. */
const MAX_COUNT = 2 ** 32 - 1;
const NUMBERS = {
  steps: whole(1, MAX_COUNT),
  guidance: between(-1000, 1000),
  imageGuidance: between(-1000, 1000),
  temperature: between(0, 1000),
  count: whole(1, MAX_COUNT),
  maxTokens: whole(1, MAX_COUNT),
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};

/** The options that are given, all of them numbers in their range. */
export function numbers<Name extends keyof typeof NUMBERS>(options: { [name in Name]?: number | null }): { [name in Name]?: number } {
  const given: { [name in Name]?: number } = {};
  for (const name of Object.keys(options) as Name[]) {
    const value = options[name];
    if (value === undefined || value === null) continue;
    const { fits, hint } = NUMBERS[name];
    if (typeof value !== 'number' || !fits(value)) throw wrong(name, value, hint);
    given[name] = value;
  }
  return given;
}

/** A text. */
export function text(option: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw wrong(option, value, 'Give a text.');
}

/** One of a few words. */
export function oneOf<Word extends string>(option: string, value: unknown, words: readonly Word[]): Word {
  const found = words.find((word) => word === value);
  if (found === undefined) throw wrong(option, value, `Choose one of ${words.join(', ')}.`);
  return found;
}
