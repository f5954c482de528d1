// The engine's worker in whatever page it is started from: modules of another origin, sandboxed frames, Trusted Types, bundles.

import { EngineError } from './error.ts';

const OPTIONS: WorkerOptions = { type: 'module', name: 'unigen' };
/** The policy that vouches for the worker's address; a page's `trusted-types` must allow it. */
const POLICY = 'unigen';

interface Policy {
  createScriptURL(url: string): string;
}

interface TrustedTypes {
  createPolicy(name: string, rules: Policy): Policy;
}

/** A worker of this engine, a module beside this one unless `address` says otherwise. */
export function spawn(address?: string | URL): Worker {
  // Bundlers would take `new URL('./worker.js', import.meta.url)` alone for a file to copy.
  const here = import.meta.url;
  const script = address ? new URL(address, document.baseURI) : new URL('worker.js', here);
  try {
    if (isForeign(script)) return vouched(importing(script));
    if (address) return vouched(script.href);
    // Bundlers look for these very words.
    return vouched(script.href, () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'unigen' }));
  } catch (error) {
    if (error instanceof EngineError) throw error;
    const text = `The engine's worker cannot be started: ${(error as Error).message}`;
    throw new EngineError({ code: 'unsupported', text, hint: blocked(script) });
  }
}

/** What to look at where a worker cannot be started. */
export function blocked(script: string | URL = 'worker.js'): string {
  return (
    `Serve ${script} as JavaScript, and let the page start workers: worker-src of its Content-Security-Policy must allow the script's origin, ` +
    "and blob: where that is not the page's own; a sandboxed frame needs data: there, and Access-Control-Allow-Origin on the script."
  );
}

/** Whether this page, of another origin or of none (a sandboxed frame), may import the script but not start it. */
function isForeign(script: URL): boolean {
  return /^https?:$/.test(script.protocol) && script.origin !== self.origin;
}

/** The address of a script that imports another. A worker of a page without an origin has none either, and Chromium takes no blobs for it. */
function importing(script: URL): string {
  const source = `import ${JSON.stringify(script.href)};`;
  if (self.origin === 'null') return `data:text/javascript,${encodeURIComponent(source)}`;
  return URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
}

/** Starts a worker, with an address that this package vouches for where the page takes no other. */
function vouched(url: string, start: () => Worker = () => new Worker(url, OPTIONS)): Worker {
  try {
    return start();
  } catch (error) {
    const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
    if (!trustedTypes || !(error instanceof TypeError)) throw error;
    return new Worker((policy ??= newPolicy(trustedTypes)).createScriptURL(url), OPTIONS);
  }
}

let policy: Policy | undefined;

function newPolicy(trustedTypes: TrustedTypes): Policy {
  try {
    return trustedTypes.createPolicy(POLICY, { createScriptURL: (url) => url });
  } catch (error) {
    throw new EngineError({
      code: 'unsupported',
      text: `The page's Trusted Types do not let the engine start its worker: ${(error as Error).message}`,
      hint: `Add ${POLICY} to trusted-types in the page's Content-Security-Policy.`,
    });
  }
}
