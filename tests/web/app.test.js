// The demo app, with an engine that draws at once.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { deflateSync } from 'node:zlib';
import { browse, serve, site } from './harness.js';

const { recordOf, withRecord } = await import(pathToFileURL(join(site, 'unigen/png.js')));

const shots = process.env.UNIGEN_SHOTS ?? new URL('../../target/web-shots/', import.meta.url).pathname;

let [server, browser] = [];
before(async () => {
  await mkdir(shots, { recursive: true });
  [server, browser] = [await serve(), await browse()];
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function open(options) {
  const page = await browser.page(`${server.url}/`, options);
  await page.locator('.model.ready').waitFor();
  return page;
}

async function draw(page, prompt) {
  await page.getByLabel('What should it show?').fill(prompt);
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('img', { name: prompt }).first().waitFor();
}

const shown = (page) => page.locator('.frame > .picture');
/** What the visitor asked of the engine: without the model's looks at its own pictures. */
const calls = (page) => page.evaluate(() => fake.calls.filter(({ question }) => question !== 'describe the picture.'));

test('draw, edit under the brush, compare, undo and redo, ask', async () => {
  const page = await open();
  await page.getByRole('button', { name: 'a photo of a red apple' }).click();
  await page.getByLabel('Seed', { exact: true }).fill('41');
  await page.getByLabel('Seed', { exact: true }).blur();
  await page.getByLabel('Steps').fill('3');
  await page.getByLabel('What should it show?').press('Control+Enter');
  await shown(page).waitFor();
  const [, drawing] = await calls(page);
  assert.deepEqual([drawing.prompt, drawing.seed, drawing.steps], ['a photo of a red apple', 41, 3]);

  await page.getByRole('radio', { name: 'Edit', exact: true }).check();
  await page.getByLabel('What should change?').fill('make the background blue');
  await page.getByRole('button', { name: 'Brush' }).click();
  // By keyboard: a dab, a step to the right, another.
  await page.locator('canvas.mask').focus();
  for (const key of [' ', 'ArrowRight', ' ']) await page.keyboard.press(key);
  await page.screenshot({ path: `${shots}brush.png` });
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByRole('slider', { name: 'Compare with before' }).waitFor();
  const edit = (await calls(page)).at(-1);
  assert.deepEqual([edit.call, edit.instruction, edit.source], ['edit', 'make the background blue', [96, 96]]);
  assert.ok(edit.white > 0.01 && edit.white < 0.2, String(edit.white));
  await page.screenshot({ path: `${shots}compare.png` });

  const alt = () => shown(page).getAttribute('alt');
  assert.equal(await alt(), 'make the background blue');
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.equal(await alt(), 'a photo of a red apple');
  await page.getByRole('button', { name: 'Redo' }).click();
  assert.equal(await alt(), 'make the background blue');

  await page.getByRole('radio', { name: 'Ask', exact: true }).check();
  await page.getByRole('button', { name: 'what is in the picture?' }).click();
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByText('a red apple', { exact: true }).waitFor();
  assert.deepEqual(page.problems, []);
});

test('what is painted is drawn from the prompt, and nothing else', async () => {
  const page = await open();
  await draw(page, 'a photo of a red apple');
  await page.getByRole('button', { name: 'Brush' }).click();
  await page.locator('canvas.mask').focus();
  await page.keyboard.press(' ');
  await page.getByLabel('What should it show?').fill('an apple with a worm');
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('slider', { name: 'Compare with before' }).waitFor();
  const fill = (await calls(page)).at(-1);
  assert.deepEqual([fill.call, fill.prompt, fill.source], ['inpaint', 'an apple with a worm', [96, 96]]);
  assert.ok(fill.white > 0.005 && fill.white < 0.2, String(fill.white));
  // Without paint it is a new picture again.
  await draw(page, 'a dog');
  assert.equal((await calls(page)).at(-1).call, 'generate');
  assert.deepEqual(page.problems, []);
});

test('strokes are taken back one by one, by key and by button, before pictures are', async () => {
  const page = await open();
  await draw(page, 'a dog');
  await draw(page, 'a cat');
  await page.getByRole('button', { name: 'Brush' }).click();
  const painted = () => page.locator('canvas.mask').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 127).length;
  });
  const box = await page.locator('canvas.mask').boundingBox();
  const stroke = async (x, y) => {
    await page.mouse.move(box.x + box.width * x, box.y + box.height * y);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * (x + 0.1), box.y + box.height * y, { steps: 3 });
  };
  await stroke(0.2, 0.2);
  await page.mouse.up();
  const one = await painted();
  await stroke(0.6, 0.6);
  const two = await painted();
  assert.ok(one > 0 && two > one);
  // In the middle of a stroke.
  await page.keyboard.press('Control+z');
  assert.equal(await painted(), one);
  await page.mouse.move(box.x + box.width * 0.8, box.y + box.height * 0.8);
  assert.equal(await painted(), one);
  await page.mouse.up();
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.equal(await painted(), 0);
  assert.equal(await shown(page).getAttribute('alt'), 'a cat');
  await page.locator('canvas.mask').focus();
  await page.keyboard.press('Control+z');
  assert.equal(await shown(page).getAttribute('alt'), 'a dog');
  assert.deepEqual(page.problems, []);
});

