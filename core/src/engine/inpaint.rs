//! From a picture, a mask and a prompt to the picture with what the prompt says under the mask; takes no understanding
//! encoder.

use super::{Engine, GenerateRequest};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::lfq::Codes;
use crate::picture::Picture;
use crate::sampling::{Flow, StepReport};
use image::{RgbImage, imageops};

/// A picture to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InpaintRequest {
    /// Of any size: the largest square in its middle is taken, at the model's `image_size`.
    pub image: RgbImage,
    /// As large as the picture: codes with a pixel that is nearer to white than to black are drawn, the others kept.
    pub mask: RgbImage,
    /// What the whole picture shows in the end.
    pub prompt: String,
    /// One seed gives one picture.
    pub seed: u64,
}

impl Engine {
    /// The codes of the filled picture, row-major; [`images`](Self::images) makes pixels of them. `on_step` sees every step
    /// and may cancel.
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
        let InpaintRequest { image, mask, prompt, seed } = request;
        let known = self.codes(&[self.square(image)?]).await?.swap_remove(0);
        let targets = vec![self.outside(mask, image, &known)?];
        let request = GenerateRequest { prompt: prompt.clone(), seed: *seed };
        let drawn = self.draw(&[request], targets, settings, on_step).await?;
        drawn.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Device, "image", "was not drawn"))
    }

    /// The codes of `image` that stay, `None` under the white of its `mask`.
    pub(super) fn outside(
        &self,
        mask: &RgbImage,
        image: &RgbImage,
        codes: &Codes,
    ) -> Result<Vec<Option<u32>>> {
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
        let target: Vec<_> = (0..).zip(codes).map(|(i, &code)| (!changes(i)).then_some(code)).collect();
        if target.iter().all(Option::is_some) {
            return error("has no white, so nothing may change".into(), "paint white what may change");
        }
        Ok(target)
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
}
