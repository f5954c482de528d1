//! Measures what an image tokenizer keeps of pictures.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use serde::Serialize;
use std::fmt;
use unigen_core::image_tokenizer::{Codes, ImageTokenizer, lfq, pixels_from_images};
use unigen_runs::{Interrupt, sheet};

use crate::similarity::ssim;

/// Number of pictures that are encoded together.
const BATCH: usize = 16;
/// Number of pairs on the sheet.
const SHOWN: usize = 16;

/// How reconstructions compare with the originals.
#[derive(Clone, Debug, Serialize)]
pub struct Reconstructions {
    /// Peak signal-to-noise ratio in dB, the mean over the pictures.
    pub psnr: f64,
    /// Structural similarity, -1 to 1, the mean over the pictures (Wang et al. 2004).
    pub ssim: f64,
    /// An upper bound of the bits that a code carries: the sum of the entropies of its bits over all codes.
    pub bits_used: f64,
    /// The original and the reconstruction of every picture.
    #[serde(skip)]
    pub images: Vec<[RgbImage; 2]>,
}

impl Reconstructions {
    /// Encodes and decodes `originals`, pictures of one size, with a tokenizer whose codes have `bits` bits. Calls
    /// `progress` with the number of pictures done.
    ///
    /// # Errors
    /// If `originals` is empty, their sizes differ, the device fails, or Ctrl-C was pressed.
    pub fn run(
        tokenizer: &ImageTokenizer,
        bits: usize,
        originals: Vec<RgbImage>,
        device: &Device,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(!originals.is_empty(), "nothing to reconstruct: give at least one picture");
        let (mut decoded, mut codes): (Vec<RgbImage>, Vec<Codes>) = (vec![], vec![]);
        for batch in originals.chunks(BATCH) {
            Interrupt::check()?;
            let pixels = pixels_from_images(batch, device)?;
            let [_, height, width, _] = pixels.dims();
            let batch = tokenizer.encode(pixels)?;
            let pixels = tokenizer.decode(batch.clone(), height, width)?;
            decoded.extend(tokenizer.to_image(pixels).block_on()?);
            codes.extend(lfq::codes_from_data(batch.into_data())?);
            progress(decoded.len());
        }
        Ok(Self {
            psnr: mean(originals.iter().zip(&decoded).map(|(a, b)| psnr(a, b))),
            ssim: mean(originals.iter().zip(&decoded).map(|(a, b)| ssim(a, b))),
            bits_used: entropy_of_bits(&codes, bits),
            images: originals.into_iter().zip(decoded).map(|(a, b)| [a, b]).collect(),
        })
    }

    /// A sheet of originals beside their reconstructions.
    pub fn sheet(&self) -> RgbImage {
        let pairs = self.images.iter().take(SHOWN);
        let caption = |[a, b]: &[RgbImage; 2]| format!("{:.1} dB, {:.3}", psnr(a, b), ssim(a, b));
        let pairs: Vec<_> = pairs.map(|pair| (beside(&pair[0], &pair[1]), caption(pair))).collect();
        sheet(&pairs, 4, 1)
    }
}

impl fmt::Display for Reconstructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<17}{:>10.2} dB over {} pictures", "psnr", self.psnr, self.images.len())?;
        writeln!(f, "{:<17}{:>10.4}", "ssim", self.ssim)?;
        writeln!(f, "{:<17}{:>10.2}", "bits used", self.bits_used)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// Peak signal-to-noise ratio in dB.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let square = |(&a, &b): (&u8, &u8)| (f64::from(a) - f64::from(b)).powi(2);
    let error = mean(a.as_raw().iter().zip(b.as_raw()).map(square)).max(1e-3);
    10.0 * (255.0 * 255.0 / error).log10()
}

/// The sum of the entropies of the bits of codes, in bits.
fn entropy_of_bits(codes: &[Codes], bits: usize) -> f64 {
    let total: usize = codes.iter().map(Vec::len).sum();
    let entropy = |bit: usize| {
        let set = codes.iter().flatten().filter(|&&code| code >> bit & 1 == 1).count();
        let p = set as f64 / total.max(1) as f64;
        [p, 1.0 - p].iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum::<f64>()
    };
    (0..bits).map(entropy).sum()
}

/// Two pictures of one size side by side.
fn beside(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let (width, height) = a.dimensions();
    RgbImage::from_fn(2 * width, height, |x, y| {
        *if x < width { a.get_pixel(x, y) } else { b.get_pixel(x - width, y) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use unigen_core::config::TokenizerConfig;

    #[test]
    fn noise_and_bits_by_hand() {
        let flat = |value: u8| RgbImage::from_pixel(4, 4, Rgb([value; 3]));
        // 20 log10(255 / 5)
        assert!((psnr(&flat(100), &flat(105)) - 34.151).abs() < 1e-3);
        assert!((psnr(&flat(9), &flat(9)) - 78.131).abs() < 1e-3);
        // The first bit is set in half of the codes, the second in a quarter, the third in none.
        let used = entropy_of_bits(&[vec![0b00, 0b01], vec![0b11, 0b00]], 3);
        assert!((used - 1.0 - 0.811_278).abs() < 1e-5, "{used}");
    }

    #[test]
    fn pictures_go_through_the_tokenizer() {
        let device = Device::flex();
        let config = TokenizerConfig {
            ch: 8,
            encoder_ch_mult: vec![1; 2],
            encoder_num_res_blocks: vec![1; 2],
            decoder_ch_mult: vec![1; 2],
            decoder_num_res_blocks: vec![1; 2],
            norm_groups: 4,
            z_channels: 4,
            ..TokenizerConfig::default()
        };
        let tokenizer = ImageTokenizer::new(&config, &device).unwrap();
        let picture = |index: u8| RgbImage::from_fn(8, 6, |x, y| Rgb([index, x as u8 * 30, y as u8 * 40]));
        let mut done = vec![];
        let originals = (0..20).map(picture).collect();
        let found =
            Reconstructions::run(&tokenizer, 4, originals, &device, |count| done.push(count)).unwrap();
        assert_eq!((found.images.len(), done), (20, vec![16, 20]));
        let [original, decoded] = &found.images[17];
        assert_eq!((original, decoded.dimensions()), (&picture(17), (8, 6)));
        assert!(found.psnr > 0.0 && (0.0..=4.0).contains(&found.bits_used), "{found}");
        assert!(found.to_string().contains("dB over 20 pictures"), "{found}");
        assert!(found.sheet().width() > 4 * 16);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["psnr", "ssim", "bits_used"]);
        let run = |originals| Reconstructions::run(&tokenizer, 4, originals, &device, |_| ()).unwrap_err();
        assert!(run(vec![]).to_string().contains("nothing to reconstruct"));
        assert!(run(vec![picture(0), RgbImage::new(6, 8)]).to_string().contains("one size"));
    }
}