test('a photograph keeps its size and shape, and the app says what an edit does to it', async () => {
  const page = await open();
  const photo = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(600, 400);
    canvas.getContext('2d').fillRect(0, 0, 300, 400);
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg' })).arrayBuffer())];
  });
  await drop(page, photo, 'image/jpeg');
  await shown(page).waitFor();
  await page.waitForFunction(() => document.querySelector('.frame > .picture').naturalWidth === 600);
  const { width, height } = await page.locator('.board').boundingBox();
  assert.ok(Math.abs(width / height - 1.5) < 0.02, `${width} x ${height}`);
  // Of the whole picture only the middle comes back, small: said before, with the other way.
  await page.getByText('its middle square, in 96 × 96').waitFor();
  await page.getByRole('button', { name: 'Paint over what may change instead' }).click();
  await page.locator('canvas.mask').focus();
  await page.keyboard.press(' ');
  assert.equal(await page.locator('.whole').count(), 0);
  await page.getByLabel('What should change?').fill('make it red');
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByRole('slider', { name: 'Compare with before' }).waitFor();
  const edit = (await calls(page)).at(-1);
  assert.deepEqual(edit.source, [600, 400]);
  assert.ok(edit.white > 0.005 && edit.white < 0.1, String(edit.white));
  // The file of the photograph is still the one that was dropped.
  await page.locator('.thumb').nth(1).click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download as PNG', exact: true }).click()]);
  assert.equal(download.suggestedFilename(), 'unigen.jpg');
  assert.deepEqual([...(await readFile(await download.path()))], photo);
  assert.deepEqual(page.problems, []);
});

test('several dropped files all open', async () => {
  const page = await open();
  const transfer = await page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const [i, content] of files.entries()) data.items.add(new File([Uint8Array.from(content)], `${i}.png`, { type: 'image/png' }));
    return data;
  }, [[...png()], [...png()], [...png()]]);
  await page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 3);
});

test('words that the model has not learned are named before drawing, with what it knows', async () => {
  const page = await open();
  await page.getByLabel('What should it show?').fill('a dragon and an aple');
  const told = page.locator('.unknown');
  await told.getByText('This model has not learned:').waitFor();
  assert.equal(await told.locator('strong').textContent(), '“dragon”, “aple”');
  await page.screenshot({ path: `${shots}unknown.png` });
  await told.getByRole('button', { name: 'aple → apple' }).click();
  assert.equal(await page.getByLabel('What should it show?').inputValue(), 'a dragon and an apple');
  await page.waitForFunction(() => document.querySelector('.unknown strong')?.textContent === '“dragon”');
  await told.getByText('What it knows').click();
  await told.getByText('apple, dog, a, photo').waitFor();
  await page.getByLabel('What should it show?').fill('a dog');
  await told.waitFor({ state: 'detached' });
  assert.equal((await calls(page)).length, 1);
});

test('after drawing the model looks at its picture, says what is missing, and tries again', async () => {
  const page = await open();
  await page.getByLabel('Seed', { exact: true }).fill('41');
  await page.getByLabel('Seed', { exact: true }).blur();
  await draw(page, 'a red apple');
  await page.locator('.seen').getByText('a red apple').waitFor();
  assert.equal(await page.locator('.seen.lacks').count(), 0);
  await draw(page, 'two red apples and a dog');
  await page.locator('.seen.lacks').getByText('“two”, “dog”').waitFor();
  await page.screenshot({ path: `${shots}missing.png`, fullPage: true });
  const { seed } = (await calls(page)).at(-1);
  await page.evaluate(() => (fake.answer = 'two red apples and a dog'));
  await page.getByRole('button', { name: 'Try again with another seed' }).click();
  await page.locator('.seen:not(.lacks)').getByText('two red apples and a dog').waitFor();
  const again = (await calls(page)).at(-1);
  assert.equal(again.prompt, 'two red apples and a dog');
  assert.notEqual(again.seed, seed);
  // It is kept with the picture.
  await page.reload();
  await page.locator('.seen:not(.lacks)').getByText('two red apples and a dog').waitFor();
  assert.deepEqual(page.problems, []);
});

test('pictures greet, and choosing one takes its prompt and seed', async () => {
  const page = await open();
  const pictures = page.locator('.gallery button');
  assert.ok((await pictures.count()) >= 8);
  const sizes = await page.locator('.gallery img').evaluateAll((images) => Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth))));
  assert.ok(sizes.every((width) => width === 96), String(sizes));
  const examples = JSON.parse(await readFile(new URL('../../web/app/examples.json', import.meta.url), 'utf8')).generate;
  await pictures.nth(2).click();
  assert.equal(await page.getByLabel('What should it show?').inputValue(), examples[2].prompt);
  await page.getByRole('button', { name: 'Draw' }).click();
  await shown(page).waitFor();
  const { prompt, seed } = (await calls(page)).at(-1);
  assert.deepEqual([prompt, seed], [examples[2].prompt, examples[2].seed]);
  assert.equal(await page.locator('.gallery').count(), 0);
});

