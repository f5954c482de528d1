// One seed, one picture: natively on the processor and on wgpu, in Chromium on the processor and on WebGPU. `cargo xtask test web`
// draws the native ones with the site's model: UNIGEN_NATIVE/cpu-1.png, cpu-2.png, ..

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { browse, open, serve } from './engine_site.js';

const PROMPTS = JSON.parse(await readFile(new URL('prompts.json', import.meta.url)));
const SEEDS = 4;

/** The pixels of every prompt with every seed, as `work` in a page of `browser` gives them in base64. */
async function drawn(browser, url, work, argument) {
  const page = await open(browser, url);
  const pictures = await page.evaluate(work, argument);
  await page.context().close();
  return pictures.map((picture) => Buffer.from(picture, 'base64'));
}

/** In the page: what an engine draws. */
async function draw([backend, prompts, count]) {
  const engine = await Engine.create({ backend });
  const pictures = [];
  for (const prompt of prompts) {
    const { images } = await engine.generate({ prompt, seed: 0, count });
    pictures.push(...images.map(({ image }) => btoa(String.fromCharCode(...image.data))));
  }
  if ((await engine.capabilities()).backend !== backend) throw new Error(`not on ${backend}`);
  return pictures;
}

/** In the page: the pixels of PNG files. */
async function decode(files) {
  const pixels = async (file) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${file}`)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    return btoa(String.fromCharCode(...context.getImageData(0, 0, bitmap.width, bitmap.height).data));
  };
  return Promise.all(files.map(pixels));
}

// Another code would change a pixel by far more than rounding does.
const same = (a, b) => a.length === b.length && a.every((value, i) => Math.abs(value - b[i]) <= 1);

test('a prompt and a seed give one picture on every backend', async (t) => {
  const server = await serve();
  const [plain, gpu] = [await browse(), await browse({ webgpu: true })];
  const all = PROMPTS.length * SEEDS;
  const native = async (device) => {
    const numbers = Array.from({ length: all }, (_, i) => i + 1);
    const files = numbers.map((i) => readFile(`${process.env.UNIGEN_NATIVE}/${device}-${i}.png`, 'base64'));
    return drawn(plain, server.url, decode, await Promise.all(files));
  };
  try {
    const backends = {
      'native cpu': await native('cpu'),
      'native wgpu': await native('wgpu'),
      'Chromium cpu': await drawn(plain, server.url, draw, ['cpu', PROMPTS, SEEDS]),
      'Chromium WebGPU': await drawn(gpu, server.url, draw, ['webgpu', PROMPTS, SEEDS]),
    };
    const names = Object.keys(backends);
    // Different seeds and prompts give different pictures, so that equality says something.
    const first = backends[names[0]];
    assert.ok(first.slice(1).filter((picture) => !same(picture, first[0])).length > 0.9 * (all - 1));
    for (const [i, a] of names.entries()) {
      for (const b of names.slice(i + 1)) {
        const equal = backends[a].filter((picture, at) => same(picture, backends[b][at])).length;
        t.diagnostic(`${a} and ${b}: ${equal} of ${all} pictures are the same`);
        // A miss needs two draws within rounding of each other: rare, not impossible.
        assert.ok(equal >= 0.97 * all, `${a} and ${b}: ${equal} of ${all}`);
      }
    }
  } finally {
    await Promise.all([plain.close(), gpu.close()]);
    server.close();
  }
});
