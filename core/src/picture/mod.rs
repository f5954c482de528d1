//! Pictures that users give: read with care, in the colours that they mean.

#[cfg(not(target_family = "wasm"))]
mod color;
#[cfg(not(target_family = "wasm"))]
mod jpeg;
#[cfg(not(target_family = "wasm"))]
mod png;
#[cfg(not(target_family = "wasm"))]
mod read;
#[cfg(not(target_family = "wasm"))]
mod tiff;
#[cfg(not(target_family = "wasm"))]
mod webp;

use image::RgbImage;
use image::imageops::{self, FilterType};

/// Reads image files: PNG, JPEG, GIF, WebP, BMP and TIFF. A browser does that by itself.
#[derive(Clone, Copy, Debug)]
pub struct Picture;

impl Picture {
    /// Longest side in pixels.
    pub const MAX_SIDE: u32 = 16384;
    /// Most pixels altogether.
    pub const MAX_PIXELS: u64 = 64 << 20;
    /// Most bytes of a file.
    pub const MAX_FILE: u64 = 256 << 20;

    /// The largest square in the middle of a picture, `size` pixels a side.
    pub fn square(picture: &RgbImage, size: u32) -> RgbImage {
        let (width, height) = picture.dimensions();
        let side = width.min(height);
        let (left, top) = ((width - side) / 2, (height - side) / 2);
        let middle = imageops::crop_imm(picture, left, top, side, side).to_image();
        if side == size { middle } else { imageops::resize(&middle, size, size, FilterType::CatmullRom) }
    }
}
