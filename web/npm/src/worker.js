// The engine's worker: the wasm, and what it asks of JavaScript.

import { Host } from './host.js';
import init, { Worker } from './unigen_web.js';

// A failed promise of the engine is a crash; thrown out of a task it reaches the page's `onerror`.
self.addEventListener('unhandledrejection', ({ reason }) => {
  setTimeout(() => {
    throw reason;
  });
});

// Messages that come while the wasm is fetched wait for it.
const early = [];
self.onmessage = ({ data }) => early.push(data);

await init({ module_or_path: new URL('./unigen_web_bg.wasm', import.meta.url) });
const worker = new Worker(new Host((message) => self.postMessage(message)));
self.onmessage = ({ data }) => worker.receive(data);
for (const message of early) worker.receive(message);
