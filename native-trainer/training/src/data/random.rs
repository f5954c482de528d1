//! Random draws by sample. Each can be repeated alone, so a resumed run sees the same samples.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of sample `index` of a stream.
pub fn rng_at(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

/// A random element of `from` for `visit`. `from` must not be empty.
pub fn pick_at<T>(from: &[T], visit: u64) -> &T {
    &from[rng_at(0x5EED_91C4, visit).random_range(0..from.len())]
}

/// Width and height of a picture in pixels. Half of the pictures are squares of `size`; the sides of the others are
/// drawn independently, from two thirds to three halves of `size`.
pub fn any_shape(size: u32, rng: &mut impl Rng) -> [u32; 2] {
    if rng.random_bool(0.5) {
        return [size; 2];
    }
    [(); 2].map(|()| ((size as f32 * rng.random_range(2.0 / 3.0..1.5)) as u32).max(1))
}
