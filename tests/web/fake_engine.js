// An engine for tests of the pages alone: it draws discs of a seed at once and says what it was asked. Served in the place of
// unigen/engine.js by harness.js, never part of a site. Tests may set `fake.startMs` before it is there.

const SETTINGS = { steps: 6, guidance: 4, imageGuidance: 1.5, temperature: 3 };
const MODEL = {
  name: 'fake', hash: 'f4ce', imageSize: 96, grid: 12, sees: true, generate: SETTINGS, edit: SETTINGS, maxPromptTokens: 128, words: ['apple', 'dog', 'a', 'photo', 'of', 'red'], bytes: 12e6,
};

globalThis.fake = { engines: 0, calls: [], stepMs: 5, ...globalThis.fake };

export class EngineError extends Error {
  constructor({ code, text, hint = '' }) {
    super(text);
    Object.assign(this, { name: 'EngineError', code, hint });
  }
}

export class Engine extends EventTarget {
  model = null;

  static async create(options = {}) {
    fake.engines += 1;
    const engine = Object.assign(new Engine(), { options });
    fake.last = engine;
    if (fake.startMs) await new Promise((resolve) => setTimeout(resolve, fake.startMs));
    return engine;
  }

  async load(_model, { signal, onprogress } = {}) {
    signal?.throwIfAborted();
    const tell = ({ detail }) => onprogress?.(detail);
    this.addEventListener('progress', tell);
    this.loading ??= this.#load().finally(() => (this.loading = null));
    const aborted = new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
    return Promise.race([this.loading, aborted]).finally(() => this.removeEventListener('progress', tell));
  }

  async #load() {
    if (this.model) return this.model;
    fake.calls.push({ call: 'load' });
    if (fake.failure) throw new EngineError(fake.failure);
    for (const [phase, fraction] of [['download', 0.3], ['download', 0.8], ['warmup', 0.8], ['weights', 0.95], ['weights', 1]]) {
      const bytes = Math.min(1, fraction / 0.8) * 12e6;
      this.dispatchEvent(new CustomEvent('progress', { detail: { phase, fraction, bytes, total: 12e6 } }));
      await pause();
    }
    this.model = MODEL;
    this.dispatchEvent(new CustomEvent('ready', { detail: MODEL }));
    return this.model;
  }

  async generate(request, options = {}) {
    return this.#draw('generate', request, options);
  }

  async edit(request, options = {}) {
    return this.#draw('edit', request, options);
  }

  async inpaint(request, options = {}) {
    return this.#draw('inpaint', request, options);
  }

  async describe({ question, image }, { signal, onprogress, ontoken } = {}) {
    await this.load(undefined, { signal });
    fake.calls.push({ call: 'describe', question, width: image.naturalWidth ?? image.width });
    onprogress?.({ phase: 'encode', fraction: 0 });
    onprogress?.({ phase: 'answer', fraction: 0.6, step: 2, steps: 128 });
    ontoken?.('a red');
    await pause(signal);
    onprogress?.({ phase: 'answer', fraction: 1 });
    return fake.answer ?? 'a red apple';
  }

  /** This model knows all words but dragons and what is written wrong. */
  async unknownWords(text) {
    const nearest = { aple: 'apple' };
    return ['dragon', 'aple'].filter((word) => text.includes(word)).map((word) => ({ word, nearest: nearest[word] }));
  }

  async capabilities() {
    return {
      backend: 'webgpu', reason: 'WebGPU is there.', simd: true, memory: 48e6, version: '0.1.0',
      adapter: { vendor: 'test', architecture: 'none', description: 'Test adapter', software: false, features: ['shader-f16'], maxStorageBinding: 134217728 },
      storage: { kind: 'opfs', persisted: true, usage: 12e6, quota: 4e9 },
    };
  }

  async purge() {
    this.model = null;
  }

  /** For tests: the device is lost. */
  lose(recovering) {
    this.model = null;
    this.dispatchEvent(new CustomEvent('devicelost', { detail: { reason: 'gone', recovering } }));
  }

  close() {
    fake.closed = (fake.closed ?? 0) + 1;
  }

  async #draw(call, request, { signal, onprogress, onstep }) {
    await this.load(undefined, { signal });
    const { image, mask, ...rest } = request;
    const seen = image && { source: [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height], white: mask && share(mask) };
    fake.calls.push({ call, ...rest, ...seen });
    if (String(request.prompt ?? request.instruction).trim() === '') {
      throw new EngineError({ code: 'text', text: 'The prompt is empty.', hint: 'Describe the picture.' });
    }
    const { count = 1, seed = 1, steps = SETTINGS.steps } = request;
    const images = Array.from({ length: count }, (_, i) => ({ image: picture(seed + i, 1), seed: seed + i, codes: [] }));
    onprogress?.({ phase: 'encode', fraction: 0 });
    for (let step = 1; step <= steps; step++) {
      await pause(signal);
      onprogress?.({ phase: 'decode', fraction: (0.9 * step) / steps, step, steps });
      onstep?.({ step, steps, grid: 12, masked: [], previews: images.map((_, i) => picture(seed + i, step / steps)) });
    }
    onprogress?.({ phase: 'paint', fraction: 0.9 });
    await pause(signal);
    onprogress?.({ phase: 'paint', fraction: 1 });
    return { images, settings: { ...SETTINGS, steps }, unknown: [] };
  }
}

function pause(signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, fake.stepMs);
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** Part of a mask that is white. */
function share(mask) {
  const { data } = pixels(mask);
  let white = 0;
  for (let i = 0; i < data.length; i += 4) white += data[i] > 127;
  return white / (data.length / 4);
}

function pixels(picture) {
  const context = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height);
}

/** Discs on a ground, in colours of the seed; the first part of 12 x 12 cells is shown, the rest faint. */
function picture(seed, part) {
  const image = new ImageData(96, 96);
  const hue = (seed * 67) % 360;
  const ground = rgb((hue + 150) % 360, 0.86);
  const disc = rgb(hue, 0.55);
  for (let y = 0; y < 96; y++) {
    for (let x = 0; x < 96; x++) {
      const cell = ((x >> 3) * 7 + (y >> 3) * 5) % 12;
      const inside = Math.hypot(x - 48, y - 50) < 30 || Math.hypot(x - 58, y - 18) < 9;
      const at = (y * 96 + x) * 4;
      image.data.set(inside ? disc : ground, at);
      image.data[at + 3] = cell / 12 < part ? 255 : 72;
    }
  }
  return image;
}

function rgb(hue, light) {
  const chroma = (1 - Math.abs(2 * light - 1)) * 0.75;
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - (chroma / 2) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}
