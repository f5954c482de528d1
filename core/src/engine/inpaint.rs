//! From a picture, a mask and a prompt to the picture with the masked part drawn anew. This takes no understanding
//! encoder.

use super::generate::not_drawn;
use super::{Drawing, Engine, GenerateRequest};
use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::lfq::Codes;
use crate::picture::Picture;
use crate::sampling::{Flow, StepReport};
use image::{Rgb, RgbImage};

/// A picture to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InpaintRequest {
    /// Of any size: the model sees its largest square that has all of the mask's white, as near to the middle as can be, at
    /// its `image_size`. Where the white is longer than any square of the picture, the square goes over its edges.
    pub image: RgbImage,
    /// As large as the picture: pixels nearer to white than to black are drawn, the others stay as they are.
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
        let window = Window::of(image, mask)?;
        let known =
            self.codes(&[self.seen(image, window)]).await?.into_iter().next().ok_or_else(not_drawn)?;
        let targets = vec![self.outside(mask, window, &known)];
        let request = GenerateRequest { prompt: prompt.clone(), seed: *seed };
        self.begin(&[request], targets, settings)
    }

    /// The filled picture of the codes that [`inpaint_codes`](Self::inpaint_codes) gave for `request`, as large as the
    /// picture before.
    ///
    /// # Errors
    /// Those of [`images`](Self::images); `Image` for a mask of another size than the picture or without white.
    pub async fn inpaint_image(&self, request: &InpaintRequest, codes: &Codes) -> Result<RgbImage> {
        let drawn = self.images(std::slice::from_ref(codes)).await?;
        let drawn = drawn.into_iter().next().ok_or_else(not_drawn)?;
        surrounded(&drawn, &request.image, &request.mask)
    }

    /// What the model sees of a picture, whose edges go on where the window is larger.
    pub(super) fn seen(&self, image: &RgbImage, window: Window) -> RgbImage {
        let (right, bottom) = (i64::from(image.width()) - 1, i64::from(image.height()) - 1);
        let square = RgbImage::from_fn(window.side, window.side, |x, y| {
            let (x, y) = window.place(x, y);
            *image.get_pixel(x.clamp(0, right) as u32, y.clamp(0, bottom) as u32)
        });
        Picture::square(&square, self.config.image_size as u32)
    }

    /// The codes of what the model sees that stay, `None` where a pixel of the `mask` is white or beyond the picture.
    pub(super) fn outside(&self, mask: &RgbImage, window: Window, codes: &Codes) -> Vec<Option<u32>> {
        let (side, grid) = (window.side, self.config.grid() as u32);
        // The pixels of a code, those that it shares with its neighbours too.
        let pixels = |at: u32| at * side / grid..((at + 1) * side).div_ceil(grid);
        let changes = |code: u32| {
            pixels(code / grid).any(|y| {
                pixels(code % grid)
                    .any(|x| window.pixel(mask, x, y).is_none_or(|(x, y)| is_white(mask.get_pixel(x, y))))
            })
        };
        (0..).zip(codes).map(|(at, &code)| (!changes(at)).then_some(code)).collect()
    }
}

/// What was `drawn`, square, under the white of a `mask`, and around it the pixels of `image`: codes do not keep those.
pub(super) fn surrounded(drawn: &RgbImage, image: &RgbImage, mask: &RgbImage) -> Result<RgbImage> {
    let window = Window::of(image, mask)?;
    let drawn = Picture::square(drawn, window.side);
    let mut whole = image.clone();
    for (x, y, pixel) in drawn.enumerate_pixels() {
        if let Some((x, y)) = window.pixel(mask, x, y)
            && is_white(mask.get_pixel(x, y))
        {
            whole.put_pixel(x, y, *pixel);
        }
    }
    Ok(whole)
}

fn is_white(pixel: &Rgb<u8>) -> bool {
    pixel.0.iter().map(|&c| u32::from(c)).sum::<u32>() > 3 * 127
}

/// The square that the model sees, in pixels of the picture; it may go over the picture's edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    left: i64,
    top: i64,
    side: u32,
}

impl Window {
    /// The largest square of the picture that has all of the mask's white, as near to the middle as can be; the smallest
    /// square around the white where no square of the picture has all of it.
    ///
    /// # Errors
    /// `Image` for a picture without pixels, and for a mask that has another size or no white.
    pub fn of(image: &RgbImage, mask: &RgbImage) -> Result<Self> {
        let error = |what: String, fix| Err(Error::new(ErrorKind::Image, "mask", what).fix(fix));
        has_pixels(image)?;
        let ((width, height), (w, h)) = (image.dimensions(), mask.dimensions());
        if (width, height) != (w, h) {
            let what = format!("has {w} x {h} pixels, the picture {width} x {height}");
            return error(what, "paint it over the picture, and save it in the same size");
        }
        let white = || mask.enumerate_pixels().filter(|(.., pixel)| is_white(pixel));
        let range = |values: &mut dyn Iterator<Item = u32>| {
            values.fold(None, |range, at| {
                let (first, last) = range.unwrap_or((at, at));
                Some((at.min(first), at.max(last)))
            })
        };
        let (columns, rows) = (range(&mut white().map(|(x, ..)| x)), range(&mut white().map(|(_, y, _)| y)));
        let (Some(columns), Some(rows)) = (columns, rows) else {
            return error(
                "has no white, so nothing may change".into(),
                "paint white what may change; what is black or transparent stays",
            );
        };
        let extent = |(first, last): (u32, u32)| last - first + 1;
        let side = width.min(height).max(extent(columns)).max(extent(rows));
        let place = |length: u32, (first, last): (u32, u32)| {
            let middle = (i64::from(length) - i64::from(side)).div_euclid(2);
            middle.clamp(i64::from(last) + 1 - i64::from(side), i64::from(first))
        };
        Ok(Self { left: place(width, columns), top: place(height, rows), side })
    }

