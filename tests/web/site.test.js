// The built site: the service worker knows all that a first visit to the app needs, and keeps it by the build. The npm package beside it.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { brotliCompressSync, constants } from 'node:zlib';
import { browse, serve, site } from './harness.js';

/** A script of the site and all that it imports from its beginning. */
async function imported(path, seen = new Set()) {
  if (seen.has(path)) return [...seen];
  seen.add(path);
  const source = await readFile(join(site, path), 'utf8');
  for (const [, from] of source.matchAll(/^(?:import|export)[^;]*? from '(\.[^']+)'/gm)) await imported(join(path, '..', from), seen);
  return [...seen];
}

const bare = '<!doctype html><html lang="en"><title>t</title></html>';

/** A page of the site, on which nothing happens by itself, with further `pages`. */
async function open(t, pages) {
  const [server, browser] = [await serve(pages), await browse()];
  t.after(async () => {
    await browser.close();
    server.close();
  });
  pages['/bare.html'] = bare;
  return [await browser.page(`${server.url}/bare.html`), server];
}

test('the shell that is kept for visits without a network is the code of the app and the engine', async () => {
  const source = await readFile(join(site, 'sw.js'), 'utf8');
  const shell = [...source.match(/const SHELL = \[([^\]]*)\]/)[1].matchAll(/'([^']+)'/g)].map((match) => match[1]);
  const code = [];
  for (const folder of ['app', 'unigen']) {
    for (const name of await readdir(join(site, folder))) if (/\.(js|wasm)$/.test(name)) code.push(`${folder}/${name}`);
  }
  // The element is for other pages, but for what the app shares with it.
  const shared = ['unigen/element/brush.js', 'unigen/element/words.js'];
  const wanted = [...code.filter((path) => !path.startsWith('unigen/element')), ...shared];
  assert.deepEqual(shell.filter((path) => /\.(js|wasm)$/.test(path)).sort(), wanted.sort());
});

test('a new build takes the place of the one that is kept, whole', async (t) => {
  const source = await readFile(join(site, 'sw.js'), 'utf8');
  const [, build] = source.match(/CACHE = `\$\{PREFIX\}([0-9a-f]{16})`/);
  const pages = {};
  const [page, server] = await open(t, pages);
  const { url } = server;
  await page.evaluate(async () => {
    // Of another site of the origin.
    await caches.open('unigen-site https://example.org/ 1');
    await navigator.serviceWorker.register('sw.js');
    await navigator.serviceWorker.ready;
  });
  const kept = async () => (await page.evaluate(() => caches.keys())).filter((name) => !name.includes('example.org'));
  assert.deepEqual(await kept(), [`unigen-site ${url}/ ${build}`]);

  // Before the new script is there, its other files do not mix with those that are kept.
  pages['/style.css'] = 'body { color: teal }';
  await page.reload();
  const style = () => page.evaluate(async () => (await caches.match('style.css')).text());
  await page.evaluate(async () => (await fetch('style.css')).text());
  assert.doesNotMatch(await style(), /teal/);
  pages['/sw.js'] = source.replace(build, 'newer');
  await page.evaluate(async () => (await navigator.serviceWorker.ready).update());
  const newest = [`unigen-site ${url}/ newer`];
  while (String(await kept()) !== String(newest)) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.match(await style(), /teal/);
  assert.equal((await page.evaluate(() => caches.keys())).length, 2);

  // Without a network a page comes whatever its query says, another file only as it was asked for.
  server.close();
  const ask = (path) => page.evaluate((path) => fetch(path).then(({ ok }) => ok, () => false), path);
  assert.deepEqual([await ask('icon.svg'), await ask('icon.svg?other')], [true, false]);
  await page.goto(`${url}/index.html?from=a-link#x`);
  assert.match(await page.title(), /UniGen/);
});

test('with a file of the shell missing nothing is installed', async (t) => {
  const pages = {
    '/icon.svg': {
      get body() {
        throw new Error('missing');
      },
    },
  };
  const [page] = await open(t, pages);
  const state = await page.evaluate(async () => {
    const { installing } = await navigator.serviceWorker.register('sw.js');
    await new Promise((resolve) => (installing.onstatechange = resolve));
    return installing.state;
  });
  assert.equal(state, 'redundant');
});

test('the code stays small: 4 MB to draw, 20 kB for the element alone', async () => {
  // Less effort than a site takes, so that the test is short; a site's files are smaller.
  const params = { [constants.BROTLI_PARAM_QUALITY]: 6 };
  const size = async (paths) => {
    const sizes = paths.map(async (path) => brotliCompressSync(await readFile(join(site, path)), { params }).length);
    return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
  };
  const all = (await readdir(site, { recursive: true })).filter((path) => /\.(js|wasm|css|html)$/.test(path));
  const element = await imported('unigen/element.js');
  assert.ok(element.length > 5, String(element));
  const [whole, alone] = [await size(all), await size(element)];
  console.log(`all code ${whole} bytes, the element alone ${alone}`);
  assert.ok(whole < 4e6 && whole > 1e6, `${whole}`);
  assert.ok(alone < 20e3, `${alone}`);
});

test('the package holds what it exports, and the licence', async () => {
  const folder = join(site, '../npm');
  const { exports } = JSON.parse(await readFile(join(folder, 'package.json')));
  const paths = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? entry : Object.values(entry)));
  for (const path of [...paths, 'README.md', 'dist/unigen_web_bg.wasm']) assert.ok((await readFile(join(folder, path))).length > 0, path);
  const root = new URL('../../LICENSE', import.meta.url);
  assert.equal(await readFile(join(folder, 'LICENSE'), 'utf8'), await readFile(root, 'utf8'));
});

test('worker, wasm and engine are named in words that bundlers follow', async () => {
  const source = (name) => readFile(join(site, 'unigen', name), 'utf8');
  assert.match(await source('spawn.js'), /new Worker\(new URL\('\.\/worker\.js', import\.meta\.url\), \{ type: 'module'/);
  assert.match(await source('worker.js'), /new URL\('\.\/unigen_web_bg\.wasm', import\.meta\.url\)/);
  assert.match(await source('element/engines.js'), /import\('\.\.\/engine\.js'\)/);
});
