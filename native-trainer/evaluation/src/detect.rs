//! Detectors that are accurate enough to judge pictures.

use anyhow::{Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Vocabulary;

/// A detector may judge only if it is right on at least this share of original pictures.
pub const MIN_ACCURACY: f64 = 0.98;
/// Number of pictures that a model draws at once for a judge.
pub const BATCH: usize = 16;

/// An object found in a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub class: String,
    /// 0 to 1.
    pub score: f32,
    /// The colour that the object is classified as, if any.
    pub color: Option<String>,
    /// `[left, top, right, bottom]` in any unit, y down.
    pub bbox: [f32; 4],
}

/// Finds the objects in pictures.
pub trait Detect {
    /// How often the detector is right on original pictures, 0 to 1, measured when it was trained.
    fn accuracy(&self) -> f64;

    /// The names that detections may have.
    fn vocabulary(&self) -> Vocabulary<'_>;

    /// The objects in each picture.
    ///
    /// # Errors
    /// If the detector cannot handle the size of a picture, or the device fails.
    fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>>;
}

/// Returns the detector's accuracy if it may judge.
///
/// # Errors
/// If the accuracy is below [`MIN_ACCURACY`].
pub fn check_judge(detector: &dyn Detect) -> Result<f64> {
    let accuracy = detector.accuracy();
    ensure!(
        (MIN_ACCURACY..=1.0).contains(&accuracy),
        "the detector is right on {accuracy} of original renders, but a judge must be right on at least {MIN_ACCURACY}: train it longer"
    );
    Ok(accuracy)
}
