// <unigen-editor> in a page of its own, with an engine that draws at once.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { browse, phasesOf, serve, site } from './harness.js';

const script = '<script type="module" src="/unigen/element.js"></script>';
const html = (body, head = script) => `<!doctype html><html lang="en"><head><title>t</title>${head}</head><body>${body}</body></html>`;
const csp = "default-src 'none'; script-src 'self'; style-src 'none'; worker-src 'self'; connect-src 'self'";

let [server, browser] = [];
before(async () => {
  server = await serve({
    '/one.html': html('<unigen-editor id="e" prompt="a red apple" seed="7"></unigen-editor>'),
    '/two.html': html('<unigen-editor id="a"></unigen-editor><unigen-editor id="b"></unigen-editor><div id="other"></div>'),
    '/manual.html': html('<unigen-editor id="e" loading="manual" prompt="x"></unigen-editor>'),
    '/late.html': html('<unigen-editor id="e"></unigen-editor>', ''),
    '/eager.html': html('<unigen-editor id="e" loading="eager"></unigen-editor>'),
    '/empty.html': html(''),
    '/form.html': html('<form id="f"><fieldset id="s"><unigen-editor id="e" name="picture" prompt="x" seed="3"></unigen-editor></fieldset></form>'),
    '/strict.html': {
      body: html('<unigen-editor id="e" prompt="&lt;img src=x onerror=boom()&gt;" theme="dark"></unigen-editor>'),
      headers: { 'content-security-policy': csp },
    },
  });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  server?.close();
});

const open = async (path, options) => {
  const page = await browser.page(server.url + path, options);
  if (path !== '/late.html') await page.waitForFunction(() => customElements.get('unigen-editor'));
  return page;
};

test('what the manifest describes is what there is', async () => {
  const manifest = JSON.parse(await readFile(join(site, 'unigen/custom-elements.json')));
  const { attributes, members, events, cssParts, cssProperties, slots } = manifest.modules[0].declarations[0];
  const page = await open('/one.html');
  const found = await page.evaluate(async () => {
    const Editor = customElements.get('unigen-editor');
    const element = document.querySelector('#e');
    const root = element.shadowRoot;
    const own = { ...Object.getOwnPropertyDescriptors(Object.getPrototypeOf(Editor.prototype)), ...Object.getOwnPropertyDescriptors(Editor.prototype) };
    const hidden = (name) => name === 'constructor' || name === 'addEventListener' || name.endsWith('Callback');
    const sources = await Promise.all(['editor.js', 'style.js'].map(async (name) => (await fetch(`/unigen/element/${name}`)).text()));
    return {
      attributes: Editor.observedAttributes,
      members: Object.keys(own).filter((name) => !hidden(name)),
      readonly: Object.keys(own).filter((name) => own[name].get && !own[name].set),
      parts: [...root.querySelectorAll('[part]')].map((node) => node.getAttribute('part')),
      slots: [...root.querySelectorAll('slot')].map((slot) => slot.name),
      properties: [...new Set(sources[1].match(/--unigen-[a-z-]+/g))],
      events: [...new Set([...sources[0].matchAll(/#emit\('(\w+)'/g)].map((match) => match[1]))],
    };
  });
  const names = (list) => list.map(({ name }) => name).sort();
  assert.deepEqual(found.attributes.sort(), names(attributes));
  const reflected = attributes.map(({ fieldName }) => fieldName).filter(Boolean);
  assert.deepEqual(found.members.sort(), [...reflected, ...names(members)].sort());
  assert.deepEqual(found.readonly.sort(), names(members.filter(({ readonly }) => readonly)));
  assert.deepEqual(found.parts.sort(), names(cssParts));
  assert.deepEqual(found.slots.sort(), names(slots));
  assert.deepEqual(found.properties.sort(), names(cssProperties));
  assert.deepEqual(found.events.sort(), names(events));
});

test('attributes and properties say the same', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(() => {
    const e = document.querySelector('#e');
    e.setAttribute('seed', '12');
    e.setAttribute('mode', 'nonsense');
    e.setAttribute('steps', 'many');
    Object.assign(e, { prompt: 'p', guidance: 2.5, loading: 'manual', theme: 'dark', name: 'n', disabled: true, src: '/other/' });
    const attributes = Object.fromEntries(e.getAttributeNames().map((name) => [name, e.getAttribute(name)]));
    return { attributes, seed: e.seed, mode: e.mode, steps: e.steps, src: new URL(e.src).pathname };
  });
  assert.equal(seen.seed, 12);
  assert.equal(seen.mode, 'generate');
  assert.equal(seen.steps, null);
  assert.equal(seen.src, '/other/');
  const wanted = { id: 'e', prompt: 'p', seed: '12', mode: 'nonsense', steps: 'many', guidance: '2.5', loading: 'manual', theme: 'dark', name: 'n', disabled: '', src: '/other/' };
  assert.deepEqual(seen.attributes, wanted);
});

test('a drawing: events in order, a result, a file that remembers it', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const order = [];
    for (const type of ['progress', 'ready', 'step', 'result', 'error']) e.addEventListener(type, () => order.at(-1) !== type && order.push(type));
    const result = await e.generate({ steps: 3 });
    const { readPng } = await import('/unigen/png.js');
    return { order, seed: result.seed, side: result.image.width, record: await readPng(await e.toBlob()), call: fake.calls.at(-1), capabilities: e.capabilities.backend };
  });
  const steps = Array.from({ length: 3 }, () => ['progress', 'step']).flat();
  assert.deepEqual(seen.order, ['progress', 'ready', ...steps, 'progress', 'result']);
  assert.deepEqual([seen.seed, seen.side, seen.capabilities], [7, 96, 'webgpu']);
  assert.deepEqual(seen.call, { call: 'generate', prompt: 'a red apple', seed: 7, steps: 3 });
  assert.deepEqual(seen.record, { task: 'generate', prompt: 'a red apple', seed: 7, model: 'fake', modelHash: 'f4ce', steps: 3, guidance: 4, imageGuidance: 1.5, temperature: 3 });
  assert.deepEqual(page.problems, []);
});

