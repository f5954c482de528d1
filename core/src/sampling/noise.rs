//! Random draws that depend on seed, step and position only, so that one seed gives one image everywhere.

use crate::philox::{Draws, Stream};

/// Standard Gumbel noise for one decoding.
pub trait Noise {
    /// Noise on the logit of `class` at `position` of image `image`.
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32;
    /// Noise on the confidence at `position` of image `image`.
    fn confidence(&self, step: usize, image: usize, position: usize) -> f32;
    /// How many images there is noise for.
    fn images(&self) -> usize {
        usize::MAX
    }
    /// The seed of each of `images` images, where image `i` has the noise of [`Seeded`] with the `i`-th of them. A GPU
    /// can then make the noise itself.
    fn seeds(&self, _images: usize) -> Option<Vec<u64>> {
        None
    }
}

/// Noise from the counter-based generator. Image `i` of a batch has the seed `seed + i`, so it can be drawn alone.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    /// Seed of the first image.
    pub seed: u64,
}

impl Seeded {
    fn draws(&self, image: usize, stream: Stream) -> Draws {
        Draws::new(self.seed.wrapping_add(image as u64), stream)
    }
}

impl Noise for Seeded {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        self.draws(image, Stream::Token).gumbel(step as u32, position as u32, class as u32)
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        self.draws(image, Stream::Confidence).gumbel(step as u32, position as u32, 0)
    }

    fn seeds(&self, images: usize) -> Option<Vec<u64>> {
        Some((0..images).map(|image| self.seed.wrapping_add(image as u64)).collect())
    }
}

/// The noise of [`Seeded`] for images that each have a seed of their own.
#[derive(Debug, Clone)]
pub struct Seeds(pub Vec<u64>);

impl Seeds {
    fn of(&self, image: usize) -> Seeded {
        Seeded { seed: self.0.get(image).copied().unwrap_or_default() }
    }
}

impl Noise for Seeds {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        self.of(image).token(step, 0, position, class)
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        self.of(image).confidence(step, 0, position)
    }

    fn images(&self) -> usize {
        self.0.len()
    }

    fn seeds(&self, images: usize) -> Option<Vec<u64>> {
        self.0.get(..images).map(<[u64]>::to_vec)
    }
}
