// Engines that elements share: one for each model, fetched when it is first asked for, closed when nobody uses it any more.

import { EngineError } from '../error.ts';
import type { Engine } from '../engine.ts';

/** Stands for an element among the users of an engine, which do not keep it alive. */
export type User = object;

interface Shared {
  engine: Promise<Engine>;
  users: Set<User>;
}

/** By the address of their model. */
const engines: Map<string, Shared> = new Map();

/** An element that nobody can reach any more gives up its engine, also one that never was in a page. */
const unreachable = new FinalizationRegistry<{ src: string; user: User }>(({ src, user }) => release(src, user));

/** The engine of a model, for `element` until it is released. */
export function acquire(src: string, user: User, element: object): Promise<Engine> {
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
export function release(src: string, user: User): void {
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
