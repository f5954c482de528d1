// The engine's worker: the wasm, and what it asks of JavaScript.

import type { Failure } from './error.ts';
import { Host } from './host.ts';
import init, { Worker } from './unigen_web.js';

// A failed promise of the engine is a crash; thrown out of a task it reaches the page's `onerror`.
self.addEventListener('unhandledrejection', ({ reason }) => {
  setTimeout(() => {
    throw reason;
  });
});

// Messages that come while the wasm is fetched wait for it.
const early: unknown[] = [];
self.onmessage = ({ data }) => early.push(data);

start().catch((error) => self.postMessage({ id: 0, event: { type: 'error', ...told(error) } }));

// No await at the top: bundlers that make scripts of workers know none.
async function start(): Promise<void> {
  await init({ module_or_path: new URL('./unigen_web_bg.wasm', import.meta.url) });
  const worker = new Worker(new Host((message) => self.postMessage(message)));
  self.onmessage = ({ data }) => worker.receive(data);
  for (const message of early) worker.receive(message);
}

/** Why the wasm does not run: it cannot be had, or the page does not let it compile. */
function told(error: Error): Failure {
  const text = `The engine's WebAssembly cannot be started: ${error.message}`;
  if (error instanceof WebAssembly.CompileError || error.name === 'EvalError') {
    const hint = "Allow 'wasm-unsafe-eval' in script-src of the Content-Security-Policy of page and worker, and serve unigen_web_bg.wasm as it was built.";
    return { code: 'unsupported', text, hint };
  }
  return { code: 'network', text, hint: 'Check that unigen_web_bg.wasm is served beside worker.js, and the connection.' };
}
