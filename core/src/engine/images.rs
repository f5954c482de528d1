//! Between pictures and their codes.

use super::Engine;
use super::generate::not_drawn;
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::lfq::{Codes, codes_from_data, codes_to_device};
use crate::image_tokenizer::pixels_from_images;
use image::RgbImage;

impl Engine {
    /// The pictures of `codes`, the codes of one picture each, row-major.
    ///
    /// # Errors
    /// `Image` where they are not all the codes of a picture of this model; `Device`.
    pub async fn images(&self, codes: &[Codes]) -> Result<Vec<RgbImage>> {
        let (length, size) = (self.config.image_codes(), self.config.image_size);
        let mut images = Vec::with_capacity(codes.len());
        // One by one: the finest level of a batch would take most of the memory.
        for codes in codes {
            if codes.len() != length || codes.iter().any(|&c| c as usize >= self.config.codebook_size()) {
                let what = format!("are not {length} codes of {} bits", self.config.code_bits());
                return Err(Error::new(ErrorKind::Image, "image codes", what)
                    .fix("take codes that this model has drawn"));
            }
            images.push(self.image_of(codes, [size, size]).await?);
        }
        Ok(images)
    }

    /// The picture of `codes`, row-major, `height` x `width` pixels.
    pub(super) async fn image_of(&self, codes: &Codes, [height, width]: [usize; 2]) -> Result<RgbImage> {
        let pixels = self.image_tokenizer.decode(codes_to_device(codes, &self.device), height, width)?;
        self.image_tokenizer.to_image(pixels).await?.pop().ok_or_else(not_drawn)
    }

    /// What the image tokenizer keeps of square pictures of `image_size` pixels a side: to codes and back.
    ///
    /// # Errors
    /// Those of [`codes`](Self::codes) and [`images`](Self::images).
    pub async fn round_trip(&self, pictures: &[RgbImage]) -> Result<Vec<RgbImage>> {
        self.images(&self.codes(pictures).await?).await
    }

    /// The codes of square pictures of `image_size` pixels a side, row-major.
    ///
    /// # Errors
    /// `Image` for pictures of another size; `Device`.
    pub async fn codes(&self, pictures: &[RgbImage]) -> Result<Vec<Codes>> {
        let size = self.config.image_size as u32;
        if let Some(other) = pictures.iter().find(|picture| picture.dimensions() != (size, size)) {
            let what = format!("has {} x {} pixels", other.width(), other.height());
            return Err(Error::new(ErrorKind::Image, "picture", what)
                .fix(format!("resize it to {size} x {size} pixels")));
        }
        self.codes_of(pictures).await
    }

    /// The codes of pictures of one size, whose sides are whole codes, row-major.
    pub(super) async fn codes_of(&self, pictures: &[RgbImage]) -> Result<Vec<Codes>> {
        let codes = self.image_tokenizer.encode(pixels_from_images(pictures, &self.device)?)?;
        let codes = codes.into_data_async().await;
        codes_from_data(codes.map_err(|e| {
            Error::new(ErrorKind::Device, "image codes", format!("cannot be read from the device: {e}"))
        })?)
    }
}