test('an address brings prompt, seed and task; a link to share does so elsewhere', async () => {
  const context = await browser.page(`${server.url}/?prompt=a%20blue%20dog&seed=77`, { permissions: ['clipboard-read', 'clipboard-write'] });
  await context.locator('.model.ready').waitFor();
  assert.equal(await context.getByLabel('What should it show?').inputValue(), 'a blue dog');
  assert.equal(await context.getByLabel('Seed', { exact: true }).inputValue(), '77');
  await context.getByRole('radio', { name: 'Edit', exact: true }).check();
  await context.getByLabel('What should change?').fill('make it red & 20% larger');
  await context.getByRole('button', { name: 'Copy a link to this text and seed' }).click();
  await context.getByText('The link is copied.').first().waitFor();
  const address = await context.evaluate(() => navigator.clipboard.readText());
  const other = await browser.page(address);
  await other.locator('.model.ready').waitFor();
  assert.equal(await other.getByLabel('What should change?').inputValue(), 'make it red & 20% larger');
  assert.equal(await other.getByLabel('Seed', { exact: true }).inputValue(), '77');
  // Nonsense is no seed.
  const nonsense = await browser.page(`${server.url}/?seed=-1e99&mode=fly&prompt=`);
  await nonsense.locator('.model.ready').waitFor();
  assert.match(await nonsense.getByLabel('Seed', { exact: true }).inputValue(), /^\d{1,6}$/);
});

test('what was typed survives a reload', async () => {
  const page = await open();
  await page.getByLabel('What should it show?').fill('half a sentence about a');
  await page.getByRole('radio', { name: 'Edit', exact: true }).check();
  await page.getByLabel('What should change?').fill('and half an edit');
  const seed = await page.getByLabel('Seed', { exact: true }).inputValue();
  await page.reload();
  await page.locator('.model.ready').waitFor();
  assert.equal(await page.getByLabel('What should change?').inputValue(), 'and half an edit');
  assert.equal(await page.getByLabel('Seed', { exact: true }).inputValue(), seed);
  await page.getByRole('radio', { name: 'Generate', exact: true }).check();
  assert.equal(await page.getByLabel('What should it show?').inputValue(), 'half a sentence about a');
});

test('a picture of the history brings back how it was made, and more like it have the seeds that follow', async () => {
  const page = await open();
  await page.getByLabel('Seed', { exact: true }).fill('41');
  await page.getByLabel('Seed', { exact: true }).blur();
  await page.getByLabel('Steps').fill('3');
  await page.getByLabel('Without (led away from)').fill('a cat');
  await draw(page, 'a red car');
  assert.equal((await calls(page)).at(-1).negative, 'a cat');
  await page.getByLabel('Steps').fill('5');
  await page.getByLabel('Without (led away from)').fill('');
  await draw(page, 'a blue car');
  await page.locator('.thumb').nth(1).click();
  await page.locator('.made').getByText('Seed 41').waitFor();
  await page.getByRole('button', { name: 'Use its text and settings' }).click();
  assert.equal(await page.getByLabel('What should it show?').inputValue(), 'a red car');
  assert.equal(await page.getByLabel('Seed', { exact: true }).inputValue(), '41');
  assert.equal(await page.getByLabel('Steps').inputValue(), '3');
  assert.equal(await page.getByLabel('Without (led away from)').inputValue(), 'a cat');
  await page.getByRole('button', { name: 'Four more like it' }).click();
  await page.locator('.choice').nth(3).waitFor();
  const { prompt, seed, count, steps } = (await calls(page)).at(-1);
  assert.deepEqual([prompt, seed, count, steps], ['a red car', 42, 4, 3]);
});

test('zoom by buttons and wheel, moving, and painting where one looks', async () => {
  const page = await open();
  await draw(page, 'a dog');
  const frame = page.locator('.frame');
  const box = () => frame.boundingBox();
  const before = await box();
  await page.getByRole('button', { name: 'Look closer' }).click();
  const closer = await box();
  assert.ok(Math.abs(closer.width / before.width - 1.5) < 0.01);
  await page.mouse.move(before.x + 20, before.y + 20);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -100);
  await page.keyboard.up('Control');
  const closest = await box();
  assert.ok(closest.width > closer.width);
  await page.mouse.down();
  await page.mouse.move(before.x + 80, before.y + 60, { steps: 4 });
  await page.mouse.up();
  const moved = await box();
  assert.ok(moved.x >= closest.x && moved.width === closest.width);
  // The board stays full.
  assert.ok(moved.x <= before.x + 1 && moved.x + moved.width >= before.x + before.width - 1);
  await page.getByRole('button', { name: 'Brush' }).click();
  await page.mouse.click(before.x + before.width / 2, before.y + before.height / 2);
  const ring = await page.locator('.ring').boundingBox();
  assert.ok(Math.abs(ring.x + ring.width / 2 - (before.x + before.width / 2)) < 3, JSON.stringify(ring));
  for (let i = 0; i < 8; i++) {
    const farther = page.getByRole('button', { name: 'Look from farther away' });
    if (await farther.isEnabled()) await farther.click();
  }
  assert.deepEqual(await box(), before);
});

