// Models over the network: a manifest (written by `cargo xtask export`) names files, and of each file its shards by their
// SHA-256. A shard that is kept and sound is not fetched again; a broken download goes on where it broke.

/** How often a shard's download is taken up again. */
const RESUMES = 4;
/** Milliseconds before the first of these; each next wait is twice as long. */
const WAIT = 250;

/** An error as the engine tells it. */
export function failure(code, text, hint = '') {
  return { code, text, hint };
}

export class Loader {
  #store;
  #signal;
  #progress;
  #arrived;
  #bytes = 0;
  #total = 0;

  /** `progress(bytes, total)` sees the bytes of all shards grow, `arrived(name, bytes)` every file that is whole. */
  constructor(store, signal, progress, arrived) {
    this.#store = store;
    this.#signal = signal;
    this.#progress = progress;
    this.#arrived = arrived;
  }

  /** All files of the model whose manifest is at `address`. */
  async load(address) {
    if (!globalThis.crypto?.subtle) {
      throw failure('unsupported', 'This page may not check what it downloads.', 'Serve it over https, or from localhost.');
    }
    const { name, files, hash } = await this.#manifest(address);
    this.#total = sum(files.map((file) => file.bytes));
    this.#progress(0, this.#total);
    const loaded = {};
    for (const file of files) {
      const bytes = room(file);
      let start = 0;
      for (const shard of file.shards) {
        const part = bytes.subarray(start, start + shard.bytes);
        await this.#shard(new URL(`${shard.sha256}.bin`, address), shard.sha256, part, file.name);
        start += shard.bytes;
      }
      loaded[file.name] = bytes;
      this.#arrived(file.name, bytes);
    }
    return { name, hash, bytes: this.#total, files: loaded };
  }

  /** The manifest, from the browser's storage where there is no network. */
  async #manifest(address) {
    const kept = `manifest-${await sha256(new TextEncoder().encode(address))}`;
    const before = await this.#store.read(kept);
    let bytes = before;
    try {
      const response = await this.#fetch(address, {});
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      if (this.#signal.aborted || !before || error.status) throw error;
    }
    const manifest = parse(bytes, address);
    if (before && before !== bytes) await this.#forget(before, manifest, address);
    if (before !== bytes) await this.#store.write(kept, bytes);
    return { ...manifest, hash: (await sha256(bytes)).slice(0, 16) };
  }

  /** Drops the shards of an earlier version that the new one lacks. */
  async #forget(before, manifest, address) {
    const shards = ({ files }) => files.flatMap((file) => file.shards.map((shard) => shard.sha256));
    const wanted = new Set(shards(manifest));
    try {
      for (const shard of shards(parse(before, address))) {
        if (!wanted.has(shard)) await this.#store.remove(shard);
      }
    } catch {
      // An unreadable manifest names nothing.
    }
  }

  /** Fills `bytes` with a shard, from the browser's storage or the network. */
  async #shard(url, hash, bytes, file) {
    const kept = await this.#store.read(hash);
    if (kept?.byteLength === bytes.byteLength && (await sha256(kept)) === hash) {
      bytes.set(kept);
      this.#count(bytes.byteLength);
      return;
    }
    // The second time past the browser's cache, which may hold the damaged one.
    for (const cache of ['default', 'reload']) {
      const before = this.#bytes;
      await this.#fill(url, hash, bytes, file, cache);
      if ((await sha256(bytes)) === hash) {
        await this.#store.write(hash, bytes);
        return;
      }
      this.#bytes = before;
    }
    const text = `${file}: ${url} is not what the manifest says, twice.`;
    throw failure('integrity', text, 'The server holds a damaged or another file: tell its owner, or try again later.');
  }

  /** Fills `bytes` over the network, taking up what broke off, in this visit or an earlier one. */
  async #fill(url, hash, bytes, file, cache) {
    const part = `${hash}.part`;
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
          const headers = filled > 0 ? { Range: `bytes=${filled}-` } : {};
          const response = await this.#fetch(url, { headers, cache });
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
        } catch (error) {
          if (this.#signal.aborted || error.status) throw error;
        }
        if (resumes === RESUMES) {
          const text = `${file}: the download of ${url} broke off after ${filled} of ${bytes.byteLength} bytes.`;
          throw failure('network', text, 'Check the connection and try again; what has come is kept.');
        }
        await wait(WAIT * 2 ** resumes, this.#signal);
      }
    } catch (error) {
      if (filled > 0) await this.#store.write(part, bytes.subarray(0, filled));
      throw error;
    }
  }

  /** A good response; errors with `status` are the server's answer, others are the connection's. */
  async #fetch(url, options) {
    let response;
    try {
      response = await fetch(url, { ...options, signal: this.#signal });
    } catch (error) {
      if (this.#signal.aborted) throw error;
      throw failure('network', `${url} cannot be reached: ${error.message}.`, 'Check the connection and try again.');
    }
    if (response.ok) return response;
    const hint = response.status === 404 ? 'Check the address of the model.' : 'Try again later.';
    throw { ...failure('network', `${url} answers ${response.status} ${response.statusText}`, hint), status: response.status };
  }

  #count(bytes) {
    this.#bytes += bytes;
    this.#progress(this.#bytes, this.#total);
  }
}

/** Room for the bytes of a file. */
function room({ name, bytes }) {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw failure('memory', `${name}: there is no memory for its ${bytes} bytes.`, 'Close other pages, or choose a smaller model.');
  }
}

/** The parts of a body as they come; whoever leaves early gets no more of it. */
async function* chunks(response) {
  const reader = response.body.getReader();
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

function resumesAt(response, start) {
  return response.status === 206 && response.headers.get('Content-Range')?.startsWith(`bytes ${start}-`);
}

function parse(bytes, address) {
  const fail = (what) => failure('manifest', `${address}: ${what}.`, 'Give the address that `cargo xtask export` wrote to.');
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw fail(`not a manifest: ${error.message}`);
  }
  if (manifest?.format !== 'unigen-web') throw fail('not the manifest of a model');
  if (manifest.version !== 1) throw fail(`of version ${manifest.version}, this engine reads 1`);
  const size = (bytes) => Number.isSafeInteger(bytes) && bytes > 0;
  const shard = ({ sha256, bytes }) => /^[0-9a-f]{64}$/.test(sha256) && size(bytes);
  const sound = ({ name, bytes, shards }) =>
    typeof name === 'string' && size(bytes) && shards.every(shard) && sum(shards.map((s) => s.bytes)) === bytes;
  try {
    if (typeof manifest.name === 'string' && manifest.files.every(sound)) return manifest;
  } catch {
    // A field of another type is as bad as a wrong one.
  }
  throw fail('a file or shard has no name, size or hash');
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function wait(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
