//! Draws that belong to a sample: any of them can be repeated alone, so a resumed run sees what it would have seen.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of sample `index` of a stream.
pub fn rng_at(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

/// One of `from`, drawn for `visit`. `from` must not be empty.
pub fn pick_at<T>(from: &[T], visit: u64) -> &T {
    &from[rng_at(0x5EED_91C4, visit).random_range(0..from.len())]
}

/// Width and height of a picture in pixels: half of the time a square of `size`, else each side by itself two thirds to
/// three halves of it.
pub fn any_shape(size: u32, rng: &mut impl Rng) -> [u32; 2] {
    if rng.random_bool(0.5) {
        return [size; 2];
    }
    [(); 2].map(|()| ((size as f32 * rng.random_range(2.0 / 3.0..1.5)) as u32).max(1))
}
