//! From a picture, a mask and a prompt to the picture with the masked part drawn anew. This takes no understanding
//! encoder.

use super::generate::not_drawn;
use super::{Drawing, Engine, GenerateRequest};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::lfq::Codes;
use crate::picture::Picture;
use crate::sampling::{Flow, StepReport};
use image::{RgbImage, imageops};

/// A picture to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InpaintRequest {
    /// A picture of any size. The model sees the largest square in its middle, at `image_size` pixels a side.
    pub image: RgbImage,
    /// Where to draw, white on black, of the picture's size. Codes with a pixel that is nearer to white than to black are
    /// drawn, and the pixels around them stay.
    pub mask: RgbImage,
    /// What the whole picture shows in the end.
    pub prompt: String,
    /// The same seed gives the same picture.
    pub seed: u64,
}

impl Engine {
    /// The codes of the filled picture, row-major; [`inpaint_image`](Self::inpaint_image) makes pixels of them. `on_step`
    /// sees every step and may cancel.
    ///
    /// # Errors
    /// Those of [`generate`](Self::generate); `Image` for a picture without pixels, and for a mask of another size or
    /// without white.
    pub async fn inpaint_codes(
        &self,
        request: &InpaintRequest,
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Codes> {
        let drawn = self.decode(self.begin_inpainting(request, settings).await?, on_step).await?;
        drawn.into_iter().next().ok_or_else(not_drawn)
    }

    /// Reads the picture, the mask and the prompt; errors as [`inpaint_codes`](Self::inpaint_codes).
    pub async fn begin_inpainting(
        &self,
        request: &InpaintRequest,
        settings: &GenerationConfig,
    ) -> Result<Drawing> {
        let InpaintRequest { image, mask, prompt, seed } = request;
        let known = self.codes(&[self.square(image)?]).await?.into_iter().next().ok_or_else(not_drawn)?;
        let targets = vec![self.outside(mask, image, &known)?];
        let request = GenerateRequest { prompt: prompt.clone(), seed: *seed };
        self.begin(&[request], targets, settings)
    }

    /// The filled picture, from the codes that [`inpaint_codes`](Self::inpaint_codes) gave for `request`. It is square, as
    /// large as the middle square of the picture, and at least `image_size` pixels a side.
    ///
    /// # Errors
    /// Those of [`images`](Self::images); `Image` for a mask of another size than the picture or without white.
    pub async fn inpaint_image(&self, request: &InpaintRequest, codes: &Codes) -> Result<RgbImage> {
        let drawn = self.images(std::slice::from_ref(codes)).await?;
        let drawn = drawn.into_iter().next().ok_or_else(not_drawn)?;
        self.surrounded(&drawn, &request.image, &request.mask)
    }

    /// The codes of `image` that stay, `None` under the white of its `mask`.
    pub(super) fn outside(
        &self,
        mask: &RgbImage,
        image: &RgbImage,
        codes: &Codes,
    ) -> Result<Vec<Option<u32>>> {
        let changes = self.changes(mask, image)?;
        Ok(codes.iter().zip(changes).map(|(&code, changes)| (!changes).then_some(code)).collect())
    }

    /// The square picture `drawn` under the white of `mask`, and the pixels of `image` around it, which codes do not keep.
    pub(super) fn surrounded(&self, drawn: &RgbImage, image: &RgbImage, mask: &RgbImage) -> Result<RgbImage> {
        let (grid, changes) = (self.config.grid() as u32, self.changes(mask, image)?);
        let side = image.width().min(image.height()).max(drawn.width());
        let mut whole = Picture::square(image, side);
        let drawn = Picture::square(drawn, side);
        for ((x, y, pixel), drawn) in whole.enumerate_pixels_mut().zip(drawn.pixels()) {
            let cell = y * grid / side * grid + x * grid / side;
            if changes[cell as usize] {
                *pixel = *drawn;
            }
        }
        Ok(whole)
    }

    /// Whether each code lies under the white of the `mask` of `image`, row-major.
    fn changes(&self, mask: &RgbImage, image: &RgbImage) -> Result<Vec<bool>> {
        let error = |what: String, fix| Err(Error::new(ErrorKind::Image, "mask", what).fix(fix));
        let ([width, height], [w, h]) = (<[u32; 2]>::from(mask.dimensions()), image.dimensions().into());
        if [width, height] != [w, h] {
            let what = format!("has {width} x {height} pixels, the picture {w} x {h}");
            return error(what, "paint it over the picture");
        }
        let (size, grid) = (self.config.image_size as u32, self.config.grid() as u32);
        let (mask, side) = (Picture::square(mask, size), size / grid);
        let bright = |pixel: image::Rgb<u8>| pixel.0.iter().map(|&c| u32::from(c)).sum::<u32>() > 3 * 127;
        let changes = |code: u32| {
            let cell = imageops::crop_imm(&mask, code % grid * side, code / grid * side, side, side);
            cell.to_image().pixels().any(|&pixel| bright(pixel))
        };
        let changes: Vec<_> = (0..grid * grid).map(changes).collect();
        if !changes.contains(&true) {
            return error("has no white, so nothing may change".into(), "paint white what may change");
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{engine, picture};
    use super::*;
    use pollster::FutureExt;

    fn request(seed: u64) -> InpaintRequest {
        let mask = RgbImage::from_fn(50, 40, |x, _| image::Rgb([if x < 25 { 255 } else { 0 }; 3]));
        InpaintRequest { image: picture(50, 40), mask, prompt: "a red apple".into(), seed }
    }

    #[test]
    fn what_is_outside_of_the_mask_stays_and_no_encoder_is_needed() {
        let mut engine = engine();
        engine.vision = None;
        let fill = |request| {
            let filling = engine.inpaint_codes(&request, engine.generation(), async |_| Flow::Continue);
            filling.block_on()
        };
        let known = engine.codes(&[Picture::square(&picture(50, 40), 32)]).block_on().unwrap().remove(0);
        let filled = fill(request(1)).unwrap();
        let kept: Vec<bool> = filled.iter().zip(&known).map(|(a, b)| a == b).collect();
        assert!(kept.chunks(4).all(|row| row[2] && row[3]));
        assert!(!kept.iter().all(|&kept| kept));
        assert_ne!(fill(request(2)).unwrap(), filled);
        for (request, words) in [
            (InpaintRequest { image: RgbImage::new(0, 0), ..request(1) }, "pixels"),
            (InpaintRequest { mask: RgbImage::new(4, 4), ..request(1) }, "4 x 4"),
            (InpaintRequest { mask: RgbImage::new(50, 40), ..request(1) }, "no white"),
            (InpaintRequest { prompt: String::new(), ..request(1) }, "prompt"),
        ] {
            let error = fill(request).unwrap_err();
            assert!(error.to_string().contains(words) && !error.fix.is_empty(), "{error}");
        }
    }

    #[test]
    fn around_the_mask_the_picture_keeps_its_pixels() {
        let engine = engine();
        // Seen smaller, as it is and larger: a result as large as the middle of the picture, but no smaller than drawn.
        for (width, height, side) in [(50, 40, 40), (32, 32, 32), (8, 12, 32)] {
            let mask =
                RgbImage::from_fn(width, height, |x, _| image::Rgb([if 2 * x < width { 255 } else { 0 }; 3]));
            let request = InpaintRequest { image: picture(width, height), mask, ..request(1) };
            let codes = engine.inpaint_codes(&request, engine.generation(), async |_| Flow::Continue);
            let codes = codes.block_on().unwrap();
            let filled = engine.inpaint_image(&request, &codes).block_on().unwrap();
            assert_eq!(filled.dimensions(), (side, side));
            let source = Picture::square(&request.image, side);
            let drawn = Picture::square(&engine.images(&[codes]).block_on().unwrap()[0], side);
            let right =
                |picture: &RgbImage| imageops::crop_imm(picture, side / 2, 0, side / 2, side).to_image();
            let left = |picture: &RgbImage| imageops::crop_imm(picture, 0, 0, side / 4, side).to_image();
            assert_eq!(right(&filled), right(&source));
            assert_eq!(left(&filled), left(&drawn));
            assert_ne!(right(&drawn), right(&source));
        }
    }
}
