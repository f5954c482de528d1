//! From pictures of any size to the towers' input, as the published processors do it.

use super::resample::{Filter, resize};
use super::siglip2::Patches;
use crate::error::{Error, ErrorKind, Result};
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;

/// Errors where a picture has no pixels.
fn check(pictures: &[RgbImage]) -> Result<()> {
    match pictures.iter().position(|picture| picture.is_empty()) {
        Some(i) => Err(Error::new(ErrorKind::Image, format!("image {i}"), "has no pixels")
            .fix("give an image of at least 1 x 1 pixels")),
        None => Ok(()),
    }
}

/// A byte as a number from -1 to 1: mean and deviation 0.5.
fn normalise(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}

/// SigLIP's input: each picture is resized to a square, bicubic, whatever its shape.
///
/// `size` in pixels → `[batch, 3, size, size]` in -1 to 1. Errors on a picture without pixels.
pub fn siglip(pictures: &[RgbImage], size: usize, device: &Device) -> Result<Tensor<4>> {
    check(pictures)?;
    let mut pixels = Vec::with_capacity(pictures.len() * 3 * size * size);
    for picture in pictures {
        let picture = resize(picture, size, size, Filter::Bicubic)?;
        for channel in 0..3 {
            pixels.extend(picture.as_raw().iter().skip(channel).step_by(3).map(|&byte| normalise(byte)));
        }
    }
    Ok(Tensor::from_data(TensorData::new(pixels, [pictures.len(), 3, size, size]), device))
}

/// Rows and columns of patches for a picture of `height` x `width` pixels.
///
/// The picture is scaled by the largest factor up to 100 at which its sides, rounded up to whole patches, make at most
/// `max_num_patches`. Bisection finds the factor to 1e-5.
///
/// Errors where a size is zero.
pub fn naflex_grid(
    height: usize,
    width: usize,
    patch_size: usize,
    max_num_patches: usize,
) -> Result<[usize; 2]> {
    if height == 0 || width == 0 {
        return Err(Error::new(ErrorKind::Image, "image", format!("has {width} x {height} pixels"))
            .fix("give an image of at least 1 x 1 pixels"));
    }
    if patch_size == 0 || max_num_patches == 0 {
        return Err(
            Error::new(ErrorKind::Config, "max_num_patches, patch_size", "is 0").fix("must be 1 or more")
        );
    }
    const TOLERANCE: f64 = 1e-5;
    let patches =
        |side: usize, scale: f64| ((side as f64 * scale / patch_size as f64).ceil() as usize).max(1);
    let (mut low, mut high) = (TOLERANCE / 10.0, 100.0);
    while high - low >= TOLERANCE {
        let scale = (low + high) / 2.0;
        match patches(height, scale).saturating_mul(patches(width, scale)) <= max_num_patches {
            true => low = scale,
            false => high = scale,
        }
    }
    Ok([patches(height, low), patches(width, low)])
}

/// SigLIP2's input: each picture is resized to its grid of patches, bilinear, and padded to the longest of the batch.
///
/// `patch_size` in pixels. Errors on a picture without pixels and on sizes of zero.
pub fn naflex(
    pictures: &[RgbImage],
    patch_size: usize,
    max_num_patches: usize,
    device: &Device,
) -> Result<Patches> {
    check(pictures)?;
    let grid =
        |p: &RgbImage| naflex_grid(p.height() as usize, p.width() as usize, patch_size, max_num_patches);
    let shapes = pictures.iter().map(grid).collect::<Result<Vec<_>>>()?;
    let length = shapes.iter().map(|[rows, columns]| rows * columns).max().unwrap_or(0);
    let (line, inputs) = (patch_size * 3, patch_size * patch_size * 3);
    let mut pixels = Vec::with_capacity(pictures.len() * length * inputs);
    for (i, (picture, &[rows, columns])) in pictures.iter().zip(&shapes).enumerate() {
        let picture = resize(picture, columns * patch_size, rows * patch_size, Filter::Bilinear)?;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            for y in row * patch_size..(row + 1) * patch_size {
                let at = (y * columns + column) * line;
                pixels.extend(picture.as_raw()[at..at + line].iter().map(|&byte| normalise(byte)));
            }
        }
        pixels.resize((i + 1) * length * inputs, 0.0);
    }
    let pixels = Tensor::from_data(TensorData::new(pixels, [pictures.len(), length, inputs]), device);
    Ok(Patches { pixels, shapes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn grids_follow_the_rule() {
        // A square fills the budget; doubling one side halves the other's share.
        assert_eq!(naflex_grid(640, 640, 16, 256).unwrap(), [16, 16]);
        assert_eq!(naflex_grid(1, 16384, 16, 256).unwrap(), [1, 256]);
        assert_eq!(naflex_grid(16384, 1, 16, 256).unwrap(), [256, 1]);
        // At scale 100 at most: 100 pixels are 7 patches.
        assert_eq!(naflex_grid(1, 1, 16, 256).unwrap(), [7, 7]);
        assert_eq!(naflex_grid(333, 777, 16, 1).unwrap(), [1, 1]);
        for (height, width) in
            [(480, 640), (333, 1000), (37, 11), (3, 7), (1080, 1920), (5000, 201), (16384, 16384)]
        {
            for budget in [1, 7, 64, 256, 1000] {
                let [rows, columns] = naflex_grid(height, width, 16, budget).unwrap();
                assert!(rows >= 1 && columns >= 1 && rows * columns <= budget);
                // No larger scale fits: the next patch of either side needs a scale at which the whole exceeds.
                let next =
                    |side: usize, patches: usize| (16 * patches) as f64 / side as f64 * (1.0 + 1e-9) + 1e-5;
                let scale = next(height, rows).min(next(width, columns));
                let grown = |side: usize| (side as f64 * scale / 16.0).ceil() as usize;
                assert!(
                    scale > 100.0 || grown(height) * grown(width) > budget,
                    "{height} x {width}: {budget}"
                );
            }
        }
        assert!(naflex_grid(0, 5, 16, 256).is_err());
        assert!(naflex_grid(5, 5, 16, 0).is_err());
    }

    #[test]
    fn patches_are_rows_of_y_x_channel() {
        let device = Device::flex();
        let picture = RgbImage::from_fn(4, 2, |x, y| Rgb([(y * 10 + x) as u8, 0, 255]));
        let tall = RgbImage::from_pixel(2, 2, Rgb([255; 3]));
        let patches = naflex(&[picture.clone(), tall], 2, 2, &device).unwrap();
        assert_eq!(patches.shapes, [[1, 2], [1, 1]]);
        assert_eq!(patches.mask(), [true, true, true, false]);
        let pixels: Vec<f32> = patches.pixels.into_data().try_to_vec().unwrap();
        let reds: Vec<f32> = pixels[..24].iter().step_by(3).map(|v| ((v + 1.0) * 127.5).round()).collect();
        assert_eq!(reds, [0.0, 1.0, 10.0, 11.0, 2.0, 3.0, 12.0, 13.0]);
        assert!(pixels[24..36].iter().all(|&v| v == 1.0) && pixels[36..].iter().all(|&v| v == 0.0));

        let squashed = siglip(&[picture], 2, &device).unwrap();
        assert_eq!(squashed.dims(), [1, 3, 2, 2]);
        let values: Vec<f32> = squashed.into_data().try_to_vec().unwrap();
        assert!(values[4..8].iter().all(|&v| v == -1.0) && values[8..].iter().all(|&v| v == 1.0));
    }
}
