// Every kernel against its portable twin on WebGPU (SwiftShader): the cases of tests/kernels, which `cargo xtask test web` builds beside
// the site.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { browse } from './engine_site.js';
import { serve, site } from './harness.js';

const SHADERS = new URL('../../shaders/', import.meta.url);

/** Whether one of the compiled `sources` is that of a shader's `text`: up to its first unrolled loop they are the same. */
const compiled = (sources, text) => sources.some((source) => source.includes(text.split('// repeat')[0].trimEnd()));

test('every kernel is its portable twin', async (t) => {
  const pages = { '/index.html': '<!doctype html><title>t</title><link rel="icon" href="data:,">' };
  for (const file of ['unigen_kernel_tests.js', 'unigen_kernel_tests_bg.wasm']) {
    pages[`/${file}`] = { body: await readFile(join(site, '../kernels', file)) };
  }
  const server = await serve(pages);
  const browser = await browse({ webgpu: true });
  try {
    const page = await browser.newPage();
    page.on('console', (message) => t.diagnostic(message.text()));
    // A panic ends the module, and what it promised never comes.
    const panic = new Promise((_, reject) => page.on('pageerror', reject));
    await page.goto(server.url);
    const work = page.evaluate(async () => {
      const sources = [];
      const create = GPUDevice.prototype.createShaderModule;
      GPUDevice.prototype.createShaderModule = function (descriptor) {
        sources.push(descriptor.code);
        return create.call(this, descriptor);
      };
      const { default: init, compare } = await import('/unigen_kernel_tests.js');
      await init({ module_or_path: '/unigen_kernel_tests_bg.wasm' });
      return { comparisons: await compare(), sources };
    });
    const { comparisons, sources } = await Promise.race([work, panic]);

    const worst = {};
    for (const { kernels, difference } of comparisons) {
      for (const kernel of kernels) worst[kernel] = Math.max(worst[kernel] ?? 0, difference);
    }
    for (const [kernel, difference] of Object.entries(worst)) t.diagnostic(`${kernel}: ${difference.toExponential(1)}`);
    // So that a difference that is no number counts as well.
    assert.deepEqual(comparisons.filter(({ difference, bound }) => !(difference <= bound)), []);
    for (const file of (await readdir(SHADERS)).filter((name) => name.endsWith('.wgsl'))) {
      assert.ok(basename(file, '.wgsl') in worst, `${file} is compared with nothing`);
      assert.ok(compiled(sources, await readFile(new URL(file, SHADERS), 'utf8')), `${file} did not run`);
    }
  } finally {
    await browser.close();
    server.close();
  }
});
