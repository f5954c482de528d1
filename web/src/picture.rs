//! Pictures between the page and the core.

use crate::protocol::{Failure, Image, MASKED_ALPHA};
use image::RgbImage;
use serde_bytes::ByteBuf;

/// The picture, its transparent parts over grey level `ground`.
pub fn from_page(picture: &Image, ground: u8) -> Result<RgbImage, Failure> {
    let Image { width, height, pixels } = picture;
    let (rgba, rest) = pixels.as_chunks::<4>();
    if !rest.is_empty() || rgba.len() as u64 != u64::from(*width) * u64::from(*height) {
        let text = format!("image: {} bytes are not {width} x {height} pixels", pixels.len());
        return Err(Failure::new("image", text, "give four bytes a pixel"));
    }
    let over = |color: u8, alpha: u32| {
        ((u32::from(color) * alpha + u32::from(ground) * (255 - alpha) + 127) / 255) as u8
    };
    let opaque = rgba.iter().flat_map(|&[r, g, b, a]| [r, g, b].map(|color| over(color, a.into()))).collect();
    RgbImage::from_raw(*width, *height, opaque)
        .ok_or_else(|| Failure::new("image", "image: does not fit its size", ""))
}

/// The picture, opaque.
pub fn to_page(picture: &RgbImage) -> Image {
    let pixels: Vec<u8> = picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    Image { width: picture.width(), height: picture.height(), pixels: ByteBuf::from(pixels) }
}

/// The picture with those of its `grid` x `grid` cells faint that are `masked`.
pub fn preview(picture: &RgbImage, masked: &[bool], grid: usize) -> Image {
    let mut image = to_page(picture);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    for (i, pixel) in image.pixels.chunks_exact_mut(4).enumerate() {
        let (row, column) = (i / width * grid / height, i % width * grid / width);
        if masked.get(row * grid + column).copied().unwrap_or(false) {
            pixel[3] = MASKED_ALPHA;
        }
    }
    image
}
