//! Choices by chance.

use rand::{Rng, RngExt};

/// One of several. `from` must not be empty.
pub(super) fn pick<T: Copy>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}
