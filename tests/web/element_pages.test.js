// <unigen-editor> in the pages of others: their documents, windows, zoom, direction, dialogs, forms and colours, and what visitors bring.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import { browse, serve } from './harness.js';

const html = (body) => `<!doctype html><html lang="en"><head><title>t</title><script type="module" src="/unigen/element.js"></script></head><body>${body}</body></html>`;
const EDITOR = '<unigen-editor id="e" mode="edit" prompt="x" seed="7"></unigen-editor>';

let [server, browser, page] = [];
const pages = {};
before(async () => {
  server = await serve(pages);
  browser = await browse();
});
beforeEach(() => page?.context().close());
after(async () => {
  await browser?.close();
  server?.close();
});

/** A page with `body`, in whose scripts `e` is the element and `part(name)` a part of it. */
async function open(body = EDITOR, options = {}) {
  pages['/case.html'] = html(body);
  page = await browser.page(`${server.url}/case.html`, options);
  await page.evaluate(async () => {
    await customElements.whenDefined('unigen-editor');
    globalThis.fake = { stepMs: 5 };
    globalThis.part = (name, of = e) => of.shadowRoot.querySelector(`[part=${name}]`);
    globalThis.picture = (width = 64, height = 64) => {
      const canvas = new OffscreenCanvas(width, height);
      Object.assign(canvas.getContext('2d'), { fillStyle: 'teal' }).fillRect(0, 0, width, height);
      return canvas;
    };
    globalThis.soon = (ms = 60) => new Promise((resolve) => setTimeout(resolve, ms));
  });
  return page;
}

test('it keeps its looks in every document that it is moved to', async () => {
  const seen = await (await open(`${EDITOR}<iframe id="f"></iframe><iframe id="g" src="/case.html?2"></iframe><div id="host"></div><template id="t"><unigen-editor></unigen-editor></template>`)).evaluate(async () => {
    // Out of this document it has no name in it.
    const editor = e;
    const frame = f.contentDocument;
    const inner = frame.body.appendChild(frame.createElement('iframe')).contentDocument;
    const shadow = host.attachShadow({ mode: 'open' });
    const looks = (it) => {
      const { defaultView: view } = it.ownerDocument;
      return [view.getComputedStyle(part('submit', it)).backgroundColor, view.getComputedStyle(part('canvas', it)).position, view.getComputedStyle(part('mask', it)).display].join(' ');
    };
    const usual = looks(editor);
    const seen = {};
    const visit = (name, place, it = editor) => {
      place.append(it);
      seen[name] = looks(it) === usual;
    };
    visit('a frame', frame.body);
    visit('a frame within', inner.body);
    visit('back', document.body);
    visit('another page', g.contentDocument.body);
    visit('from frame to frame', frame.body);
    visit('another component', shadow);
    frame.adoptNode(editor);
    visit('adopted first', frame.body);
    document.implementation.createHTMLDocument('').body.append(editor);
    visit('by way of a document without a window', document.body);
    new DOMParser().parseFromString('<p>', 'text/html').body.append(editor);
    visit('by way of a parsed document', inner.body);
    visit('from a template', document.body, t.content.firstElementChild);
    visit('imported', document.body, document.importNode(t.content, true).firstElementChild ?? document.createElement('unigen-editor'));
    visit('made for a frame', frame.body, document.createElement('unigen-editor'));
    document.body.append(editor);
    return seen;
  });
  assert.equal(Object.keys(seen).length, 12);
  for (const [name, same] of Object.entries(seen)) assert.ok(same, name);
});

