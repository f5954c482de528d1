//! Structural similarity of pictures (SSIM; Wang, Bovik, Sheikh and Simoncelli 2004, IEEE Transactions on Image
//! Processing 13(4)).

use image::RgbImage;

/// Radius of the window in pixels, and the deviation of its Gaussian weights.
const RADIUS: usize = 5;
const SIGMA: f64 = 1.5;
/// The constants that keep the quotients finite, for values of 0 to 255.
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// The mean structural similarity of the luma of two pictures of one size, -1 to 1. Windows lie inside the pictures;
/// a side of less than 11 pixels is one window of its own length. Pictures of different sizes have 0.
pub fn ssim(a: &RgbImage, b: &RgbImage) -> f64 {
    if a.dimensions() != b.dimensions() || a.is_empty() {
        return 0.0;
    }
    let (width, height) = (a.width() as usize, a.height() as usize);
    let (x, y) = (luma(a), luma(b));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
    let blur = |values: &[f64]| blurred(values, width, height);
    let [mean_x, mean_y] = [blur(&x), blur(&y)];
    let [xx, yy, xy] = [blur(&product(&x, &x)), blur(&product(&y, &y)), blur(&product(&x, &y))];
    let at = |i: usize| {
        let (mx, my) = (mean_x[i], mean_y[i]);
        let (vx, vy, cov) = (xx[i] - mx * mx, yy[i] - my * my, xy[i] - mx * my);
        (2.0 * mx * my + C1) * (2.0 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    };
    (0..mean_x.len()).map(at).sum::<f64>() / mean_x.len() as f64
}

/// The luma of every pixel (ITU-R BT.601), 0 to 255, row by row.
fn luma(image: &RgbImage) -> Vec<f64> {
    let of = |pixel: &image::Rgb<u8>| {
        let [r, g, b] = pixel.0.map(f64::from);
        0.299 * r + 0.587 * g + 0.114 * b
    };
    image.pixels().map(of).collect()
}

/// The Gaussian means of all windows inside the picture, rows first, then columns.
fn blurred(values: &[f64], width: usize, height: usize) -> Vec<f64> {
    let (across, down) = (window(width), window(height));
    let (columns, rows) = (width + 1 - across.len(), height + 1 - down.len());
    let mut wide = Vec::with_capacity(height * columns);
    for row in values.chunks(width) {
        wide.extend((0..columns).map(|x| across.iter().zip(&row[x..]).map(|(w, v)| w * v).sum::<f64>()));
    }
    let mut all = Vec::with_capacity(rows * columns);
    for y in 0..rows {
        let of =
            |x: usize| down.iter().enumerate().map(|(i, w)| w * wide[(y + i) * columns + x]).sum::<f64>();
        all.extend((0..columns).map(of));
    }
    all
}

/// The weights of a window, which add up to 1.
fn window(side: usize) -> Vec<f64> {
    let length = side.min(2 * RADIUS + 1);
    let middle = (length as f64 - 1.0) / 2.0;
    let weight = |i: usize| (-((i as f64 - middle) / SIGMA).powi(2) / 2.0).exp();
    let sum: f64 = (0..length).map(weight).sum();
    (0..length).map(|i| weight(i) / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([value(x, y); 3]))
    }

    #[test]
    fn equal_pictures_have_one_and_flat_ones_differ_by_their_means() {
        let picture = grey(20, 16, |x, y| (x * 12 + y) as u8);
        assert!((ssim(&picture, &picture) - 1.0).abs() < 1e-9);
        // Without variance only the means count: (2 a b + C1) / (a² + b² + C1).
        let found = ssim(&grey(12, 12, |_, _| 100), &grey(12, 12, |_, _| 150));
        let wanted = (2.0 * 100.0 * 150.0 + C1) / (100.0 * 100.0 + 150.0 * 150.0 + C1);
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        assert!(ssim(&grey(3, 2, |_, _| 9), &grey(3, 2, |_, _| 9)) > 0.999_999);
        assert_eq!(ssim(&picture, &grey(16, 20, |_, _| 0)), 0.0);
        assert_eq!(ssim(&RgbImage::new(0, 0), &RgbImage::new(0, 0)), 0.0);
    }

    #[test]
    fn structure_counts() {
        let stripes = grey(22, 22, |x, _| if x % 4 < 2 { 200 } else { 60 });
        let opposite = grey(22, 22, |x, _| if x % 4 < 2 { 60 } else { 200 });
        let faint = grey(22, 22, |x, _| if x % 4 < 2 { 140 } else { 120 });
        assert!(ssim(&stripes, &opposite) < -0.5);
        let (same, blurred) = (ssim(&stripes, &stripes), ssim(&stripes, &faint));
        assert!(blurred > 0.0 && blurred < 0.5 && same > 0.999, "{blurred}");
    }

    /// One window by hand: a picture of 11 x 11 pixels has one, so the sums over it can be written out.
    #[test]
    fn one_window_by_its_definition() {
        let a = grey(11, 11, |x, y| (x * 17 + y * 5) as u8);
        let b = grey(11, 11, |x, y| (x * 13 + y * 9 + 3) as u8);
        let mut sums = [0.0; 6];
        for y in 0..11 {
            for x in 0..11 {
                let far = (f64::from(x) - 5.0).powi(2) + (f64::from(y) - 5.0).powi(2);
                let w = (-far / (2.0 * SIGMA * SIGMA)).exp();
                let (p, q) = (f64::from(a.get_pixel(x, y)[0]), f64::from(b.get_pixel(x, y)[0]));
                for (sum, value) in sums.iter_mut().zip([1.0, p, q, p * p, q * q, p * q]) {
                    *sum += w * value;
                }
            }
        }
        let [w, p, q, pp, qq, pq] = sums;
        let (p, q) = (p / w, q / w);
        let (vp, vq, cov) = (pp / w - p * p, qq / w - q * q, pq / w - p * q);
        let wanted = (2.0 * p * q + C1) * (2.0 * cov + C2) / ((p * p + q * q + C1) * (vp + vq + C2));
        assert!((ssim(&a, &b) - wanted).abs() < 1e-9, "{} {wanted}", ssim(&a, &b));
    }
}
