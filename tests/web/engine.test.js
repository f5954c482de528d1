// The real engine in Chromium, on the processor, with a small model of random weights. `cargo xtask test web` builds the site
// and exports the model into it: UNIGEN_SITE.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { browse, open, serve } from './engine_site.js';
import { phasesOf } from './harness.js';

const PROMPT = 'a photo of a red apple';
const SHARDS = /^\/model\/[0-9a-f]{64}\.bin$/;

let [server, browser, page] = [];
before(async () => {
  server = await serve();
  browser = await browse();
});
beforeEach(async () => {
  Object.assign(server, { fault: null, requests: [] });
  await page?.context().close();
  page = await open(browser, server.url);
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** Runs `work(prompt)` in the page; a failed engine call gives `{ code, text, hint }`. */
const run = (work) =>
  page.evaluate(
    ([source, prompt]) =>
      // oxlint-disable-next-line no-eval
      (0, eval)(source)(prompt).catch(({ code, message, hint, name }) => ({ code: code ?? name, text: message, hint })),
    [String(work), PROMPT],
  );
const load = () =>
  run(async () => {
    const engine = await Engine.create();
    return engine.load();
  });
/** A promise and what resolves it. */
const gate = () => {
  let open;
  return { passed: new Promise((resolve) => (open = resolve)), open };
};
/** Waits for something in this process. */
const until = async (done) => {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 1000, String(done));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
/** In the page: an engine whose events are told, with a load that has got somewhere. */
const begin = () =>
  run(async () => {
    globalThis.engine = await Engine.create();
    globalThis.told = [];
    for (const type of ['devicelost', 'ready']) engine.addEventListener(type, ({ detail }) => told.push([type, detail.recovering ?? null]));
    const some = new Promise((resolve) => engine.addEventListener('progress', ({ detail }) => detail.bytes > 0 && resolve()));
    globalThis.loading = engine.load();
    loading.catch(() => {});
    await some;
  });
/** Lets the page's worker fail. */
const fail = () => page.workers().at(-1).evaluate(() => void setTimeout(() => { throw new Error('gone'); }));
const shards = () => server.requests.filter(({ path }) => SHARDS.test(path));
/** The largest shard, in whose middle a fault is worth the most. */
const largest = async () => {
  const { files } = await (await fetch(`${server.url}model/manifest.json`)).json();
  server.requests.length = 0;
  const all = files.flatMap((file) => file.shards).sort((a, b) => b.bytes - a.bytes);
  return { path: `/model/${all[0].sha256}.bin`, bytes: all[0].bytes };
};

test('the progress of each call: its phases, over the whole of it', async () => {
  const told = await run(async (prompt) => {
    const engine = await Engine.create();
    const told = {};
    const follow = (name) => ({ onprogress: (progress) => (told[name] ??= []).push(progress) });
    const { images: [{ image }] } = await engine.generate({ prompt, seed: 1, steps: 2 }, follow('first'));
    await engine.unload();
    await engine.load(undefined, follow('load'));
    const mask = new ImageData(image.width, image.height);
    mask.data.fill(255);
    await engine.generate({ prompt, seed: 1, steps: 4 }, follow('generate'));
    await engine.edit({ image, instruction: 'make it blue', steps: 3 }, follow('edit'));
    await engine.inpaint({ image, mask, prompt, steps: 3 }, follow('inpaint'));
    await engine.describe({ image, question: 'what is it?', maxTokens: 4 }, follow('describe'));
    return told;
  });
  const [loading, drawing] = [['download', 'warmup', 'weights'], ['encode', 'decode', 'paint']];
  assert.deepEqual(phasesOf(told.load), loading);
  // A load that the call waits for is a part of it.
  assert.deepEqual(phasesOf(told.first), [...loading, ...drawing]);
  for (const call of ['generate', 'edit', 'inpaint']) {
    assert.deepEqual(phasesOf(told[call]), drawing, call);
    assert.equal(told[call][0].fraction, 0);
  }
  assert.deepEqual(phasesOf(told.describe), ['encode', 'answer']);
  const { bytes, total } = told.load.at(-1);
  assert.ok(bytes > 0 && bytes === total);
  const steps = told.generate.filter(({ phase }) => phase === 'decode').map(({ step, steps }) => [step, steps]);
  assert.deepEqual(steps, [[0, 4], [1, 4], [2, 4], [3, 4], [4, 4]]);
  assert.ok(told.edit.filter(({ phase }) => phase === 'encode').length > 1, 'it moves while the picture is encoded');
  assert.ok(told.describe.every(({ step = 0 }) => step <= 4));
});

test('some steps show what is still masked, and a batch has the seeds that follow', async () => {
  const { steps, images, alone, unseen } = await run(async (prompt) => {
    const engine = await Engine.create();
    const steps = [];
    const onstep = ({ step, steps: all, previews, masked, grid }) => {
      if (previews.length === 0) return steps.push({ step, all, shows: masked.length });
      const { data, width } = previews[1];
      const cell = width / grid;
      const faint = [...masked[1]].map((_, i) => data[4 * (Math.floor(i / grid) * cell * width + (i % grid) * cell) + 3] === 72);
      return steps.push({ step, all, shows: previews.length, masked: [...masked[1]], faint: faint.map(Number) });
    };
    const { images } = await engine.generate({ prompt, seed: 3, steps: 4, count: 2 }, { onstep });
    const alone = await engine.generate({ prompt, seed: 4, steps: 4 });
    let unseen = 0;
    await engine.generate({ prompt, seed: 3, steps: 4 }, { onstep: ({ previews }) => (unseen += previews.length), previews: false });
    return { steps, images, alone: alone.images[0].codes, unseen };
  });
  // A first drawing shows its pictures once, in its middle: that is at most a tenth of its time with any model of ten steps.
  assert.deepEqual(steps.map(({ step, all, shows }) => [step, all, shows]), [[1, 4, 0], [2, 4, 2], [3, 4, 0], [4, 4, 0]]);
  const [, { masked, faint }] = steps;
  assert.deepEqual(faint, masked);
  assert.ok(masked.some(Boolean) && !masked.every(Boolean), String(masked));
  assert.equal(unseen, 0);
  assert.deepEqual(images.map(({ seed }) => seed), [3, 4]);
  assert.deepEqual(images[1].codes, alone);
});

test('words that a model has not learned are named, before and after drawing', async () => {
  const { before, named, drawn, words } = await run(async () => {
    const engine = await Engine.create();
    const before = await engine.unknownWords('a dragon');
    const { words } = await engine.load();
    const named = await engine.unknownWords('a dragon and an aple');
    const { unknown: drawn } = (await engine.generate({ prompt: 'a dragon', steps: 2 }));
    return { before, named, drawn, words };
  });
  assert.deepEqual(before, []);
  // The model of the tests lists no words, so that nothing is known about any.
  if (words.length === 0) assert.deepEqual([named, drawn], [[], []]);
  else assert.deepEqual([named, drawn], [[{ word: 'dragon' }, { word: 'aple', nearest: 'apple' }], [{ word: 'dragon' }]]);
});

test('outside of what is painted a photograph keeps every pixel, at its own size and shape', async () => {
  const seen = await run(async (prompt) => {
    const engine = await Engine.create();
    /** A photograph of a size, and a mask of that or another size with a white rectangle. */
    const photo = (width, height) => {
      const image = new ImageData(width, height);
      for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : (i * 2654435761) >>> 24;
      return image;
    };
    const mask = (width, height, [x, y, w, h]) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d');
      context.fillRect(0, 0, width, height);
      Object.assign(context, { fillStyle: '#fff' }).fillRect(x, y, w, h);
      return canvas;
    };
    const seen = [];
    for (const [[width, height], [mw, mh], [x, y, w, h]] of [
      [[300, 200], [300, 200], [120, 60, 80, 70]],
      [[200, 300], [200, 300], [0, 0, 200, 300]],
      [[301, 97], [301, 97], [5, 0, 290, 40]],
      [[90, 130], [90, 130], [89, 129, 1, 1]],
      [[2600, 1100], [2600, 1100], [1001, 301, 333, 333]],
      [[640, 480], [512, 384], [100, 100, 60, 60]],
    ]) {
      const image = photo(width, height);
      const request = { image, mask: mask(mw, mh, [x, y, w, h]), seed: 1, steps: 2 };
      for (const result of [await engine.edit({ ...request, instruction: prompt }), await engine.inpaint({ ...request, prompt })]) {
        const [{ image: after }] = result.images;
        const white = (px, py) => px >= Math.floor((x * width) / mw) && px < Math.ceil(((x + w) * width) / mw) && py >= Math.floor((y * height) / mh) && py < Math.ceil(((y + h) * height) / mh);
        let [inside, outside] = [0, 0];
        for (let i = 0; i < width * height; i++) {
          const differs = [0, 1, 2, 3].some((channel) => image.data[4 * i + channel] !== after.data[4 * i + channel]);
          if (differs && white(i % width, Math.floor(i / width))) inside++;
          else if (differs) outside++;
        }
        seen.push([after.width === width && after.height === height, inside > 0, outside]);
      }
    }
    return seen;
  });
  assert.equal(seen.length, 12);
  for (const [i, kept] of seen.entries()) assert.deepEqual(kept, [true, true, 0], `case ${i >> 1}`);
});

test('the seeds of a batch stay within what JavaScript counts without gaps', async () => {
  const { seeds, second, zero } = await run(async (prompt) => {
    const engine = await Engine.create();
    const { images } = await engine.generate({ prompt, seed: Number.MAX_SAFE_INTEGER, count: 2, steps: 2 });
    const zero = await engine.generate({ prompt, seed: 0, steps: 2 });
    return { seeds: images.map(({ seed }) => seed), second: images[1].codes, zero: zero.images[0].codes };
  });
  assert.deepEqual(seeds, [Number.MAX_SAFE_INTEGER, 0]);
  assert.deepEqual(second, zero);
});

test('an answer that cannot be sent is an error, and the engine goes on', async () => {
  const { code, text, drawn } = await run(async (prompt) => {
    const engine = await Engine.create();
    const draw = async () => (await engine.generate({ prompt, seed: 1, steps: 2 })).images[0].image;
    const image = await draw();
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (message) {
      // A seed beyond JavaScript's numbers, which the answer would repeat.
      if (message.request.type === 'edit') message.request.seed = 2n ** 53n;
      postMessage.call(this, message);
    };
    const edited = engine.edit({ image, instruction: 'make it blue', steps: 2 });
    const failure = await edited.then(() => ({}), ({ code, message }) => ({ code, text: message }));
    return { ...failure, drawn: (await draw()).width };
  });
  assert.equal(code, 'protocol');
  assert.match(text, /cannot be sent/);
  assert.ok(drawn > 0);
});

test('an edit keeps what its mask keeps, and a question has an answer', async () => {
  const { before, after, answer, capabilities } = await run(async (prompt) => {
    const engine = await Engine.create();
    const [{ image }] = (await engine.generate({ prompt, seed: 1 })).images;
    const mask = new ImageData(image.width, image.height);
    for (let i = 0; i < mask.data.length; i += 4) mask.data.fill(i % (4 * image.width) < 2 * image.width ? 255 : 0, i, i + 4);
    const edit = (seed) => engine.edit({ image, mask, instruction: 'make it blue', seed, steps: 3 });
    const [before, after] = [(await edit(1)).images[0].codes, (await edit(2)).images[0].codes];
    const answer = await engine.describe({ image, question: 'what is it?', maxTokens: 4 });
    return { before, after, answer, capabilities: await engine.capabilities() };
  });
  const { grid } = capabilities.model;
  const right = (codes) => codes.filter((_, i) => i % grid >= grid / 2);
  assert.deepEqual(right(before), right(after));
  assert.notDeepEqual(before, after);
  assert.equal(typeof answer, 'string');
  assert.equal(capabilities.backend, 'cpu');
  assert.match(capabilities.reason, /processor/);
});

test('inpainting draws under the mask alone, from a prompt', async () => {
  const { before, filled, again, failure } = await run(async (prompt) => {
    const engine = await Engine.create();
    const [{ image }] = (await engine.generate({ prompt, seed: 1 })).images;
    const mask = new ImageData(image.width, image.height);
    for (let i = 0; i < mask.data.length; i += 4) mask.data.fill(i % (4 * image.width) < 2 * image.width ? 255 : 0, i, i + 4);
    const fill = async (seed, mask) => (await engine.inpaint({ image, mask, prompt, seed, steps: 3 })).images[0].codes;
    const failure = await fill(1, new ImageData(image.width, image.height)).catch(({ code }) => code);
    return { before: await fill(1, mask), filled: await fill(2, mask), again: await fill(2, mask), failure };
  });
  const grid = Math.sqrt(before.length);
  const right = (codes) => codes.filter((_, i) => i % grid >= grid / 2);
  assert.deepEqual(right(before), right(filled));
  assert.notDeepEqual(before, filled);
  assert.deepEqual(filled, again);
  assert.equal(failure, 'image');
});

test('cancelling ends a call within a step and leaves the engine usable', async () => {
  const { name, seen, codes } = await run(async (prompt) => {
    const engine = await Engine.create();
    await engine.load();
    const abort = new AbortController();
    let seen = 0;
    const onstep = ({ step }) => {
      seen = step;
      if (step === 2) abort.abort();
    };
    const { name } = await engine.generate({ prompt, seed: 1, steps: 12 }, { signal: abort.signal, onstep }).catch((error) => error);
    const { images } = await engine.generate({ prompt, seed: 1, steps: 2 });
    return { name, seen, codes: images[0].codes.length };
  });
  assert.equal(name, 'AbortError');
  assert.ok(seen <= 3, `step ${seen} was still drawn`);
  assert.ok(codes > 0);
});

test('the busy policy rejects, queues, or lets the latest win', async () => {
  const outcome = await run(async (prompt) => {
    const ends = {};
    for (const busy of ['reject', 'queue', 'latest']) {
      const engine = await Engine.create({ busy });
      await engine.load();
      const calls = [1, 2, 3].map((seed) => engine.generate({ prompt, seed, steps: 3 }));
      ends[busy] = (await Promise.allSettled(calls)).map(({ status, reason }) => reason?.code ?? status);
      engine.close();
    }
    return ends;
  });
  assert.deepEqual(outcome, {
    reject: ['fulfilled', 'busy', 'busy'],
    queue: ['fulfilled', 'fulfilled', 'fulfilled'],
    latest: ['cancelled', 'cancelled', 'fulfilled'],
  });
});

test('a download that breaks in the middle goes on from there', async () => {
  const { path, bytes } = await largest();
  const half = Math.floor(bytes / 2);
  server.fault = (asked, _, range) => (asked === path && !range ? { cutAt: half } : null);
  const model = await load();
  assert.equal(model.name, 'tiny');
  const ranges = shards().filter((request) => request.path === path).map(({ range }) => range);
  assert.deepEqual(ranges, [undefined, `bytes=${half}-`]);
});

test('a download that is cancelled while it waits for the connection keeps what has come', async () => {
  const { path, bytes } = await largest();
  const half = Math.floor(bytes / 2);
  // Each time it is taken up again there comes one byte.
  server.fault = (asked, _, range) => (asked === path ? { cutAt: range ? Number(range.slice(6, -1)) + 1 : half } : null);
  const asked = () => shards().filter((request) => request.path === path).map(({ range }) => range);
  await run(async () => {
    globalThis.engine = await Engine.create();
    globalThis.stop = new AbortController();
    globalThis.loading = engine.load(undefined, { signal: stop.signal }).catch(({ name }) => name);
  });
  await until(() => asked().length === 3);
  // It waits a second before the next one.
  await page.waitForTimeout(300);
  server.fault = null;
  const { name, model } = await run(async () => {
    stop.abort();
    return { name: await loading, model: (await engine.load()).name };
  });
  assert.deepEqual([name, model], ['AbortError', 'tiny']);
  assert.deepEqual(asked(), [undefined, `bytes=${half}-`, `bytes=${half + 1}-`, `bytes=${half + 2}-`]);
});

test('no more of a shard is read than the manifest says', async () => {
  const { path, bytes } = await largest();
  // The connection would break off in what is too much.
  server.fault = (asked, body) => (asked === path ? { body: Buffer.concat([body, Buffer.alloc(1000)]), cutAt: bytes } : null);
  assert.equal((await load()).name, 'tiny');
  assert.deepEqual(shards().filter((request) => request.path === path).map(({ range }) => range), [undefined]);
});

test('a damaged shard is fetched again once, from the server', async () => {
  const { path } = await largest();
  let left = 1;
  // The browser may keep the damaged one.
  const headers = { 'cache-control': 'max-age=3600' };
  const damaged = (body) => ({ body: Buffer.from(body).fill(7, 0, 64), headers });
  server.fault = (asked, body) => (asked === path && left-- > 0 ? damaged(body) : null);
  assert.equal((await load()).name, 'tiny');
  await page.context().close();
  page = await open(browser, server.url);
  server.requests.length = 0;
  server.fault = (asked, body) => (asked === path ? damaged(body) : null);
  const { code, text, hint } = await load();
  assert.equal(code, 'integrity');
  assert.match(text, /not what the manifest says/);
  assert.ok(hint);
  assert.equal(shards().filter((request) => request.path === path).length, 2);
});

test('what is kept is not fetched again, also without a network, until it is purged', async () => {
  await load();
  server.requests.length = 0;
  // Only the model is out of reach; the engine itself comes from a service worker where there is no network.
  server.fault = (path) => (path.startsWith('/model/') ? { cutAt: 0 } : null);
  assert.equal((await load()).name, 'tiny');
  assert.deepEqual(shards(), []);
  server.fault = null;
  server.requests.length = 0;
  assert.equal((await load()).name, 'tiny');
  assert.deepEqual(shards(), []);
  await run(async () => (await Engine.create()).purge());
  assert.equal((await load()).name, 'tiny');
  assert.ok(shards().length > 0);
});

test('purging in the middle of a load ends it first, and nothing is left', async () => {
  const { path } = await largest();
  server.fault = (asked) => (asked === path ? gate().passed : null);
  await begin();
  const seen = await run(async () => {
    await engine.purge();
    const left = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) left.push(name);
    return { left, code: await loading.catch(({ code }) => code), model: engine.model };
  });
  assert.deepEqual(seen, { left: [], code: 'cancelled', model: null });
  server.fault = null;
  assert.equal((await run(async () => engine.load())).name, 'tiny');
});