test('deleted pictures come back', async () => {
  const page = await open();
  for (const prompt of ['one', 'two', 'three']) await draw(page, prompt);
  const alts = () => page.locator('.thumb img').evaluateAll((images) => images.map(({ alt }) => alt));
  await page.getByRole('button', { name: 'Delete: two' }).focus();
  await page.keyboard.press('Enter');
  await page.getByText('Deleted pictures: 1').waitFor();
  assert.deepEqual(await alts(), ['three', 'one']);
  await page.getByRole('button', { name: 'Bring back' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 3);
  assert.deepEqual(await alts(), ['three', 'two', 'one']);
  await page.getByRole('button', { name: 'Delete all' }).click();
  await page.getByText('Deleted pictures: 3').waitFor();
  assert.deepEqual(await alts(), []);
  await page.getByRole('button', { name: 'Bring back' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 3);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 3);
  assert.deepEqual(await alts(), ['three', 'two', 'one']);
});

test('tabs share the history', async () => {
  const page = await open();
  await draw(page, 'one');
  const other = await page.context().newPage();
  await other.goto(server.url);
  await other.locator('.model.ready').waitFor();
  await other.getByLabel('What should it show?').fill('two');
  await other.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('img', { name: 'two' }).first().waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 2);
  // What is on the stage of each stays.
  assert.equal(await shown(page).getAttribute('alt'), 'one');
  await page.getByRole('button', { name: 'Delete: two' }).focus();
  await page.keyboard.press('Enter');
  await other.waitForFunction(() => document.querySelectorAll('.thumb').length === 1);
  await other.locator('.gallery').waitFor();
});

test('a picture is downloaded larger, with its record', async () => {
  const page = await open();
  await draw(page, 'a dog');
  await page.locator('summary[aria-label="Download it larger"]').click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download as PNG 4×' }).click()]);
  const file = await readFile(await download.path());
  assert.deepEqual([file.readUInt32BE(16), file.readUInt32BE(20)], [384, 384]);
  assert.equal(recordOf(file).prompt, 'a dog');
});

test('what computes can be chosen, and is remembered', async () => {
  const page = await open();
  await page.getByRole('button', { name: 'Device' }).click();
  await page.getByRole('radio', { name: 'Processor' }).check();
  await page.waitForFunction(() => fake.engines === 2 && fake.closed === 1);
  assert.equal(await page.evaluate(() => fake.last.options.backend), 'cpu');
  await page.locator('.model.ready').waitFor();
  await page.reload();
  await page.locator('.model.ready').waitFor();
  assert.equal(await page.evaluate(() => fake.last.options.backend), 'cpu');
});

