// The real engine on WebGPU (SwiftShader), with the small model that `cargo xtask test web` exports into the site: UNIGEN_SITE.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { browse, open, serve } from './engine_site.js';

let [server, browser, page] = [];
before(async () => {
  server = await serve();
  browser = await browse({ webgpu: true });
});
beforeEach(async () => {
  await page?.context().close();
  page = await open(browser, server.url);
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('the adapter is shown, and whether it is used is measured and said', async () => {
  const { backend, reason, adapter } = await page.evaluate(async () => (await Engine.create()).capabilities());
  assert.equal(adapter.software, true);
  assert.ok(adapter.gpuMs > 0 && adapter.cpuMs > 0, JSON.stringify(adapter));
  assert.equal(backend, adapter.gpuMs < adapter.cpuMs ? 'webgpu' : 'cpu');
  assert.match(reason, /software/);
});

test('the adapter is timed once, and a question meanwhile does not change the device', async () => {
  const { times, backend } = await page.evaluate(async () => {
    const engine = await Engine.create({ backend: 'webgpu' });
    const ask = () => engine.capabilities();
    const [before, , during] = await Promise.all([ask(), engine.load(), ask()]);
    const after = await ask();
    return { times: [before, during, after].map(({ adapter }) => adapter.gpuMs), backend: after.backend };
  });
  assert.deepEqual(times, [times[0], times[0], times[0]]);
  assert.equal(backend, 'webgpu');
});

test('a GPU draws, edits, answers, and stops within a step', async () => {
  const seen = await page.evaluate(async () => {
    const engine = await Engine.create({ backend: 'webgpu' });
    const phases = new Set();
    await engine.load(undefined, { onprogress: ({ phase }) => phases.add(phase) });
    const left = [];
    const onstep = ({ masked: [masked] }) => left.push(masked?.filter(Boolean).length);
    const [{ image }] = (await engine.generate({ prompt: 'a red apple', seed: 1, steps: 4 }, { onstep })).images;
    const edited = (await engine.edit({ image, instruction: 'make it blue', seed: 1, steps: 4 })).images[0].image;
    const answer = await engine.describe({ image, question: 'what is it?', maxTokens: 4 });
    const abort = new AbortController();
    let last = 0;
    const stop = ({ step }) => {
      last = step;
      if (step === 2) abort.abort();
    };
    const cancelled = await engine.generate({ prompt: 'a dog', steps: 12 }, { signal: abort.signal, onstep: stop }).catch((error) => error.name);
    const again = (await engine.generate({ prompt: 'a red apple', seed: 1, steps: 4 })).images[0].image;
    const equal = again.data.every((value, i) => value === image.data[i]);
    const { backend } = await engine.capabilities();
    return { phases: [...phases], left, sides: [image.width, edited.width], answer, cancelled, last, equal, backend };
  });
  assert.deepEqual([seen.backend, seen.cancelled, seen.equal, typeof seen.answer], ['webgpu', 'AbortError', true, 'string']);
  assert.deepEqual(seen.phases, ['download', 'warmup', 'weights']);
  assert.ok(seen.last <= 3, `step ${seen.last} was still drawn`);
  assert.equal(seen.sides[0], seen.sides[1]);
  // Of four steps the second shows what there is so far.
  assert.deepEqual(seen.left.map(Boolean), [false, true, false, false]);
});

test('a lost device comes back once, and the call under way is done again', async () => {
  await page.evaluate(async () => {
    globalThis.engine = await Engine.create({ backend: 'webgpu' });
    globalThis.told = [];
    for (const type of ['devicelost', 'ready']) engine.addEventListener(type, ({ detail }) => told.push([type, detail.recovering ?? null]));
    await engine.load();
    globalThis.wanted = (await engine.generate({ prompt: 'a red apple', seed: 1 })).images[0].codes;
    let step;
    globalThis.begun = new Promise((resolve) => (step = resolve));
    globalThis.drawn = engine.generate({ prompt: 'a red apple', seed: 1, steps: 12 }, { onstep: step });
    drawn.catch(() => {});
    await begun;
  });
  const cdp = await browser.newBrowserCDPSession();
  await cdp.send('Browser.crashGpuProcess');
  const seen = await page.evaluate(async () => {
    const steps = await drawn.then(({ images }) => images.length, ({ code, message }) => `${code}: ${message}`);
    const codes = (await engine.generate({ prompt: 'a red apple', seed: 1 })).images[0].codes;
    return { steps, told, equal: codes.every((code, i) => code === wanted[i]), backend: (await engine.capabilities()).backend };
  });
  assert.deepEqual(seen, { steps: 1, told: [['ready', null], ['devicelost', true], ['ready', null]], equal: true, backend: 'webgpu' });
});
