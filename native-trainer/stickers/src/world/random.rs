//! Random choices.

use rand::{Rng, RngExt};

/// A random element of `from`, which must not be empty.
pub(super) fn pick<T: Copy>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}
