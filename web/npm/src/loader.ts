// Models over the network: a manifest (written by `cargo xtask export`) names files, and of each file its shards by their
// SHA-256. A shard that is kept and sound is not fetched again; a broken download goes on where it broke.

import type { ErrorCode, Failure } from './error.ts';
import type { Store } from './store.ts';

/** How often a shard's download is taken up again. */
const RESUMES = 4;
/** Milliseconds before the first of these; each next wait is twice as long. */
const WAIT = 250;

interface Shard {
  sha256: string;
  bytes: number;
}

interface File {
  name: string;
  bytes: number;
  shards: Shard[];
}

interface Manifest {
  name: string;
  files: File[];
}

/** A model that is here: its files, and what tells it from all others. */
export interface Loaded {
  name: string;
  hash: string;
  bytes: number;
  files: { [name: string]: Uint8Array };
}

/** A failure that came with an answer, so that asking again is of no use. `passing`: the server's or the network's own trouble, not the file's. */
interface Answer extends Failure {
  status: number;
  passing: boolean;
}

/** An error as the engine tells it. */
export function failure(code: ErrorCode, text: string, hint = ''): Failure {
  return { code, text, hint };
}

function answered(error: unknown): error is Answer {
  return (error as Answer)?.status > 0;
}

export class Loader {
  #store: Store;
  #signal: AbortSignal;
  #progress: (bytes: number, total: number) => void;
  #arrived: (name: string, bytes: Uint8Array) => void;
  #bytes = 0;
  #total = 0;

  /** `progress(bytes, total)` sees the bytes of all shards grow, `arrived(name, bytes)` every file that is whole. */
  constructor(
    store: Store,
    signal: AbortSignal,
    progress: (bytes: number, total: number) => void,
    arrived: (name: string, bytes: Uint8Array) => void,
  ) {
    this.#store = store;
    this.#signal = signal;
    this.#progress = progress;
    this.#arrived = arrived;
  }

  /** All files of the model whose manifest is at `address`. */
  async load(address: string): Promise<Loaded> {
    if (!globalThis.crypto?.subtle) {
      throw failure('unsupported', 'This page may not check what it downloads.', 'Serve it over https, or from localhost.');
    }
    this.#store.retry();
    const { name, files, hash } = await this.#manifest(address);
    this.#total = sum(files.map((file) => file.bytes));
    this.#progress(0, this.#total);
    const loaded: Loaded['files'] = {};
    for (const file of files) {
      const bytes = room(file);
      let start = 0;
      for (const shard of file.shards) {
        const part = bytes.subarray(start, start + shard.bytes);
        await this.#shard(shardAddress(shard, address), shard.sha256, part, file.name);
        start += shard.bytes;
      }
      loaded[file.name] = bytes;
      this.#arrived(file.name, bytes);
    }
    await this.#tidy();
    return { name, hash, bytes: this.#total, files: loaded };
  }

  /** The manifest as the server has it now, or from the browser's storage where the server cannot be asked. */
  async #manifest(address: string): Promise<Manifest & { hash: string }> {
    const kept = `manifest-${await sha256(new TextEncoder().encode(address))}`;
    const before = await this.#store.read(kept);
    let bytes = before;
    try {
      // A deploy may have taken away the shards of a manifest that the browser still holds.
      const response = await this.#fetch(address, 'manifest', { cache: 'no-cache' });
      bytes = new Uint8Array(await response.arrayBuffer());
      if (before && whatIs(bytes)) bytes = before;
    } catch (error) {
      const fetched = answered(error) && !error.passing;
      if (this.#signal.aborted || !before || fetched) throw error;
    }
    if (!bytes) throw failure('network', `${address} cannot be read.`, 'Check the connection and try again.');
    const manifest = parse(bytes, address);
    if (before && before !== bytes) await this.#forget(before, manifest, address);
    if (before !== bytes) await this.#store.write(kept, bytes);
    return { ...manifest, hash: (await sha256(bytes)).slice(0, 16) };
  }

  /** Drops the shards of an earlier version that the new one lacks. */
  async #forget(before: Uint8Array, manifest: Manifest, address: string): Promise<void> {
    const shards = ({ files }: Manifest) => files.flatMap((file) => file.shards.map((shard) => shard.sha256));
    const wanted = new Set(shards(manifest));
    try {
      for (const shard of shards(parse(before, address))) {
        if (!wanted.has(shard)) await this.#store.remove(shard);
      }
    } catch {
      // An unreadable manifest names nothing.
    }
  }

