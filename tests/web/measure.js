// How long a visitor waits: first paint, the model ready, the first and the second picture, on each backend. Prints a table;
// `cargo xtask measure` builds the site, puts the shipped model into it and runs this.

import { browse, open, serve } from './engine_site.js';

const PROMPT = 'a photo of a red apple';

/** First paint and the time from opening the page until the model is ready, as the app shows it. */
async function visit(browser, url) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${url}index.html`);
  await page.locator('.model.ready').waitFor({ timeout: 300_000 });
  const times = await page.evaluate(() => [
    performance.getEntriesByName('first-contentful-paint')[0].startTime,
    performance.now(),
  ]);
  await page.context().close();
  return times;
}

/** Load, first and second picture of an engine of its own. */
async function draw(browser, url, backend) {
  const page = await open(browser, url);
  const times = await page.evaluate(
    async ([backend, prompt]) => {
      const times = [];
      const timed = async (work) => {
        const start = performance.now();
        await work();
        times.push(performance.now() - start);
      };
      const engine = await Engine.create({ backend });
      await timed(() => engine.load());
      for (const seed of [0, 1]) await timed(() => engine.generate({ prompt, seed }));
      return times;
    },
    [backend, PROMPT],
  );
  await page.context().close();
  return times;
}

const server = await serve();
const seconds = (times) => times.map((time) => `${(time / 1000).toFixed(2)} s`.padStart(14)).join('');
console.log(['', 'first paint', 'page ready', 'engine load', 'first image', 'second image'].map((name) => name.padStart(14)).join(''));
for (const [backend, webgpu] of [['cpu', false], ['webgpu', true]]) {
  const browser = await browse({ webgpu });
  console.log(backend.padEnd(14) + seconds([...(await visit(browser, server.url)), ...(await draw(browser, server.url, backend))]));
  await browser.close();
}
server.close();
