// The app and the element over the real engine: the site with a model, of which any that sees will do.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, serve } from './harness.js';

const csp = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
const strict = '<!doctype html><html lang="en"><script type="module" src="/unigen/element.js"></script><unigen-editor prompt="a red apple" seed="7"></unigen-editor><unigen-editor prompt="a dog" seed="7"></unigen-editor></html>';

let [server, browser] = [];
before(async () => {
  server = await serve({ '/strict.html': { body: strict, headers: { 'content-security-policy': csp } } }, { engine: 'real' });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('the app draws, edits and asks, also without a network', async () => {
  const page = await browser.page(`${server.url}/`);
  page.setDefaultTimeout(120_000);
  const run = async (prompt, task) => {
    if (task) await page.getByRole('radio', { name: task }).check();
    await page.locator('#prompt').fill(prompt);
    await page.locator('.run .primary').click();
  };
  await page.locator('.model.ready').waitFor();
  await run('a red apple');
  await page.locator('.frame > .picture').waitFor();
  await run('make it blue', 'Edit');
  await page.locator('.split').waitFor();
  await run('what is it?', 'Ask');
  await page.waitForFunction(() => document.querySelector('.answer')?.textContent);
  assert.deepEqual(page.problems, []);

  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.context().setOffline(true);
  await page.reload();
  await page.locator('.model.ready').waitFor();
  await run('a green car', 'Generate');
  await page.getByRole('img', { name: 'a green car' }).first().waitFor();
});

test('two elements under a strict policy draw with one engine; a seed gives one picture', async () => {
  const page = await browser.page(`${server.url}/strict.html`);
  page.setDefaultTimeout(120_000);
  const seen = await page.evaluate(async () => {
    const [a, b] = document.querySelectorAll('unigen-editor');
    let workers = 0;
    const { Worker } = globalThis;
    globalThis.Worker = class extends Worker {
      constructor(...options) {
        super(...options);
        workers += 1;
      }
    };
    const [first] = await Promise.all([a.generate(), b.generate()]);
    const again = await b.generate({ prompt: 'a red apple' });
    const same = first.image.data.every((value, i) => value === again.image.data[i]);
    const stop = new AbortController();
    a.addEventListener('step', () => stop.abort(), { once: true });
    const cancelled = await a.generate({ signal: stop.signal }).catch((error) => error.name);
    return { workers, same, cancelled, backend: a.capabilities.backend };
  });
  assert.deepEqual([seen.workers, seen.same, seen.cancelled], [1, true, 'AbortError']);
  assert.deepEqual(page.problems, []);
});
