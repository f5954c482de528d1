//! From a file to pixels, within limits on bytes and pixels.

use super::{Picture, color, jpeg, png, tiff, webp};
use crate::error::{Error, ErrorKind, Result};
use crate::file_kind::recognise;
use crate::files::read_regular;
use image::codecs::tiff::TiffDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// Most bytes that a decoder may take for one image: some for its tables and notes, and twice four numbers of 32 bits a pixel.
const MAX_BYTES: u64 = 1 << 30;
const TABLES: u64 = 16 << 20;
const PIXEL: u64 = 32;

impl Picture {
    /// The picture in the file at `path`; see [`decode`](Self::decode).
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode), with `path` as their place; `Io` for what is no file, cannot be read or has more
    /// than [`MAX_FILE`](Self::MAX_FILE) bytes.
    pub fn open(path: &Path) -> Result<RgbImage> {
        let bytes = read_regular(path, Self::MAX_FILE)?;
        Self::decode(&bytes).map_err(|e| Error { place: path.display().to_string(), ..e })
    }

    /// The picture in a file's `bytes`: sRGB at eight bits a channel, upright as its EXIF orientation says, transparency
    /// over white, the first frame of an animation. Profiles, and gAMA, cHRM and cICP of PNG, count as in Chromium.
    ///
    /// The size is read and checked before any pixel. Errors, of kind [`ErrorKind::Image`], on an empty, unknown,
    /// damaged or truncated file, on a picture without pixels, and on one beyond the limits.
    pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
        Self::decode_within(bytes, Self::MAX_PIXELS)
    }

    /// [`decode`](Self::decode) for a caller that has room for `pixels` pixels, where that is less than
    /// [`MAX_PIXELS`](Self::MAX_PIXELS).
    pub fn decode_within(bytes: &[u8], pixels: u64) -> Result<RgbImage> {
        decode_on(bytes, pixels, WHITE)
    }

    /// The mask in the file at `path`: as [`open`](Self::open), but transparency is black, so that what is not painted may
    /// not change.
    pub fn open_mask(path: &Path) -> Result<RgbImage> {
        let mask = Self::decode_mask_within(&read_regular(path, Self::MAX_FILE)?, Self::MAX_PIXELS);
        mask.map_err(|e| Error { place: path.display().to_string(), ..e })
    }

    /// The mask in a file's `bytes`, for a caller that has room for `pixels` pixels: as [`open_mask`](Self::open_mask).
    pub fn decode_mask_within(bytes: &[u8], pixels: u64) -> Result<RgbImage> {
        decode_on(bytes, pixels, BLACK)
    }
}

const WHITE: u8 = 255;
const BLACK: u8 = 0;

/// The picture in a file's `bytes`, transparency over grey of the level `ground`.
fn decode_on(bytes: &[u8], pixels: u64, ground: u8) -> Result<RgbImage> {
    let format = format_of(bytes)?;
    let (picture, orientation) = if format == ImageFormat::Png {
        let (header, size) = png::Header::read(bytes).map_err(explain_png)?;
        check_size(size, pixels)?;
        let mut reader = header.into_reader().map_err(explain_png)?;
        let (orientation, profile) = (reader.orientation().map_err(explain)?, reader.profile());
        (
            color::to_srgb(DynamicImage::from_decoder(reader).map_err(explain_png)?, profile, ground),
            orientation,
        )
    } else {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits(pixels));
        let mut decoder = reader.into_decoder().map_err(explain)?;
        let (width, height) = decoder.dimensions();
        check_size((width, height), pixels)?;
        // Frames and strips may be larger than the picture that they are parts of.
        decoder.set_limits(limits(u64::from(width) * u64::from(height))).map_err(explain)?;
        if format == ImageFormat::WebP && !webp::fits(bytes, (width, height)) {
            let what = format!("a frame is larger than the picture of {width} x {height} pixels");
            return Err(error(what, "convert it to PNG or JPEG"));
        }
        let orientation = decoder.orientation().map_err(explain)?;
        (read(bytes, format, decoder, ground)?, orientation)
    };
    let mut picture = DynamicImage::from(picture);
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// The pixels of a file of any format but PNG, in sRGB.
fn read(bytes: &[u8], format: ImageFormat, mut decoder: impl ImageDecoder, ground: u8) -> Result<RgbImage> {
    let inks = if format == ImageFormat::Jpeg { jpeg::Inks::of(bytes) } else { None };
    let profile = match format {
        // No browser minds a GIF's profile, and one of a screen says nothing about inks.
        _ if inks.is_some() || format == ImageFormat::Gif => None,
        // Under our limits this decoder gives a profile no more room than the pixels take; `tiff::is_whole` keeps it within the
        // file's size.
        ImageFormat::Tiff => {
            TiffDecoder::new(Cursor::new(bytes)).and_then(|mut tiff| tiff.icc_profile()).ok().flatten()
        }
        _ => decoder.icc_profile().ok().flatten(),
    };
    let profile = profile.and_then(|icc| color::suitable(&icc, !decoder.color_type().has_color()));
    if let Some(picture) = inks.and_then(jpeg::Inks::into_srgb) {
        return Ok(picture);
    }
    Ok(color::to_srgb(DynamicImage::from_decoder(decoder).map_err(explain)?, profile, ground))
}

