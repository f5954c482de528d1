// Starts the app, and keeps the page for visits without a network.

import init from './unigen_app.js';

await init({ module_or_path: new URL('./unigen_app_bg.wasm', import.meta.url) });
// Without it (private windows, pages that are not secure) the page works as well, but not offline.
navigator.serviceWorker?.register('sw.js').catch(() => {});
