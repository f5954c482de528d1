//! Distorts pictures, so that the judge learns to cope with the artefacts of tokenizers and generators.

use anyhow::Result;
use image::{ImageFormat, RgbImage, codecs::jpeg::JpegEncoder, imageops};
use rand::{Rng, RngExt};

/// Leaves half of the pictures as they are. In the others, each of these happens by chance: a change of contrast and
/// brightness, blur (standard deviation 0.4 to 1.3 pixels), JPEG compression (quality 25 to 80) and noise (standard
/// deviation up to 12 of 255).
pub fn distort(mut image: RgbImage, rng: &mut impl Rng) -> Result<RgbImage> {
    if rng.random_bool(0.5) {
        return Ok(image);
    }
    if rng.random_bool(0.5) {
        let (gain, shift) = (rng.random_range(0.85..1.15f32), rng.random_range(-12f32..12.));
        map(&mut image, |value| (value - 127.5) * gain + 127.5 + shift);
    }
    if rng.random_bool(0.5) {
        image = imageops::blur(&image, rng.random_range(0.4..1.3));
    }
    if rng.random_bool(0.4) {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, rng.random_range(25..=80)).encode_image(&image)?;
        image = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg)?.into_rgb8();
    }
    if rng.random_bool(0.5) {
        let deviation = rng.random_range(1f32..12.);
        // A sum of three uniform numbers is nearly normal; its variance is a quarter.
        map(&mut image, |value| {
            let sum: f32 = (0..3).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            value + 2. * deviation * sum
        });
    }
    Ok(image)
}

fn map(image: &mut RgbImage, mut change: impl FnMut(f32) -> f32) {
    for value in image.iter_mut() {
        *value = (change(f32::from(*value)) + 0.5) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Renderer, Split, scene_at};
    use unigen_training::data::rng_at;

    #[test]
    fn half_stay_as_they_are_and_none_is_lost() {
        let picture = Renderer::new().render(&scene_at(Split::Train, 1, 1), 96, 96);
        let mut same = 0;
        for index in 0..200 {
            let worse = distort(picture.clone(), &mut rng_at(5, index)).expect("a picture");
            assert_eq!(worse.dimensions(), picture.dimensions());
            let change = worse.iter().zip(picture.iter()).map(|(a, b)| f32::from(a.abs_diff(*b)));
            let change = change.sum::<f32>() / worse.as_raw().len() as f32;
            assert!(change < 45., "{change}");
            same += usize::from(change == 0.);
        }
        assert!((85..130).contains(&same), "{same} of 200");
    }
}