/// What a decoder may take for a picture of so many pixels.
fn limits(pixels: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(pixels.saturating_mul(PIXEL).saturating_add(TABLES).min(MAX_BYTES));
    limits
}

/// Fails for a picture without pixels and for one that is too large.
fn check_size((width, height): (u32, u32), pixels: u64) -> Result<()> {
    let what = format!("the picture has {width} x {height} pixels");
    if width == 0 || height == 0 {
        return Err(error(what, "give one of at least 1 x 1 pixels"));
    }
    let pixels = pixels.min(Picture::MAX_PIXELS);
    if width.max(height) > Picture::MAX_SIDE || u64::from(width) * u64::from(height) > pixels {
        let millions = pixels as f64 / 1e6;
        let side = Picture::MAX_SIDE;
        return Err(error(
            what,
            format!("shrink it to sides of at most {side} and at most {millions:.0} million pixels"),
        ));
    }
    Ok(())
}

/// The format of a file that is not obviously cut off.
fn format_of(bytes: &[u8]) -> Result<ImageFormat> {
    const ANY: &str = "give a PNG, JPEG, GIF, WebP, BMP or TIFF image";
    if bytes.is_empty() {
        return Err(error("the file is empty", ANY));
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) if !jpeg::is_whole(bytes) => Err(truncated()),
        Ok(ImageFormat::WebP) if !webp::is_whole(bytes) => Err(truncated()),
        Ok(ImageFormat::Tiff) if !tiff::is_whole(bytes) => Err(truncated()),
        Ok(format) if format.reading_enabled() => Ok(format),
        _ => Err(match recognise(bytes) {
            Some(found) => error(
                format!("this is {}, not an image that can be read", found.name),
                found.fix.unwrap_or(ANY),
            ),
            None => error("the format is unknown", "convert it to PNG or JPEG"),
        }),
    }
}

fn error(what: impl std::fmt::Display, fix: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Image, "image", what).fix(fix)
}

fn truncated() -> Error {
    error("the file is truncated", "copy or download it again")
}

/// As [`explain`], but that what exceeds the limits of a PNG file is never its pixels.
fn explain_png(e: ImageError) -> Error {
    match e {
        ImageError::Limits(_) => {
            error("its colour profile or EXIF data is too large", "save it without metadata")
        }
        e => explain(e),
    }
}

