// Models over the network and in the browser's storage, by the engine's own loader over a wasm that computes nothing: what servers, networks, other tabs
// and the browser do to them.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { browse, serve } from './harness.js';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const bytes = (seed, length) => Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) % 251));
const [A, B, C] = [bytes(1, 60_000), bytes(2, 40_000), bytes(3, 50_000)];
const SHARDS = new Map([A, B, C].map((shard) => [sha256(shard), shard]));
const manifest = (...shards) => {
  const file = { name: 'model.safetensors', bytes: shards.reduce((sum, { length }) => sum + length, 0), shards: shards.map((shard) => ({ sha256: sha256(shard), bytes: shard.length })) };
  return JSON.stringify({ format: 'unigen-web', version: 1, name: 'm', files: [file] });
};
const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 40000\n';
const PAGE = '<!doctype html><title>Sign in to the wireless network</title>';

let [server, browser, page, state] = [];

/** Answers for the model, as `state` says: a manifest, its headers, and another answer for the path that `fault` takes. */
async function handler(request, response, url) {
  if (!url.pathname.startsWith('/model/')) return false;
  const name = url.pathname.slice('/model/'.length);
  const which = name.startsWith('manifest') ? 'manifest' : [A, B, C].map(sha256).indexOf(name.slice(0, 64));
  state.asked.push(which);
  const fault = await state.fault?.(which, url, request);
  if (fault === 'cut') return request.destroy(), true;
  if (fault) {
    const [status, type, body = ''] = fault;
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...(type && { 'content-type': type }) }).end(body);
    return true;
  }
  if (which === 'manifest') {
    response.writeHead(200, { 'content-type': 'application/json', ...state.headers }).end(state.manifest);
    return true;
  }
  const whole = SHARDS.get(name.slice(0, 64));
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = start > 0 ? { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` } : {};
  response.writeHead(start > 0 ? 206 : 200, { 'content-type': 'application/octet-stream', 'content-length': whole.length - start, 'cache-control': 'no-store', ...range });
  const hold = state.hold?.(which);
  if (!hold) return response.end(whole.subarray(start)), true;
  response.write(whole.subarray(start, start + 20_000));
  await hold;
  if (!response.destroyed) response.end(whole.subarray(start + 20_000));
  return true;
}

before(async () => {
  server = await serve({ '/page.html': '<!doctype html><title>t</title>' }, { engine: 'hollow', handler });
  browser = await browse();
});
beforeEach(async () => {
  state = { asked: [], manifest: manifest(A, B), headers: {} };
  await page?.context().close();
  page = await visit();
});
after(async () => {
  await browser?.close();
  server?.close();
});

/** A tab: of a new visitor, or of the visitor of `other`. */
async function visit(other) {
  const tab = other ? await other.context().newPage() : await browser.page(`${server.url}/page.html`);
  if (other) await tab.goto(`${server.url}/page.html`);
  await tab.evaluate(async () => {
    const { Engine } = await import('/unigen/engine.js');
    globalThis.engine = await Engine.create();
    // Each time as in a new visit, but for the store, which is the worker's.
    globalThis.load = async (address = 'model/', options) => {
      await engine.unload();
      return engine.load(address, options).then(({ name, bytes }) => ({ name, bytes }), ({ code, name, message, hint }) => ({ code: typeof code === 'string' ? code : name, text: message, hint }));
    };
    globalThis.files = async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('unigen-models').catch(() => null);
      const names = [];
      if (folder) for await (const name of folder.keys()) names.push(name);
      return names.sort();
    };
    globalThis.folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle('unigen-models', { create: true });
  });
  return tab;
}

const load = (tab = page, address = undefined) => tab.evaluate((address) => load(address), address);
const whole = { name: 'm', bytes: A.length + B.length };
/** Loads, which must go well, and gives what was asked of the server for it. */
const asks = async (tab = page) => {
  state.asked = [];
  assert.deepEqual(await load(tab), whole);
  return state.asked;
};

const NOT_MANIFESTS = [
  ['no such file', [404], 'network', /answers 404/, /address/],
  ['gone', [410], 'network', /answers 410/, /address/],
  ['no permission', [403, 'application/xml', '<?xml version="1.0"?><Error/>'], 'network', /answers 403/, /permission/],
  ['not signed in', [401], 'network', /answers 401/, /permission/],
  ['too many requests', [429], 'network', /answers 429/, /later/],
  ['out of order', [500], 'network', /answers 500/, /later/],
  ['no service', [503, 'text/html', '<h1>Service Unavailable</h1>'], 'network', /answers 503/, /later/],
  ['a page', [200, 'text/html', PAGE], 'manifest', /is a web page/, /sign in|address/],
  ['a page with a charset', [200, 'Text/HTML; charset=utf-8', PAGE], 'manifest', /is a web page/, /address/],
  ['a page of no type', [200, '', PAGE], 'manifest', /a web page, not a manifest/, /export/],
  ['a listing in XML', [200, 'application/octet-stream', '<?xml version="1.0"?><ListBucketResult/>'], 'manifest', /an XML document/, /export/],
  ['a pointer of Git LFS', [200, 'text/plain', LFS], 'manifest', /Git LFS/, /export/],
  ['something else in JSON', [200, 'application/json', '{"model_type": "qwen2"}'], 'manifest', /not the manifest of a model/, /export/],
  ['a later version', [200, 'application/json', manifest(A).replace('"version":1', '"version":2')], 'manifest', /version 2, this engine reads 1/, /export/],
  ['half of one', [200, 'application/json', manifest(A).slice(0, 60)], 'manifest', /not a manifest/, /export/],
  ['nothing', [200, 'application/json', ''], 'manifest', /not a manifest/, /export/],
  ['a broken connection', 'cut', 'network', /cannot be reached/, /connection/],
];

test('what comes in the place of a manifest is named', async () => {
  for (const [name, fault, code, text, hint] of NOT_MANIFESTS) {
    state.fault = (which) => (which === 'manifest' ? fault : null);
    const failure = await load();
    assert.equal(failure.code, code, name);
    assert.match(failure.text, text, name);
    assert.match(failure.hint, hint, name);
  }
});

const NOT_SHARDS = [
  ['no such file', [404], 'network', /answers 404/, 1],
  ['no permission', [403], 'network', /answers 403/, 1],
  ['no service', [503], 'network', /answers 503/, 1],
  ['a page', [200, 'text/html', PAGE], 'network', /is a web page/, 1],
  ['a page with a charset', [200, 'text/html;charset=utf-8', PAGE], 'network', /is a web page/, 1],
  ['a page of no type', [200, '', PAGE], 'integrity', /a web page of \d+ bytes/, 1],
  ['a pointer of Git LFS', [200, 'application/octet-stream', LFS], 'integrity', /Git LFS/, 1],
  ['an error in XML', [200, 'application/octet-stream', '<?xml version="1.0"?><Error/>'], 'integrity', /an XML document/, 1],
  ['the half of it', [200, 'application/octet-stream', B.subarray(0, 20_000)], 'integrity', /another file of 20000 bytes, the manifest says 40000/, 1],
  ['another file of its size', [200, 'application/octet-stream', A.subarray(0, B.length)], 'integrity', /not what the manifest says, twice/, 2],
  ['a long page of no type', [200, 'application/octet-stream', PAGE.padEnd(B.length)], 'integrity', /is a web page, twice/, 2],
];

test('what comes in the place of a shard is named, and not asked for again and again', async () => {
  for (const [name, fault, code, text, times] of NOT_SHARDS) {
    state.asked = [];
    state.fault = (which) => (which === 1 ? fault : null);
    const failure = await load();
    assert.equal(failure.code, code, name);
    assert.match(failure.text, text, name);
    assert.ok(failure.hint, name);
    assert.equal(state.asked.filter((which) => which === 1).length, times, name);
  }
  // Nothing of all that is taken for a part of the shard.
  state.fault = null;
  assert.deepEqual(await asks(), ['manifest', 1]);
});

test('a model that is kept is used whatever the network says, but not where its owner took it away', async () => {
  await load();
  const troubles = [
    ['broken', 'cut', true], ['500', [500], true], ['502', [502], true], ['503', [503, 'text/html', 'x'], true], ['504', [504], true], ['511', [511], true],
    ['429', [429], true], ['a portal', [200, 'text/html', PAGE], true], ['a portal of no type', [200, '', PAGE], true], ['a portal with a charset', [200, 'text/html; charset=gbk', PAGE], true],
    ['404', [404], false], ['410', [410], false], ['403', [403], false], ['401', [401], false],
  ];
  for (const [name, fault, used] of troubles) {
    state.fault = () => fault;
    assert.equal((await load()).name, used ? 'm' : undefined, name);
  }
});

test('what another tab, the browser or a crash does to the storage costs one download, not the storage', async () => {
  const other = await visit(page);
  const [a, b] = [sha256(A), sha256(B)];
  const deeds = [
    ['another tab purges', () => engine.purge(), ['manifest', 0, 1]],
    ['the folder is evicted', async () => (await navigator.storage.getDirectory()).removeEntry('unigen-models', { recursive: true }), ['manifest', 0, 1]],
    ['all is evicted', async () => { const root = await navigator.storage.getDirectory(); for await (const name of root.keys()) await root.removeEntry(name, { recursive: true }); }, ['manifest', 0, 1]],
    ['a shard goes', async ([a]) => (await folder()).removeEntry(a), ['manifest', 0]],
    ['the other shard goes', async ([, b]) => (await folder()).removeEntry(b), ['manifest', 1]],
    ['the manifest goes', async () => { for (const name of await files()) if (name.startsWith('manifest')) await (await folder()).removeEntry(name); }, ['manifest']],
    ['a shard is cut', async ([a]) => { const file = await (await folder()).getFileHandle(a); const out = await file.createWritable({ keepExistingData: true }); await out.truncate(100); await out.close(); }, ['manifest', 0]],
    ['a shard is emptied', async ([a]) => { const out = await (await (await folder()).getFileHandle(a)).createWritable(); await out.close(); }, ['manifest', 0]],
    ['a shard is damaged', async ([, b]) => { const out = await (await (await folder()).getFileHandle(b)).createWritable({ keepExistingData: true }); await out.write({ type: 'write', position: 9, data: new Uint8Array(9) }); await out.close(); }, ['manifest', 1]],
    ['the manifest is damaged', async () => { for (const name of await files()) if (name.startsWith('manifest')) { const out = await (await (await folder()).getFileHandle(name)).createWritable(); await out.write('{'); await out.close(); } }, ['manifest']],
    ['a part is left', async ([a]) => { const out = await (await (await folder()).getFileHandle(`${a}.part`, { create: true })).createWritable(); await out.write(new Uint8Array(99)); await out.close(); }, ['manifest']],
    ['a folder stands where a shard was', async ([a]) => { await (await folder()).removeEntry(a); await (await folder()).getDirectoryHandle(a, { create: true }); }, ['manifest', 0]],
  ];
  await load();
  const kept = await page.evaluate(() => files());
  assert.deepEqual(kept.map((name) => name.slice(0, 8)).sort(), [a, b, 'manifest'].map((name) => name.slice(0, 8)).sort());
  for (const [name, deed, asked] of deeds) {
    await other.evaluate(`(${deed})(${JSON.stringify([a, b])})`);
    assert.deepEqual(await asks(), asked, name);
    if (name.startsWith('a folder')) break;
    assert.deepEqual(await asks(), ['manifest'], `${name}, once more`);
    assert.deepEqual(await page.evaluate(() => files()), kept, name);
    assert.equal(await page.evaluate(async () => (await engine.capabilities()).storage.kind), 'opfs', name);
  }
});

test('a tab that leaves in the middle does not leave its part beside the whole', async () => {
  const other = await visit(page);
  let open;
  const gate = new Promise((resolve) => (open = resolve));
  let first = true;
  state.hold = (which) => (which === 0 && first ? ((first = false), gate) : null);
  await page.evaluate(() => {
    globalThis.stop = new AbortController();
    globalThis.loading = load('model/', { signal: stop.signal });
  });
  while (!state.asked.includes(0)) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await load(other), whole);
  const left = await page.evaluate(async () => {
    stop.abort();
    const { code } = await loading;
    return code;
  });
  open();
  assert.equal(left, 'AbortError');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual((await page.evaluate(() => files())).filter((name) => name.endsWith('.part')), []);
});

test('after a deploy the manifest is the new one, whatever the browser has kept of the old one', async () => {
  const headers = [
    {}, { 'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT' }, { 'cache-control': 'max-age=3600' }, { 'cache-control': 'public, max-age=31536000, immutable' },
    { expires: 'Fri, 01 Jan 2100 00:00:00 GMT' }, { etag: '"1"', 'cache-control': 'max-age=60' }, { 'cache-control': 'no-cache' }, { 'cache-control': 'no-store' },
    { 'cache-control': 'stale-while-revalidate=3600, max-age=1' }, { pragma: 'cache', 'last-modified': 'Mon, 01 Jan 2001 00:00:00 GMT' },
  ];
  for (const [i, header] of headers.entries()) {
    const address = `model/manifest-${i}.json`;
    Object.assign(state, { headers: header, manifest: manifest(A, B), fault: null });
    assert.deepEqual(await load(page, address), whole);
    // The shard that only the old one names is gone.
    Object.assign(state, { manifest: manifest(A, C), fault: (which) => (which === 1 ? [404] : null) });
    assert.deepEqual(await load(page, address), { name: 'm', bytes: A.length + C.length }, JSON.stringify(header));
    await page.evaluate(() => engine.purge());
  }
});

test('the query of a signed address reaches the shards, and no message', async () => {
  const queries = ['?sig=ok', '?sv=2024&sig=ok', '?sig=ok&se=2030-01-01T00%3A00Z', '?X-Amz-Signature=abc&sig=ok', '?Policy=e30_&Signature=x~y&sig=ok', '?sig=ok&token=%2Fa%3Db', '?download=true&sig=ok', '?sig=ok&sig=again', '?v=7&sig=ok', '?sig=ok&%E6%A8%A1=%E5%9E%8B'];
  let seen;
  for (const query of queries) {
    for (const path of ['model/manifest.json', 'model/', 'model']) {
      seen = new Set();
      state.fault = (_, url) => (seen.add(url.search), url.searchParams.get('sig') === 'ok' ? null : [403]);
      assert.deepEqual(await load(page, path + query), whole, path + query);
      assert.deepEqual([...seen], [query]);
      await page.evaluate(() => engine.purge());
    }
  }
  state.fault = () => [403];
  assert.doesNotMatch((await load(page, 'model/?sig=secret')).text, /secret/);
});

test('without room the model is used all the same, and kept once there is some', async () => {
  const cdp = await page.context().newCDPSession(page);
  const quota = (quotaSize) => cdp.send('Storage.overrideQuotaForOrigin', { origin: server.url, ...(quotaSize && { quotaSize }) });
  const kind = () => page.evaluate(async () => (await engine.capabilities()).storage.kind);
  for (const room of [1, 1000, 20_000]) {
    await quota(room);
    assert.deepEqual(await load(), whole, String(room));
    assert.equal(await kind(), 'memory', String(room));
  }
  await quota();
  assert.deepEqual(await load(), whole);
  assert.equal(await kind(), 'opfs');
  assert.deepEqual(await asks(), ['manifest']);
});
