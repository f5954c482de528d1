// The engine and the element in unusual pages: sandboxed and other frames, Trusted Types, policies, servers without pages; options that cannot be.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { browse, serve, site } from './harness.js';

const html = (body = '') => `<!doctype html><html lang="en"><meta charset="utf-8"><script type="module" src="/unigen/element.js"></script><body>${body}`;
const MODEL = { format: 'unigen-web', version: 1, name: 'm', files: [] };
/** In a frame: draws, and tells the page around it what came of that. */
const INNER = `<unigen-editor src="/model/" prompt="x"></unigen-editor><script type="module">
  import '/unigen/element.js';
  const e = document.querySelector('unigen-editor');
  e.generate().then(({ image }) => 'drew ' + image.width, ({ code, name, message, hint }) => [code, name, message, hint].join(' ')).then((said) => parent.postMessage(said, '*'));
</script>`;
const frame = (attributes) => `<!doctype html><title>t</title><script>said = new Promise((tell) => addEventListener('message', ({ data }) => tell(data)));</script><iframe ${attributes}></iframe>`;
const quoted = INNER.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
const tt = (rest) => ({ 'content-security-policy': `require-trusted-types-for 'script'${rest}` });

let [server, browser] = [];
before(async () => {
  const cors = { 'access-control-allow-origin': '*' };
  const pages = {
    '/plain.html': html('<unigen-editor id="e" prompt="x"></unigen-editor>'),
    '/inner.html': `<!doctype html><title>t</title>${INNER}`,
  };
  const handler = (request, response, { pathname }) => {
    if (pathname !== '/model/manifest.json') {
      // What a sandboxed frame may fetch is what any other site may.
      for (const [name, value] of Object.entries(cors)) response.setHeader(name, value);
      return false;
    }
    response.writeHead(200, { 'content-type': 'application/json', ...cors }).end(JSON.stringify(MODEL));
    return true;
  };
  server = await serve(pages, { engine: 'hollow', handler });
  Object.assign(server, { pages });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  server?.close();
});

const drawn = async (name, page) => {
  server.pages['/case.html'] = page;
  const tab = await browser.page(`${server.url}/case.html`);
  const said = await tab.evaluate(() =>
    globalThis.said ?? document.querySelector('unigen-editor').generate({ prompt: 'x' }).then(({ image }) => `drew ${image.width}`, ({ code, message, hint }) => [code, message, hint].join(' ')),
  );
  await tab.context().close();
  return [name, said];
};

test('draws in frames of any kind, under Trusted Types and strict policies', async () => {
  const editor = '<unigen-editor src="/model/" prompt="x"></unigen-editor>';
  const cases = {
    'an open page': html(editor),
    'a frame': frame('src="/inner.html"'),
    'a sandboxed frame': frame('sandbox="allow-scripts" src="/inner.html"'),
    'a sandboxed frame of its own origin': frame('sandbox="allow-scripts allow-same-origin" src="/inner.html"'),
    'a frame from a string': frame(`srcdoc="${quoted}"`),
    'a sandboxed frame from a string': frame(`sandbox="allow-scripts" srcdoc="${quoted}"`),
    'Trusted Types': { body: html(editor), headers: tt('') },
    'Trusted Types, this package allowed': { body: html(editor), headers: tt('; trusted-types unigen') },
    'Trusted Types, everything allowed': { body: html(editor), headers: tt('; trusted-types *') },
    'a base elsewhere': html(`<base href="/somewhere/else/">${editor}`),
    'a strict policy': { body: html(editor), headers: { 'content-security-policy': "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'" } },
    'a policy that names workers': { body: html(editor), headers: { 'content-security-policy': "default-src 'self'; worker-src 'self'" } },
  };
  for (const [name, page] of Object.entries(cases)) assert.deepEqual(await drawn(name, page), [name, 'drew 8']);
});

test('where it may not draw it says unsupported, and what would help', async () => {
  const editor = '<unigen-editor src="/model/" prompt="x"></unigen-editor>';
  const policy = (text) => ({ body: html(editor), headers: { 'content-security-policy': text } });
  const cases = {
    'Trusted Types, other names alone': [{ body: html(editor), headers: tt('; trusted-types other') }, /Add unigen to trusted-types/],
    'Trusted Types, no names': [{ body: html(editor), headers: tt("; trusted-types 'none'") }, /Add unigen to trusted-types/],
    'no workers': [policy("default-src 'self'; worker-src 'none'"), /worker-src/],
    'workers of another origin': [policy("default-src 'self'; worker-src https://example.org"), /worker-src/],
    'workers from blobs alone': [policy("default-src 'self'; worker-src blob:"), /worker-src/],
  };
  for (const [name, [page, hint]] of Object.entries(cases)) {
    const [, said] = await drawn(name, page);
    assert.match(said, /^unsupported /, name);
    assert.match(said, hint, name);
  }
});

