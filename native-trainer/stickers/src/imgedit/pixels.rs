//! Pixels of pictures: which are meant, and how far they differ.

use image::RgbImage;

/// Pixels around a box that count as part of it: its smoothed edge, and what a neighbouring code may change.
const EDGE: f32 = 3.0;

/// The mean of some values. None if there are none.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Falls from 1 at the first bound to 0 at the second.
pub fn falling(value: f64, [best, worst]: [f64; 2]) -> f64 {
    ((worst - value) / (worst - best)).clamp(0.0, 1.0)
}

/// The places `(x, y)` of all pixels, row by row.
pub fn all(image: &RgbImage) -> impl Iterator<Item = (u32, u32)> + use<> {
    let (width, height) = image.dimensions();
    (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)))
}

/// The places of the pixels from the first to before the last of a box.
pub fn inside(
    image: &RgbImage,
    &[left, top, right, bottom]: &[f32; 4],
) -> impl Iterator<Item = (u32, u32)> + use<> {
    let side = |from: f32, to: f32, length: u32| from.max(0.0) as u32..(to.max(0.0) as u32).min(length);
    let columns = side(left, right, image.width());
    side(top, bottom, image.height()).flat_map(move |y| columns.clone().map(move |x| (x, y)))
}

/// A box with its edge.
pub fn grown([left, top, right, bottom]: [f32; 4]) -> [f32; 4] {
    [left - EDGE, top - EDGE, right + EDGE, bottom + EDGE]
}

/// Whether the middle of a pixel lies in one of the boxes.
pub fn within(boxes: &[[f32; 4]], x: u32, y: u32) -> bool {
    let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
    boxes.iter().any(|b| (b[0]..=b[2]).contains(&x) && (b[1]..=b[3]).contains(&y))
}

/// The mean squared error of two pictures of one size at some places, 0 to 1. 0 if there are none.
pub fn distance(a: &RgbImage, b: &RgbImage, at: impl Iterator<Item = (u32, u32)>) -> f64 {
    let errors = at.map(|(x, y)| {
        let pairs = a.get_pixel(x, y).0.into_iter().zip(b.get_pixel(x, y).0);
        pairs.map(|(a, b)| ((f64::from(a) - f64::from(b)) / 255.0).powi(2)).sum::<f64>() / 3.0
    });
    mean(errors).unwrap_or(0.0)
}