test('the focus stays on the button that becomes Cancel', async () => {
  const page = await open();
  await page.getByLabel('What should it show?').fill('a bus');
  await page.evaluate(() => (fake.stepMs = 300));
  await page.getByRole('button', { name: 'Draw' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Cancel' }).waitFor();
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  assert.match(await focused(), /^Cancel/);
  await page.keyboard.press('Enter');
  await page.getByText('Cancelled.').first().waitFor();
  assert.match(await focused(), /^Draw/);
  assert.equal((await calls(page)).filter(({ call }) => call === 'generate').length, 1);
});

test('the prompt is in reach on a phone and at 200 % zoom, and nothing runs over the side', async () => {
  for (const [name, viewport] of [['phone', { width: 390, height: 844 }], ['zoomed', { width: 640, height: 450 }]]) {
    const page = await open({ viewport });
    await draw(page, 'a dog');
    for (const at of [0, 0.5, 1]) {
      await page.evaluate((part) => scrollTo(0, part * document.documentElement.scrollHeight), at);
      const ask = await page.locator('#prompt').boundingBox();
      const button = await page.locator('.run .primary').boundingBox();
      for (const box of [ask, button]) assert.ok(box.y >= 0 && box.y + box.height <= viewport.height, `${name} ${at} ${JSON.stringify(box)}`);
    }
    await page.evaluate(() => scrollTo(0, 0));
    const picture = await page.locator('.board').boundingBox();
    assert.ok(picture.y + picture.height / 2 < viewport.height, JSON.stringify(picture));
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name);
    await page.screenshot({ path: `${shots}reach-${name}.png` });
  }
});

test('extending the canvas keeps the picture and draws around it', async () => {
  const page = await open();
  await draw(page, 'a dog');
  await page.getByRole('radio', { name: 'Edit', exact: true }).check();
  await page.getByLabel('What should change?').fill('add a cat');
  await page.locator('summary[aria-label="Extend the canvas"]').click();
  await page.getByRole('button', { name: 'bottom left' }).click();
  await page.screenshot({ path: `${shots}extend.png` });
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByRole('img', { name: 'add a cat' }).first().waitFor();
  // The picture keeps its pixels, so the canvas grows.
  const { source, white } = (await calls(page)).at(-1);
  assert.deepEqual(source, [144, 144]);
  assert.ok(Math.abs(white - (1 - 1 / 2.25)) < 0.01, String(white));
});

test('several pictures: one is chosen', async () => {
  const page = await open();
  await page.getByRole('radio', { name: '4', exact: true }).check();
  await page.getByLabel('What should it show?').fill('four cats');
  await page.evaluate(() => (fake.stepMs = 60));
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.locator('.preview canvas').nth(3).waitFor();
  await page.waitForTimeout(250);
  await page.screenshot({ path: `${shots}steps.png` });
  await page.locator('.choice').nth(3).waitFor();
  await page.locator('.choice').nth(2).click();
  assert.equal(await shown(page).count(), 1);
  assert.equal(await page.locator('.thumb').count(), 4);
});

test('cancel: by button and by key; the next drawing works', async () => {
  const page = await open();
  await page.getByLabel('What should it show?').fill('a bus');
  for (const stop of [() => page.getByRole('button', { name: 'Cancel' }).click(), () => page.keyboard.press('Escape')]) {
    await page.evaluate(() => (fake.stepMs = 3000));
    await page.getByRole('button', { name: 'Draw' }).click();
    await stop();
    await page.getByRole('button', { name: 'Draw' }).waitFor();
    await page.getByText('Cancelled.').first().waitFor();
  }
  await page.evaluate(() => (fake.stepMs = 5));
  await draw(page, 'a bus');
});

test('Escape closes an open dialog and nothing else', async () => {
  const page = await open();
  await page.evaluate(() => (fake.stepMs = 400));
  await page.getByLabel('What should it show?').fill('a bus');
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('button', { name: 'Device' }).click();
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog:not([open])').waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Cancel' }).waitFor();
  await shown(page).waitFor();
  assert.equal(await shown(page).getAttribute('alt'), 'a bus');
});

test('the status says what is being done', async () => {
  const page = await open();
  const status = (text) => page.locator('.status', { hasText: text }).waitFor();
  await page.evaluate(() => (fake.stepMs = 500));
  await page.getByLabel('Steps').fill('2');
  await page.getByLabel('What should it show?').fill('a bus');
  await page.getByRole('button', { name: 'Draw' }).click();
  await status('Reading …');
  await status('Step 1 / 2');
  await shown(page).waitFor();
  await page.evaluate(() => (fake.stepMs = 5));
  // The engine is given time after its last step.
  await page.evaluate(() => {
    const { generate } = Object.getPrototypeOf(fake.last);
    fake.last.generate = async function (...request) {
      const drawing = await generate.apply(this, request);
      await new Promise((resolve) => setTimeout(resolve, 500));
      return drawing;
    };
  });
  await page.getByRole('button', { name: 'Draw' }).click();
  await status('Finishing the picture');
  await status('The picture is drawn.');
});

test('the bar shows the whole call, and never falls', async () => {
  const page = await open();
  await draw(page, 'a bus');
  await page.getByRole('radio', { name: 'Edit', exact: true }).check();
  await page.getByLabel('What should change?').fill('make it red');
  await page.evaluate(() => {
    fake.stepMs = 50;
    const bar = document.querySelector('.run progress');
    globalThis.shown = [];
    setInterval(() => bar.classList.contains('idle') || shown.push(bar.value), 5);
  });
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByRole('slider', { name: 'Compare with before' }).waitFor();
  const shown = await page.evaluate(() => globalThis.shown);
  assert.deepEqual(shown, shown.toSorted((a, b) => a - b));
  // Each step, and the pixels after the last one.
  assert.ok(new Set(shown).size >= 6 && shown.at(-1) >= 0.9, String(shown));
});

test('a drawing that is asked for while the engine starts waits for that one', async () => {
  const page = await open();
  await page.addInitScript(() => (globalThis.fake = { startMs: 500 }));
  await page.reload();
  await page.getByLabel('What should it show?').fill('a bus');
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('img', { name: 'a bus' }).first().waitFor();
  assert.equal(await page.evaluate(() => fake.engines), 1);
  assert.deepEqual((await calls(page)).map(({ call }) => call), ['load', 'generate']);
});

