// Keeps the site for visits without a network. The engine keeps the model itself; here is all else.

/** Caches of this site; others of the origin are none of its business. */
const PREFIX = `unigen-site ${self.registration.scope} `;
/** That of this build, which `cargo xtask web` names by what its files hold. */
const CACHE = `${PREFIX}%BUILD%`;

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
];
const shell = new Set(SHELL.map((path) => new URL(path, self.location).href));

self.addEventListener('install', (event) => {
  self.skipWaiting();
  // All of it or nothing: an earlier build that is whole serves better than a new one with a file missing.
  const requests = SHELL.map((path) => new Request(path, { cache: 'no-cache' }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

self.addEventListener('activate', (event) => event.waitUntil(Promise.all([prune(), self.clients.claim()])));

/** Drops what earlier builds kept. */
async function prune() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

// The network first, so that a page and its parts are of one version; the cache where there is no network.
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const kept = request.method === 'GET' && url.origin === self.location.origin && !request.headers.has('range');
  if (kept && !url.pathname.includes('/model/')) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const key = keyOf(request);
  try {
    const response = await fetch(request);
    // The shell stays as it was installed, all of one build.
    if (response.ok && !shell.has(key)) cache.put(key, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const kept = await cache.match(key);
    if (kept) return kept;
    throw error;
  }
}

/** The address under which an answer is kept: pages are the same whatever their query says, other files may differ by it. */
function keyOf({ mode, url }) {
  const key = new URL(url);
  key.hash = '';
  if (mode === 'navigate') {
    key.search = '';
    key.pathname = key.pathname.replace(/\/index\.html$/, '/');
  }
  return key.href;
}
