//! Pictures and masks, with room for a quarter of a million pixels.

use crate::{Seed, Target};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageBuffer, ImageFormat, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use moxcms::ColorProfile;
use std::io::Cursor;
use unigen_core::picture::Picture;

/// Room for pixels: three bytes of each that are given back, and sixteen while colours are converted.
const PIXELS: u64 = 1 << 18;
/// A decoder's tables, the profile and EXIF data of at most 16 MiB, and the pixels.
const MEMORY: [usize; 2] = [40 << 20, 64];

const fn pictures(name: &'static str, seeds: fn() -> Vec<Seed>) -> Target {
    Target { name, memory: MEMORY, most: 4096, load, seeds }
}

pub const PNG: Target = pictures("png", || files(ImageFormat::Png));
pub const JPEG: Target = pictures("jpeg", || files(ImageFormat::Jpeg));
pub const WEBP: Target = pictures("webp", || files(ImageFormat::WebP));
pub const GIF: Target = pictures("gif", || files(ImageFormat::Gif));
pub const BMP: Target = pictures("bmp", || files(ImageFormat::Bmp));
pub const TIFF: Target = pictures("tiff", || files(ImageFormat::Tiff));
pub const MASK: Target = Target {
    load: |input| {
        if let Ok(mask) = Picture::decode_mask_within(input, PIXELS) {
            assert!(mask.pixels().len() as u64 <= PIXELS);
        }
    },
    ..pictures("mask", || [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif].map(files).concat())
};

fn load(input: &[u8]) {
    if let Ok(picture) = Picture::decode_within(input, PIXELS) {
        assert!(!picture.is_empty() && picture.pixels().len() as u64 <= PIXELS);
        Picture::square(&picture, 16);
    }
}

/// Pictures of every kind of pixel that the format has, with and without a profile and an orientation.
fn files(format: ImageFormat) -> Vec<Seed> {
    let pixel = |x: u32, y: u32| [(x * 13) as u8, (y * 29) as u8, (x * y) as u8];
    let rgb = RgbImage::from_fn(19, 11, |x, y| Rgb(pixel(x, y)));
    let rgba = RgbaImage::from_fn(9, 7, |x, y| Rgba([x as u8 * 9, 200, y as u8, (x * 30) as u8]));
    let deep = ImageBuffer::from_fn(7, 5, |x, y| Rgb([x as u16 * 900, y as u16 * 700, 65_535]));
    let grey = ImageBuffer::from_fn(8, 8, |x, y| LumaA([(x * y) as u8, (x * 31) as u8]));
    let kinds: [(&str, DynamicImage); 5] = [
        ("rgb", rgb.into()),
        ("rgba", rgba.into()),
        ("deep", DynamicImage::ImageRgb16(deep)),
        ("grey", DynamicImage::ImageLumaA8(grey)),
        ("flat", RgbImage::from_pixel(64, 64, Rgb([9, 99, 199])).into()),
    ];
    let mut seeds = Vec::new();
    for (name, picture) in kinds {
        let mut bytes = Cursor::new(Vec::new());
        // Not every format has every kind of pixel.
        if picture.write_to(&mut bytes, format).is_ok() {
            seeds.push((name.to_owned(), bytes.into_inner()));
        }
    }
    let profile = ColorProfile::new_display_p3().encode().expect("a profile");
    let small = RgbImage::from_pixel(3, 2, Rgb([150, 200, 79]));
    if let Some(bytes) = with_notes(format, &small, profile) {
        seeds.push(("profile".into(), bytes));
    }
    if format == ImageFormat::Gif {
        let mut bytes = Vec::new();
        let frames =
            (0..3u8).map(|level| Frame::new(RgbaImage::from_pixel(6, 5, Rgba([level, 9, 200, 255]))));
        GifEncoder::new(&mut bytes).encode_frames(frames).expect("frames");
        seeds.push(("frames".into(), bytes));
    }
    seeds
}

/// A quarter turn to the right, as EXIF says it.
const EXIF: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

fn with_notes(format: ImageFormat, picture: &RgbImage, profile: Vec<u8>) -> Option<Vec<u8>> {
    use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder};
    use image::{ExtendedColorType::Rgb8, ImageEncoder};
    fn write(mut encoder: impl ImageEncoder, picture: &RgbImage, profile: Vec<u8>) -> Option<()> {
        encoder.set_icc_profile(profile).ok()?;
        // TIFF has none.
        let _ = encoder.set_exif_metadata(EXIF.into());
        let (width, height) = picture.dimensions();
        encoder.write_image(picture, width, height, Rgb8).ok()
    }
    let mut bytes = Cursor::new(Vec::new());
    match format {
        ImageFormat::Png => write(PngEncoder::new(&mut bytes), picture, profile),
        ImageFormat::Jpeg => write(JpegEncoder::new(&mut bytes), picture, profile),
        ImageFormat::WebP => write(WebPEncoder::new_lossless(&mut bytes), picture, profile),
        ImageFormat::Tiff => write(TiffEncoder::new(&mut bytes), picture, profile),
        _ => None,
    }?;
    Some(bytes.into_inner())
}
