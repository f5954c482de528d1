//! Counts the sprites that a detector finds in pictures whose scenes are known.

use anyhow::Result;
use image::RgbImage;
use serde::Serialize;

use super::boxes::{iou, same_place};
use super::{Detection, Detector};
use crate::world::{Scene, Truth};

/// The counts. Unless stated otherwise, they are shares of all sprites, 0 to 1 (0 without sprites).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    /// Number of sprites in the scenes.
    pub sprites: usize,
    /// Sprites that are detected at all: a detection's box and the sprite's box each contain the other's middle.
    pub place: f64,
    /// Sprites that are detected with an intersection over union above one half.
    pub boxes: f64,
    /// Sprites that are detected with the right class.
    pub class: f64,
    /// Sprites that are detected with the right colour. Natural colours count as a colour.
    pub color: f64,
    /// Sprites that are detected with the right class and colour.
    pub both: f64,
    /// Detections per picture that belong to no sprite.
    pub false_positives: f64,
}

/// Counts the scenes' sprites that `detector` finds in the pictures. These may be renders, reconstructions or
/// generated.
///
/// # Errors
/// Those of [`Detector::find`].
pub fn sprites_found(detector: &Detector, pictures: &[(Scene, RgbImage)]) -> Result<Found> {
    let images: Vec<RgbImage> = pictures.iter().map(|(_, image)| image.clone()).collect();
    let truths = pictures.iter().map(|(scene, image)| Truth::of(scene, image.width(), image.height()));
    let pairs: Vec<_> = truths.zip(detector.find(&images)?).collect();
    Ok(compare(&pairs))
}

/// The objects that a picture shows, and the detections in it, most confident first.
pub(super) type Seen = (Vec<Truth>, Vec<Detection>);

/// Compares the objects that pictures show with the detections in them.
pub(super) fn compare(pictures: &[Seen]) -> Found {
    let mut found = Found::default();
    for (truths, detections) in pictures {
        let mut free: Vec<&Detection> = detections.iter().collect();
        for truth in truths {
            let here = |detection: &&Detection| same_place(&truth.bbox, &detection.bbox);
            found.sprites += 1;
            // Detections come in the order of their scores.
            let Some(at) = free.iter().position(here) else { continue };
            let detection = free.remove(at);
            let (class, color) = (detection.class == truth.class, detection.color == truth.color);
            found.place += 1.;
            found.boxes += f64::from(iou(&truth.bbox, &detection.bbox) > 0.5);
            found.class += f64::from(class);
            found.color += f64::from(color);
            found.both += f64::from(class && color);
        }
        found.false_positives += free.len() as f64;
    }
    let shares = [&mut found.place, &mut found.boxes, &mut found.class, &mut found.color, &mut found.both];
    shares.into_iter().for_each(|share| *share /= found.sprites.max(1) as f64);
    found.false_positives /= pictures.len().max(1) as f64;
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Class, Color};

    #[test]
    fn every_sprite_takes_one_detection() {
        let truth = |class: usize, x: f32| Truth {
            class: Class::GENEVAL[class],
            color: Some(Color::Red),
            bbox: [x, 10., x + 20., 30.],
        };
        let seen = |class: usize, color, x: f32| Detection {
            class: Class::GENEVAL[class],
            score: 0.9,
            color,
            bbox: [x, 10., x + 20., 30.],
        };
        let truths = vec![truth(1, 0.), truth(2, 30.), truth(3, 60.), truth(4, 90.)];
        let red = Some(Color::Red);
        let detections = vec![
            seen(1, red, 1.),
            seen(2, None, 31.),
            seen(2, red, 32.),
            seen(4, red, 60.),
            seen(4, red, 99.),
        ];
        let found = compare(&[(truths, detections), (vec![], vec![])]);
        let wanted = Found {
            sprites: 4,
            place: 1.,
            boxes: 0.75,
            class: 0.75,
            color: 0.75,
            both: 0.5,
            false_positives: 0.5,
        };
        assert_eq!(found, wanted);
        assert_eq!(compare(&[]), Found::default());
    }
}