test('a seed that is none is put back, and the page says why', async () => {
  const page = await open();
  const seed = page.getByLabel('Seed', { exact: true });
  const type = async (text) => {
    await seed.fill(text);
    await seed.blur();
  };
  await type('41');
  for (const text of ['-5', '1.5', '9007199254740992', '']) {
    await type(text);
    await page.locator('.status', { hasText: 'a whole number' }).waitFor();
    assert.equal(await seed.inputValue(), '41', text);
  }
  await type('42');
  assert.equal((await page.locator('.status').textContent()).trim(), '');
  await draw(page, 'a bus');
  assert.equal((await calls(page)).at(-1).seed, 42);
});

test('the history survives a reload, and so does undo', async () => {
  const page = await open();
  await draw(page, 'a red car');
  await draw(page, 'a blue car');
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await page.locator('.thumb').nth(1).waitFor();
  assert.equal(await shown(page).getAttribute('alt'), 'a blue car');
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.equal(await shown(page).getAttribute('alt'), 'a red car');
  await page.getByRole('button', { name: 'Delete: a red car' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 1);
  await page.reload();
  await page.locator('.thumb').first().waitFor();
  assert.equal(await page.locator('.thumb').count(), 1);
});

test('the oldest pictures make room, and undo never leads to one that is gone', async () => {
  const page = await open();
  await draw(page, 'a red car');
  // As after many visits: a full history, and steps to undo of which one led to a picture that is no longer there.
  await page.evaluate(async () => {
    const request = indexedDB.open('unigen', 1);
    await new Promise((resolve) => (request.onsuccess = resolve));
    const transaction = request.result.transaction('pictures', 'readwrite');
    const pictures = transaction.objectStore('pictures');
    const all = pictures.getAll();
    all.onsuccess = () => {
      const [{ blob, entry }] = all.result;
      for (let id = 1; id < 205; id++) pictures.put({ id, blob, entry: { ...entry, record: { ...entry.record, prompt: `number ${id}` } } });
    };
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    request.result.close();
    const saved = JSON.parse(localStorage.getItem('unigen-app'));
    localStorage.setItem('unigen-app', JSON.stringify({ ...saved, past: [0.5, 3, 150] }));
  });
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 200);
  await draw(page, 'a blue car');
  await page.waitForFunction(() => document.querySelectorAll('.thumb').length === 200);
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await page.locator('.thumb').nth(199).waitFor();
  assert.equal(await page.locator('.thumb').count(), 200);
  const alts = [];
  for (const undo = page.getByRole('button', { name: 'Undo' }); await undo.isEnabled(); ) {
    await undo.click();
    alts.push(await shown(page).getAttribute('alt'));
  }
  assert.deepEqual(alts, ['a red car', 'number 150']);
});

test('a picture that is opened before the history is there stays', async () => {
  const page = await open();
  await draw(page, 'a red car');
  // IndexedDB answers late.
  await page.addInitScript(() => {
    const { getAll } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.getAll = function () {
      const request = getAll.call(this);
      const { transaction } = this;
      const wait = () => globalThis.answered || (transaction.objectStore('pictures').count().onsuccess = wait);
      wait();
      return request;
    };
  });
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await drop(page, withRecord(png(), { task: 'generate', prompt: 'early', seed: 5 }));
  const thumbs = (count) => page.waitForFunction((wanted) => document.querySelectorAll('.thumb').length === wanted, count);
  await thumbs(1);
  await page.evaluate(() => (globalThis.answered = true));
  await thumbs(2);
  await page.getByRole('img', { name: 'early' }).nth(1).waitFor();
  assert.equal(await shown(page).getAttribute('alt'), 'early');
});

test('deleting keeps the focus in the history', async () => {
  const page = await open();
  for (const prompt of ['one', 'two', 'three']) await draw(page, prompt);
  const focused = () => page.evaluate(() => document.activeElement.querySelector('img')?.alt ?? document.activeElement.id);
  const thumbs = (count) => page.waitForFunction((wanted) => document.querySelectorAll('.thumb').length === wanted, count);
  const settled = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  // Newest first: the next older one takes the place, in the end the next newer one.
  for (const [remove, left, next] of [['two', 2, 'one'], ['one', 1, 'three'], ['three', 0, 'history-title']]) {
    await page.getByRole('button', { name: `Delete: ${remove}` }).focus();
    await page.keyboard.press('Enter');
    await thumbs(left);
    await settled();
    assert.equal(await focused(), next);
  }
});

test('an answer that comes when another picture is on the stage is there when its own is back', async () => {
  const page = await open();
  await draw(page, 'a red car');
  await draw(page, 'a blue car');
  await page.getByRole('radio', { name: 'Ask', exact: true }).check();
  await page.getByRole('button', { name: 'what is in the picture?' }).click();
  await page.evaluate(() => (fake.stepMs = 600));
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.locator('.answer').waitFor();
  await page.locator('.thumb').nth(1).click();
  assert.equal(await page.locator('.answer').count(), 0);
  await page.getByRole('button', { name: 'Ask' }).waitFor();
  assert.equal(await page.locator('.answer').count(), 0);
  await page.locator('.thumb').nth(0).click();
  assert.equal(await page.locator('.answer').textContent(), 'a red apple');
  // Said once, whole.
  assert.equal(await page.locator('[aria-live]').count(), 0);
  await page.getByRole('status').filter({ hasText: 'what is in the picture? a red apple' }).waitFor();
});