  /** Drops parts of shards that are whole by now: another tab may have left them. */
  async #tidy(): Promise<void> {
    const names = await this.#store.names();
    for (const name of names) if (name.endsWith(PART) && names.has(name.slice(0, -PART.length))) await this.#store.remove(name);
  }

  /** Fills `bytes` with a shard, from the browser's storage or the network. */
  async #shard(url: URL, hash: string, bytes: Uint8Array<ArrayBuffer>, file: string): Promise<void> {
    const kept = await this.#store.read(hash);
    if (kept?.byteLength === bytes.byteLength && (await sha256(kept)) === hash) {
      bytes.set(kept);
      this.#count(bytes.byteLength);
      return;
    }
    // The second time past the browser's cache, which may hold the damaged one.
    for (const cache of ['default', 'reload'] as const) {
      const before = this.#bytes;
      await this.#fill(url, hash, bytes, file, cache);
      if ((await sha256(bytes)) === hash) {
        await this.#store.write(hash, bytes);
        return;
      }
      this.#bytes = before;
    }
    const text = `${file}: ${shown(url)} is ${whatIs(bytes) ?? 'not what the manifest says'}, twice.`;
    throw failure('integrity', text, 'The server holds a damaged or another file: tell its owner, or try again later.');
  }

  /** Fills `bytes` over the network, taking up what broke off, in this visit or an earlier one. */
  async #fill(url: URL, hash: string, bytes: Uint8Array<ArrayBuffer>, file: string, cache: RequestCache): Promise<void> {
    const part = hash + PART;
    const before = await this.#store.read(part);
    let filled = 0;
    if (before && before.byteLength < bytes.byteLength) {
      bytes.set(before);
      filled = before.byteLength;
    }
    if (before) await this.#store.remove(part);
    this.#count(filled);
    try {
      for (let resumes = 0; ; resumes++) {
        try {
          const headers: HeadersInit = filled > 0 ? { Range: `bytes=${filled}-` } : {};
          const response = await this.#fetch(url.href, file, { headers, cache });
          if (filled > 0 && !resumesAt(response, filled)) {
            this.#count(-filled);
            filled = 0;
          }
          for await (const chunk of chunks(response)) {
            const fits = chunk.subarray(0, bytes.byteLength - filled);
            bytes.set(fits, filled);
            filled += fits.byteLength;
            this.#count(fits.byteLength);
            if (filled === bytes.byteLength) return;
          }
          const got = bytes.subarray(0, filled);
          if (isWhole(response, got)) throw short(url, file, got, bytes.byteLength);
        } catch (error) {
          if (this.#signal.aborted || answered(error)) throw error;
        }
        if (resumes === RESUMES) {
          const text = `${file}: the download of ${shown(url)} broke off after ${filled} of ${bytes.byteLength} bytes.`;
          throw failure('network', text, 'Check the connection and try again; what has come is kept.');
        }
        await wait(WAIT * 2 ** resumes, this.#signal);
      }
    } catch (error) {
      // Another tab may have the whole by now. What was an answer is no part of it.
      if (filled > 0 && !answered(error) && !(await this.#store.names()).has(hash)) await this.#store.write(part, bytes.subarray(0, filled));
      throw error;
    }
  }

  /** A good response for `what`; errors with `status` are the server's answer, others are the connection's. */
  async #fetch(url: string, what: string, options: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(url, { ...options, signal: this.#signal });
    } catch (error) {
      if (this.#signal.aborted) throw error;
      const text = `${shown(url)} cannot be reached: ${(error as Error).message}.`;
      throw failure('network', text, 'Check the connection and try again; a model of another site needs Access-Control-Allow-Origin there.');
    }
    const { ok, status, statusText } = response;
    if (ok && !isPage(response)) return response;
    response.body?.cancel().catch(() => {});
    if (ok) {
      const text = `${what}: ${shown(url)} is a web page (text/html), not a file of the model.`;
      const hint = 'Check the address of the model: the server answers unknown addresses with a page, or a network asks you to sign in first.';
      throw answer(what === 'manifest' ? 'manifest' : 'network', text, hint, status, true);
    }
    const text = `${shown(url)} answers ${status} ${statusText}`.trimEnd() + '.';
    throw answer('network', text, remedy(status), status, status >= 500 || status === 429);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#progress(this.#bytes, this.#total);
  }
}

/** Ending of a file that holds the beginning of a shard. */
const PART = '.part';

function answer(code: ErrorCode, text: string, hint: string, status: number, passing: boolean): Answer {
  return { code, text, hint, status, passing };
}

/** What to do about an answer that is no file. */
function remedy(status: number): string {
  if (status === 404 || status === 410) return 'Check the address of the model.';
  if (status === 401 || status === 403) return 'The server wants a permission: sign in, or ask its owner for an address that is still valid.';
  return 'Try again later.';
}

/** Where a shard is: beside the manifest, with its query, which may be a signature. */
function shardAddress({ sha256 }: Shard, manifest: string): URL {
  const url = new URL(`${sha256}.bin`, manifest);
  url.search = new URL(manifest).search;
  return url;
}

/** An address in a message: without a query, which may be a secret. */
function shown(address: string | URL): string {
  const url = new URL(address);
  if (url.search) url.search = '?…';
  return decodeURI(url.href);
}

function isPage(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get('Content-Type') ?? '');
}

