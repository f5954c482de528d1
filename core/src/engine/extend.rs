//! From a picture to a larger one: what lies past one of its edges is drawn (outpainting, as Show-o does it, arXiv
//! 2408.12528, section 3.3).
//!
//! A pass draws one picture of the model's own size, of which the half at the edge is given. So this takes no more of the
//! model than inpainting, and the picture may grow by as many passes as it likes.

use super::generate::not_drawn;
use super::inpaint::has_pixels;
use super::{Engine, GenerateRequest};
use crate::config::{GenerationConfig, MAX_IMAGE_SIZE};
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::Codes;
use crate::sampling::{Flow, StepReport};
use image::{RgbImage, imageops};

/// An edge of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Columns are drawn before the first.
    Left,
    /// Columns are drawn after the last.
    Right,
    /// Rows are drawn above the first.
    Top,
    /// Rows are drawn below the last.
    Bottom,
}

impl Side {
    fn is_vertical(self) -> bool {
        matches!(self, Self::Top | Self::Bottom)
    }

    /// Whether what is drawn comes before what is there.
    fn is_before(self) -> bool {
        matches!(self, Self::Left | Self::Top)
    }
}

/// A picture to be continued past an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendRequest {
    /// Of any shape. It is made as high as the pictures that the model draws, or as wide where it grows up or down.
    pub image: RgbImage,
    /// The edge where it grows.
    pub side: Side,
    /// How often it grows by half a picture of the model, at least once.
    pub times: usize,
    /// What the whole picture shows in the end.
    pub prompt: String,
    /// The same seed gives the same picture.
    pub seed: u64,
}

