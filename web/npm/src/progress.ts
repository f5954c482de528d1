// How far a call is, in fractions of the whole that never fall.

import type { Progress } from './types.d.ts';

/** The part of a call that is the load it waits for, where there is one. */
const LOAD = 0.5;

export type Tell = (progress: Progress) => void;

/** Tells fractions that never fall, also where a call is begun again. */
export function rising(tell?: Tell): Tell {
  let far = 0;
  return (detail) => {
    far = Math.max(far, detail.fraction);
    tell?.({ ...detail, fraction: far });
  };
}

/** A call that may have to wait for a load: both are parts of one whole. */
export function course(tell?: Tell): { load: Tell; work: Tell } {
  const told = rising(tell);
  let start = 0;
  return {
    load: (detail) => {
      start = LOAD;
      told({ ...detail, fraction: LOAD * detail.fraction });
    },
    work: (detail) => told({ ...detail, fraction: start + (1 - start) * detail.fraction }),
  };
}
