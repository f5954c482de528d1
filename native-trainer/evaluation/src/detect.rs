//! Detectors that are accurate enough to judge pictures.

use anyhow::{Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Vocabulary;

/// A detector may judge only if it is right on at least this share of original pictures: the first where it tells apart up
/// to [`FEW`] things, the second where it tells apart more. Among many, some differ by a colour or by a stroke.
pub const MIN_ACCURACY: [f64; 2] = [0.98, 0.9];
/// Number of things, up to which a detector must be nearly always right.
const FEW: usize = 100;
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
    let things = detector.vocabulary().classes.len();
    let least = MIN_ACCURACY[usize::from(things > FEW)];
    ensure!(
        (least..=1.0).contains(&accuracy),
        "the detector is right on {accuracy} of original renders, but a judge of {things} things must be right on at least {least}: train it longer"
    );
    Ok(accuracy)
}
