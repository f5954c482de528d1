//! Turns pictures of any size into CLIP's input, as the published processors do.

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use image::{RgbImage, imageops};
use serde_json::Value;
use unigen_core::vision::resample::{Filter, resize};

/// How a picture that is not square becomes a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Crop the largest square in the middle, as CLIP does.
    Crop,
    /// Pad the whole picture with black, as HPSv2 does.
    Pad,
}

/// Size, framing, and normalisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// Side of the input in pixels.
    pub size: usize,
    pub framing: Framing,
    /// Mean of each channel; channels range from 0 to 1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

impl Preprocess {
    /// Takes OpenAI's constants, which later models kept.
    pub fn new(size: usize, framing: Framing) -> Self {
        let mean = [0.481_454_66, 0.457_827_5, 0.408_210_73];
        Self { size, framing, mean, std: [0.268_629_54, 0.261_302_6, 0.275_777_1] }
    }

    /// Takes the constants of a preprocessor_config.json, if it has them.
    ///
    /// # Errors
    /// If they are not three numbers, or a deviation is not above 0.
    pub fn with_constants(mut self, json: &Value) -> Result<Self> {
        for (key, constants) in [("image_mean", &mut self.mean), ("image_std", &mut self.std)] {
            if let Some(value) = json.get(key) {
                *constants = serde_json::from_value(value.clone()).with_context(|| {
                    format!("preprocessor_config.json: {key} is {value}, not three numbers")
                })?;
            }
        }
        ensure!(
            self.std.iter().all(|&std| std > 0.0),
            "preprocessor_config.json: image_std has a value that is not above 0"
        );
        Ok(self)
    }

    /// The square that the model sees: bicubic, antialiased.
    fn frame(&self, picture: &RgbImage) -> Result<RgbImage> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let (short, long) = (width.min(height), width.max(height));
        let fitted = match self.framing {
            Framing::Crop => short,
            Framing::Pad => long,
        };
        // The published libraries truncate the side when cropping and round it when padding.
        let side = |side: usize| match self.framing {
            Framing::Crop => side * self.size / fitted,
            Framing::Pad => (2 * side * self.size + fitted) / (2 * fitted),
        };
        let picture = resize(picture, side(width).max(1), side(height).max(1), Filter::Bicubic)?;
        let size = self.size as i64;
        let (left, top) = ((size - i64::from(picture.width())) / 2, (size - i64::from(picture.height())) / 2);
        let mut square = RgbImage::new(self.size as u32, self.size as u32);
        imageops::replace(&mut square, &picture, left, top);
        Ok(square)
    }

    /// `[batch, 3, size, size]`, normalised.
    ///
    /// # Errors
    /// If a picture has no pixels.
    pub fn pixels(&self, pictures: &[&RgbImage], device: &Device) -> Result<Tensor<4>> {
        let mut values = Vec::with_capacity(pictures.len() * 3 * self.size * self.size);
        for picture in pictures {
            ensure!(!picture.is_empty(), "a picture has no pixels");
            let square = self.frame(picture)?;
            for channel in 0..3 {
                let (mean, std) = (self.mean[channel], self.std[channel]);
                let bytes = square.as_raw().iter().skip(channel).step_by(3);
                values.extend(bytes.map(|&byte| (f32::from(byte) / 255.0 - mean) / std));
            }
        }
        Ok(Tensor::from_data(TensorData::new(values, [pictures.len(), 3, self.size, self.size]), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn crops_show_the_middle_and_pads_the_whole() {
        let wide = RgbImage::from_fn(12, 4, |x, _| match x {
            0..4 => Rgb([255, 0, 0]),
            4..8 => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        });
        let cropped = Preprocess::new(4, Framing::Crop).frame(&wide).unwrap();
        assert!(cropped.pixels().all(|pixel| pixel.0 == [0, 255, 0]));
        let padded = Preprocess::new(6, Framing::Pad).frame(&wide).unwrap();
        let column =
            |x: u32| (0..6).map(|y| padded.get_pixel(x, y).0.iter().any(|&v| v > 0)).collect::<Vec<_>>();
        assert_eq!(column(0), [false, false, true, true, false, false]);
        assert!(padded.get_pixel(0, 2)[0] > 200 && padded.get_pixel(5, 3)[2] > 200);
    }

    #[test]
    fn constants_normalise() {
        let device = Device::flex();
        let json = serde_json::json!({ "image_mean": [0.5, 0.0, 1.0], "image_std": [0.5, 1.0, 2.0] });
        let preprocess = Preprocess::new(1, Framing::Crop).with_constants(&json).unwrap();
        let pixels = preprocess.pixels(&[&RgbImage::from_pixel(2, 2, Rgb([255, 51, 0]))], &device).unwrap();
        let values: Vec<f32> = pixels.into_data().try_to_vec().unwrap();
        assert!(values.iter().zip([1.0, 0.2, -0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
        assert!(preprocess.pixels(&[&RgbImage::new(0, 3)], &device).is_err());
        let flat = serde_json::json!({ "image_std": [0.5, 0.0, 2.0] });
        assert!(Preprocess::new(1, Framing::Crop).with_constants(&flat).is_err());
    }
}