test('on a server importing the package does nothing, and elements are no elements', async () => {
  for (const name of ['element.js', 'engine.js', 'png.js', 'error.js', 'pixels.js', 'progress.js', 'checks.js', 'spawn.js', 'element/view.js', 'element/brush.js', 'element/words.js', 'element/crop.js']) {
    await import(pathToFileURL(join(site, 'unigen', name)));
  }
  assert.equal(globalThis.customElements, undefined);
  const { UniGenEditor } = await import(pathToFileURL(join(site, 'unigen/element.js')));
  assert.equal(UniGenEditor.supported, false);
});

test('an option that cannot be is named, with what it may be', async () => {
  const page = await browser.page(`${server.url}/plain.html`);
  const failures = await page.evaluate(async () => {
    const { Engine, EngineError } = await import('/unigen/engine.js');
    const engine = await Engine.create({ model: '/model/' });
    const image = new ImageData(4, 4);
    const calls = [];
    for (const steps of [2.5, -3, 0, Number.NaN, Infinity, '12', 2 ** 33, true, [], {}]) calls.push(['steps', () => engine.generate({ prompt: 'x', steps })]);
    for (const guidance of [Number.NaN, Infinity, '4', {}]) calls.push(['guidance', () => engine.edit({ image, instruction: 'x', guidance })]);
    for (const imageGuidance of [Number.NaN, -Infinity]) calls.push(['imageGuidance', () => engine.edit({ image, instruction: 'x', imageGuidance })]);
    for (const temperature of [Number.NaN, -1]) calls.push(['temperature', () => engine.inpaint({ image, mask: image, prompt: 'x', temperature })]);
    for (const seed of [-1, 1.5, 2 ** 53, Number.NaN, '7']) calls.push(['seed', () => engine.generate({ prompt: 'x', seed })]);
    for (const count of [0, 1.5, -1, Number.NaN]) calls.push(['count', () => engine.generate({ prompt: 'x', count })]);
    for (const maxTokens of [0, 2.5, -3, Number.NaN]) calls.push(['maxTokens', () => engine.describe({ image, question: 'x', maxTokens })]);
    for (const prompt of [undefined, null, 7, {}]) calls.push(['prompt', () => engine.generate({ prompt })]);
    calls.push(['instruction', () => engine.edit({ image })], ['question', () => engine.describe({ image })]);
    for (const backend of ['gpu', 'WebGPU', 1]) calls.push(['backend', () => Engine.create({ backend })]);
    for (const busy of ['wait', true]) calls.push(['busy', () => Engine.create({ busy })]);
    const seen = [];
    for (const [option, call] of calls) {
      const error = await call().then(() => null, (error) => error);
      seen.push([option, error?.option, error?.code, error instanceof EngineError, error?.message.includes(`\`${option}\``), Boolean(error?.hint)]);
    }
    // What is left out, also as null, is the model's own choice.
    const { images } = await engine.generate({ prompt: 'x', steps: null, guidance: undefined, seed: 3 });
    return { seen, seed: images[0].seed };
  });
  for (const [option, ...rest] of failures.seen) assert.deepEqual([option, ...rest], [option, option, 'config', true, true, true]);
  assert.equal(failures.seed, 3);
});

