// What the engine's wasm asks of the browser: web/src/host.rs.

import { softwareMs } from './adapter.js';
import { failure, Loader } from './loader.js';
import { Store } from './store.js';

export class Host {
  #store = new Store();
  #downloads = new Map();
  #channel = new MessageChannel();

  constructor(post) {
    this.post = post;
  }

  async download(id, manifest, progress, arrived) {
    const abort = new AbortController();
    this.#downloads.set(id, abort);
    try {
      return await new Loader(this.#store, abort.signal, progress, arrived).load(manifest);
    } catch (error) {
      if (abort.signal.aborted) throw failure('cancelled', 'The download was cancelled; what has come is kept.');
      throw error;
    } finally {
      this.#downloads.delete(id);
    }
  }

  cancel(id) {
    this.#downloads.get(id)?.abort();
  }

  purge() {
    return this.#store.purge();
  }

  storage() {
    return this.#store.describe();
  }

  async adapter(side) {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) return undefined;
    const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
    const names = `${vendor} ${architecture} ${description}`;
    const software = Boolean(isFallbackAdapter) || /swiftshader|llvmpipe|lavapipe|basic render/i.test(names);
    return {
      vendor,
      architecture,
      description,
      software,
      features: [...adapter.features].sort(),
      maxStorageBinding: adapter.limits.maxStorageBufferBindingSize,
      gpuMs: software ? await softwareMs(adapter, side) : undefined,
    };
  }

  /** A task later, when messages that arrived before have been handled. */
  pause() {
    return new Promise((resolve) => {
      this.#channel.port1.onmessage = () => resolve();
      this.#channel.port2.postMessage(null);
    });
  }

  now() {
    return performance.now();
  }
}