test('the brush paints under the pointer in zoomed, turned and scaled pages', async () => {
  const styles = [
    '', 'zoom: 2', 'zoom: .5', 'zoom: 1.25', 'transform: scale(.5); transform-origin: 0 0', 'transform: rotate(90deg); transform-origin: 180px 180px; inline-size: 360px', 'zoom: 1.5; transform: scale(.5); transform-origin: 0 0',
    'direction: rtl', 'padding: 37px 11px', 'writing-mode: vertical-rl; inline-size: 700px', 'zoom: 1.5; direction: rtl', 'position: absolute; inset-block-start: 300px', '--unigen-size: 200px; zoom: 2',
  ];
  for (const style of styles) {
    await open(`<div style="${style}">${EDITOR}</div>`, { viewport: { width: 1200, height: 1200 } });
    await page.evaluate(async () => {
      e.image = picture();
      await soon();
      part('brush').click();
    });
    const box = await page.locator('[part=mask]').boundingBox();
    await page.mouse.click(box.x + box.width / 4, box.y + box.height / 4);
    const [x, y] = await page.evaluate(() => {
      const mask = part('mask');
      const { data } = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height);
      let [x, y, all] = [0, 0, 0];
      for (let i = 0; i < data.length / 4; i++) if (data[4 * i + 3] > 127) [x, y, all] = [x + (i % mask.width), y + Math.floor(i / mask.width), all + 1];
      return [x / all / mask.width, y / all / mask.height];
    });
    // Turned to the right, what is up and left on the screen is down and left in the picture.
    const [wantX, wantY] = style.includes('rotate') ? [0.25, 0.75] : [0.25, 0.25];
    assert.ok(Math.abs(x - wantX) < 0.01 && Math.abs(y - wantY) < 0.01, `${style}: ${x}, ${y}`);
    await page.context().close();
  }
});

test('before and after meet at the thumb, whatever the direction of the page', async () => {
  for (const direction of ['ltr', 'rtl', 'auto']) {
    await open(`<div dir="${direction}">${EDITOR}</div>`);
    await page.evaluate(async () => {
      e.image = picture();
      await e.edit();
    });
    const box = await page.locator('[part=slider]').boundingBox();
    for (const at of [0.1, 0.3, 0.7, 0.9]) {
      await page.mouse.click(box.x + box.width * at, box.y + box.height / 2);
      const clip = await page.evaluate(() => Number.parseFloat(part('canvas').style.clipPath.split(' ').at(-1)));
      assert.ok(Math.abs(clip - 100 * at) < 4, `${direction}: ${clip} at ${at}`);
    }
    await page.context().close();
  }
});

test('Escape ends the work and not the dialog around it; without work it closes the dialog', async () => {
  for (const from of ['prompt', 'submit', 'open', 'brush', 'stage']) {
    for (const around of ['dialog', 'popover']) {
      await open(around === 'dialog' ? `<dialog id="d">${EDITOR}</dialog>` : `<div popover id="d">${EDITOR}</div>`);
      await page.evaluate(async (around) => {
        e.image = picture();
        if (around === 'dialog') d.showModal();
        else d.showPopover();
        await import('/unigen/engine.js');
        fake.stepMs = 300;
        globalThis.ended = e.edit().catch((error) => error.name);
      }, around);
      await page.evaluate((from) => (from === 'stage' ? part('prompt') : part(from)).focus(), from);
      await page.keyboard.press('Escape');
      const isOpen = () => page.evaluate(() => d.open || d.matches(':popover-open'));
      assert.deepEqual([await page.evaluate(() => ended), await isOpen()], ['AbortError', true], `${from} in a ${around}`);
      await page.keyboard.press('Escape');
      assert.equal(await isOpen(), false, `${from} in a ${around}, once more`);
      await page.context().close();
    }
  }
});

test('keys of an input method neither start nor end anything', async () => {
  await open();
  const keys = [
    ['Enter', { isComposing: true }, false], ['Enter', { keyCode: 229 }, false], ['Enter', { isComposing: true, keyCode: 229 }, false], ['Enter', { key: 'Process', keyCode: 229 }, false],
    ['Enter', { isComposing: true, shiftKey: true }, false], ['Enter', { keyCode: 229, code: 'NumpadEnter' }, false], ['Enter', { keyCode: 13 }, true], ['Enter', { keyCode: 13, code: 'NumpadEnter' }, true],
    [' ', { keyCode: 32 }, false], ['a', { keyCode: 229 }, false], ['Tab', { keyCode: 229, isComposing: true }, false],
  ];
  for (const [key, rest, starts] of keys) {
    const started = await page.evaluate(async ([key, rest]) => {
      e.mode = 'generate';
      part('prompt').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, composed: true, cancelable: true, ...rest }));
      await soon(0);
      const started = e.matches(':state(loading)') || e.matches(':state(running)');
      e.cancel();
      await soon();
      return started;
    }, [key, rest]);
    assert.equal(started, starts, `${key} ${JSON.stringify(rest)}`);
  }
  for (const [rest, ends] of [[{ isComposing: true }, false], [{ keyCode: 229 }, false], [{ keyCode: 27 }, true]]) {
    const name = await page.evaluate(async (rest) => {
      fake.stepMs = 60;
      const drawing = e.generate({ prompt: 'x', steps: 2 }).then(() => 'drawn', (error) => error.name);
      await soon(20);
      part('prompt').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, composed: true, cancelable: true, ...rest }));
      return drawing;
    }, rest);
    assert.equal(name, ends ? 'AbortError' : 'drawn', JSON.stringify(rest));
  }
});

