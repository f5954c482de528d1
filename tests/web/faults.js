// The engine in Chromium under random faults: `node faults.js MINUTES`, with a site and a model in it (UNIGEN_SITE). Servers cut, slow, refuse and falsify;
// storage is evicted and purged by another tab; workers and the GPU process crash; calls are aborted, tabs reloaded. Each call must end with a picture, an
// answer or an error of the engine's own, in time; and once the faults are over, the engine must draw what it drew before them, to the bit.

import { browse, serve } from './engine_site.js';

/** Longest time for a call, in milliseconds. */
const LONGEST = 180_000;
const PROMPTS = ['a red apple', 'two blue cars', 'a dog left of a cat', 'a dragon'];
const PORTAL = Buffer.from('<!doctype html><title>Sign in to the wireless network</title>');

const random = (count) => Math.floor(Math.random() * count);
const pick = (list) => list[random(list.length)];
const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));

/** What a server or a network does to a request in place of answering it well. */
const NETWORK = {
  cut: (body) => ({ cutAt: random(body.length) }),
  'cut at once': () => ({ cutAt: 0 }),
  'wrong byte': (body) => {
    const wrong = Buffer.from(body);
    if (wrong.length) wrong[random(wrong.length)] ^= 1 << random(8);
    return { body: wrong };
  },
  shorter: (body) => ({ body: body.subarray(0, random(body.length)) }),
  longer: (body) => ({ body: Buffer.concat([body, Buffer.alloc(1 + random(5000))]) }),
  empty: () => ({ body: Buffer.alloc(0) }),
  'another file': (body) => ({ body: Buffer.alloc(body.length, random(256)) }),
  portal: () => ({ body: PORTAL, headers: { 'content-type': 'text/html', 'content-length': PORTAL.length } }),
  'portal of no type': () => ({ body: PORTAL, headers: { 'content-length': PORTAL.length } }),
  refused: () => ({ status: pick([401, 403, 404, 410, 429, 500, 502, 503, 504]), body: Buffer.from('no'), headers: { 'content-length': 2 } }),
  slow: async () => void (await wait(500 + random(4000))),
};

/** What happens to a tab or its browser in the middle of something. */
const EVENTS = {
  'storage is evicted': (tab) => tab.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
  }),
  'a file is evicted': (tab) => tab.evaluate(async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('unigen-models');
    const names = [];
    for await (const name of folder.keys()) names.push(name);
    await folder.removeEntry(names[Math.floor(Math.random() * names.length)]);
  }),
  'a file is damaged': (tab) => tab.evaluate(async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('unigen-models');
    for await (const name of folder.keys()) {
      const out = await (await folder.getFileHandle(name)).createWritable({ keepExistingData: true });
      await out.write({ type: 'write', position: 9, data: new Uint8Array(9) });
      return out.close();
    }
  }),
  'another tab purges': (tab) => tab.evaluate(() => void engine.purge().catch(() => {})),
  'the worker fails': (tab) => tab.workers().at(-1)?.evaluate(() => void setTimeout(() => { throw new Error('gone'); })),
  'the GPU process crashes': async () => (await browser.newBrowserCDPSession()).send('Browser.crashGpuProcess'),
  'there is no room': async (tab) => {
    const cdp = await tab.context().newCDPSession(tab);
    const origin = new URL(server.url).origin;
    await cdp.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 10_000 });
    await wait(1000);
    await cdp.send('Storage.overrideQuotaForOrigin', { origin });
  },
  'the tab is reloaded': (tab) => open(tab, tab.backend),
};

const minutes = Number(process.argv[2] ?? 60);
const [ends, faults, wrong] = [new Map(), new Map(), []];
const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
/** How many of a hundred requests for the model meet a fault. */
let rate = 0;

const server = await serve();
server.fault = async (path, body) => {
  if (!body || !path.startsWith('/model/') || random(100) >= rate) return null;
  const name = pick(Object.keys(NETWORK));
  count(faults, name);
  return NETWORK[name](body);
};
let browser;