test('of two loads the later one wins, also where the earlier one has all its files', async () => {
  const manifest = await (await fetch(`${server.url}model/manifest.json`)).json();
  const other = Buffer.from(JSON.stringify({ ...manifest, name: 'other' }));
  server.fault = (path) => (path === '/model/other.json' ? { body: other } : null);
  const seen = await run(async (prompt) => {
    const engine = await Engine.create();
    let begun;
    const fetched = new Promise((resolve) => (begun = resolve));
    const first = engine.load('model/', { onprogress: ({ phase }) => phase !== 'download' && begun() }).then(() => 'loaded', ({ code }) => code);
    await fetched;
    const { name } = await engine.load('model/other.json');
    const [code, capabilities] = [await first, await engine.capabilities()];
    const { images } = await engine.generate({ prompt, seed: 1, steps: 2 });
    return { code, names: [name, engine.model.name, capabilities.model.name], drawn: images.length };
  });
  // It may have been done before the page could ask for the other one.
  assert.ok(['cancelled', 'loaded'].includes(seen.code), seen.code);
  assert.deepEqual([seen.names, seen.drawn], [['other', 'other', 'other'], 1]);
});

test('a load that is asked for right after it was cancelled is a new one', async () => {
  const seen = await run(async () => {
    const engine = await Engine.create();
    const stop = new AbortController();
    const first = engine.load(undefined, { signal: stop.signal }).catch(({ name }) => name);
    stop.abort();
    const name = await first;
    return [name, (await engine.load()).name];
  });
  assert.deepEqual(seen, ['AbortError', 'tiny']);
});