test('pictures dropped anywhere on it are opened, other files are told of, and none takes the place of the page', async () => {
  await open(`<form><fieldset id="s"><unigen-editor id="e" mode="edit" prompt="x"><button slot="actions" id="own" type="button">Own</button></unigen-editor></fieldset></form>`);
  const png = [['a.png', 'image/png']];
  const drops = [
    ['the stage', 'stage', png, {}, 'a.png'], ['the toolbar', 'toolbar', png, {}, 'a.png'], ['the field', 'prompt', png, {}, 'a.png'], ['the button', 'submit', png, {}, 'a.png'],
    ['the message', 'message', png, {}, 'a.png'], ['a button of the page', 'own', png, {}, 'a.png'], ['without a type', 'stage', [['b', '']], {}, 'b'],
    ['behind another file', 'stage', [['n.txt', 'text/plain'], ['a.png', 'image/png']], {}, 'a.png'], ['of two pictures the first', 'stage', [['a.png', 'image/png'], ['b.png', 'image/png']], {}, 'a.png'],
    ['no picture', 'stage', [['n.pdf', 'application/pdf']], {}, null, /cannot be read/], ['a text', 'toolbar', [['n.txt', 'text/plain']], {}, null, /cannot be read/],
    ['to be asked about', 'stage', png, { mode: 'ask' }, 'a.png'], ['where pictures are drawn', 'stage', png, { mode: 'generate' }, null], ['where it is disabled', 'stage', png, { disabled: true }, null],
    ['where the form is disabled', 'toolbar', png, { fieldset: true }, null],
  ];
  for (const [name, target, files, { mode = 'edit', disabled = false, fieldset = false }, opened, message] of drops) {
    const seen = await page.evaluate(async ([target, files, mode, disabled, fieldset]) => {
      Object.assign(e, { mode, disabled, image: null });
      s.disabled = fieldset;
      const transfer = new DataTransfer();
      const png = await picture().convertToBlob();
      for (const [name, type] of files) transfer.items.add(new File([png], name, { type }));
      const node = target === 'own' ? own : part(target);
      const events = ['dragover', 'drop'].map((type) => new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true, composed: true }));
      const kept = events.map((event) => !node.dispatchEvent(event));
      await soon();
      return [...kept, e.image?.name ?? null, part('message').textContent];
    }, [target, files, mode, disabled, fieldset]);
    assert.deepEqual(seen.slice(0, 3), [true, true, opened], name);
    if (message) assert.match(seen[3], message, name);
  }
});

test('one file can be opened twice in a row', async () => {
  await open();
  const file = { name: 'a.png', mimeType: 'image/png', buffer: Buffer.from(await page.evaluate(async () => [...new Uint8Array(await (await picture().convertToBlob()).arrayBuffer())])) };
  for (let time = 0; time < 3; time++) {
    await page.locator('input[type=file]').setInputFiles(file);
    await page.waitForFunction(() => e.image instanceof File);
    assert.equal(await page.evaluate(async () => (await e.edit()).task), 'edit');
    assert.equal(await page.evaluate(() => e.image instanceof File), false);
  }
});

