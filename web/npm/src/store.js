// Files that the browser keeps for this page: the origin's private file system. Where it keeps nothing (private windows,
// no room, an old browser), nothing fails: files are then fetched anew each time.

const FOLDER = 'unigen-models';

export class Store {
  #folder = null;
  #opened = false;

  /** The bytes of a file; null where there is none. */
  async read(name) {
    try {
      const handle = await (await this.#open())?.getFileHandle(name);
      return handle ? new Uint8Array(await (await handle.getFile()).arrayBuffer()) : null;
    } catch {
      return null;
    }
  }

  /** Keeps a file where that is possible. */
  async write(name, bytes) {
    const folder = await this.#open();
    if (!folder) return;
    try {
      const handle = await folder.getFileHandle(name, { create: true });
      const access = await handle.createSyncAccessHandle();
      try {
        access.truncate(0);
        if (access.write(bytes, { at: 0 }) < bytes.byteLength) throw new DOMException('', 'QuotaExceededError');
        access.flush();
      } finally {
        access.close();
      }
    } catch (error) {
      await this.remove(name);
      // Another page may be writing the same file; after any other failure nothing more is kept.
      if (error.name !== 'NoModificationAllowedError') this.#folder = null;
    }
  }

  async remove(name) {
    await (await this.#open())?.removeEntry(name).catch(() => {});
  }

  /** Drops all files. */
  async purge() {
    const root = await navigator.storage?.getDirectory?.().catch(() => null);
    await root?.removeEntry(FOLDER, { recursive: true }).catch((error) => {
      if (error.name !== 'NotFoundError') throw error;
    });
    this.#folder = null;
    this.#opened = false;
  }

  async describe() {
    const folder = await this.#open();
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.().catch(() => {})) ?? {};
    const persisted = (await navigator.storage?.persisted?.().catch(() => false)) ?? false;
    return { kind: folder ? 'opfs' : 'memory', persisted, usage, quota };
  }

  async #open() {
    if (!this.#opened) {
      this.#opened = true;
      try {
        const root = await navigator.storage.getDirectory();
        this.#folder = await root.getDirectoryHandle(FOLDER, { create: true });
      } catch {
        this.#folder = null;
      }
    }
    return this.#folder;
  }
}