/** Goes to the site in a tab, with an engine on a backend. */
async function open(tab, backend) {
  tab.backend = backend;
  await tab.goto(server.url);
  await tab.evaluate(async (backend) => {
    Object.assign(globalThis, await import('/unigen/engine.js'));
    globalThis.engine = await Engine.create({ backend });
    globalThis.image = new ImageData(new Uint8ClampedArray(64 * 48 * 4).map((_, i) => i * 7), 64, 48);
    globalThis.calls = {
      load: (options) => engine.load(undefined, options),
      generate: (options, prompt) => engine.generate({ prompt, seed: 1, steps: 2 }, options),
      edit: (options) => engine.edit({ image, instruction: 'make it blue', seed: 1, steps: 2 }, options),
      inpaint: (options, prompt) => engine.inpaint({ image, mask: new ImageData(new Uint8ClampedArray(64 * 48 * 4).fill(255), 64, 48), prompt, seed: 1, steps: 2 }, options),
      describe: (options) => engine.describe({ image, question: 'what is it?', maxTokens: 3 }, options),
      unload: () => engine.unload(),
      capabilities: () => engine.capabilities(),
    };
    /** The end of a call, in a word; `wrong: ..` is none that may be. */
    globalThis.end = async (call, prompt, abortAfter) => {
      const stop = new AbortController();
      if (abortAfter !== null) setTimeout(() => stop.abort(), abortAfter);
      try {
        const result = await calls[call]({ signal: stop.signal }, prompt);
        if (call === 'describe') return typeof result === 'string' ? 'answer' : `wrong: ${JSON.stringify(result)}`;
        if (!result?.images) return call;
        const sound = result.images.every(({ image, codes }) => image.width > 0 && image.data.length === 4 * image.width * image.height && codes.length > 0);
        return sound ? 'picture' : 'wrong: a picture without pixels';
      } catch (error) {
        if (error === stop.signal.reason && stop.signal.aborted) return 'aborted';
        if (error instanceof EngineError && typeof error.code === 'string' && error.message) return error.code;
        return `wrong: ${error?.name}: ${error?.message ?? error}`;
      }
    };
  }, backend);
}

/** Calls one after another in a tab until `stop()`; tabs that are reloaded lose their call. */
async function use(tab, stop) {
  while (!stop()) {
    const call = pick(['load', 'generate', 'generate', 'generate', 'edit', 'inpaint', 'describe', 'unload', 'capabilities']);
    const abortAfter = random(5) === 0 ? random(3000) : null;
    const left = () => 'left';
    const ended = tab.evaluate(([call, prompt, after]) => end(call, prompt, after), [call, pick(PROMPTS), abortAfter]).catch((error) => {
      if (/navigat|context was destroyed|closed|end is not defined|crashed/i.test(String(error))) return left();
      return `wrong: ${error}`;
    });
    const word = await Promise.race([ended, wait(LONGEST).then(() => `wrong: ${call} has not ended after ${LONGEST / 1000} s`)]);
    count(ends, word.startsWith('wrong') ? 'wrong' : word);
    if (word.startsWith('wrong')) wrong.push(`${tab.backend}, ${call}: ${word}`);
    if (word === 'left') await wait(300);
    // An error that comes at once must not fill the time.
    await wait(20);
  }
}

/** The codes of one picture, which faults must not change. */
const drawn = (tab) => tab.evaluate(() => engine.generate({ prompt: 'a red apple', seed: 5, steps: 2 }).then(({ images }) => images[0].codes.join(), ({ code, message }) => `${code}: ${message}`));

const start = Date.now();
const time = () => (Date.now() - start) / 60_000;
const wanted = {};
let rounds = 0;
while (time() < minutes) {
  browser = await browse({ webgpu: true });
  const backend = random(4) === 0 ? 'webgpu' : 'cpu';
  const context = await browser.newContext();
  const tabs = [await context.newPage(), await context.newPage()];
  rate = 0;
  for (const tab of tabs) await open(tab, backend);
  wanted[backend] ??= await drawn(tabs[0]);
  rate = pick([5, 15, 40]);
  const until = Date.now() + Math.min(40_000, minutes * 60_000);
  const over = () => Date.now() > until;
  const using = tabs.map((tab) => use(tab, over));
  while (!over()) {
    await wait(500 + random(4000));
    const event = pick(Object.keys(EVENTS).filter((name) => backend === 'webgpu' || !name.includes('GPU')));
    // What is to be evicted may not be there, and a tab may be on its way.
    const happened = await Promise.race([EVENTS[event](pick(tabs)).then(() => true, () => false), wait(20_000)]).catch(() => false);
    if (happened) count(faults, event);
  }
  await Promise.all(using);
  rate = 0;
  for (const tab of tabs) {
    // A device that was lost twice, or a load that was refused, wants a load that is asked for.
    await Promise.race([tab.evaluate(() => engine.load().catch(() => {})), wait(LONGEST)]).catch(() => {});
    const again = await Promise.race([drawn(tab), wait(LONGEST).then(() => 'nothing')]).catch(String);
    if (again !== wanted[backend]) {
      count(ends, 'wrong');
      wrong.push(`${backend}: after the faults it draws ${again.slice(0, 200)}`);
    }
  }
  rounds += 1;
  const told = [...ends].map(([word, times]) => `${word} ${times}`).join(', ');
  console.log(`${time().toFixed(1)} min, ${rounds} rounds: ${told}`);
  await browser.close();
}
server.close();
console.log(`faults: ${[...faults].map(([name, times]) => `${name} ${times}`).join(', ')}`);
for (const line of wrong) console.log(line);
console.log(wrong.length ? `${wrong.length} wrong ends` : 'every end was a picture, an answer or an error of the engine');
process.exit(wrong.length ? 1 : 0);
