//! Images that users give, decoded with care.

use crate::error::{Error, ErrorKind, Result};
use image::error::{ImageError, LimitErrorKind};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// Decodes image files: PNG, JPEG, GIF, WebP, BMP and TIFF.
#[derive(Clone, Copy, Debug)]
pub struct Picture;

impl Picture {
    /// Longest side in pixels.
    pub const MAX_SIDE: u32 = 16384;
    /// Most pixels altogether.
    pub const MAX_PIXELS: u64 = 64 << 20;
    /// Most bytes that a decoder may take for one image.
    const MAX_BYTES: u64 = 1 << 30;

    /// The picture in a file's `bytes`: eight bits a channel, upright as its EXIF orientation says, transparency over
    /// white, the first frame of an animation.
    ///
    /// The size is read and checked before any pixel. Errors, of kind [`ErrorKind::Image`], on an empty, unknown,
    /// damaged or truncated file, on a picture without pixels, and on one beyond the limits.
    pub fn decode(bytes: &[u8]) -> Result<RgbImage> {
        if bytes.is_empty() {
            return Err(error("the file is empty", "give a PNG, JPEG, GIF, WebP, BMP or TIFF image"));
        }
        let mut reader =
            ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| explain(e.into()))?;
        let Some(format) = reader.format() else {
            return Err(error("the format is unknown", "convert it to PNG or JPEG"));
        };
        if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
            return Err(truncated());
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(Self::MAX_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(explain)?;
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(error(
                format!("the picture has {width} x {height} pixels"),
                "give one of at least 1 x 1 pixels",
            ));
        }
        if width.max(height) > Self::MAX_SIDE || u64::from(width) * u64::from(height) > Self::MAX_PIXELS {
            return Err(error(
                format!("the picture has {width} x {height} pixels"),
                format!(
                    "shrink it to sides of at most {} and at most {} million pixels",
                    Self::MAX_SIDE,
                    Self::MAX_PIXELS / 1_000_000
                ),
            ));
        }
        let orientation = decoder.orientation().map_err(explain)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(explain)?;
        picture.apply_orientation(orientation);
        Ok(over_white(picture))
    }

    /// The largest square in the middle of a picture, `size` pixels a side.
    pub fn square(picture: &RgbImage, size: u32) -> RgbImage {
        let (width, height) = picture.dimensions();
        let side = width.min(height);
        let (left, top) = ((width - side) / 2, (height - side) / 2);
        let middle = imageops::crop_imm(picture, left, top, side, side).to_image();
        if side == size { middle } else { imageops::resize(&middle, size, size, FilterType::CatmullRom) }
    }
}

/// Composites transparency over white, at eight bits a channel.
fn over_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let mut opaque = RgbImage::new(picture.width(), picture.height());
    for (to, from) in opaque.pixels_mut().zip(picture.pixels()) {
        let alpha = u32::from(from[3]);
        to.0 = [0, 1, 2].map(|c| ((u32::from(from[c]) * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    opaque
}

/// Whether a JPEG file reaches its end marker; the decoder fills what is missing with grey.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
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

fn error(what: impl std::fmt::Display, fix: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Image, "image", what).fix(fix)
}

fn truncated() -> Error {
    error("the file is truncated", "copy or download it again")
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
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, ImageBuffer, Luma, Rgb, Rgba, RgbaImage};

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
        let wide = ImageBuffer::<Luma<u8>, _>::new(20_000, 1).into();
        assert!(fails(&encode(&wide, ImageFormat::Png)).what.contains("20000 x 1"));
        // A header alone, which promises more than it may.
        let mut bytes = encode(&gradient(), ImageFormat::Bmp)[..54].to_vec();
        bytes[18..22].copy_from_slice(&16_000i32.to_le_bytes());
        bytes[22..26].copy_from_slice(&16_000i32.to_le_bytes());
        assert!(fails(&bytes).what.contains("16000 x 16000"));
        for (at, format) in [(18, ImageFormat::Bmp), (6, ImageFormat::Gif)] {
            let mut bytes = encode(&gradient(), format);
            bytes[at..at + 2].copy_from_slice(&[0, 0]);
            fails(&bytes);
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