test('the focus stays in the element when what had it is gone', async () => {
  const ways = {
    'load, pressed': ['load', () => part('load').click(), '<unigen-editor id="e" loading="manual" mode="generate" prompt="x"></unigen-editor>'],
    'load of a lazy one': ['load', () => part('load').click(), '<unigen-editor id="e" prompt="x"></unigen-editor>'],
    'load, by a call': ['load', () => e.load(), '<unigen-editor id="e" loading="manual" prompt="x"></unigen-editor>'],
    'the mask, after an edit': ['mask', () => e.edit()],
    'the eraser, after an edit': ['eraser', () => e.edit()],
    'the size, after an edit': ['size', () => e.edit()],
    'the eraser, as the brush is put away': ['eraser', () => part('brush').click()],
    'the brush, as pictures are drawn now': ['brush', () => (e.mode = 'generate')],
    'the brush, without a picture': ['brush', () => (e.image = null)],
    'open, as pictures are drawn now': ['open', () => (e.mode = 'generate')],
    'the slider, while it works': ['slider', () => e.edit()],
    'save, as the result is gone': ['save', () => (e.image = picture())],
  };
  for (const [name, [from, act, body = EDITOR]] of Object.entries(ways)) {
    await open(body);
    const seen = await page.evaluate(
      async ([from, act, editing]) => {
        if (editing) {
          e.image = picture();
          await soon();
          if (from === 'slider' || from === 'save') await e.edit();
          else if (from !== 'open' && from !== 'brush') part('brush').click();
        }
        part(from).focus();
        const before = e.shadowRoot.activeElement?.getAttribute('part');
        // oxlint-disable-next-line no-eval
        await (0, eval)(`(${act})`)();
        await soon(100);
        await new Promise(requestAnimationFrame);
        return [before, document.activeElement?.id, Boolean(e.shadowRoot.activeElement)];
      },
      [from, String(act), body === EDITOR],
    );
    assert.deepEqual(seen, [from, 'e', true], name);
    await page.context().close();
  }
});

test('in forced colours progress, pressed buttons and the brush are seen', async () => {
  for (const colorScheme of ['light', 'dark']) {
    await open(EDITOR, { forcedColors: 'active', colorScheme });
    await page.evaluate(async () => {
      e.image = picture();
      await soon();
      part('brush').click();
      part('eraser').click();
    });
    const color = async (name, at) => {
      const box = await page.locator(`[part=${name}]`).boundingBox();
      const png = await page.screenshot({ clip: { x: box.x + box.width * at, y: box.y + box.height / 2, width: 1, height: 1 } });
      return page.evaluate(async (bytes) => {
        const canvas = new OffscreenCanvas(1, 1);
        canvas.getContext('2d').drawImage(await createImageBitmap(new Blob([new Uint8Array(bytes)])), 0, 0);
        return String(canvas.getContext('2d').getImageData(0, 0, 1, 1).data);
      }, [...png]);
    };
    assert.notEqual(await color('brush', 0.05), await color('open', 0.05), 'a pressed button');
    assert.notEqual(await color('eraser', 0.05), await color('open', 0.05), 'the other one');
    assert.equal(await page.evaluate(() => getComputedStyle(e.shadowRoot.querySelector('.ring')).forcedColorAdjust), 'none');
    await page.evaluate(async () => {
      await import('/unigen/engine.js');
      fake.stepMs = 5000;
      e.edit().catch(() => {});
      await soon();
      part('progress').value = 0.5;
      await soon(300);
    });
    assert.notEqual(await color('progress', 0.1), await color('progress', 0.9), 'progress');
    await page.context().close();
  }
});

test('a required one holds the form back until there is a result, and says so', async () => {
  await open('<form id="f"><fieldset id="s"><unigen-editor id="e" name="p" prompt="x" required></unigen-editor></fieldset><button id="b">Send</button></form>');
  const seen = await page.evaluate(async () => {
    const sent = [];
    f.addEventListener('submit', (event) => {
      event.preventDefault();
      sent.push(new FormData(f).get('p')?.name);
    });
    const state = () => [f.checkValidity(), e.checkValidity(), e.validity.valueMissing, e.willValidate, e.matches(':invalid'), e.validationMessage];
    const seen = { first: state() };
    b.click();
    seen.held = [...sent];
    seen.reported = e.reportValidity();
    e.mode = 'ask';
    seen.ask = e.validationMessage;
    e.lang = 'zh';
    seen.zh = e.validationMessage;
    Object.assign(e, { mode: 'generate', lang: 'en' });
    s.disabled = true;
    seen.disabled = [f.checkValidity(), e.willValidate];
    s.disabled = false;
    await e.generate();
    seen.drawn = state();
    b.click();
    seen.sent = [...sent];
    f.reset();
    seen.reset = state()[0];
    e.required = false;
    seen.optional = state()[0];
    return seen;
  });
  assert.deepEqual(seen, {
    first: [false, false, true, true, true, 'Draw a picture first.'], held: [], reported: false, ask: 'Ask a question first.', zh: '请先提问。', disabled: [true, false],
    drawn: [true, true, false, true, false, ''], sent: ['unigen.png'], reset: false, optional: true,
  });
});