test('the progress of each call: its phases, over the whole of it, and the bar shows it', async () => {
  const page = await open('/one.html');
  const told = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const bar = e.shadowRoot.querySelector('[part=progress]');
    const message = e.shadowRoot.querySelector('[part=message]');
    const told = { generate: [], edit: [], describe: [] };
    let call;
    e.addEventListener('progress', ({ detail }) => told[call].push({ ...detail, bar: bar.value, hidden: bar.hidden, said: message.textContent }));
    for (call of Object.keys(told)) await e[call]({ steps: 3 });
    return told;
  });
  const drawing = ['encode', 'decode', 'paint'];
  assert.deepEqual(phasesOf(told.generate), ['download', 'warmup', 'weights', ...drawing]);
  assert.deepEqual(phasesOf(told.edit), drawing);
  assert.deepEqual(phasesOf(told.describe), ['encode', 'answer']);
  for (const { bar, hidden, fraction } of Object.values(told).flat()) assert.deepEqual([bar, hidden], [fraction, false]);
  assert.equal(told.edit[0].said, 'Reading …');
  assert.deepEqual(told.edit.filter(({ phase }) => phase === 'decode').map(({ step, steps }) => [step, steps]), [[1, 3], [2, 3], [3, 3]]);
  // The load is a part of the call that waited for it.
  const load = told.generate.filter(({ phase }) => phase === 'weights').at(-1);
  assert.deepEqual([load.fraction, load.bytes, load.total], [0.5, 12e6, 12e6]);
});

test('nothing is fetched before it is asked for', async () => {
  for (const path of ['/one.html', '/manual.html']) {
    const page = await open(path);
    await page.waitForTimeout(200);
    assert.equal(await page.evaluate(() => globalThis.fake), undefined, path);
  }
  const page = await open('/manual.html');
  const code = await page.evaluate(() => document.querySelector('#e').generate().catch((error) => error.code));
  assert.equal(code, 'notloaded');
  const meanwhile = await page.evaluate(() => {
    const part = (name) => document.querySelector('#e').shadowRoot.querySelector(`[part=${name}]`);
    part('load').click();
    return part('submit').textContent;
  });
  assert.equal(meanwhile, 'Cancel', 'nothing can be drawn while the model is on its way');
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.waitForFunction(() => document.querySelector('#e').result);
});

