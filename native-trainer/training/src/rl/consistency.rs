//! How much of a picture an edit leaves alone. The reward of UniGen-1.5 asks only for what the description says, so
//! the rest of a picture drifts, as the paper notes among its limitations. This reward covers the rest.

use image::RgbImage;

/// A pixel counts as unchanged if no channel differs by more than this, of 255.
const SAME: u8 = 8;

/// Similarity of `drawn` and `before` where `wanted` equals `before`: 1 minus the mean absolute difference of the
/// channels, 0 to 1. `None` if the wanted picture differs everywhere, as after a change of style, or if the three
/// sizes differ.
pub fn consistency(before: &RgbImage, wanted: &RgbImage, drawn: &RgbImage) -> Option<f32> {
    if before.dimensions() != wanted.dimensions() || before.dimensions() != drawn.dimensions() {
        return None;
    }
    let (mut sum, mut count) = (0_u64, 0_u64);
    for ((before, wanted), drawn) in before.pixels().zip(wanted.pixels()).zip(drawn.pixels()) {
        if before.0.iter().zip(wanted.0).all(|(a, b)| a.abs_diff(b) <= SAME) {
            sum += before.0.iter().zip(drawn.0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>();
            count += 3;
        }
    }
    (count > 0).then(|| (1.0 - sum as f64 / (255 * count) as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn only_what_should_stay_counts() {
        let picture =
            |left, right| RgbImage::from_fn(4, 2, |x, _| Rgb([if x < 2 { left } else { right }; 3]));
        let (before, wanted) = (picture(100, 50), picture(200, 50));
        assert_eq!(consistency(&before, &wanted, &picture(0, 50)), Some(1.0));
        assert_eq!(consistency(&before, &wanted, &picture(200, 101)), Some(0.8));
        assert_eq!(consistency(&before, &picture(0, 0), &before), None);
        assert_eq!(consistency(&before, &wanted, &RgbImage::new(2, 2)), None);
    }
}