test('a downloaded file brings its settings back when it is dropped', async () => {
  const page = await open();
  await page.getByLabel('Seed', { exact: true }).fill('77');
  await page.getByLabel('Seed', { exact: true }).blur();
  await draw(page, 'a green umbrella');
  // By keyboard, as any other button.
  await page.getByRole('button', { name: 'Download as PNG', exact: true }).focus();
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Space')]);
  assert.equal(download.suggestedFilename(), 'unigen-77.png');
  const file = await readFile(await download.path());
  const other = await open();
  await drop(other, file);
  await other.getByText("The picture's prompt and settings are restored.").first().waitFor();
  assert.equal(await other.getByLabel('What should it show?').inputValue(), 'a green umbrella');
  assert.equal(await other.getByLabel('Seed', { exact: true }).inputValue(), '77');
});

test('a filled picture comes back as one, and settings of a drawing are no settings of edits', async () => {
  const page = await open();
  const record = { task: 'inpaint', prompt: 'a worm', seed: 9, model: 'other', modelHash: '0abc', steps: 2, guidance: 9 };
  await drop(page, withRecord(png(), record));
  // The model of the file is not the one that is loaded.
  await page.locator('.status', { hasText: 'Another model drew it: other' }).waitFor();
  assert.equal(await shown(page).getAttribute('alt'), 'a worm');
  assert.equal(await page.getByRole('radio', { name: 'Generate', exact: true }).isChecked(), true);
  assert.equal(await page.getByLabel('Steps').inputValue(), '2');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download as PNG', exact: true }).click()]);
  assert.deepEqual(recordOf(await readFile(await download.path())), record);

  await page.getByRole('radio', { name: 'Edit', exact: true }).check();
  assert.equal(await page.getByLabel('Steps').inputValue(), '6');
  await page.getByLabel('What should change?').fill('make it blue');
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByRole('slider', { name: 'Compare with before' }).waitFor();
  const edit = (await calls(page)).at(-1);
  assert.deepEqual([edit.call, edit.steps, edit.guidance], ['edit', undefined, undefined]);
});

test('hostile files: nothing is interpreted, nothing breaks', async () => {
  const page = await open();
  const markup = '<img src=x onerror="globalThis.boomed = true"><script>boomed = true</script>';
  await page.evaluate(() => (fake.stepMs = 1));
  await drop(page, withRecord(png(), { task: 'generate', prompt: markup, seed: 5, model: markup }));
  await page.getByLabel('What should it show?').waitFor();
  await page.waitForFunction((text) => document.querySelector('#prompt').value === text, markup);
  const damaged = withRecord(png(), { task: 'generate', prompt: 'damaged', seed: 6 });
  damaged[70] ^= 1;
  const endless = png();
  new DataView(endless.buffer).setUint32(33, 0xffffffff);
  const absurd = withRecord(png(), { task: 'rule', prompt: 'x'.repeat(1e6), seed: -1, steps: 1e9, guidance: 'NaN' });
  for (const file of [damaged, endless, absurd, png().subarray(0, 20), new TextEncoder().encode('no picture')]) await drop(page, file);
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => globalThis.boomed), undefined);
  assert.equal(await page.locator('img[src=x]').count(), 0);
  assert.notEqual(await page.getByLabel('Seed', { exact: true }).inputValue(), '6');
  await page.getByText('This file is not a picture').first().waitFor();
  await page.getByRole('radio', { name: 'Generate', exact: true }).check();
  await draw(page, markup);
  assert.deepEqual(page.problems, []);
});

test('a failure says what to do, and the page goes on', async () => {
  const page = await browser.page(`${server.url}/`);
  await page.locator('.model').waitFor();
  await page.getByRole('button', { name: 'Draw' }).click();
  await page.getByRole('alert').getByText('There is no text yet. Write some, or choose an example.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt');
  await page.getByRole('button', { name: 'Dismiss' }).click();
  assert.equal(await page.locator('.notice').count(), 0);
});

test('a model that cannot be loaded, or was lost, can be tried again', async () => {
  const page = await open();
  const lose = () => page.evaluate(() => {
    fake.last.model = null;
    fake.last.dispatchEvent(new CustomEvent('devicelost', { detail: { reason: 'test', recovering: false } }));
  });
  await lose();
  await page.getByRole('alert').getByText('The GPU was lost. Try again').waitFor();
  await page.locator('.model.failed').waitFor();
  // Also when nobody looks at the message any more.
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.evaluate(() => (fake.failure = { code: 'network', text: 'The model is out of reach.', hint: 'Go online.' }));
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('alert').getByText('The model is out of reach. Go online.').waitFor();
  await page.evaluate(() => (fake.failure = undefined));
  await page.getByRole('alert').getByRole('button', { name: 'Try again' }).click();
  await page.locator('.model.ready').waitFor();
  assert.equal(await page.locator('.notice').count(), 0);
  // Drawing tries by itself.
  await lose();
  await draw(page, 'a bus');
  await page.locator('.model.ready').waitFor();
});

