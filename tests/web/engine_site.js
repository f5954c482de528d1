// The built site with a small model, served with faults: what the tests of the real engine share.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { launch, site, TYPES } from './harness.js';

const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];

/**
 * Serves the site. `server.fault(path, body, range)` may answer a request in another way (`{ body, headers, status, cutAt }`) or, as a promise,
 * later; `server.requests` are those so far.
 */
export async function serve() {
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    const { range } = request.headers;
    state.requests.push({ path, range });
    if (path === '/') return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>t</title>');
    let body = await readFile(join(site, normalize(path))).catch(() => null);
    const fault = await state.fault?.(path, body, range);
    body = fault?.body ?? body;
    if (!body) return response.writeHead(404).end();
    const start = range ? Number(range.match(/^bytes=(\d+)-$/)[1]) : 0;
    const headers = { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream', 'content-length': body.length - start, ...fault?.headers };
    if (range) headers['content-range'] = `bytes ${start}-${body.length - 1}/${body.length}`;
    response.writeHead(fault?.status ?? (range ? 206 : 200), headers);
    if (fault?.cutAt === undefined) return response.end(body.subarray(start));
    response.write(body.subarray(start, fault.cutAt), () => setTimeout(() => request.destroy(), 50));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const state = {
    requests: [],
    fault: null,
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  return state;
}

/** Chromium, with WebGPU on SwiftShader or without WebGPU. */
export function browse({ webgpu = false } = {}) {
  return launch(webgpu ? WEBGPU : []);
}

/** A page of a new visitor with `Engine` and `EngineError` in sight of `evaluate`. */
export async function open(browser, url) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(url);
  await page.evaluate(async () => Object.assign(globalThis, await import('/unigen/engine.js')));
  return page;
}
