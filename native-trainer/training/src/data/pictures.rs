//! Captioned pictures by index, and their annotations.

use anyhow::Result;
use image::RgbImage;
use rand::Rng;
use serde_json::Value;
use std::fmt::Debug;
use std::sync::Arc;
use unigen_core::picture::Picture;

use super::random::pick_at;

/// Questions that ask for a caption.
pub const QUESTIONS: [&str; 5] = [
    "describe the picture.",
    "describe this image.",
    "what does the picture show?",
    "write a caption.",
    "what is in this image?",
];

/// Captioned pictures by index. An index beyond the last picture wraps around.
pub trait Pictures: Send + Sync {
    /// A name that identifies these pictures, so that codes of other pictures in a cache are not used for them.
    fn name(&self) -> String;

    /// Number of pictures; `None` if they never end.
    fn count(&self) -> Option<u64>;

    /// Picture `index` with its annotation. A world draws it in `[width, height]` pixels; a picture from a file has
    /// its own size.
    ///
    /// # Errors
    /// If neither the picture nor any of the next ones can be read.
    fn captioned(&self, index: u64, shape: [u32; 2]) -> Result<Captioned>;

    /// Picture `index` as a square of `size` pixels a side, for a model that needs no caption.
    ///
    /// # Errors
    /// The errors of [`captioned`](Self::captioned).
    fn picture(&self, index: u64, size: u32) -> Result<RgbImage> {
        Ok(self.square(index, size)?.picture)
    }

    /// Picture `index` as a square of `size` pixels a side, with its annotation.
    ///
    /// # Errors
    /// The errors of [`captioned`](Self::captioned).
    fn square(&self, index: u64, size: u32) -> Result<Captioned> {
        let Captioned { picture, annotation } = self.captioned(index, [size; 2])?;
        Ok(Captioned { picture: Picture::square(&picture, size), annotation })
    }

    /// About `count` texts, from which a vocabulary is learned.
    ///
    /// # Errors
    /// The errors of [`captioned`](Self::captioned).
    fn texts(&self, count: u64) -> Result<Vec<String>>;

    /// The annotation whose [`Annotation::record`] is `record`.
    ///
    /// # Errors
    /// If `record` is not an annotation of these pictures.
    fn annotation(&self, record: Value) -> Result<Arc<dyn Annotation>>;
}

/// A picture with its annotation.
#[derive(Debug, Clone)]
pub struct Captioned {
    pub picture: RgbImage,
    pub annotation: Arc<dyn Annotation>,
}

/// The annotation of a picture: at least a caption.
pub trait Annotation: Debug + Send + Sync {
    /// A caption. If several captions are right, each `visit` may get another one.
    fn caption(&self, visit: u64) -> String;

    /// Questions about the picture with their answers, `[question, answer]`, as one conversation.
    fn conversation(&self, visit: u64, _rng: &mut dyn Rng) -> Vec<[String; 2]> {
        vec![[pick_at::<&str>(&QUESTIONS, visit).to_string(), self.caption(visit)]]
    }

    /// The regions of the picture when it is drawn in `[width, height]` pixels, in the order of painting. `None` if
    /// they are unknown.
    fn regions(&self, _size: [u32; 2]) -> Option<Vec<Region>> {
        None
    }

    /// The annotation as JSON, which [`Pictures::annotation`] reads back.
    fn record(&self) -> Value;
}

/// A region of a picture and what it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// `[left, top, right, bottom]` in pixels, y down.
    pub bbox: [f32; 4],
    /// The class of the object and an attribute such as its colour, both counted from 0.
    pub labels: [usize; 2],
}
