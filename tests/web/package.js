// The npm package as someone else's project gets it: packed, unpacked, and built by that project's own tools.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { WASM } from './fake_wasm.js';
import { site } from './harness.js';

export const run = promisify(execFile);
/** A model without weights, of which the hollow wasm needs none. */
export const MANIFEST = JSON.stringify({ format: 'unigen-web', version: 1, name: 'm', files: [] });

/** The packed package, over the wasm that computes nothing. */
async function pack(folder) {
  const copy = join(folder, 'packed');
  await cp(join(site, '../npm'), copy, { recursive: true });
  await cp(fileURLToPath(new URL('fake_wasm.js', import.meta.url)), join(copy, 'dist/unigen_web.js'));
  await writeFile(join(copy, 'dist/unigen_web_bg.wasm'), Buffer.from(WASM));
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: copy });
  return join(folder, JSON.parse(stdout)[0].filename);
}

/** A project in a folder of its own below `home`, whose `node_modules` it sees: `files` by path, the package from its tarball, a model in `public/model`. */
export async function project(files, home) {
  const root = await mkdtemp(join(home, '.project-'));
  const tarball = await pack(root);
  await mkdir(join(root, 'node_modules/unigen'), { recursive: true });
  await run('tar', ['xzf', tarball, '-C', join(root, 'node_modules/unigen'), '--strip-components=1']);
  for (const [path, text] of Object.entries({ 'package.json': '{ "private": true, "type": "module" }', 'public/model/manifest.json': MANIFEST, ...files })) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return { root, tarball, remove: () => rm(root, { recursive: true, force: true }) };
}

/** Opens a page and lets its element draw; nothing may go wrong on the way. */
export async function draws(browser, url) {
  const page = await browser.page(url);
  const width = await page.evaluate(async () => {
    await customElements.whenDefined('unigen-editor');
    return document.querySelector('unigen-editor').generate().then(({ image }) => image.width, ({ code, message }) => `${code}: ${message}`);
  });
  assert.equal(width, 8);
  assert.deepEqual(page.problems.filter((problem) => !/favicon|404/.test(problem)), []);
  return page;
}