test('two elements share one engine, and give it up when both are gone', async () => {
  const page = await open('/two.html');
  const seen = await page.evaluate(async () => {
    const [a, b] = ['#a', '#b'].map((id) => document.querySelector(id));
    await Promise.all([a.generate({ prompt: 'x', seed: 1 }), b.generate({ prompt: 'y', seed: 2 })]);
    const moved = a;
    document.querySelector('#other').append(moved);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const kept = [fake.engines, fake.closed];
    a.remove();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const one = fake.closed;
    b.remove();
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { kept, one, both: fake.closed, loads: fake.calls.filter(({ call }) => call === 'load').length, results: [a.result.seed, b.result.seed] };
  });
  assert.deepEqual(seen, { kept: [1, undefined], one: undefined, both: 1, loads: 1, results: [1, 2] });
});

test('an element that never was in a page gives up its engine when nobody can reach it', async () => {
  const page = await open('/empty.html');
  const kept = await page.evaluate(async () => {
    globalThis.element = document.createElement('unigen-editor');
    await element.generate({ prompt: 'x' });
    return fake.closed;
  });
  await page.requestGC();
  await page.waitForTimeout(100);
  assert.deepEqual([kept, await page.evaluate(() => fake.closed)], [undefined, undefined]);
  await page.evaluate(() => void (globalThis.element = null));
  let closed;
  for (let i = 0; i < 50 && !closed; i++) {
    await page.requestGC();
    await page.waitForTimeout(50);
    closed = await page.evaluate(() => fake.closed);
  }
  assert.equal(closed, 1);
});

test('eager: at once, also where that is said later, and for another model', async () => {
  const page = await open('/eager.html');
  await page.waitForFunction(() => document.querySelector('#e').matches(':state(ready)'));
  const loads = () => page.evaluate(() => [fake.engines, fake.last.options.model, fake.closed ?? 0]);
  const at = (path) => new URL(path, server.url).href;
  assert.deepEqual(await loads(), [1, at('/model/'), 0]);
  await page.evaluate(() => (document.querySelector('#e').src = '/other/'));
  await page.waitForFunction(() => fake.engines === 2 && document.querySelector('#e').matches(':state(ready)'));
  assert.deepEqual(await loads(), [2, at('/other/'), 1]);

  const late = await open('/one.html');
  assert.equal(await late.evaluate(() => globalThis.fake), undefined);
  await late.evaluate(() => (document.querySelector('#e').loading = 'eager'));
  await late.waitForFunction(() => document.querySelector('#e').matches(':state(ready)'));
});

test('where the browser lacks something it says so, or what the page put there', async () => {
  const page = await open('/late.html');
  await page.evaluate(async () => {
    delete globalThis.OffscreenCanvas;
    await import('/unigen/element.js');
  });
  const shown = page.locator('slot[name=unsupported]');
  assert.match(await shown.textContent(), /cannot run the model/);
  assert.ok(await page.getByText('Use a current browser').isVisible());
  await page.evaluate(() => (document.querySelector('#e').lang = 'zh'));
  assert.ok(await page.getByText('请使用较新的浏览器').isVisible());
  await page.evaluate(() => {
    const own = Object.assign(document.createElement('p'), { slot: 'unsupported', textContent: 'Not here.' });
    document.querySelector('#e').append(own);
  });
  assert.ok(await page.getByText('Not here.').isVisible());
  assert.ok(!(await page.getByText('请使用较新的浏览器').isVisible()));
});

test('created detached, properties set before the definition', async () => {
  const page = await open('/late.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    Object.assign(e, { prompt: 'early', seed: 5, image: new ImageData(8, 4), mode: 'edit' });
    await import('/unigen/element.js');
    const detached = document.createElement('unigen-editor');
    const result = await detached.generate({ prompt: 'off the page' });
    return { prompt: e.getAttribute('prompt'), seed: e.seed, mode: e.mode, image: e.image.width, own: Object.hasOwn(e, 'image'), result: result.prompt };
  });
  assert.deepEqual(seen, { prompt: 'early', seed: 5, mode: 'edit', image: 8, own: false, result: 'off the page' });
});

