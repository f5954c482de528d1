//! PNG files, of whose notes no more is unpacked than is needed and fits.

use super::color;
use image::error::{DecodingError, ImageError, ImageFormatHint, ImageResult, LimitError, LimitErrorKind};
use image::{ColorType, ImageDecoder, ImageFormat};
use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, MatrixCoefficients,
    TransferCharacteristics, curve_from_gamma,
};
use png::{BitDepth, CodingIndependentCodePoints, SourceChromaticities, Transformations};
use std::io::Cursor;

/// Most bytes of colour profile and EXIF that are unpacked; printers' profiles have a few million.
const MAX_NOTES: usize = 16 << 20;

/// The gAMA of a picture in sRGB, 1 / 2.2 in units of 1e-5.
const SRGB_GAMMA: u32 = 45455;

/// A file whose header is read.
pub(super) struct Header<'a>(png::Decoder<Cursor<&'a [u8]>>);

/// A file that is read up to its pixels.
pub(super) struct Reader<'a>(png::Reader<Cursor<&'a [u8]>>);

impl<'a> Header<'a> {
    /// Reads the header, and gives width and height with it.
    pub fn read(bytes: &'a [u8]) -> ImageResult<(Self, (u32, u32))> {
        let limits = png::Limits { bytes: MAX_NOTES };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_ignore_text_chunk(true);
        decoder.set_transformations(Transformations::EXPAND);
        let size = decoder.read_header_info().map_err(explain)?.size();
        Ok((Self(decoder), size))
    }

    /// Reads on to the pixels.
    pub fn into_reader(self) -> ImageResult<Reader<'a>> {
        Ok(Reader(self.0.read_info().map_err(explain)?))
    }
}

impl Reader<'_> {
    /// What the file says about its colours. Chromium's order: code points, a profile that can be read and suits the
    /// pixels, sRGB, gAMA with or without cHRM. What is not understood counts as absent.
    pub fn profile(&self) -> Option<ColorProfile> {
        let info = self.0.info();
        let grey = !self.color_type().has_color();
        let profile = || info.icc_profile.as_ref().and_then(|icc| color::suitable(icc, grey));
        let known = info.coding_independent_code_points.and_then(code_points).or_else(profile);
        if known.is_some() || info.srgb.is_some() {
            return known;
        }
        let gamma = info.gama_chunk?.into_scaled();
        let (white, primaries) = match info.chrm_chunk {
            Some(chunk) => primaries(chunk)?,
            None if gamma == SRGB_GAMMA => return None,
            None => (Chromaticity::D65, ColorPrimaries::BT_709),
        };
        let mut profile = ColorProfile::new_srgb();
        profile.update_rgb_colorimetry(white.to_xyyb(), primaries);
        (gamma > 0).then(|| with_gamma(profile, 1e5 / gamma as f32))
    }
}

/// The profile of the code points of ITU-T H.273, where they are of RGB at full range. Not where brightness is absolute or
/// relative to the scene (PQ, HLG): those want tone mapping.
fn code_points(points: CodingIndependentCodePoints) -> Option<ColorProfile> {
    use TransferCharacteristics::{Bt601, Bt709, Bt202010bit, Bt202012bit, Hlg, Smpte2084};
    let transfer = TransferCharacteristics::try_from(points.transfer_function).ok()?;
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(points.color_primaries).ok()?,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    let known =
        points.is_video_full_range_image && points.matrix_coefficients == 0 && profile.blue_trc.is_some();
    match transfer {
        _ if !known => None,
        Smpte2084 | Hlg => None,
        // What cameras write by these curves, displays show by that of BT.1886.
        Bt709 | Bt601 | Bt202010bit | Bt202012bit => Some(with_gamma(profile, 2.4)),
        _ => Some(profile),
    }
}

fn with_gamma(mut profile: ColorProfile, gamma: f32) -> ColorProfile {
    for curve in [&mut profile.red_trc, &mut profile.green_trc, &mut profile.blue_trc] {
        *curve = Some(curve_from_gamma(gamma));
    }
    profile
}

/// White point and primaries of cHRM; `None` where no colours have them.
fn primaries(chunk: SourceChromaticities) -> Option<(Chromaticity, ColorPrimaries)> {
    let [white, red, green, blue] = [chunk.white, chunk.red, chunk.green, chunk.blue]
        .map(|(x, y)| Chromaticity { x: x.into_value(), y: y.into_value() });
    let area = (red.x - blue.x) * (green.y - blue.y) - (green.x - blue.x) * (red.y - blue.y);
    let real = area.abs() > 1e-4 && [white, red, green, blue].iter().all(|point| point.y > 0.0);
    real.then_some((white, ColorPrimaries { red, green, blue }))
}

impl ImageDecoder for Reader<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.0.info().size()
    }

    fn color_type(&self) -> ColorType {
        let (color, depth) = self.0.output_color_type();
        match (color, depth == BitDepth::Sixteen) {
            (png::ColorType::Grayscale, false) => ColorType::L8,
            (png::ColorType::Grayscale, true) => ColorType::L16,
            (png::ColorType::GrayscaleAlpha, false) => ColorType::La8,
            (png::ColorType::GrayscaleAlpha, true) => ColorType::La16,
            // Palettes are expanded.
            (png::ColorType::Rgb | png::ColorType::Indexed, false) => ColorType::Rgb8,
            (png::ColorType::Rgb | png::ColorType::Indexed, true) => ColorType::Rgb16,
            (png::ColorType::Rgba, false) => ColorType::Rgba8,
            (png::ColorType::Rgba, true) => ColorType::Rgba16,
        }
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.0.info().exif_metadata.as_ref().map(|exif| exif.to_vec()))
    }

    fn read_image(mut self, pixels: &mut [u8]) -> ImageResult<()> {
        self.0.next_frame(pixels).map_err(explain)?;
        if self.0.output_color_type().1 == BitDepth::Sixteen {
            for level in pixels.as_chunks_mut::<2>().0 {
                *level = u16::from_be_bytes(*level).to_ne_bytes();
            }
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        self.read_image(pixels)
    }
}

fn explain(e: png::DecodingError) -> ImageError {
    match e {
        png::DecodingError::IoError(e) => ImageError::IoError(e),
        png::DecodingError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        e => ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Png), e)),
    }
}
