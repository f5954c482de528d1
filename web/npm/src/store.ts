// Files that the browser keeps for this page: the origin's private file system. Where it keeps nothing (private windows,
// no room, an old browser), nothing fails: files are then fetched anew each time.
//
// No folder or file is held open between calls: another tab may purge, and the browser may evict, at any time.

import type { Storage } from './types.d.ts';

const FOLDER = 'unigen-models';

/** Files in a worker are written in place. TypeScript knows of that only where it knows of no pages. */
interface WorkerFile {
  createSyncAccessHandle(): Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array, options: { at: number }): number;
    flush(): void;
    close(): void;
  }>;
}

export class Store {
  #full = false;

  /** Forgets that there was no room: another visit or another tab may have made some. */
  retry(): void {
    this.#full = false;
  }

  /** The names of all files. */
  async names(): Promise<Set<string>> {
    const names = new Set<string>();
    try {
      for await (const name of (await this.#folder()).keys()) names.add(name);
    } catch {
      // No folder, no names.
    }
    return names;
  }

  /** The bytes of a file; null where there is none. */
  async read(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    try {
      const handle = await (await this.#folder()).getFileHandle(name);
      return new Uint8Array(await (await handle.getFile()).arrayBuffer());
    } catch {
      return null;
    }
  }

  /** Keeps a file where that is possible. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    if (this.#full) return;
    // The folder may go between opening it and the file in it: then once more.
    for (const last of [false, true]) {
      try {
        const handle = await (await this.#folder(true)).getFileHandle(name, { create: true });
        const access = await (handle as unknown as WorkerFile).createSyncAccessHandle();
        try {
          access.truncate(0);
          if (access.write(bytes, { at: 0 }) < bytes.byteLength) throw new DOMException('', 'QuotaExceededError');
          access.flush();
          return;
        } finally {
          access.close();
        }
      } catch (error) {
        const { name: kind } = error as Error;
        // Another page writes the same file.
        if (kind === 'NoModificationAllowedError') return;
        await this.remove(name);
        this.#full = kind === 'QuotaExceededError';
        if (kind !== 'NotFoundError' || last) return;
      }
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await (await this.#folder()).removeEntry(name);
    } catch {
      // It is not there, or another page uses it.
    }
  }

  /** Drops all files. */
  async purge(): Promise<void> {
    try {
      await (await navigator.storage.getDirectory()).removeEntry(FOLDER, { recursive: true });
    } catch (error) {
      // A page that may keep nothing has nothing to drop.
      if (!['NotFoundError', 'SecurityError', 'TypeError'].includes((error as Error).name)) throw error;
    }
  }

  async describe(): Promise<Storage> {
    const opens = await navigator.storage?.getDirectory?.().then(
      () => true,
      () => false,
    );
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.().catch(() => undefined)) ?? {};
    const persisted = (await navigator.storage?.persisted?.().catch(() => false)) ?? false;
    return { kind: opens && !this.#full ? 'opfs' : 'memory', persisted, usage, quota };
  }

  async #folder(create = false): Promise<FileSystemDirectoryHandle> {
    return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create });
  }
}