test('visitors read their own words about a failure, the event has the developer\'s', async () => {
  await open('<unigen-editor id="e" prompt="x"></unigen-editor>');
  const codes = ['config', 'weights', 'text', 'image', 'device', 'io', 'network', 'integrity', 'manifest', 'memory', 'unsupported', 'notloaded', 'busy', 'protocol', 'crashed', 'devicelost', 'closed'];
  await page.evaluate(() => import('/unigen/engine.js'));
  for (const lang of ['en', 'zh']) {
    for (const code of codes) {
      const { detail, shown } = await page.evaluate(async ([code, lang]) => {
        e.lang = lang;
        fake.failure = { code, text: `https://cdn.example/model: ${code} of tensor 7`, hint: 'Run cargo xtask export.' };
        const event = new Promise((resolve) => e.addEventListener('error', resolve, { once: true }));
        await e.generate().catch(() => {});
        const { code: told, text, hint } = (await event).detail;
        return { detail: [told, text, hint], shown: part('message').textContent };
      }, [code, lang]);
      assert.deepEqual(detail, [code, `https://cdn.example/model: ${code} of tensor 7`, 'Run cargo xtask export.']);
      assert.ok(shown.length > 8 && !/cdn|tensor|cargo/.test(shown), `${code}: ${shown}`);
    }
  }
  // What comes without a code or a hint, such as a browser's own exception, has both.
  for (const error of ['new TypeError("x is not a function")', 'new DOMException("gone", "InvalidStateError")', '"text"', 'null', 'undefined', '{}', 'new RangeError("")']) {
    const detail = await page.evaluate(async (source) => {
      const { Engine } = await import('/unigen/engine.js');
      fake.failure = null;
      const { generate } = Engine.prototype;
      // oxlint-disable-next-line no-eval
      Engine.prototype.generate = () => Promise.reject((0, eval)(`(${source})`));
      const event = new Promise((resolve) => e.addEventListener('error', resolve, { once: true }));
      await e.generate().catch(() => {});
      Engine.prototype.generate = generate;
      const { code, hint } = (await event).detail;
      return [code, Boolean(hint), part('message').textContent.length > 8];
    }, error);
    assert.deepEqual(detail, ['crashed', true, true], error);
  }
});

test('before anything is drawn it says what it is, and starts by a button with a name', async () => {
  await open('<unigen-editor id="e" prompt="x"></unigen-editor>');
  assert.ok(await page.getByText('Nothing is uploaded').isVisible());
  await page.getByRole('button', { name: 'Load the model' }).click();
  await page.waitForFunction(() => e.matches(':state(ready)'));
  assert.ok(!(await page.getByRole('button', { name: 'Load the model' }).isVisible()));
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.waitForFunction(() => e.result);
  assert.ok(!(await page.getByText('Nothing is uploaded').isVisible()));
});

test('its language is that of the nearest element that says one, through other components', async () => {
  await open('<div lang="zh-TW"><div id="host"></div></div><div lang=""><unigen-editor id="e"></unigen-editor></div><p lang="zh" id="p"></p>');
  const seen = await page.evaluate(() => {
    const said = (it) => part('submit', it).textContent;
    const put = (place, lang) => {
      const it = document.createElement('unigen-editor');
      if (lang) it.lang = lang;
      place.append(it);
      return said(it);
    };
    const shadow = host.attachShadow({ mode: 'open' });
    const inner = shadow.appendChild(document.createElement('div')).attachShadow({ mode: 'open' });
    return [said(e), put(p), put(shadow), put(inner), put(inner, 'en'), put(shadow, 'de')];
  });
  assert.deepEqual(seen, ['Draw', '生成', '生成', '生成', 'Draw', 'Draw']);
});

