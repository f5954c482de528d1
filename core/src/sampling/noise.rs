//! Random draws that depend on seed, step and position only, so that one seed gives one image everywhere.

use crate::philox::{Draws, Stream};

/// Standard Gumbel noise for one decoding.
pub trait Noise {
    /// For the draw of `class` at `position` of image `image`.
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32;
    /// For the confidence at `position` of image `image`.
    fn confidence(&self, step: usize, image: usize, position: usize) -> f32;
    /// The seed of each of `images` images, where image `i` has the noise of [`Seeded`] with the `i`-th of them: a GPU
    /// can then make the noise itself.
    fn seeds(&self, _images: usize) -> Option<Vec<u64>> {
        None
    }
}

/// Noise from the counter-based generator; image `i` of a batch has the seed `seed + i`, so it can be drawn alone.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    /// Seed of the first image.
    pub seed: u64,
}

impl Noise for Seeded {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        Draws::new(self.seed.wrapping_add(image as u64), Stream::Token).gumbel(
            step as u32,
            position as u32,
            class as u32,
        )
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        Draws::new(self.seed.wrapping_add(image as u64), Stream::Confidence).gumbel(
            step as u32,
            position as u32,
            0,
        )
    }

    fn seeds(&self, images: usize) -> Option<Vec<u64>> {
        Some((0..images).map(|image| self.seed.wrapping_add(image as u64)).collect())
    }
}

/// Noise for images that each have a seed of their own, by [`Seeded`].
#[derive(Debug, Clone)]
pub struct Seeds(pub Vec<u64>);

impl Noise for Seeds {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        Seeded { seed: self.0[image] }.token(step, 0, position, class)
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        Seeded { seed: self.0[image] }.confidence(step, 0, position)
    }

    fn seeds(&self, images: usize) -> Option<Vec<u64>> {
        self.0.get(..images).map(<[u64]>::to_vec)
    }
}