/** Whether a body that ended without an error is all that the server has, not what was left when the connection ended. */
function isWhole(response: Response, bytes: Uint8Array): boolean {
  // A body that is shorter than its length would have been an error.
  return response.headers.has('Content-Length') || whatIs(bytes) !== undefined;
}

/** A file that is shorter than the manifest says. */
function short(url: URL, file: string, bytes: Uint8Array, wanted: number): Answer {
  const what = whatIs(bytes) ?? 'another file';
  const text = `${file}: ${shown(url)} is ${what} of ${bytes.byteLength} bytes, the manifest says ${wanted}.`;
  return answer('integrity', text, 'Tell the owner of the server: the model was not copied whole.', 200, false);
}

/** What bytes are that are none of a model's: the kinds that servers and tools leave in their place. */
function whatIs(bytes: Uint8Array): string | undefined {
  const start = new TextDecoder().decode(bytes.subarray(0, 200)).trimStart().toLowerCase();
  if (start.startsWith('version https://git-lfs')) return 'a pointer of Git LFS, not the file itself,';
  if (start.startsWith('<!doctype html') || start.startsWith('<html')) return 'a web page';
  if (start.startsWith('<?xml')) return 'an XML document';
  return undefined;
}

/** Room for the bytes of a file. */
function room({ name, bytes }: File): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw failure('memory', `${name}: there is no memory for its ${bytes} bytes.`, 'Close other pages, or choose a smaller model.');
  }
}

/** The parts of a body as they come; whoever leaves early gets no more of it. */
async function* chunks(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // A body that broke off cannot be ended any more.
    reader.cancel().catch(() => {});
  }
}

function resumesAt(response: Response, start: number): boolean {
  return response.status === 206 && Boolean(response.headers.get('Content-Range')?.startsWith(`bytes ${start}-`));
}

function parse(bytes: Uint8Array, address: string): Manifest {
  const fail = (what: string) => failure('manifest', `${shown(address)}: ${what}.`, 'Give the address that `cargo xtask export` wrote to.');
  let manifest: Manifest & { format?: string; version?: number };
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    const what = whatIs(bytes);
    throw fail(what ? `${what}, not a manifest` : `not a manifest: ${(error as Error).message}`);
  }
  if (manifest?.format !== 'unigen-web') throw fail('not the manifest of a model');
  if (manifest.version !== 1) throw fail(`of version ${manifest.version}, this engine reads 1`);
  const size = (bytes: number) => Number.isSafeInteger(bytes) && bytes > 0;
  const shard = ({ sha256, bytes }: Shard) => /^[0-9a-f]{64}$/.test(sha256) && size(bytes);
  const sound = ({ name, bytes, shards }: File) =>
    typeof name === 'string' && size(bytes) && shards.every(shard) && sum(shards.map((s) => s.bytes)) === bytes;
  try {
    if (typeof manifest.name === 'string' && manifest.files.every(sound)) return manifest;
  } catch {
    // A field of another type is as bad as a wrong one.
  }
  throw fail('a file or shard has no name, size or hash');
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