test('pictures keep their shape, and the brush goes all over them', async () => {
  for (const [width, height] of [[64, 64], [120, 80], [80, 120], [300, 30], [30, 300], [1, 1], [4000, 100], [7, 5], [640, 480], [1080, 1920]]) {
    await open();
    await page.evaluate(async ([width, height]) => {
      e.image = picture(width, height);
      await soon(100);
      part('brush').click();
    }, [width, height]);
    const box = await page.locator('[part=mask]').boundingBox();
    assert.ok(Math.abs(box.width / box.height / (width / height) - 1) < 0.05, `${width} x ${height} is ${box.width} x ${box.height}`);
    await page.mouse.click(box.x + box.width * 0.9, box.y + box.height * 0.9);
    const call = await page.evaluate(async () => {
      await e.edit({ steps: 1 });
      return fake.calls.at(-1);
    });
    const scale = Math.min(1, 8192 / Math.max(width, height));
    assert.deepEqual(call.source, [width, height].map((side) => Math.max(1, Math.round(side * scale))));
    assert.ok(call.white > 0, `${width} x ${height}`);
    await page.context().close();
  }
});

test('the brush by buttons and by touch: size, eraser, one finger', async () => {
  await open(EDITOR, { hasTouch: true });
  await page.evaluate(async () => {
    e.image = picture(128, 128);
    await soon();
  });
  const white = () =>
    page.evaluate(() => {
      const mask = part('mask');
      const { data } = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height);
      return data.filter((value, i) => i % 4 === 3 && value > 127).length / (data.length / 4);
    });
  const near = (part, wanted) => assert.ok(Math.abs(part - wanted) < wanted / 10, `${part} is not ${wanted}`);
  const dab = (width) => (Math.PI * width * width) / 4;
  await page.getByRole('button', { name: 'Brush' }).tap();
  const box = await page.locator('[part=mask]').boundingBox();
  const tap = (x, y) => page.touchscreen.tap(box.x + box.width * x, box.y + box.height * y);
  await tap(0.5, 0.5);
  near(await white(), dab(1 / 8));
  await page.getByRole('slider', { name: 'Size of the brush' }).fill('25');
  await tap(0.5, 0.5);
  near(await white(), dab(1 / 4));
  await page.getByRole('button', { name: 'Eraser' }).tap();
  await page.getByRole('slider', { name: 'Size of the brush' }).fill('50');
  await tap(0.5, 0.5);
  assert.equal(await white(), 0);
  // A second finger and other buttons paint nothing.
  const others = await page.evaluate(async () => {
    part('eraser').click();
    const mask = part('mask');
    mask.setPointerCapture = () => {};
    const send = (type, pointerId, button = 0) => mask.dispatchEvent(new PointerEvent(type, { pointerId, button, clientX: 100, clientY: 100, bubbles: true }));
    send('pointerdown', 1, 2);
    send('pointermove', 1);
    send('pointerup', 1, 2);
    send('pointermove', 3);
    return mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data.some((value) => value > 0);
  });
  assert.equal(others, false);
});

test('axe finds nothing in any state', async () => {
  const axe = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
  const states = {
    'nothing yet': () => {},
    'by the button alone': () => (e.loading = 'manual'),
    'a picture': () => (e.image = picture()),
    'the brush': async () => { e.image = picture(); await soon(); part('brush').click(); part('eraser').click(); },
    'an edit': async () => { e.image = picture(120, 80); await e.edit(); },
    'a drawing': async () => { e.mode = 'generate'; await e.generate(); },
    'an answer': async () => { e.image = picture(); e.mode = 'ask'; await e.describe(); },
    'at work': async () => { await import('/unigen/engine.js'); fake.stepMs = 9000; e.generate().catch(() => {}); await soon(); },
    'a failure': async () => { await e.edit().catch(() => {}); },
    'disabled': () => (e.disabled = true),
    'required': () => { Object.assign(e, { required: true }); e.reportValidity(); },
    'Chinese': () => (e.lang = 'zh'),
    'dark': async () => { e.theme = 'dark'; e.image = picture(); await e.edit(); },
    'right to left': async () => { e.dir = 'rtl'; e.image = picture(); await e.edit(); },
  };
  for (const [name, act] of Object.entries(states)) {
    await open();
    await page.evaluate(async (act) => {
      // oxlint-disable-next-line no-eval
      await (0, eval)(`(${act})`)();
      await soon();
    }, String(act));
    await page.evaluate(axe);
    const found = await page.evaluate(async () => (await axe.run('unigen-editor')).violations.map(({ id, nodes }) => [id, nodes[0].html]));
    assert.deepEqual(found, [], name);
    await page.context().close();
  }
});
