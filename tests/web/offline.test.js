// The service worker: a visitor who has the site sees it whatever the network does, and nobody sees or keeps a network's pages as the site's.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browse, serve } from './harness.js';

const PORTAL = '<!doctype html><html lang="en"><title>Sign in</title><h1>Sign in to the wireless network</h1></html>';

/** How a server or a network answers everything: status, headers, body; or what it does instead. */
const TROUBLES = {
  'out of order': [500, { 'content-type': 'text/html' }, '<h1>Internal Server Error</h1>'],
  'a bad gateway': [502, { 'content-type': 'text/html' }, '<h1>Bad Gateway</h1>'],
  'no service': [503, { 'content-type': 'text/html' }, '<h1>Service Unavailable</h1>'],
  'a slow gateway': [504, {}, ''],
  'too many requests': [429, { 'content-type': 'text/plain' }, 'slow down'],
  'a network that asks for a sign-in': [511, { 'content-type': 'text/html' }, PORTAL],
  'a portal': [200, { 'content-type': 'text/html' }, PORTAL],
  'a portal with a charset': [200, { 'content-type': 'text/html; charset=utf-8' }, PORTAL],
  'a portal elsewhere': [302, { location: 'http://127.0.0.1:9/sign-in' }, ''],
  'an empty page': [200, { 'content-type': 'text/html' }, ''],
  'a page of JSON': [200, { 'content-type': 'application/json' }, '{}'],
  'not found': [404, { 'content-type': 'text/html' }, '<h1>Not Found</h1>'],
  'a reset connection': 'reset',
  'no answer': 'hang',
};

let [server, browser, trouble] = [];
before(async () => {
  const handler = (request, response, { pathname }) => {
    // The script itself comes, as one that the browser still has.
    if (!trouble || ['/bare.html', '/sw.js'].includes(pathname)) return false;
    if (trouble === 'reset') return request.destroy(), true;
    if (trouble === 'hang') return true;
    const [status, headers, body] = trouble;
    response.writeHead(status, headers).end(body);
    return true;
  };
  server = await serve({ '/bare.html': '<!doctype html><html lang="en"><title>t</title></html>' }, { handler });
  browser = await browse();
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** A visitor; one who `has` the site was here before. */
async function visitor(has) {
  trouble = null;
  const page = await browser.page(`${server.url}/bare.html`);
  if (has) {
    await page.evaluate(async () => {
      await navigator.serviceWorker.register('sw.js');
      await navigator.serviceWorker.ready;
      while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  }
  return page;
}

test('whoever has the site sees it, soon, and the new one once the network is back', async () => {
  for (const [name, what] of Object.entries(TROUBLES)) {
    const page = await visitor(true);
    trouble = what;
    const start = Date.now();
    await page.goto(`${server.url}/?from=a-link`);
    assert.match(await page.title(), /^UniGen/, name);
    const style = await page.evaluate(async () => (await (await fetch('style.css')).text()).length);
    assert.ok(style > 1000, name);
    assert.ok(Date.now() - start < 8000, `${name} takes ${Date.now() - start} ms`);
    trouble = null;
    await page.goto(`${server.url}/docs.html`);
    assert.match(await page.title(), /<unigen-editor>/, name);
    await page.context().close();
  }
});

test('what is not kept comes from the network as it is, and is not kept', async () => {
  for (const name of ['no service', 'a portal', 'a page of JSON', 'not found', 'out of order']) {
    const page = await visitor(true);
    const [status, , body] = (trouble = TROUBLES[name]);
    const response = await page.goto(`${server.url}/docs.html`);
    assert.equal(response.status(), status, name);
    assert.equal(await response.text(), body, name);
    const kept = await page.evaluate(async () => Boolean(await caches.match('docs.html')));
    assert.equal(kept, false, name);
    await page.context().close();
  }
});

test('a first visit behind a portal installs nothing', async () => {
  for (const name of ['a portal', 'a portal with a charset', 'an empty page', 'a page of JSON', 'no service', 'a portal elsewhere', 'not found', 'a reset connection']) {
    const page = await visitor(false);
    trouble = TROUBLES[name];
    const state = await page.evaluate(async () => {
      const { installing } = await navigator.serviceWorker.register('sw.js');
      return new Promise((resolve) => installing.addEventListener('statechange', () => resolve(installing.state)));
    });
    assert.equal(state, 'redundant', name);
    assert.deepEqual(await page.evaluate(() => caches.keys()), [], name);
    await page.context().close();
  }
});
