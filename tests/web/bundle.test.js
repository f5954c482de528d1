// The packed package in Vite with default settings: the server for development, which bundles packages ahead, and a build.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build, createServer, preview } from 'vite';
import { browse } from './harness.js';
import { draws, project } from './package.js';

const FILES = {
  'index.html': '<!doctype html><html lang="en"><title>t</title><unigen-editor src="/model/" prompt="x"></unigen-editor><script type="module" src="/main.js"></script></html>',
  'main.js': "import 'unigen';",
};

test('Vite serves and builds a page with the element', async (t) => {
  const home = fileURLToPath(new URL('.', import.meta.url));
  const [{ root, remove }, browser] = [await project(FILES, home), await browse()];
  t.after(async () => {
    await browser.close();
    await remove();
  });
  const settings = { root, logLevel: 'warn' };
  const server = await createServer({ ...settings, server: { port: 0 } });
  await server.listen();
  // The second visit comes after Vite has bundled the package.
  for (let visit = 0; visit < 2; visit++) await draws(browser, server.resolvedUrls.local[0]);
  await server.close();

  await build(settings);
  const built = await preview({ ...settings, preview: { port: 0 } });
  await draws(browser, built.resolvedUrls.local[0]);
  await built.close();
  const assets = await readdir(join(root, 'dist/assets'));
  for (const part of [/^worker-.*\.js$/, /^unigen_web_bg-.*\.wasm$/]) assert.equal(assets.filter((name) => part.test(name)).length, 1, String(part));
});
