// What the engine's wasm asks of the browser: web/src/host.rs.

import { softwareMs } from './adapter.ts';
import { failure, Loader, type Loaded } from './loader.ts';
import { Store } from './store.ts';
import type { Adapter, Storage } from './types.d.ts';

export class Host {
  readonly post: (message: unknown) => void;
  #store = new Store();
  #downloads = new Map<number, AbortController>();
  #channel = new MessageChannel();

  constructor(post: (message: unknown) => void) {
    this.post = post;
  }

  async download(
    id: number,
    manifest: string,
    progress: (bytes: number, total: number) => void,
    arrived: (name: string, bytes: Uint8Array) => void,
  ): Promise<Loaded> {
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

  cancel(id: number): void {
    this.#downloads.get(id)?.abort();
  }

  purge(): Promise<void> {
    return this.#store.purge();
  }

  storage(): Promise<Storage> {
    return this.#store.describe();
  }

  async adapter(side: number): Promise<Adapter | undefined> {
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
  pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#channel.port1.onmessage = () => resolve();
      this.#channel.port2.postMessage(null);
    });
  }

  now(): number {
    return performance.now();
  }
}