test('without room the model is used all the same', async () => {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: new URL(server.url).origin, quotaSize: 1000 });
  const { name, storage } = await run(async () => {
    const engine = await Engine.create();
    const { name } = await engine.load();
    return { name, storage: (await engine.capabilities()).storage };
  });
  assert.equal(name, 'tiny');
  assert.equal(storage.kind, 'memory');
});

test('a worker that fails is replaced once, and the call under way is done again', async () => {
  await run(async () => {
    globalThis.engine = await Engine.create();
    globalThis.told = [];
    for (const type of ['devicelost', 'ready']) engine.addEventListener(type, ({ detail }) => told.push([type, detail.recovering ?? null]));
    await engine.load();
  });
  const drawn = run(async (prompt) => {
    globalThis.progress = [];
    const follow = { onstep() {}, onprogress: (detail) => progress.push(detail) };
    return (await engine.generate({ prompt, seed: 1 }, follow)).images[0].codes;
  });
  await page.workers()[0].evaluate(() => setTimeout(() => { throw new Error('gone'); }));
  const again = await drawn;
  const { told, progress, codes } = await run(async (prompt) => ({
    told,
    progress,
    codes: (await engine.generate({ prompt, seed: 1 })).images[0].codes,
  }));
  assert.deepEqual(again, codes);
  assert.deepEqual(phasesOf(progress).slice(-3), ['encode', 'decode', 'paint']);
  assert.deepEqual(told, [['ready', null], ['devicelost', true], ['ready', null]]);
});

