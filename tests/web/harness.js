// What the tests of the pages share: a server on the loopback, Chromium, and a page of it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { WASM } from './fake_wasm.js';

const here = fileURLToPath(new URL('.', import.meta.url));
/** The site that `cargo xtask web` builds. */
export const site = process.env.UNIGEN_SITE ?? join(here, '../../target/web-dist/site');

/** Content types by the ending of a file. */
export const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json',
};

const QUIET = [
  '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** Chromium, with `args` more. */
export function launch(args = []) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...QUIET, ...args] });
}

/**
 * Serves the site; `pages` are further pages by path: text, or `{ body, headers, status }`. `engine` says what stands behind the element and the app: the
 * `fake` engine in the engine's place, the `real` one, or the real one over a `hollow` wasm that computes nothing. What `handler(request, response, url)`
 * answers, and says so by true, is not looked for.
 */
export async function serve(pages = {}, { engine = 'fake', handler } = {}) {
  const instead = {
    fake: { '/unigen/engine.js': 'fake_engine.js' },
    hollow: { '/unigen/unigen_web.js': 'fake_wasm.js' },
    real: {},
  }[engine];
  const answer = async (path) => {
    const page = pages[path];
    if (page !== undefined) return typeof page === 'string' ? { body: page } : page;
    if (engine === 'hollow' && path === '/unigen/unigen_web_bg.wasm') return { body: Buffer.from(WASM) };
    return { body: await readFile(path in instead ? join(here, instead[path]) : join(site, normalize(path))) };
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    let path = decodeURIComponent(url.pathname);
    if (path.endsWith('/')) path += 'index.html';
    try {
      if (await handler?.(request, response, url)) return;
      const { body, headers = {}, status = 200 } = await answer(path);
      response.writeHead(status, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream', ...headers });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The phases of a call in their order, from all that its progress told: fractions never fall, and end at 1. */
export function phasesOf(told) {
  const fractions = told.map(({ fraction }) => fraction);
  assert.deepEqual(fractions, fractions.toSorted((a, b) => a - b));
  assert.equal(fractions.at(-1), 1);
  return told.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1]);
}

/** A browser; `page()` gives a page that keeps what goes wrong in `page.problems`. */
export async function browse() {
  const browser = await launch();
  return {
    close: () => browser.close(),
    async page(url, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en', ...options });
      const page = await context.newPage();
      page.problems = [];
      page.on('pageerror', (error) => page.problems.push(String(error)));
      page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
      await page.goto(url);
      return page;
    },
  };
}
