// Keeps the site for visits without a network. The engine keeps the weights of the model itself; here is all else.

const CACHE = 'unigen-site';

/** What a first visit fetches before this script is in charge; the rest comes as it is used. */
const SHELL = [
  './',
  'style.css',
  'icon.svg',
  'empty.svg',
  'manifest.webmanifest',
  'app/start.js',
  'app/unigen_app.js',
  'app/unigen_app_bg.wasm',
  'app/browser.js',
  'unigen/engine.js',
  'unigen/png.js',
  'unigen/worker.js',
  'unigen/adapter.js',
  'unigen/host.js',
  'unigen/loader.js',
  'unigen/store.js',
  'unigen/unigen_web.js',
  'unigen/unigen_web_bg.wasm',
  'model/manifest.json',
];

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(
    caches.open(CACHE).then((cache) => Promise.all(SHELL.map((path) => cache.add(path).catch((error) => console.warn(path, error))))),
  );
});

self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

// The network first, so that a page and its parts are of one version; the cache where there is no network.
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const kept = request.method === 'GET' && url.origin === self.location.origin && !request.headers.has('range');
  if (kept && !isWeights(url)) event.respondWith(answer(request));
});

/** Shards of weights, of which the engine takes care. */
function isWeights({ pathname }) {
  return pathname.includes('/model/') && !pathname.endsWith('.json');
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) cache.put(request, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: request.mode === 'navigate' });
    if (kept) return kept;
    throw error;
  }
}
