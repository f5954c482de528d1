//! What an edit leaves as it was. The reward of UniGen-1.5 only asks for what the description says, so that the rest of a
//! picture drifts (its section on limits); this one asks for the rest.

use image::RgbImage;

/// The largest difference of a channel, of 255, at which a pixel counts as unchanged.
const SAME: u8 = 8;

/// How little `drawn` differs from `before` where the `wanted` picture does not: 1 minus the mean absolute difference of
/// the channels there, 0 to 1. None where the wanted picture differs everywhere, as after a change of style, or where the
/// three are not of one size.
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