    /// Where a pixel of the window is in the picture's coordinates.
    fn place(self, x: u32, y: u32) -> (i64, i64) {
        (self.left + i64::from(x), self.top + i64::from(y))
    }

    /// The pixel of `picture` there, if it has one.
    fn pixel(self, picture: &RgbImage, x: u32, y: u32) -> Option<(u32, u32)> {
        let (x, y) = self.place(x, y);
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        (x < picture.width() && y < picture.height()).then_some((x, y))
    }
}

/// Fails for a picture without pixels.
pub(super) fn has_pixels(image: &RgbImage) -> Result<()> {
    if image.is_empty() {
        return Err(
            Error::new(ErrorKind::Image, "picture", "has no pixels").fix("give one of at least 1 x 1 pixels")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{engine, picture};
    use super::*;
    use pollster::FutureExt;

    fn request(seed: u64) -> InpaintRequest {
        let mask =
            RgbImage::from_fn(50, 40, |x, _| image::Rgb([if (5..25).contains(&x) { 255 } else { 0 }; 3]));
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
    fn outside_of_the_mask_the_picture_keeps_its_size_and_pixels() {
        let engine = engine();
        // Width, height and the white rectangle (left, top, width, height): seen smaller, as it is and larger; spots, at
        // corners and at the ends of long pictures; all of a picture.
        for (width, height, [x, y, w, h]) in [
            (50, 40, [0, 0, 25, 40]),
            (32, 32, [16, 0, 16, 32]),
            (8, 12, [0, 0, 4, 8]),
            (600, 400, [300, 200, 3, 3]),
            (600, 400, [0, 0, 3, 3]),
            (600, 400, [597, 397, 3, 3]),
            (300, 20, [290, 5, 1, 1]),
            (20, 300, [5, 0, 1, 20]),
            (1, 1, [0, 0, 1, 1]),
            (3, 3, [2, 2, 1, 1]),
            (31, 33, [0, 2, 31, 31]),
            // Longer than any square of the picture: across it, and all of it.
            (60, 20, [0, 5, 60, 5]),
            (20, 60, [0, 0, 20, 60]),
            (90, 1, [0, 0, 90, 1]),
        ] {
            let white = |at_x: u32, at_y: u32| (x..x + w).contains(&at_x) && (y..y + h).contains(&at_y);
            let mask =
                RgbImage::from_fn(width, height, |x, y| image::Rgb([if white(x, y) { 255 } else { 0 }; 3]));
            let request = InpaintRequest { image: picture(width, height), mask, ..request(1) };
            let codes = engine.inpaint_codes(&request, engine.generation(), async |_| Flow::Continue);
            let codes = codes.block_on().unwrap();
            let filled = engine.inpaint_image(&request, &codes).block_on().unwrap();
            assert_eq!(filled.dimensions(), (width, height));
            let changed = |(x, y, pixel): (u32, u32, &Rgb<u8>)| {
                (pixel != request.image.get_pixel(x, y)).then_some((x, y))
            };
            let changed: Vec<_> = filled.enumerate_pixels().filter_map(changed).collect();
            assert!(changed.iter().all(|&(x, y)| white(x, y)), "{width} x {height}");
            assert!(!changed.is_empty(), "{width} x {height}, {x} {y}");
        }
    }

    #[test]
    fn the_window_has_all_white_and_is_as_central_as_can_be() {
        let window = |width, height, spots: &[(u32, u32)]| {
            let mut mask = RgbImage::new(width, height);
            spots.iter().for_each(|&(x, y)| mask.put_pixel(x, y, image::Rgb([200; 3])));
            Window::of(&RgbImage::new(width, height), &mask)
        };
        for (size, spots, wanted) in [
            ((60, 40), [(30, 20), (31, 20)], (10, 0)),
            ((60, 40), [(10, 0), (49, 39)], (10, 0)),
            ((60, 40), [(9, 0), (30, 0)], (9, 0)),
            ((60, 40), [(0, 0), (39, 0)], (0, 0)),
            ((60, 40), [(50, 0), (59, 0)], (20, 0)),
            ((40, 60), [(0, 55), (0, 59)], (0, 20)),
            ((40, 60), [(0, 3), (0, 42)], (0, 3)),
            ((40, 40), [(0, 0), (39, 39)], (0, 0)),
        ] {
            let Window { left, top, side } = window(size.0, size.1, &spots).unwrap();
            assert_eq!((left, top, side), (wanted.0, wanted.1, 40), "{spots:?}");
        }
        for (size, spots, wanted) in [
            ((60, 40), [(0, 0), (40, 0)], (0, -1, 41)),
            ((60, 40), [(0, 0), (59, 39)], (0, -10, 60)),
            ((60, 40), [(5, 0), (54, 0)], (5, -5, 50)),
            ((40, 60), [(0, 0), (39, 59)], (-10, 0, 60)),
        ] {
            let Window { left, top, side } = window(size.0, size.1, &spots).unwrap();
            assert_eq!((left, top, side), wanted, "{spots:?}");
        }
    }
}
