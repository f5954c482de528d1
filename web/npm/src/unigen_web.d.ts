// The engine's wasm as wasm-bindgen wraps it: web/src/worker.rs.

import type { Host } from './host.ts';

/** Compiles the wasm. */
export default function init(options: { module_or_path: URL | Response | WebAssembly.Module }): Promise<unknown>;

export class Worker {
  constructor(host: Host);
  /** Takes a message of the page. */
  receive(message: unknown): void;
}
