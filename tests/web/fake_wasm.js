// In the place of unigen/unigen_web.js, for tests of the real engine, worker and loader without their wasm: it loads models of any bytes and draws
// what it was asked for in one colour.

const SETTINGS = { steps: 6, guidance: 4, imageGuidance: 1.5, temperature: 3 };
const MODEL = { imageSize: 8, grid: 2, sees: true, generate: SETTINGS, edit: SETTINGS, maxPromptTokens: 128, words: ['apple'] };

/** As wasm-bindgen's: fetches the wasm, of which here nothing is needed. */
export default async function init({ module_or_path: url }) {
  const response = await fetch(url);
  if (!response.ok) throw new TypeError(`${url} answers ${response.status}`);
  await WebAssembly.compile(await response.arrayBuffer());
}

/** A module of nothing, but too large for bundlers to write it into a script: a section named `x` of 8,190 bytes. */
export const WASM = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x80, 0x40, 0x01, 0x78, ...Array.from({ length: 8190 }, () => 0)];

export class Worker {
  constructor(host) {
    this.host = host;
    this.post(0, { type: 'started' });
  }

  post(id, event) {
    this.host.post({ id, event });
  }

  receive({ id, request }) {
    this.answer(id, request).then(
      (result) => this.post(id, { type: 'done', result }),
      (error) => this.post(id, { type: 'error', code: 'io', text: String(error), hint: '', ...error }),
    );
  }

  async answer(id, request) {
    const { type, target } = request;
    if (type === 'load') {
      const progress = (bytes, total) => this.post(id, { type: 'progress', phase: 'download', fraction: total > 0 ? bytes / total : 1, bytes, total });
      const { files, ...model } = await this.host.download(id, request.manifest, progress, () => {});
      return { type: 'model', ...MODEL, ...model };
    }
    if (type === 'capabilities') return { type, backend: 'cpu', reason: 'A test.', simd: false, memory: 0, version: '0', storage: await this.host.storage() };
    if (type === 'purge') return void (await this.host.purge());
    if (type === 'cancel') return void this.host.cancel(target);
    if (type === 'unknown') return { type: 'words', unknown: request.text.split(' ').filter((word) => word !== 'apple').map((word) => ({ word })) };
    if (type === 'describe') return { type: 'answer', text: JSON.stringify({ ...request, image: [request.image.width, request.image.height] }) };
    if (type === 'generate' || type === 'edit' || type === 'inpaint') {
      const { image, mask, seed } = request;
      // The codes say what came: the picture's size, its first pixel, and how many pixels of the mask are white.
      const seen = image ? [image.width, image.height, ...image.pixels.subarray(0, 4)] : [];
      const white = mask ? [mask.width, mask.height, mask.pixels.filter((value, i) => i % 4 === 0 && value === 255).length] : [];
      const picture = { width: 8, height: 8, pixels: new Uint8Array(256).fill(200) };
      return { type: 'images', images: [{ image: picture, seed, codes: [...seen, ...white] }], settings: SETTINGS, unknown: [] };
    }
    return undefined;
  }
}
