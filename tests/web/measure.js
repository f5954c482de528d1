// How long a visitor waits: first paint and the model ready in the app, on the device that the app chooses; the engine ready, the first
// and the second picture, one with previews, and the first and the second edit, on each backend. Prints two tables; `cargo xtask measure` builds the site, puts the shipped model into it and
// runs this.

import { browse, open, serve } from './engine_site.js';

const PROMPT = 'a photo of a red apple';
const INSTRUCTION = 'make the apple green';

/** First paint, the time from opening the app until it shows the model as ready, and the device that it then shows. */
async function visit(browser, url) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${url}index.html`);
  const ready = page.locator('.model.ready');
  await ready.waitFor({ timeout: 300_000 });
  const times = await page.evaluate(() => [
    performance.getEntriesByName('first-contentful-paint')[0].startTime,
    performance.now(),
  ]);
  const device = /WebGPU|CPU/;
  const shown = await ready.filter({ hasText: device }).textContent();
  await page.context().close();
  return [...times.map(seconds), shown.match(device)[0]];
}

/** An engine of its own on `backend`: until it has started and loaded the model, then two pictures, one with previews, and two edits. */
async function draw(browser, url, backend) {
  const page = await open(browser, url);
  const times = await page.evaluate(
    async ([backend, prompt, instruction]) => {
      const times = [];
      const timed = async (work) => {
        const start = performance.now();
        await work();
        times.push(performance.now() - start);
      };
      let engine;
      await timed(async () => {
        engine = await Engine.create({ backend });
        await engine.load();
      });
      let image;
      for (const seed of [0, 1]) await timed(async () => ({ images: [{ image }] } = await engine.generate({ prompt, seed })));
      // The first with previews shows how many there is time for.
      await engine.generate({ prompt, seed: 1 }, { onstep() {} });
      await timed(() => engine.generate({ prompt, seed: 1 }, { onstep() {} }));
      for (const seed of [0, 1]) await timed(() => engine.edit({ image, instruction, seed }));
      return times;
    },
    [backend, PROMPT, INSTRUCTION],
  );
  await page.context().close();
  return times.map(seconds);
}

const seconds = (time) => `${(time / 1000).toFixed(2)} s`;
const line = (name, cells) => console.log(name.padEnd(24) + cells.map((cell) => cell.padStart(14)).join(''));

const server = await serve();
const browsers = [await browse(), await browse({ webgpu: true })];
line('the app', ['first paint', 'page ready', 'computed by']);
for (const [i, name] of ['no WebGPU', 'WebGPU on SwiftShader'].entries()) line(name, await visit(browsers[i], server.url));
line('an engine', ['ready', 'first image', 'second image', 'with previews', 'first edit', 'second edit']);
for (const [i, backend] of ['cpu', 'webgpu'].entries()) line(backend, await draw(browsers[i], server.url, backend));
await Promise.all(browsers.map((browser) => browser.close()));
server.close();