test('cancelling rejects, tells once, and the next drawing works', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const told = [];
    for (const type of ['cancel', 'error', 'result']) e.addEventListener(type, () => told.push(type));
    const stop = new AbortController();
    e.addEventListener('step', () => stop.abort(), { once: true });
    const name = await e.generate({ signal: stop.signal }).catch((error) => error.name);
    const early = await e.generate({ signal: AbortSignal.abort() }).catch((error) => error.name);
    e.addEventListener('step', () => e.cancel(), { once: true });
    const method = await e.generate().catch((error) => error.name);
    await e.generate();
    return { name, early, method, told };
  });
  assert.deepEqual(seen, { name: 'AbortError', early: 'AbortError', method: 'AbortError', told: ['cancel', 'cancel', 'cancel', 'result'] });
});

test('a call whose place a newer one takes leaves the state to that one', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const state = () => ['idle', 'loading', 'ready', 'running', 'error'].find((state) => e.matches(`:state(${state})`));
    await import('/unigen/engine.js');
    fake.stepMs = 100;
    const first = e.generate({ prompt: 'first' }).catch((error) => error.name);
    const second = e.generate({ prompt: 'second', steps: 2 });
    const name = await first;
    const meanwhile = [state(), e.shadowRoot.querySelector('[part=submit]').textContent];
    return { name, meanwhile, prompt: (await second).prompt, end: state() };
  });
  assert.deepEqual(seen, { name: 'AbortError', meanwhile: ['loading', 'Cancel'], prompt: 'second', end: 'ready' });
});

test('cancel also ends a load', async () => {
  const page = await open('/manual.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    await import('/unigen/engine.js');
    fake.stepMs = 100;
    const loading = e.load().catch((error) => error.name);
    const before = e.matches(':state(loading)');
    e.cancel();
    return { before, name: await loading, after: e.matches(':state(idle)') };
  });
  assert.deepEqual(seen, { before: true, name: 'AbortError', after: true });
});

test('an engine that was lost and starts again makes the element ready again', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const told = [];
    await e.load();
    for (const type of ['devicelost', 'ready', 'result', 'error']) e.addEventListener(type, () => told.push(type));
    const ready = () => new Promise((resolve) => e.addEventListener('ready', () => resolve(e.matches(':state(ready)')), { once: true }));
    const idle = ready();
    fake.last.lose(true);
    const loading = e.matches(':state(loading)');
    const again = await idle;
    // In the middle of a drawing the engine itself loads the model and goes on.
    e.addEventListener('step', () => {
      fake.last.lose(true);
      fake.last.load();
    }, { once: true });
    await e.generate({ steps: 12 });
    return { told, loading, again, end: e.matches(':state(ready)') };
  });
  const told = ['devicelost', 'ready', 'devicelost', 'ready', 'result'];
  assert.deepEqual(seen, { told, loading: true, again: true, end: true });
});

test('an engine that does not start again by itself: a message, and the next call loads it', async () => {
  const page = await open('/manual.html');
  await page.evaluate(async () => {
    const e = document.querySelector('#e');
    await e.load();
    fake.last.lose(false);
  });
  await page.getByText('The graphics hardware went away. Try again').waitFor();
  await page.getByRole('button', { name: 'Load the model' }).click();
  await page.waitForFunction(() => document.querySelector('#e').matches(':state(ready)'));
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.waitForFunction(() => document.querySelector('#e').result);
});

test('failures have a code, words and a hint, once', async () => {
  const page = await open('/one.html');
  const seen = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const told = [];
    e.addEventListener('error', ({ detail: { code, text, hint } }) => told.push({ code, text, hint }));
    const empty = await e.generate({ prompt: ' ' }).catch((error) => error.code);
    const blind = await e.edit().catch((error) => error.code);
    e.image = new Blob(['no picture']);
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { empty, blind, codes: told.map(({ code }) => code), hints: told.every(({ hint, text }) => hint && text), message: e.shadowRoot.querySelector('[part=message]').textContent };
  });
  assert.deepEqual([seen.empty, seen.blind, seen.codes, seen.hints], ['text', 'image', ['text', 'image', 'image'], true]);
  assert.match(seen.message, /cannot be read/);
});