test('a worker that fails in the middle of the first load is replaced as well', async () => {
  const { path } = await largest();
  const { passed, open: goOn } = gate();
  server.fault = async (asked) => {
    if (asked === path) await passed;
    return null;
  };
  await begin();
  await fail();
  await page.waitForFunction(() => told.length > 0);
  goOn();
  const seen = await run(async () => ({ name: (await loading).name, told }));
  assert.deepEqual(seen, { name: 'tiny', told: [['devicelost', true], ['ready', null]] });
});

test('a worker that fails again is told of, with what to do, and a load starts another', async () => {
  await begin();
  await run(() => loading);
  await fail();
  await page.waitForFunction(() => told.length === 3);
  const { passed, open: goOn } = gate();
  server.fault = async (asked) => {
    if (asked === '/model/manifest.json') await passed;
    return null;
  };
  server.requests.length = 0;
  await run(async () => {
    globalThis.failed = engine.load('model/manifest.json?other').catch(({ code, hint }) => [code, hint]);
  });
  await until(() => server.requests.some(({ path }) => path === '/model/manifest.json'));
  await fail();
  const [code, hint] = await run(() => failed);
  goOn();
  assert.equal(code, 'crashed');
  assert.match(hint, /^Load the model again/);
  const seen = await run(async () => ({ name: (await engine.load('model/')).name, told }));
  assert.deepEqual(seen, { name: 'tiny', told: [['ready', null], ['devicelost', true], ['ready', null], ['devicelost', false], ['ready', null]] });
});