/// A decoder's error in our words.
fn explain(e: ImageError) -> Error {
    match e {
        ImageError::Limits(limit) if matches!(limit.kind(), LimitErrorKind::Unsupported { .. }) => {
            error(limit, "convert it to PNG or JPEG")
        }
        ImageError::Limits(limit) => error(limit, "shrink the picture"),
        ImageError::Unsupported(e) => error(e, "convert it to PNG or JPEG"),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => truncated(),
        e => {
            let reason = e.to_string();
            let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            error(
                format!("the file is damaged: {reason}"),
                "copy or download it again, or save it anew as PNG",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::png;
    use image::codecs::gif::GifEncoder;
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::tiff::TiffEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{Delay, Frame, ImageBuffer, ImageEncoder, Luma, Rgb, Rgba, RgbaImage};
    use moxcms::{ColorProfile, curve_from_gamma};

    fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn gradient() -> DynamicImage {
        RgbImage::from_fn(40, 24, |x, y| Rgb([x as u8 * 6, y as u8 * 10, 90])).into()
    }

    fn fails(bytes: &[u8]) -> Error {
        let error = Picture::decode(bytes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Image);
        assert!(!error.fix.is_empty(), "{error}");
        error
    }

    const FORMATS: [ImageFormat; 6] = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Gif,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ];

    #[test]
    fn every_format_decodes_and_no_prefix_does_or_panics() {
        for format in FORMATS {
            let bytes = encode(&gradient(), format);
            let picture = Picture::decode(&bytes).unwrap();
            assert_eq!(picture.dimensions(), (40, 24), "{format:?}");
            // GIF has a palette of 256.
            let tolerance = if format == ImageFormat::Gif { 64 } else { 8 };
            assert!(picture.get_pixel(39, 0)[0].abs_diff(234) < tolerance, "{format:?}");
            for length in [0, 1, 3, 10, 20, 30, bytes.len() / 3, bytes.len() / 2, bytes.len() * 3 / 4] {
                let error = fails(&bytes[..length]);
                println!("{format:?} {length}: {error}");
            }
        }
        let jpeg = encode(&gradient(), ImageFormat::Jpeg);
        assert!(fails(&jpeg[..jpeg.len() - 5]).what.contains("truncated"));
        fails(b"");
        fails(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for format in FORMATS {
            let whole = encode(&gradient(), format);
            for at in 0..whole.len().min(400) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xFF;
                let _ = Picture::decode(&bytes);
            }
        }
    }

    #[test]
    fn limits_hold_before_pixels_are_read() {
        let whole = |format| encode(&gradient(), format);
        // Files that promise other sizes than they have pixels for.
        let sized = |format, at: usize, size: &[u8]| {
            let mut bytes = whole(format);
            bytes[at..at + size.len()].copy_from_slice(size);
            bytes
        };
        let bmp = |side: i32| sized(ImageFormat::Bmp, 18, &[side.to_le_bytes(), side.to_le_bytes()].concat());
        let gif = |size: [u8; 4]| sized(ImageFormat::Gif, 6, &size);
        let jpeg = |size: [u8; 4]| {
            let at = whole(ImageFormat::Jpeg).windows(2).position(|mark| mark == [0xFF, 0xC0]).unwrap();
            sized(ImageFormat::Jpeg, at + 5, &size)
        };
        let png = |width, height| {
            let mut bytes = Vec::new();
            // The header alone.
            let writer = ::png::Encoder::new(&mut bytes, width, height).write_header().unwrap();
            drop(writer);
            bytes
        };
        let wide = encode(&ImageBuffer::<Luma<u8>, _>::new(20_000, 1).into(), ImageFormat::Png);
        for (bytes, words) in [
            (wide, "20000 x 1 pixels"),
            (png(16_385, 1), "16385 x 1 pixels"),
            (png(16_384, 4_097), "16384 x 4097 pixels"),
            (png(2_000_000_000, 2_000_000_000), "2000000000 x 2000000000 pixels"),
            (bmp(16_000), "16000 x 16000 pixels"),
            (bmp(i32::MAX), "image"),
            (bmp(0), "image"),
            (gif([0xFF; 4]), "65535 x 65535 pixels"),
            (gif([0, 0, 24, 0]), "0 x 24 pixels"),
            (jpeg([0xFF, 0xDC, 0xFF, 0xDC]), "65500 x 65500 pixels"),
            (jpeg([0, 0, 0, 40]), "image"),
        ] {
            let error = fails(&bytes).to_string();
            assert!(error.contains(words), "{error}, not {words}");
        }
        // A caller's budget is as exact.
        for format in FORMATS {
            let error = Picture::decode_within(&whole(format), 40 * 24 - 1).unwrap_err();
            assert!(error.what.contains("40 x 24"), "{format:?}: {error}");
            Picture::decode_within(&whole(format), 40 * 24).unwrap();
        }
    }

    /// Decoders make room for what a file claims before they read it: frames larger than the picture, notes and entries beyond
    /// the file's end. `tests/fuzz` measures the room.
    #[test]
    fn claims_that_a_file_cannot_keep_are_refused() {
        for (name, bytes) in [
            ("gif", include_bytes!("../../../tests/fuzz/corpus/gif/frame-larger-than-canvas").as_slice()),
            ("webp", include_bytes!("../../../tests/fuzz/corpus/webp/exif-beyond-the-end")),
            ("webp", include_bytes!("../../../tests/fuzz/corpus/mask/exif-beyond-the-end")),
            ("tiff", include_bytes!("../../../tests/fuzz/corpus/tiff/entry-beyond-the-end")),
        ] {
            println!("{name}: {}", fails(bytes));
        }
        let notes = |length: u32| [&[0; 12], &b"EXIF"[..], &length.to_le_bytes(), b"1234"].concat();
        for (length, whole) in
            [(0, true), (3, true), (4, true), (5, false), (1 << 30, false), (u32::MAX, false)]
        {
            assert_eq!(webp::is_whole(&notes(length)), whole, "{length}");
        }
        let tiff = |kind: u16, count: u32| {
            let entry = [&[0, 1][..], &kind.to_le_bytes(), &count.to_le_bytes(), &[0; 4]].concat();
            [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 42]].concat()
        };
        for (kind, count, whole) in [
            (1, 64, true),
            (1, 65, false),
            (3, 32, true),
            (3, 33, false),
            (4, 16, true),
            (4, 17, false),
            (12, 8, true),
            (12, 9, false),
            (99, 64, true),
            (5, u32::MAX, false),
        ] {
            let file = tiff(kind, count);
            assert_eq!((file.len(), tiff::is_whole(&file)), (64, whole), "{kind} {count}");
            assert!((0..22).all(|length| !tiff::is_whole(&file[..length])));
        }
        let small = encode(&gradient(), ImageFormat::WebP);
        assert!(webp::fits(&small, (40, 24)));
        let lossy = |width: u16, height: u16| {
            let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
            let frame = [b"VP8 \x0a\0\0\0", &[0; 6][..], &size].concat();
            let animated = [b"ANMF\x22\0\0\0", &[0; 16][..], &frame].concat();
            [frame, animated].map(|frame| [&[0; 12], &b"ICCP\x01\0\0\0x\0"[..], &frame].concat())
        };
        for (width, height, fits) in [
            (40, 24, true),
            (1, 1, true),
            (41, 24, false),
            (40, 25, false),
            (0x3FFF, 0x3FFF, false),
            // The two highest bits scale a picture for the screen.
            (0x4000 | 40, 0xC000 | 24, true),
        ] {
            for file in lossy(width, height) {
                assert_eq!(webp::fits(&file, (40, 24)), fits, "{width} x {height}");
                for length in 0..file.len() {
                    webp::fits(&file[..length], (40, 24));
                }
            }
        }
    }

    #[test]
    fn deep_and_transparent_pictures_become_eight_bits_on_white() {
        let deep = ImageBuffer::from_pixel(2, 2, Rgb([65535u16, 32896, 0])).into();
        assert_eq!(
            Picture::decode(&encode(&deep, ImageFormat::Png)).unwrap().get_pixel(1, 1).0,
            [255, 128, 0]
        );
        let clear = RgbaImage::from_fn(2, 1, |x, _| Rgba([200, 0, 0, [0, 51][x as usize]])).into();
        let picture = Picture::decode(&encode(&clear, ImageFormat::Png)).unwrap();
        assert_eq!([picture.get_pixel(0, 0).0, picture.get_pixel(1, 0).0], [[255; 3], [244, 204, 204]]);
        let deep = ImageBuffer::from_pixel(1, 1, Rgba([0u16, 0, 0, 13107])).into();
        assert_eq!(Picture::decode(&encode(&deep, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [204; 3]);
    }

    #[test]
    fn an_animation_gives_its_first_frame() {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for colour in [[250, 0, 0, 255], [0, 0, 250, 255]] {
            let frame = RgbaImage::from_pixel(8, 6, Rgba(colour));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay)).unwrap();
        }
        drop(encoder);
        let picture = Picture::decode(&bytes).unwrap();
        assert_eq!(picture.dimensions(), (8, 6));
        assert!(picture.get_pixel(4, 4)[0] > 200);
    }

    #[test]
    fn exif_orientation_turns_the_picture() {
        let bytes = encode(&gradient(), ImageFormat::Jpeg);
        // APP1: "Exif\0\0", big-endian TIFF, one entry: tag 0x112, short, 1 value, 6 (a quarter turn right).
        let tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut turned = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, tiff.len() as u8 + 2];
        turned.extend_from_slice(tiff);
        turned.extend_from_slice(&bytes[2..]);
        let (plain, turned) = (Picture::decode(&bytes).unwrap(), Picture::decode(&turned).unwrap());
        assert_eq!(turned.dimensions(), (24, 40));
        assert_eq!(turned.get_pixel(23, 0), plain.get_pixel(0, 0));
        assert_eq!(turned.get_pixel(0, 39), plain.get_pixel(39, 23));
    }

    /// Three pixels of a PNG, with chunks before them.
    fn png_of(
        color: png::ColorType,
        depth: png::BitDepth,
        pixels: &[u8],
        chunks: &[([u8; 4], Vec<u8>)],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 3, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(COLORS.concat());
        }
        let mut writer = encoder.write_header().unwrap();
        for (name, data) in chunks {
            writer.write_chunk(png::chunk::ChunkType(*name), data).unwrap();
        }
        writer.write_image_data(pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    const COLORS: [[u8; 3]; 3] = [[150, 200, 79], [220, 30, 30], [64, 0, 200]];
    const SAME: [[u8; 3]; 3] = COLORS;
    const FROM_P3: [[u8; 3]; 3] = [[135, 202, 52], [240, 0, 0], [71, 0, 208]];
    const FROM_LINEAR: [[u8; 3]; 3] = [[202, 229, 151], [239, 96, 96], [137, 0, 229]];

    fn grey(levels: [u8; 3]) -> [[u8; 3]; 3] {
        levels.map(|level| [level; 3])
    }

    fn near(found: &RgbImage, wanted: [[u8; 3]; 3], tolerance: u8, name: &str) {
        for (found, wanted) in found.pixels().zip(wanted) {
            let near = found.0.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(near, "{name}: {found:?}, not {wanted:?}");
        }
    }

    fn with_curve(mut profile: ColorProfile, gamma: f32) -> ColorProfile {
        for curve in [&mut profile.red_trc, &mut profile.green_trc, &mut profile.blue_trc] {
            *curve = Some(curve_from_gamma(gamma));
        }
        profile
    }

    fn iccp(profile: &ColorProfile) -> ([u8; 4], Vec<u8>) {
        iccp_of(&profile.encode().unwrap())
    }

    /// A profile as it is put into a PNG: deflated, here in stored blocks.
    fn iccp_of(profile: &[u8]) -> ([u8; 4], Vec<u8>) {
        let mut chunk = b"p\0\0\x78\x01".to_vec();
        let last = profile.chunks(65535).count() - 1;
        for (i, block) in profile.chunks(65535).enumerate() {
            chunk.push((i == last).into());
            chunk.extend_from_slice(&(block.len() as u16).to_le_bytes());
            chunk.extend_from_slice(&(!(block.len() as u16)).to_le_bytes());
            chunk.extend_from_slice(block);
        }
        let sum = profile.iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (a + b) % 65521)
        });
        chunk.extend_from_slice(&(sum.1 << 16 | sum.0).to_be_bytes());
        (*b"iCCP", chunk)
    }

    fn gama(gamma: u32) -> ([u8; 4], Vec<u8>) {
        (*b"gAMA", gamma.to_be_bytes().to_vec())
    }

    /// White point and primaries in units of 1e-5.
    fn chrm(points: [u32; 8]) -> ([u8; 4], Vec<u8>) {
        (*b"cHRM", points.iter().flat_map(|point| point.to_be_bytes()).collect())
    }

    fn cicp(primaries: u8, transfer: u8, full_range: bool) -> ([u8; 4], Vec<u8>) {
        (*b"cICP", vec![primaries, transfer, 0, full_range.into()])
    }

    /// The right colours are those of Chromium 156: the file drawn into a canvas, and its pixels read.
    #[test]
    fn colors_are_those_that_chromium_shows() {
        let p3 = ColorProfile::new_display_p3();
        let linear = with_curve(ColorProfile::new_srgb(), 1.0);
        let grey_linear = ColorProfile::new_gray_with_gamma(1.0);
        let srgb = (*b"sRGB", vec![0]);
        let chrm_srgb = chrm([31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]);
        let chrm_p3 = chrm([31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]);
        let no_colors = chrm([31270, 32900, 0, 0, 0, 0, 0, 0]);
        let nonsense = iccp_of(&b"nonsense".repeat(40));
        for (name, chunks, wanted) in [
            ("Display P3", vec![iccp(&p3)], FROM_P3),
            (
                "Adobe RGB",
                vec![iccp(&ColorProfile::new_adobe_rgb())],
                [[124, 201, 66], [255, 24, 24], [73, 0, 205]],
            ),
            ("linear sRGB", vec![iccp(&linear)], FROM_LINEAR),
            ("a profile before gAMA", vec![gama(100_000), iccp(&p3)], FROM_P3),
            ("a profile before sRGB", vec![srgb.clone(), iccp(&p3)], FROM_P3),
            ("a grey profile", vec![iccp(&grey_linear)], SAME),
            ("a broken profile", vec![nonsense.clone()], SAME),
            ("gAMA after a broken profile", vec![gama(100_000), chrm_srgb.clone(), nonsense], FROM_LINEAR),
            ("gAMA 1", vec![gama(100_000)], FROM_LINEAR),
            ("gAMA 1 / 1.8", vec![gama(55556)], [[167, 210, 98], [227, 40, 40], [81, 0, 210]]),
            ("gAMA of sRGB", vec![gama(45455)], SAME),
            (
                "gAMA and cHRM of sRGB",
                vec![gama(45455), chrm_srgb.clone()],
                [[151, 201, 78], [221, 24, 24], [62, 0, 201]],
            ),
            (
                "gAMA and cHRM of P3",
                vec![gama(55556), chrm_p3.clone()],
                [[155, 212, 77], [247, 0, 19], [90, 0, 219]],
            ),
            ("cHRM alone", vec![chrm_p3.clone()], SAME),
            ("cHRM of no colours", vec![gama(55556), no_colors], SAME),
            ("gAMA 0", vec![gama(0), chrm_srgb], SAME),
            ("sRGB before gAMA", vec![gama(100_000), chrm_p3, srgb], SAME),
            ("code points of P3", vec![cicp(12, 13, true)], FROM_P3),
            ("linear code points", vec![cicp(1, 8, true)], FROM_LINEAR),
            ("code points of BT.709", vec![cicp(1, 1, true)], [[144, 197, 69], [218, 18, 18], [54, 0, 197]]),
            ("code points of BT.2020", vec![cicp(9, 14, true)], [[102, 203, 18], [255, 0, 0], [38, 0, 207]]),
            (
                "code points of SMPTE 240M",
                vec![cicp(7, 7, true)],
                [[163, 204, 95], [218, 58, 47], [82, 28, 207]],
            ),
            ("code points of a narrow range", vec![cicp(12, 13, false)], SAME),
            ("unspecified code points", vec![cicp(2, 2, true)], SAME),
            ("code points before a profile", vec![cicp(1, 13, true), iccp(&p3)], SAME),
        ] {
            let bytes = png_of(png::ColorType::Rgb, png::BitDepth::Eight, &COLORS.concat(), &chunks);
            near(&Picture::decode(&bytes).unwrap(), wanted, 1, name);
        }
    }

    /// As above, for other kinds of pixels.
    #[test]
    fn colors_are_right_in_every_kind_of_pixel() {
        use png::BitDepth::{Eight, Sixteen};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let p3 = [iccp(&ColorProfile::new_display_p3())];
        let linear = [iccp(&with_curve(ColorProfile::new_display_p3(), 1.0))];
        let grey_18 = [iccp(&ColorProfile::new_gray_with_gamma(1.8))];
        let deep: Vec<u8> = COLORS.concat().iter().flat_map(|&level| [level, level]).collect();
        let clear: Vec<u8> =
            COLORS.iter().zip([31, 63, 191]).flat_map(|(c, a)| [c[0], c[1], c[2], a]).collect();
        let on_white = [[240, 249, 230], [251, 192, 192], [117, 64, 220]];
        let trns = (*b"tRNS", vec![0, 51]);
        let palette = [p3[0].clone(), trns];
        for (name, color, depth, pixels, chunks, wanted) in [
            ("16 bits", Rgb, Sixteen, deep, &p3[..], FROM_P3),
            ("alpha", Rgba, Eight, clear, &p3, on_white),
            ("palette", Indexed, Eight, vec![0, 1, 2], &p3, FROM_P3),
            (
                "transparent palette",
                Indexed,
                Eight,
                vec![0, 1, 2],
                &palette,
                [[255; 3], [252, 204, 204], [71, 0, 208]],
            ),
            ("grey", Grayscale, Eight, vec![64, 128, 230], &grey_18, grey([81, 146, 235])),
            (
                "grey of 16 bits",
                Grayscale,
                Sixteen,
                vec![64, 64, 128, 128, 230, 230],
                &grey_18,
                grey([81, 146, 235]),
            ),
            (
                "grey and alpha",
                GrayscaleAlpha,
                Eight,
                vec![0, 31, 64, 95, 255, 255],
                &grey_18,
                grey([224, 190, 255]),
            ),
            ("grey of coloured light", Grayscale, Eight, vec![64, 128, 230], &linear, grey([137, 188, 244])),
            ("grey with gAMA", Grayscale, Eight, vec![64, 128, 230], &[gama(100_000)], grey([137, 188, 244])),
            (
                "grey with code points",
                Grayscale,
                Eight,
                vec![64, 128, 230],
                &[cicp(12, 8, true)],
                grey([137, 188, 244]),
            ),
        ] {
            near(&Picture::decode(&png_of(color, depth, &pixels, chunks)).unwrap(), wanted, 1, name);
        }
        for (format, tolerance) in [(ImageFormat::Jpeg, 3), (ImageFormat::WebP, 1), (ImageFormat::Tiff, 1)] {
            let flat = RgbImage::from_pixel(16, 16, image::Rgb(COLORS[0]));
            let icc = ColorProfile::new_display_p3().encode().unwrap();
            let mut bytes = Cursor::new(Vec::new());
            match format {
                ImageFormat::Jpeg => encode_with(JpegEncoder::new_with_quality(&mut bytes, 100), &flat, icc),
                ImageFormat::WebP => encode_with(WebPEncoder::new_lossless(&mut bytes), &flat, icc),
                _ => encode_with(TiffEncoder::new(&mut bytes), &flat, icc),
            }
            let picture = Picture::decode(bytes.get_ref()).unwrap();
            near(&picture, [FROM_P3[0]; 3], tolerance, &format!("{format:?}"));
        }
    }

    fn encode_with(mut encoder: impl ImageEncoder, picture: &RgbImage, icc: Vec<u8>) {
        encoder.set_icc_profile(icc).unwrap();
        let (width, height) = picture.dimensions();
        encoder.write_image(picture, width, height, image::ExtendedColorType::Rgb8).unwrap();
    }

    #[test]
    fn notes_take_no_more_than_their_budget() {
        let plain =
            |chunks: &[_]| png_of(png::ColorType::Rgb, png::BitDepth::Eight, &COLORS.concat(), chunks);
        // Text of any size is passed over, compressed or not.
        let text = |name: &[u8; 4], start: &[u8]| (*name, [start, &vec![b'x'; 20 << 20]].concat());
        for chunk in [text(b"tEXt", b"a\0"), text(b"zTXt", b"a\0\0"), text(b"iTXt", b"a\0\0\0\0\0")] {
            near(&Picture::decode(&plain(&[chunk])).unwrap(), SAME, 0, "text");
        }
        let bomb = (*b"iCCP", [b"p\0\0".as_slice(), &zeros(20 << 20)].concat());
        assert!(bomb.1.len() < 150_000, "{}", bomb.1.len());
        near(&Picture::decode(&plain(&[bomb])).unwrap(), SAME, 0, "a bomb");
        let error = fails(&plain(&[(*b"eXIf", vec![b'M'; 17 << 20])]));
        assert!(error.to_string().contains("EXIF"), "{error}");
        // Pixels have the caller's budget.
        let error = Picture::decode_within(&plain(&[]), 2).unwrap_err();
        assert!(error.what.contains("3 x 1"), "{error}");
        Picture::decode_within(&plain(&[]), 3).unwrap();
    }

    /// A zlib stream of about `length` zeros in one block with fixed codes.
    fn zeros(length: usize) -> Vec<u8> {
        // The last block, fixed codes; the literal 0; copies of 258 bytes from one byte before; the end of the block.
        let copies = "1100010100000".repeat(length / 258);
        let bits = format!("110{}{copies}0000000", "00110000");
        let byte = |bits: &[u8]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | (bit - b'0'));
        let mut stream = vec![0x78, 0x01];
        stream.extend(bits.as_bytes().chunks(8).map(byte));
        stream.extend_from_slice(&[0; 4]);
        stream
    }

    #[test]
    fn a_file_that_is_no_picture_is_called_what_it_is() {
        let utf_16: Vec<u8> = "not a picture".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, words) in [
            (b"".as_slice(), "empty"),
            (b"<!DOCTYPE html><title>404</title>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
            (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC photo"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image"),
            (b"%PDF-1.7", "a PDF"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS"),
            (b"{\"image\": \"a.png\"}", "JSON text"),
            (&utf_16, "UTF-16"),
            (&[0; 100], "zeros"),
            (&[1, 2, 3, 4], "unknown"),
        ] {
            let error = fails(bytes);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    /// An 8 x 8 baseline JPEG with four components, each of one level, as Adobe writes it (255 is no ink).
    fn cmyk(levels: [i32; 4]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xEE, 0, 14];
        bytes.extend_from_slice(b"Adobe\0d\0\0\0\0\0");
        bytes.extend_from_slice(&[0xFF, 0xDB, 0, 67, 0]);
        bytes.extend_from_slice(&[1; 64]);
        bytes.extend_from_slice(&[0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4]);
        (1..=4).for_each(|id| bytes.extend_from_slice(&[id, 0x11, 0]));
        // Direct component: code 00 for a difference of ten bits; the others: code 0 for the end of the block.
        bytes.extend_from_slice(&[
            0xFF, 0xC4, 0, 20, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
        ]);
        bytes
            .extend_from_slice(&[0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
        let mut bits = String::new();
        for level in levels {
            let value = (level - 128) * 8;
            let value = if value < 0 { value + 1023 } else { value };
            bits += &format!("00{value:010b}0");
        }
        bits += "1111";
        for byte in bits.as_bytes().chunks(8) {
            let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
            bytes.push(byte);
            if byte == 0xFF {
                bytes.push(0);
            }
        }
        bytes.extend_from_slice(&[0xFF, 0xD9]);
        bytes
    }

    #[test]
    fn cmyk_jpegs_get_their_colours() {
        // No cyan, full magenta and yellow, no black: red. Levels keep ten bits of difference.
        for (levels, wanted) in [([255, 1, 1, 255], [255, 1, 1]), ([1, 255, 255, 200], [1, 200, 200])] {
            let picture = Picture::decode(&cmyk(levels)).unwrap();
            let found = picture.get_pixel(3, 3).0;
            assert!(
                found.iter().zip(wanted).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 4),
                "{found:?} {wanted:?}"
            );
        }
    }
}
