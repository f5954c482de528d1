//! Captioned pictures by index, and what is known about each.

use anyhow::Result;
use image::RgbImage;
use rand::Rng;
use serde_json::Value;
use std::fmt::Debug;
use std::sync::Arc;
use unigen_core::picture::Picture;

use super::random::pick_at;

/// The ways to ask for a caption.
pub const QUESTIONS: [&str; 5] = [
    "describe the picture.",
    "describe this image.",
    "what does the picture show?",
    "write a caption.",
    "what is in this image?",
];

/// Captioned pictures by index. An index beyond the last picture begins anew.
pub trait Pictures: Send + Sync {
    /// Tells these pictures from others, so that cached codes of others are not used for them.
    fn name(&self) -> String;

    /// Number of pictures; none where they never end.
    fn count(&self) -> Option<u64>;

    /// Picture `index` with what is known about it. Pictures that are drawn come in `[width, height]` pixels, those of
    /// files as they are.
    ///
    /// # Errors
    /// Where the picture cannot be read and none of the next ones can.
    fn captioned(&self, index: u64, shape: [u32; 2]) -> Result<Captioned>;

    /// Picture `index` for a model that needs no caption, square, of `size` pixels a side.
    ///
    /// # Errors
    /// Those of [`captioned`](Self::captioned).
    fn picture(&self, index: u64, size: u32) -> Result<RgbImage> {
        Ok(self.square(index, size)?.picture)
    }

    /// Picture `index`, square, of `size` pixels a side, with what is known about it.
    ///
    /// # Errors
    /// Those of [`captioned`](Self::captioned).
    fn square(&self, index: u64, size: u32) -> Result<Captioned> {
        let Captioned { picture, annotation } = self.captioned(index, [size; 2])?;
        Ok(Captioned { picture: Picture::square(&picture, size), annotation })
    }

    /// About `count` texts to learn a vocabulary from.
    ///
    /// # Errors
    /// Those of [`captioned`](Self::captioned).
    fn texts(&self, count: u64) -> Result<Vec<String>>;

    /// The annotation that gave `record`, see [`Annotation::record`].
    ///
    /// # Errors
    /// Where `record` is none of these pictures' annotations.
    fn annotation(&self, record: Value) -> Result<Arc<dyn Annotation>>;
}

/// A picture with what is known about it.
#[derive(Debug, Clone)]
pub struct Captioned {
    pub picture: RgbImage,
    pub annotation: Arc<dyn Annotation>,
}

/// What is known about a picture: a caption at least.
pub trait Annotation: Debug + Send + Sync {
    /// A caption. Where more than one text is right, each `visit` may read another.
    fn caption(&self, visit: u64) -> String;

    /// Questions about the picture with their answers, `[question, answer]`, as one conversation.
    fn conversation(&self, visit: u64, _rng: &mut dyn Rng) -> Vec<[String; 2]> {
        vec![[pick_at::<&str>(&QUESTIONS, visit).to_string(), self.caption(visit)]]
    }

    /// What lies where in the picture of `[width, height]` pixels, in the order of painting; none where nobody knows.
    fn regions(&self, _size: [u32; 2]) -> Option<Vec<Region>> {
        None
    }

    /// The annotation as JSON, which [`Pictures::annotation`] reads back.
    fn record(&self) -> Value;
}

/// A part of a picture and what it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// `[left, top, right, bottom]` in pixels, y down.
    pub bbox: [f32; 4],
    /// The class of what it shows, and an attribute such as its colour, both counted from 0.
    pub labels: [usize; 2],
}