test('what is wrong is said, with a code and a remedy', async () => {
  const huge = { name: 'config.json', bytes: 2 ** 52, shards: [{ sha256: '0'.repeat(64), bytes: 2 ** 52 }] };
  const manifests = { '/bad.json': { format: 'other' }, '/huge.json': { format: 'unigen-web', version: 1, name: 'huge', files: [huge] } };
  server.fault = (path) => (path in manifests ? { body: Buffer.from(JSON.stringify(manifests[path])) } : null);
  const failures = await run(async (prompt) => {
    const engine = await Engine.create();
    const calls = [
      () => engine.generate({ prompt: ' ' }),
      () => engine.generate({ prompt, steps: 0 }),
      () => engine.generate({ prompt, seed: -1 }),
      () => engine.generate({ prompt, count: 99 }),
      () => engine.edit({ image: new Blob(['no picture']), instruction: 'x' }),
      () => engine.load('nowhere/'),
      () => engine.load('bad.json'),
      () => engine.load('huge.json'),
    ];
    const failures = [];
    for (const call of calls) failures.push(await call().then(() => null, ({ code, hint }) => [code, Boolean(hint)]));
    return failures;
  });
  const wanted = ['text', 'config', 'config', 'config', 'image', 'network', 'manifest', 'memory'];
  assert.deepEqual(failures, wanted.map((code) => [code, true]));
});
