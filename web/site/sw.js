// Keeps the site for visits without a network. The engine keeps the model itself; here is all else.

/** Caches of this site; others of the origin are none of its business. */
const PREFIX = `unigen-site ${self.registration.scope} `;
/** That of this build, which `cargo xtask web` names by what its files hold. */
const CACHE = `${PREFIX}%BUILD%`;

/** What stands in each page of this site. */
const MARK = '<meta name="application-name" content="UniGen"';

/** What a first visit fetches before this script is in charge; the rest comes as it is used. */
const SHELL = [
  './',
  'style.css',
  'icon.svg',
  ...Array.from({ length: 10 }, (_, i) => `gallery/${i}.png`),
  'manifest.webmanifest',
  'app/start.js',
  'app/unigen_app.js',
  'app/unigen_app_bg.wasm',
  'app/browser.js',
  'app/zoom.js',
  'unigen/element/brush.js',
  'unigen/element/words.js',
  'unigen/engine.js',
  'unigen/checks.js',
  'unigen/error.js',
  'unigen/pixels.js',
  'unigen/png.js',
  'unigen/progress.js',
  'unigen/retouch.js',
  'unigen/spawn.js',
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
  event.waitUntil(install());
});

/** All of it or nothing: an earlier build that is whole serves better than a new one with a file missing, or with a network's sign-in page in its place. */
async function install() {
  const kept = await Promise.all(
    [...shell].map(async (url) => {
      const response = await fetch(url, { cache: 'no-cache' });
      if (!(await isOurs(url, response))) throw new TypeError(`${url} answers ${response.status} ${response.headers.get('Content-Type')}`);
      return [url, response];
    }),
  );
  const cache = await caches.open(CACHE);
  await Promise.all(kept.map(([url, response]) => cache.put(url, response)));
}

self.addEventListener('activate', (event) => event.waitUntil(Promise.all([prune(), self.clients.claim()])));

/** Drops what earlier builds kept. */
async function prune() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

// The network first, so that a page and its parts are of one version; what is kept where the network is away, out of order, slow, or not ours.
self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const kept = request.method === 'GET' && url.origin === self.location.origin && !request.headers.has('range');
  if (kept && !url.pathname.includes('/model/')) event.respondWith(answer(request));
});

/** Milliseconds that the network has to begin an answer where one is kept, and those in which it is then not asked again. */
const PATIENCE = 3000;
const TROUBLE = 30_000;
let troubleUntil = 0;

async function answer(request) {
  const key = keyOf(request);
  const cache = await caches.open(CACHE).catch(() => null);
  const kept = await cache?.match(key).catch(() => undefined);
  // A page that is kept goes with parts that are kept, and none of them waits anew.
  if (kept && Date.now() < troubleUntil) return kept;
  const network = fetch(request);
  network.catch(() => {});
  if (kept) {
    const response = await Promise.race([network, wait(PATIENCE)]).catch(() => null);
    if (response && (await isOurs(key, response))) {
      keep(cache, key, response);
      return response;
    }
    troubleUntil = Date.now() + TROUBLE;
    return kept;
  }
  const response = await network;
  if (await isOurs(key, response)) keep(cache, key, response);
  return response;
}

/** Keeps an answer for later. The shell stays as it was installed, all of one build. */
function keep(cache, key, response) {
  if (!shell.has(key)) cache?.put(key, response.clone()).catch(() => {});
}

/** Whether an answer is a file of this site, not a server's trouble or a page of the network that the visitor is in. */
async function isOurs(url, response) {
  if (!response.ok || response.redirected) return false;
  const isPage = /(\/|\.html)$/.test(new URL(url).pathname);
  const html = (response.headers.get('Content-Type') ?? '').startsWith('text/html');
  if (isPage !== html) return false;
  return !isPage || (await response.clone().text()).includes(MARK);
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds, null));
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
