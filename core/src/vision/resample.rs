//! Antialiased resampling, as PIL and PyTorch do it.

use crate::error::{Error, ErrorKind, Result};
use image::RgbImage;

/// How samples between samples are found; both are separable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle, two samples wide.
    Bilinear,
    /// Keys' cubic with a = -1/2, four samples wide, as PIL has it.
    Bicubic,
}

impl Filter {
    /// Half the width, in samples.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// Weight at distance `x`, in samples.
    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}

/// The samples that make up one output, with weights that sum to one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// First input sample.
    pub(super) start: usize,
    /// Weights of this and the following samples.
    pub(super) weights: Vec<f64>,
}

/// How to resample `input` samples to `output` (both at least 1), one window an output.
///
/// The window widens when shrinking (antialiasing); sample centres lie at halves. The rule of PIL and of PyTorch's
/// `interpolate(antialias=True)`.
pub(super) fn windows(input: usize, output: usize, filter: Filter) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let window = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let weight = |j: usize| filter.weight((j as f64 + 0.5 - centre) / stretch);
        let sum: f64 = (start..end).map(weight).sum();
        Window { start, weights: (start..end).map(|j| weight(j) / sum).collect() }
    };
    (0..output).map(window).collect()
}

/// Resizes to `width` x `height` pixels, antialiased.
///
/// Across, then down, with bytes in between: the procedure of PIL and of torchvision on bytes (Pillow 13 chooses the
/// cheaper order, which may move a byte where one side shrinks and the other grows).
///
/// # Errors
/// `Image` where the picture has no pixels, or shall have none.
pub fn resize(picture: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    /// Mixes samples that lie `stride` apart, the first of them at `at`.
    fn mix(bytes: &[u8], at: usize, stride: usize, weights: &[f64]) -> u8 {
        let samples = bytes[at..].iter().step_by(stride);
        let sum: f64 = samples.zip(weights).map(|(&byte, weight)| f64::from(byte) * weight).sum();
        (sum + 0.5).clamp(0.0, 255.0) as u8
    }
    let (from_width, from_height) = (picture.width() as usize, picture.height() as usize);
    if [from_width, from_height, width, height].contains(&0) {
        let what = format!("{from_width} x {from_height} pixels cannot become {width} x {height}");
        return Err(Error::new(ErrorKind::Image, "picture", what).fix("give sides of at least 1 pixel"));
    }
    let across = windows(from_width, width, filter);
    let down = windows(from_height, height, filter);
    let mut middle = Vec::with_capacity(from_height * width * 3);
    for row in picture.as_raw().chunks_exact(from_width * 3) {
        for Window { start, weights } in &across {
            middle.extend((0..3).map(|channel| mix(row, start * 3 + channel, 3, weights)));
        }
    }
    let mut bytes = Vec::with_capacity(width * height * 3);
    for Window { start, weights } in &down {
        let first = start * width * 3;
        bytes.extend((0..width * 3).map(|i| mix(&middle, first + i, width * 3, weights)));
    }
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let at = (y as usize * width + x as usize) * 3;
        image::Rgb([bytes[at], bytes[at + 1], bytes[at + 2]])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn the_same_size_takes_each_sample_alone() {
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for (i, window) in windows(7, 7, filter).iter().enumerate() {
                for (j, weight) in window.weights.iter().enumerate() {
                    assert_eq!(*weight, f64::from(window.start + j == i));
                }
            }
        }
    }

    #[test]
    fn resizing_by_hand() {
        let ramp = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8 * 200, 40, 0]));
        let wide = resize(&ramp, 4, 3, Filter::Bilinear).unwrap();
        let row: Vec<u8> = (0..4).map(|x| wide.get_pixel(x, 2)[0]).collect();
        assert_eq!(row, [0, 50, 150, 200]);
        assert!(wide.pixels().all(|p| p[1] == 40 && p[2] == 0));
        // Bicubic at centre 0.25: distances 0.25 and 1.25 weigh 0.8671875 and -0.0703125.
        let wide = resize(&ramp, 4, 1, Filter::Bicubic).unwrap();
        let right = 200.0 * 0.867_187_5 / (0.867_187_5 - 0.070_312_5);
        assert_eq!([wide.get_pixel(0, 0)[0], wide.get_pixel(3, 0)[0]], [0, f64::round(right) as u8]);
        let same = resize(&wide, 4, 1, Filter::Bicubic).unwrap();
        assert_eq!(same, wide);
        assert!(resize(&RgbImage::new(0, 3), 4, 1, Filter::Bicubic).is_err());
        assert!(resize(&wide, 4, 0, Filter::Bicubic).is_err());
    }
}