impl Engine {
    /// Draws on past an edge of a picture; the result is the picture and what is new. `on_step` sees every step of every pass
    /// and may cancel.
    ///
    /// # Errors
    /// Those of [`generate`](Self::generate); `Image` for a picture without pixels, and for one that would have a side of
    /// more than 1024.
    pub async fn extend(
        &self,
        request: &ExtendRequest,
        settings: &GenerationConfig,
        mut on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<RgbImage> {
        let ExtendRequest { image, side, times, prompt, seed } = request;
        let image = self.as_high_as_drawn(image, *side, *times)?;
        let (width, height) = image.dimensions();
        let (grid, f) = (self.config.grid(), self.config.image_tokenizer.downsampling());
        let codes = self.codes_of(std::slice::from_ref(&image)).await?.pop().ok_or_else(not_drawn)?;
        let mut lines = lines(&codes, width as usize / f, *side);
        for pass in 0..*times {
            let kept = (grid / 2).min(lines.len());
            let mut target = vec![vec![None; grid]; grid];
            let (place, known) = match side.is_before() {
                true => (grid - kept, &lines[..kept]),
                false => (0, &lines[lines.len() - kept..]),
            };
            for (target, known) in target[place..].iter_mut().zip(known) {
                *target = known.iter().copied().map(Some).collect();
            }
            let request = GenerateRequest { prompt: prompt.clone(), seed: seed.wrapping_add(pass as u64) };
            let drawing = self.begin(&[request], vec![row_major(&target, *side)], settings)?;
            let drawn = self.decode(drawing, &mut on_step).await?.pop().ok_or_else(not_drawn)?;
            let mut drawn = self::lines(&drawn, grid, *side);
            match side.is_before() {
                true => {
                    drawn.truncate(grid - kept);
                    lines.splice(..0, drawn);
                }
                false => lines.extend(drawn.split_off(kept)),
            }
        }
        let [columns, rows] = match side.is_vertical() {
            true => [grid, lines.len()],
            false => [lines.len(), grid],
        };
        let mut whole = self.image_of(&row_major(&lines, *side), [rows * f, columns * f]).await?;
        // What was there keeps its pixels, as codes do not.
        let [x, y] = match side {
            Side::Left => [whole.width() - width, 0],
            Side::Top => [0, whole.height() - height],
            Side::Right | Side::Bottom => [0, 0],
        };
        imageops::replace(&mut whole, &image, x.into(), y.into());
        Ok(whole)
    }

    /// The picture with as many pixels across as the model draws, and whole codes along.
    fn as_high_as_drawn(&self, image: &RgbImage, side: Side, times: usize) -> Result<RgbImage> {
        has_pixels(image)?;
        let (across, f) = (self.config.image_size as u32, self.config.image_tokenizer.downsampling() as u32);
        let ((width, height), most) = (image.dimensions(), MAX_IMAGE_SIZE as u32);
        let (along, of) = if side.is_vertical() { (height, width) } else { (width, height) };
        let scaled = u64::from(along) * u64::from(across) / u64::from(of) / u64::from(f);
        let long = scaled.max(1) * u64::from(f);
        let new = (times as u64).saturating_mul(u64::from(across - across / f / 2 * f));
        if times == 0 || long.saturating_add(new) > most.into() {
            let what = format!(
                "is {long} pixels long beside {across}, and would grow {times} times by half of {across}"
            );
            return Err(Error::new(ErrorKind::Image, "picture", what)
                .fix(format!("extend once or more, to at most {most} pixels, or crop the picture first")));
        }
        let (width, height) = if side.is_vertical() { (across, long as u32) } else { (long as u32, across) };
        if image.dimensions() == (width, height) {
            return Ok(image.clone());
        }
        Ok(imageops::resize(image, width, height, imageops::FilterType::CatmullRom))
    }
}

/// Codes, `columns` a row, as lines that follow one another in the direction of growth: rows or columns.
fn lines(codes: &Codes, columns: usize, side: Side) -> Vec<Vec<u32>> {
    match side.is_vertical() {
        true => codes.chunks(columns).map(<[u32]>::to_vec).collect(),
        false => {
            (0..columns).map(|column| codes.iter().skip(column).step_by(columns).copied().collect()).collect()
        }
    }
}

/// The inverse of [`lines`].
fn row_major<T: Copy>(lines: &[Vec<T>], side: Side) -> Vec<T> {
    match side.is_vertical() {
        true => lines.concat(),
        false => {
            let rows = lines.first().map_or(0, Vec::len);
            (0..rows).flat_map(|row| lines.iter().map(move |line| line[row])).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{engine, picture};
    use super::*;
    use pollster::FutureExt;

    fn request(side: Side) -> ExtendRequest {
        ExtendRequest { image: picture(32, 32), side, times: 1, prompt: "a red apple".into(), seed: 1 }
    }

    #[test]
    fn a_picture_grows_by_half_of_one_at_each_edge() {
        let engine = engine();
        let extend = |request: &ExtendRequest| {
            engine.extend(request, engine.generation(), async |_| Flow::Continue).block_on().unwrap()
        };
        for (side, times, size, [x, y]) in [
            (Side::Right, 1, (48, 32), [0, 0]),
            (Side::Left, 1, (48, 32), [16, 0]),
            (Side::Top, 2, (32, 64), [0, 32]),
            (Side::Bottom, 1, (32, 48), [0, 0]),
        ] {
            let request = ExtendRequest { times, ..request(side) };
            let whole = extend(&request);
            assert_eq!(whole.dimensions(), size, "{side:?}");
            assert_eq!(imageops::crop_imm(&whole, x, y, 32, 32).to_image(), request.image, "{side:?}");
            assert_eq!(whole, extend(&request), "{side:?}");
            assert_ne!(whole, extend(&ExtendRequest { seed: 2, ..request }), "{side:?}");
        }
        // A picture of another shape keeps it; what is narrower than half of one is all that is seen.
        let long = ExtendRequest { image: picture(90, 30), ..request(Side::Right) };
        assert_eq!(extend(&long).dimensions(), (96 + 16, 32));
        let narrow = ExtendRequest { image: picture(3, 30), ..request(Side::Left) };
        assert_eq!(extend(&narrow).dimensions(), (8 + 24, 32));
    }

    /// What is new continues what is at the edge: the kept half is where the model sees it when it draws.
    #[test]
    fn the_given_half_is_at_the_edge() {
        let codes: Codes = (0..8).collect();
        for side in [Side::Left, Side::Bottom] {
            assert_eq!(row_major(&lines(&codes, 4, side), side), codes);
        }
        assert_eq!(lines(&codes, 4, Side::Right), [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(lines(&codes, 4, Side::Top), [[0, 1, 2, 3], [4, 5, 6, 7]]);

        let engine = engine();
        let mut masked = Vec::new();
        let on_step = async |report: StepReport<'_>| {
            let preview = report.preview().await.unwrap();
            if report.step == 1 {
                masked.push(preview.codes[0].clone());
            }
            Flow::Continue
        };
        let settings = engine.generation();
        let whole = engine.extend(&request(Side::Right), settings, on_step).block_on().unwrap();
        let known = engine.codes(&[picture(32, 32)]).block_on().unwrap().remove(0);
        let kept = |codes: &Codes, from: usize| [0, 1, 2, 3].map(|row| codes[4 * row + from..][..2].to_vec());
        assert_eq!(kept(&masked[0], 0), kept(&known, 2));
        assert_eq!(whole.width(), 48);
    }

    #[test]
    fn what_cannot_grow_is_an_error() {
        let engine = engine();
        for (request, words) in [
            (ExtendRequest { image: RgbImage::new(0, 0), ..request(Side::Left) }, "no pixels"),
            (ExtendRequest { times: 0, ..request(Side::Left) }, "0 times"),
            (ExtendRequest { times: 63, ..request(Side::Left) }, "at most 1024"),
            (ExtendRequest { times: usize::MAX, ..request(Side::Left) }, "at most 1024"),
            (ExtendRequest { image: picture(9999, 1), ..request(Side::Left) }, "at most 1024"),
            (ExtendRequest { prompt: String::new(), ..request(Side::Left) }, "prompt"),
        ] {
            let error = engine.extend(&request, engine.generation(), async |_| Flow::Continue).block_on();
            let error = error.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
