//! What judges pictures: a detector that is accurate enough.

use anyhow::{Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::vocabulary::Vocabulary;

/// A detector that is right less often than this on original pictures may not judge.
pub const MIN_ACCURACY: f64 = 0.98;
/// Pictures that a model draws at once for a judge.
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
    /// Where pictures have sizes that the detector cannot look at, or the device fails.
    fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>>;
}

/// The accuracy of a detector that may judge.
///
/// # Errors
/// Where it is below [`MIN_ACCURACY`].
pub fn check_judge(detector: &dyn Detect) -> Result<f64> {
    let accuracy = detector.accuracy();
    ensure!(
        (MIN_ACCURACY..=1.0).contains(&accuracy),
        "the detector is right on {accuracy} of original renders; to judge it must be on {MIN_ACCURACY} at least: train it longer"
    );
    Ok(accuracy)
}
