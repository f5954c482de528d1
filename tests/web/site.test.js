// The built site: the service worker knows all that a first visit to the app needs.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { site } from './harness.js';

test('the shell that is kept for visits without a network is the code of the app and the engine', async () => {
  const source = await readFile(join(site, 'sw.js'), 'utf8');
  const shell = [...source.match(/const SHELL = \[([^\]]*)\]/)[1].matchAll(/'([^']+)'/g)].map((match) => match[1]);
  const code = [];
  for (const folder of ['app', 'unigen']) {
    for (const name of await readdir(join(site, folder))) if (/\.(js|wasm)$/.test(name)) code.push(`${folder}/${name}`);
  }
  // The element is for other pages.
  const wanted = code.filter((path) => !path.startsWith('unigen/element'));
  assert.deepEqual(shell.filter((path) => /\.(js|wasm)$/.test(path)).sort(), wanted.sort());
});