test('pictures of another window, of any kind, are read', async () => {
  const page = await browser.page(`${server.url}/plain.html`);
  const seen = await page.evaluate(async () => {
    const { Engine } = await import('/unigen/engine.js');
    const engine = await Engine.create({ model: '/model/' });
    const frame = document.body.appendChild(document.createElement('iframe'));
    const sizes = {};
    for (const [where, { contentWindow: w = globalThis }] of Object.entries({ here: {}, there: frame })) {
      const canvas = Object.assign(w.document.createElement('canvas'), { width: 6, height: 4 });
      canvas.getContext('2d').fillRect(0, 0, 6, 4);
      const offscreen = new w.OffscreenCanvas(6, 4);
      offscreen.getContext('2d').fillRect(0, 0, 6, 4);
      const blob = await offscreen.convertToBlob();
      const image = Object.assign(new w.Image(), { src: canvas.toDataURL() });
      const pictures = {
        blob, image, canvas, offscreen, file: new w.File([blob], 'a.png'), untyped: new w.Blob([blob]), data: new w.ImageData(6, 4), bitmap: await w.createImageBitmap(canvas),
        late: Object.assign(new w.Image(), { src: URL.createObjectURL(blob) }), frame: new w.VideoFrame(canvas, { timestamp: 0 }),
      };
      const editor = document.querySelector('unigen-editor');
      for (const [kind, picture] of Object.entries(pictures)) {
        const [{ codes }] = (await engine.edit({ image: picture, instruction: 'x' })).images;
        editor.image = picture;
        const { before } = await editor.edit({ instruction: 'x' });
        sizes[`${where} ${kind}`] = [...codes.slice(0, 2), before.width, before.height].join();
      }
    }
    return sizes;
  });
  assert.equal(Object.keys(seen).length, 20);
  // What was edited is shown in the shape of what was drawn.
  for (const [kind, size] of Object.entries(seen)) assert.equal(size, '6,4,4,4', kind);
});

test('a mask: opacity counts, so does the smallest spot, and it has the size of its picture', async () => {
  const page = await browser.page(`${server.url}/plain.html`);
  const seen = await page.evaluate(async () => {
    const { Engine } = await import('/unigen/engine.js');
    const engine = await Engine.create({ model: '/model/' });
    const image = new ImageData(60, 40);
    /** A mask of a size on a ground, with spots `[x, y, width, height, colour]`. */
    const mask = (width, height, ground, ...spots) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d');
      if (ground) Object.assign(context, { fillStyle: ground }).fillRect(0, 0, width, height);
      for (const [x, y, w, h, colour = '#fff'] of spots) Object.assign(context, { fillStyle: colour }).fillRect(x, y, w, h);
      return canvas;
    };
    const cases = {
      'white on black': mask(60, 40, '#000', [10, 10, 20, 10]),
      'white on nothing': mask(60, 40, null, [10, 10, 20, 10]),
      'all transparent': mask(60, 40, null),
      'transparent white': mask(60, 40, 'rgb(255 255 255 / 0)'),
      'all white': mask(60, 40, '#fff'),
      'all black': mask(60, 40, '#000'),
      'a spot of one pixel': mask(60, 40, '#000', [7, 7, 1, 1]),
      'three by three on nothing': mask(60, 40, null, [50, 30, 3, 3]),
      'a spot in a larger mask': mask(600, 400, '#000', [301, 201, 3, 3]),
      'a single pixel of a far larger mask': mask(1800, 1200, '#000', [1000, 600, 1, 1]),
      'a smaller mask': mask(6, 4, '#000', [1, 1, 1, 1]),
      'a mask of another shape': mask(40, 40, '#000', [0, 0, 20, 40]),
      'light grey': mask(60, 40, '#000', [0, 0, 6, 4, '#c0c0c0']),
      'dark grey': mask(60, 40, '#000', [0, 0, 6, 4, '#404040']),
      'white, mostly opaque': mask(60, 40, null, [0, 0, 6, 4, 'rgb(255 255 255 / 80%)']),
      'white, mostly transparent': mask(60, 40, null, [0, 0, 6, 4, 'rgb(255 255 255 / 20%)']),
    };
    const seen = {};
    for (const [name, mask] of Object.entries(cases)) {
      const [edit, inpaint] = await Promise.all([engine.edit({ image, mask, instruction: 'x' }), engine.inpaint({ image, mask, prompt: 'x' })]);
      seen[name] = [edit, inpaint].map(({ images: [{ codes }] }) => codes.slice(6).join());
    }
    return seen;
  });
  const wanted = {
    'white on black': 200, 'white on nothing': 200, 'all transparent': 0, 'transparent white': 0, 'all white': 2400, 'all black': 0, 'a spot of one pixel': 1,
    'three by three on nothing': 9, 'a spot in a larger mask': 1, 'a single pixel of a far larger mask': 1, 'a smaller mask': 100, 'a mask of another shape': 1200,
    'light grey': 24, 'dark grey': 0, 'white, mostly opaque': 24, 'white, mostly transparent': 0,
  };
  for (const [name, white] of Object.entries(wanted)) assert.deepEqual(seen[name], [`60,40,${white}`, `60,40,${white}`], name);
});