test('an edit: the brush masks, the slider compares, the result is edited next', async () => {
  const page = await open('/one.html');
  await page.evaluate(async () => {
    const e = document.querySelector('#e');
    await e.generate();
    e.mode = 'edit';
  });
  await page.getByRole('button', { name: 'Brush' }).click();
  const box = await page.locator('[part=mask]').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2 + 30, box.y + box.height / 2);
  await page.mouse.up();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.waitForFunction(() => document.querySelector('#e').result?.task === 'edit');
  const call = await page.evaluate(() => fake.calls.at(-1));
  assert.deepEqual([call.call, call.instruction, call.source], ['edit', 'a red apple', [96, 96]]);
  assert.ok(call.white > 0.01 && call.white < 0.2, String(call.white));
  assert.ok(await page.getByRole('slider', { name: 'Before and after' }).isVisible());
  const chained = await page.evaluate(() => document.querySelector('#e').image === document.querySelector('#e').result.image);
  assert.ok(chained);
  const answer = await page.evaluate(async () => (await document.querySelector('#e').describe({ question: 'what?' })).answer);
  assert.equal(answer, 'a red apple');
});

test('the brush by keyboard: moves, paints, erases, and changes its size', async () => {
  const page = await open('/one.html');
  await page.evaluate(async () => {
    const e = document.querySelector('#e');
    await e.generate();
    e.mode = 'edit';
  });
  await page.getByRole('button', { name: 'Brush' }).click();
  const mask = page.getByRole('application', { name: /^Mask\. Arrow keys/ });
  const white = async () => {
    await page.evaluate(() => document.querySelector('#e').edit({ steps: 1 }));
    const { white } = await page.evaluate(() => fake.calls.at(-1));
    await page.getByRole('button', { name: 'Brush' }).click();
    return white;
  };
  const press = async (keys) => {
    await mask.focus();
    for (const key of keys) await page.keyboard.press(key);
  };
  const dab = (width) => (Math.PI * (width / 2) ** 2) / 512 ** 2;
  const near = (part, wanted) => assert.ok(Math.abs(part - wanted) < wanted / 10, `${part} is not ${wanted}`);

  // By Tab, as any other control: the slider is hidden while the brush is out.
  await page.getByRole('button', { name: 'Brush' }).focus();
  for (let i = 0; i < 4; i++) await page.keyboard.press('Shift+Tab');
  assert.equal(await page.evaluate(() => document.querySelector('#e').shadowRoot.activeElement?.getAttribute('part')), 'mask');

  await press([' ']);
  near(await white(), dab(64));
  await press(['Enter', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowDown', ' ']);
  near(await white(), 2 * dab(64));
  await press([']', ' ']);
  near(await white(), dab(80));
  await press(['[', ' ', 'e', ' ']);
  assert.equal(await white(), undefined, 'what is erased is no mask');

  // The ring shows where the brush is, how large, and that it erases.
  const ring = () => page.evaluate(() => {
    const { style, classList, hidden } = document.querySelector('#e').shadowRoot.querySelector('.ring');
    return [style.left, style.top, style.width, classList.contains('erases'), hidden];
  });
  const [left] = await ring();
  await press(['ArrowLeft', 'E']);
  const [moved, , width, erases, hidden] = await ring();
  assert.deepEqual([Number.parseFloat(left) - Number.parseFloat(moved), width, erases, hidden], [6.25, '12.5%', true, false]);
  for (let i = 0; i < 20; i++) await press(['ArrowUp', ']']);
  assert.deepEqual((await ring()).slice(1, 3), ['0%', '50%']);
});

test('in a form: sends a file, is disabled and reset with it', async () => {
  const page = await open('/form.html');
  const seen = await page.evaluate(async () => {
    const [e, form] = [document.querySelector('#e'), document.querySelector('#f')];
    const none = new FormData(form).get('picture');
    await e.generate();
    const file = new FormData(form).get('picture');
    document.querySelector('#s').disabled = true;
    const off = e.shadowRoot.querySelector('[part=submit]').disabled;
    document.querySelector('#s').disabled = false;
    form.reset();
    return { none, kind: file.type, off, form: e.form === form, after: new FormData(form).get('picture') };
  });
  assert.deepEqual(seen, { none: null, kind: 'image/png', off: true, form: true, after: null });
});

test('a reset brings back what the page gave, and ends what is under way', async () => {
  const page = await open('/form.html');
  await page.locator('[part=prompt]').fill('typed');
  const seen = await page.evaluate(async () => {
    const [e, form] = [document.querySelector('#e'), document.querySelector('#f')];
    const typed = e.prompt;
    await e.generate();
    const drawing = e.generate({ prompt: 'another' }).catch((error) => error.name);
    form.reset();
    const name = await drawing;
    await new Promise((resolve) => setTimeout(resolve, 50));
    const shown = !e.shadowRoot.querySelector('[part=canvas]').hidden;
    return { typed, name, prompt: e.prompt, image: e.image, result: e.result, shown, sent: new FormData(form).get('picture') };
  });
  assert.deepEqual(seen, { typed: 'typed', name: 'AbortError', prompt: 'x', image: null, result: null, shown: false, sent: null });
});

test('what was typed comes back with the page', async () => {
  const page = await open('/form.html');
  await page.locator('[part=prompt]').fill('typed before');
  await page.goto(`${server.url}/empty.html`);
  await page.goBack();
  await page.waitForFunction(() => document.querySelector('#e')?.prompt === 'typed before');
  const reset = await page.evaluate(() => {
    document.querySelector('#f').reset();
    return document.querySelector('#e').prompt;
  });
  assert.equal(reset, 'x');
});

test('under a strict policy, with markup in the prompt', async () => {
  const page = await open('/strict.html');
  const seen = await page.evaluate(async () => {
    globalThis.boom = () => (globalThis.boomed = true);
    const e = document.querySelector('#e');
    await e.generate();
    const surface = getComputedStyle(e).backgroundColor;
    return { boomed: globalThis.boomed, images: e.shadowRoot.querySelectorAll('img').length, label: e.shadowRoot.querySelector('[part=canvas]').getAttribute('aria-label'), surface };
  });
  assert.deepEqual(seen, { boomed: undefined, images: 0, label: '<img src=x onerror=boom()>', surface: 'rgb(27, 27, 36)' });
  assert.deepEqual(page.problems, []);
});

test('speaks Chinese where the page does', async () => {
  const page = await open('/one.html');
  await page.evaluate(() => (document.querySelector('#e').lang = 'zh-CN'));
  assert.ok(await page.getByRole('button', { name: '生成' }).isVisible());
  const said = () => page.locator('[part=message]').textContent();
  const told = await page.evaluate(async () => {
    const e = document.querySelector('#e');
    const told = [];
    e.addEventListener('error', ({ detail }) => told.push(detail.code));
    await e.generate({ prompt: ' ' }).catch(() => {});
    return told;
  });
  assert.deepEqual([told, await said()], [['text'], '无法使用这段文字。请换一种说法。']);
  await page.evaluate(() => (document.querySelector('#e').image = new Blob(['no picture'])));
  await page.getByText('浏览器无法读取这张图片').waitFor();
});

test('what is said in one language is said in the other, for each code of the engine', async () => {
  const { words } = await import(pathToFileURL(join(site, 'unigen/element/words.js')));
  const flat = (object, path = '') => Object.entries(object).flatMap(([key, value]) => (typeof value === 'string' ? [[path + key, value]] : flat(value, `${path}${key}.`)));
  const [en, zh] = [flat(words.en), flat(words.zh)];
  assert.deepEqual(en.map(([key]) => key).sort(), zh.map(([key]) => key).sort());
  for (const [key, text] of [...en, ...zh]) assert.ok(text.length > 0, key);
  const types = await readFile(join(site, '../npm/dist/error.d.ts'), 'utf8');
  const codes = [...types.match(/type ErrorCode =([^;]*);/)[1].matchAll(/'(\w+)'/g)].map((match) => match[1]).filter((code) => code !== 'cancelled');
  assert.ok(codes.length > 10);
  for (const code of codes) assert.ok(words.zh.failures[code], code);
});

test('axe finds nothing', async () => {
  const axe = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
  const page = await open('/one.html');
  await page.evaluate(() => document.querySelector('#e').generate());
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => (await axe.run('unigen-editor')).violations.map(({ id, nodes }) => [id, nodes[0].html]));
  assert.deepEqual(violations, []);
});