test('a deleted model is not claimed, and comes again with the next drawing', async () => {
  const page = await open();
  await page.getByRole('button', { name: 'Device' }).click();
  await page.getByRole('button', { name: 'Delete the kept model' }).click();
  await page.locator('.model:not(.ready)').getByText('No model').waitFor();
  assert.match(await page.locator('dialog dl').textContent(), /No model/);
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await draw(page, 'a bus');
  await page.locator('.model.ready').waitFor();
  assert.deepEqual((await calls(page)).map(({ call }) => call), ['load', 'load', 'generate']);
});

test('where the processor computes the page says why, also in Chinese', async () => {
  for (const [locale, name, said, device] of [
    ['en', 'Device', 'fake · CPU: no WebGPU here', 'Nothing but a processor.'],
    ['zh-CN', '设备', 'fake · 处理器：这里没有 WebGPU', '这里没有 WebGPU'],
  ]) {
    const page = await open({ locale });
    await page.evaluate(() => {
      const { capabilities } = Object.getPrototypeOf(fake.last);
      fake.last.capabilities = async () => ({ ...(await capabilities()), backend: 'cpu', reason: 'Nothing but a processor.', adapter: undefined });
    });
    await page.locator('[aria-haspopup=dialog]').click();
    await page.locator('.model').getByText(said).waitFor();
    await page.locator('dialog dd').getByText(device, { exact: true }).waitFor();
    assert.equal(await page.locator('[aria-haspopup=dialog]').getAttribute('aria-label'), name);
  }
});

test('failures in Chinese: what happened and what to do, and what the engine says', async () => {
  const page = await open({ locale: 'zh-CN' });
  await page.evaluate(() => {
    fake.last.generate = async () => {
      throw Object.assign(new Error('The prompt is too long.'), { code: 'text', hint: 'Shorten it.' });
    };
  });
  await page.locator('#prompt').fill('a bus');
  await page.locator('.run .primary').click();
  const notice = page.locator('.notice');
  await notice.getByText('无法使用这段文字。请换一种说法。').waitFor();
  assert.equal(await notice.locator('[lang=en]').textContent(), 'The prompt is too long. Shorten it.');
});

test('works offline after the first visit', async () => {
  const page = await open();
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.context().setOffline(true);
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await draw(page, 'offline');
});

for (const [name, options] of [
  ['wide', {}],
  ['dark', { colorScheme: 'dark' }],
  ['narrow', { viewport: { width: 390, height: 844 } }],
  ['chinese', { locale: 'zh-CN' }],
  ['forced', { forcedColors: 'active' }],
]) {
  test(`axe finds nothing: ${name}`, async () => {
    const axe = await readFile(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
    const page = await open(options);
    const problems = async () => {
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html).slice(0, 3)]);
    };
    // The page's policy lets no script in but its own: the test's comes past it.
    await page.evaluate(axe);
    await page.screenshot({ path: `${shots}${name}-empty.png` });
    assert.deepEqual(await problems(), []);
    await page.locator('#prompt').fill('a photo of a red apple');
    await page.locator('.run .primary').click();
    await shown(page).waitFor();
    await page.locator('.segments label').nth(1).click();
    await page.locator('#prompt').fill('make the background blue');
    await page.locator('.run .primary').click();
    await page.locator('.split').waitFor();
    await page.screenshot({ path: `${shots}${name}.png`, fullPage: true });
    assert.deepEqual(await problems(), []);
    await page.locator('[aria-haspopup=dialog]').click();
    await page.locator('dialog[open] dt').first().waitFor();
    await page.screenshot({ path: `${shots}${name}-device.png` });
    assert.deepEqual(await problems(), []);
    assert.deepEqual(page.problems, []);
  });
}

/** Drops bytes as a file on the page. */
async function drop(page, bytes, type = 'image/png') {
  const transfer = await page.evaluateHandle(([content, type]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(content)], 'dropped', { type }));
    return data;
  }, [[...bytes], type]);
  await page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
}

/** A grey picture of 2 x 2 pixels. */
function png() {
  const chunk = (kind, body) => {
    const bytes = new Uint8Array(12 + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, body.length);
    bytes.set(new TextEncoder().encode(kind), 4);
    bytes.set(body, 8);
    view.setUint32(8 + body.length, crc(bytes.subarray(4, 8 + body.length)));
    return bytes;
  };
  const header = [0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0];
  const rows = deflateSync(Uint8Array.from([0, 90, 120, 0, 150, 180]));
  const parts = [Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', [])];
  return new Uint8Array(parts.reduce((bytes, part) => [...bytes, ...part], []));
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}
