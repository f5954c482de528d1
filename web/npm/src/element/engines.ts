// Engines that elements share: one for each model, fetched when it is first asked for, closed when nobody uses it any more.

import type { Engine } from '../engine.ts';
import { EngineError } from '../error.ts';
import type { Model, Progress } from '../types.d.ts';

/** Stands for an element among the users of an engine, which do not keep it alive. */
type User = object;

interface Shared {
  engine: Promise<Engine>;
  users: Set<User>;
}

/** By the address of their model. */
const engines: Map<string, Shared> = new Map();

/** An element that nobody can reach any more gives up its engine, also one that never was in a page. */
const unreachable = new FinalizationRegistry<{ src: string; user: User }>(({ src, user }) => release(src, user));

/** The engine of a model, for `element` until it is released. */
function acquire(src: string, user: User, element: object): Promise<Engine> {
  let shared = engines.get(src);
  if (!shared) {
    const engine = start(src);
    const made = { engine, users: new Set<User>() };
    engines.set(src, made);
    engine.catch(() => engines.get(src) === made && engines.delete(src));
    shared = made;
  }
  if (!shared.users.has(user)) unreachable.register(element, { src, user }, user);
  shared.users.add(user);
  return shared.engine;
}

/** Gives up the engine of a model; the last user closes it. */
function release(src: string, user: User): void {
  unreachable.unregister(user);
  const shared = engines.get(src);
  shared?.users.delete(user);
  if (!shared || shared.users.size > 0) return;
  engines.delete(src);
  shared.engine.then((engine) => engine.close(), () => {});
}

async function start(src: string): Promise<Engine> {
  let Class: typeof Engine;
  try {
    ({ Engine: Class } = await import('../engine.ts'));
  } catch (error) {
    const text = `The engine's code cannot be fetched: ${(error as Error).message}`;
    throw new EngineError({ code: 'network', text, hint: 'Check the connection, and that engine.js is served beside element.js; then reload the page.' });
  }
  return Class.create({ model: src });
}

/** What an element hears of its engine, whoever asked for it. */
export interface Hearing {
  progress(detail: Progress): void;
  ready(engine: Engine, model: Model): void;
  lost(detail: { reason: string; recovering: boolean }): void;
}

/** An element's place at an engine. */
export class Seat {
  #element: object;
  #hearing: Hearing;
  #user: User = {};
  #src: string | null = null;
  #engine: Engine | null = null;
  #listeners = new AbortController();

  constructor(element: object, hearing: Hearing) {
    this.#element = element;
    this.#hearing = hearing;
  }

  /** Whether an engine has been asked for. */
  get isTaken(): boolean {
    return this.#src !== null;
  }

  /** The engine that is there. */
  get engine(): Engine | null {
    return this.#engine;
  }

  /** The engine of a model, fetched where it is not there; that of another must have been left. */
  async take(src: string): Promise<Engine> {
    this.#src = src;
    const engine = await acquire(src, this.#user, this.#element);
    if (this.#engine !== engine && this.#src === src) {
      this.#engine = engine;
      this.#listeners = new AbortController();
      follow(engine, new WeakRef(this.#hearing), this.#listeners.signal);
    }
    return engine;
  }

  isAt(src: string): boolean {
    return this.#src === src;
  }

  leave(): void {
    if (this.#src !== null) release(this.#src, this.#user);
    this.#listeners.abort();
    this.#src = null;
    this.#engine = null;
  }
}

/** Lets an element hear of the engine, which does not keep it alive. */
function follow(engine: Engine, hearing: WeakRef<Hearing>, signal: AbortSignal): void {
  engine.addEventListener('progress', ({ detail }) => hearing.deref()?.progress(detail), { signal });
  engine.addEventListener('ready', ({ detail }) => hearing.deref()?.ready(engine, detail), { signal });
  engine.addEventListener('devicelost', ({ detail }) => hearing.deref()?.lost(detail), { signal });
}
