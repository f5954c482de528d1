//! What a JPEG file may hold beside colours of a screen: inks of a printer. And whether it is whole.

use super::color;
use image::RgbImage;
use moxcms::{ColorProfile, DataColorSpace, Layout};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// A picture in the inks of a printer (CMYK).
pub(super) struct Inks<'a> {
    decoder: JpegDecoder<ZCursor<&'a [u8]>>,
    stored: ColorSpace,
}

impl<'a> Inks<'a> {
    /// The picture in a file; `None` for one of other colours.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let options = DecoderOptions::default().set_strict_mode(false);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().ok()?;
        let stored = decoder.input_colorspace()?;
        decoder.set_options(options.jpeg_set_out_colorspace(stored));
        matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK).then_some(Self { decoder, stored })
    }

    /// The picture in sRGB as the profile in the file says; `None` where it has none, or is damaged.
    pub fn into_srgb(mut self) -> Option<RgbImage> {
        let profile = ColorProfile::new_from_slice(&self.decoder.icc_profile()?).ok()?;
        let inks = profile.color_space == DataColorSpace::Cmyk;
        let to_srgb = inks.then(|| color::transform(&profile, Layout::Rgba, Layout::Rgb)).flatten()?;
        let (width, height) = self.decoder.dimensions()?;
        let levels = self.decoder.decode().ok()?;
        let mut pixels = Vec::with_capacity(width * height * 3);
        for row in levels.chunks_exact(width * 4) {
            let inks = row.as_chunks::<4>().0.iter().flat_map(|&level| amounts(level, self.stored));
            let mut srgb = vec![0.0; width * 3];
            to_srgb.transform(&inks.collect::<Vec<f32>>(), &mut srgb).ok()?;
            pixels.extend(srgb.iter().map(|&level| (level.clamp(0.0, 1.0) * 255.0).round() as u8));
        }
        RgbImage::from_raw(width as u32, height as u32, pixels)
    }
}

/// How much of each ink, 0 to 1: files hold the opposite, what paper is left, and instead of the three colours' also their
/// brightness and two differences (BT.601).
fn amounts(level: [u8; 4], stored: ColorSpace) -> [f32; 4] {
    let [a, b, c, key] = level.map(f32::from);
    let [cyan, magenta, yellow] = match stored {
        ColorSpace::YCCK => {
            let (b, c) = (b - 128.0, c - 128.0);
            [a + 1.402 * c, a - 0.344_136 * b - 0.714_136 * c, a + 1.772 * b]
        }
        _ => [255.0 - a, 255.0 - b, 255.0 - c],
    };
    [cyan, magenta, yellow, 255.0 - key].map(|amount| (amount / 255.0).clamp(0.0, 1.0))
}

/// Whether a file reaches its end marker; the decoder fills what is missing with grey.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker: 0xFF and neither a stuffed zero, a fill byte nor a restart.
        let Some(found) = bytes.get(at..).and_then(|rest| {
            rest.windows(2).position(|w| w[0] == 0xFF && !matches!(w[1], 0x00 | 0x01 | 0xFF | 0xD0..=0xD7))
        }) else {
            return false;
        };
        at += found + 2;
        if bytes[at - 1] == 0xD9 {
            return true;
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
        at += usize::from(u16::from_be_bytes([high, low]));
    }
}
