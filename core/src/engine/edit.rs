//! From a picture and an instruction to another picture.

use super::generate::not_drawn;
use super::inpaint::{Window, has_pixels, surrounded};
use super::{Drawing, Engine, Source, layouts};
use crate::config::{Ability, GenerationConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::lfq::Codes;
use crate::picture::Picture;
use crate::sampling::{Flow, StepReport, edit_guidance};
use crate::sequence::EditBranch;
use image::RgbImage;

/// A picture to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRequest {
    /// Of any size: the largest square in its middle is edited, and seen at the model's `image_size`; with a mask the square
    /// that [`InpaintRequest`](super::InpaintRequest) has.
    pub image: RgbImage,
    /// What to change. Any language is read, but the model understands what it has learned.
    pub instruction: String,
    /// The same seed gives the same picture, alone or in any batch.
    pub seed: u64,
    /// Where the picture may change, as large as it: pixels nearer to white than to black are drawn anew, the others stay as
    /// they are. Without a mask all are drawn anew.
    pub mask: Option<RgbImage>,
}

impl Engine {
    /// Edits a picture; the result is square, `image_size` pixels a side, and with a mask as large as the picture. `on_step`
    /// sees every step and may cancel.
    ///
    /// Guidance has the three branches of UniGen-1.5 (neither, the picture alone, the picture and the instruction), weighted
    /// by `image_guidance_scale` and `edit_guidance_scale`.
    ///
    /// # Errors
    /// `Weights` for a model without an understanding encoder, and for one that has not learned to edit; `Text` for an empty
    /// instruction or one that is too long;
    /// `Image` for a picture without pixels, and for a mask of another size or without white; `Config` for settings out
    /// of range; `Cancelled`; `Device`.
    pub async fn edit(
        &self,
        request: &EditRequest,
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<RgbImage> {
        let images = self.edit_batch(std::slice::from_ref(request), settings, on_step).await?;
        images.into_iter().next().ok_or_else(not_drawn)
    }

    /// Edits several pictures at once, each as [`edit`](Self::edit) edits it alone, up to rounding. Errors as there.
    pub async fn edit_batch(
        &self,
        requests: &[EditRequest],
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<RgbImage>> {
        let codes = self.edit_codes(requests, settings, on_step).await?;
        self.edit_images(requests, &codes).await
    }

    /// The codes of the edited pictures, row-major; [`edit_images`](Self::edit_images) makes pixels of them. Errors as
    /// [`edit`](Self::edit).
    pub async fn edit_codes(
        &self,
        requests: &[EditRequest],
        settings: &GenerationConfig,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<Codes>> {
        self.decode(self.begin_edit(requests, settings, || ()).await?, on_step).await
    }

    /// The edited pictures, from the codes that [`edit_codes`](Self::edit_codes) gave for `requests`. Their sizes are those
    /// of [`edit`](Self::edit).
    ///
    /// # Errors
    /// Those of [`images`](Self::images); `Image` for a mask of another size than its picture or without white.
    pub async fn edit_images(&self, requests: &[EditRequest], codes: &[Codes]) -> Result<Vec<RgbImage>> {
        let drawn = self.images(codes).await?.into_iter().zip(requests);
        let edited = drawn.map(|(drawn, request)| match &request.mask {
            Some(mask) => surrounded(&drawn, &request.image, mask),
            None => Ok(drawn),
        });
        edited.collect()
    }

    /// Reads pictures and instructions. Calls `on_seen` when the understanding encoder is done with the pictures and before
    /// the image tokenizer encodes them. Errors as [`edit`](Self::edit).
    pub async fn begin_edit(
        &self,
        requests: &[EditRequest],
        settings: &GenerationConfig,
        on_seen: impl FnOnce(),
    ) -> Result<Drawing> {
        let length = self.config.image_codes();
        settings.check(length)?;
        self.takes_instructions()?;
        let decoding = self.decoding(settings.edit_steps, settings);
        if requests.is_empty() {
            return Ok(Drawing { branches: vec![], targets: vec![], seeds: vec![], decoding });
        }
        let windows =
            requests.iter().map(|r| r.mask.as_ref().map(|mask| Window::of(&r.image, mask)).transpose());
        let windows = windows.collect::<Result<Vec<_>>>()?;
        let pictures = requests.iter().zip(&windows).map(|(r, window)| match window {
            Some(window) => Ok(self.seen(&r.image, *window)),
            None => self.square(&r.image),
        });
        let pictures = pictures.collect::<Result<Vec<_>>>()?;
        let layouts = layouts(&self.text);
        let prefix = |branch, text: &[u32], source: &Source| {
            let semantic = source.semantic.as_ref().map_or(0, |rows| rows.dims()[0]);
            self.prefix(&layouts.edit(branch, text, semantic, length)?, source)
        };
        let (mut full, mut image, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        let sources = self.source(&pictures, on_seen).await?;
        for ((request, window), (source, codes)) in requests.iter().zip(windows).zip(sources) {
            let fix = "say what to change, for example \"make the apple green\"";
            let encode = |text: &str| self.text.encode_within(text, settings.max_prompt_tokens);
            let text = self.read("instruction", &request.instruction, fix, encode)?;
            full.push(prefix(EditBranch::Full, &text, &source)?);
            image.push(prefix(EditBranch::Image, &[], &source)?);
            targets.push(match request.mask.as_ref().zip(window) {
                Some((mask, window)) => self.outside(mask, window, &codes),
                None => vec![None; length],
            });
        }
        let none = vec![prefix(EditBranch::None, &[], &Source::default())?];
        let (text_scale, image_scale) = (settings.edit_guidance_scale, settings.image_guidance_scale);
        let branches = edit_guidance(text_scale, image_scale, full, image, none);
        let seeds = requests.iter().map(|r| r.seed).collect();
        Ok(Drawing { branches, targets, seeds, decoding })
    }

    /// Fails for a model that knows no instructions.
    fn takes_instructions(&self) -> Result<()> {
        if self.config.special_tokens.chat.is_some() {
            return Ok(());
        }
        let answers = if self.can(Ability::Answer) { ", and answers questions about them" } else { "" };
        let what = format!(
            "cannot be followed: this model draws pictures, fills a masked part of one and draws on past its edges{answers}, \
             but it has not learned to edit by an instruction"
        );
        Err(Error::new(ErrorKind::Weights, "instruction", what)
            .fix("say with a mask where to draw and with a prompt what, or take a UniGen model"))
    }

    /// The middle square of a user's picture, at the size that the model works in.
    pub(super) fn square(&self, image: &RgbImage) -> Result<RgbImage> {
        has_pixels(image)?;
        Ok(Picture::square(image, self.config.image_size as u32))
    }

    /// The rows that stand for square pictures of `image_size` pixels a side, and the codes of these pictures. Calls `on_seen`
    /// between the two encoders.
    pub(super) async fn source(
        &self,
        pictures: &[RgbImage],
        on_seen: impl FnOnce(),
    ) -> Result<Vec<(Source, Codes)>> {
        let semantic = self.semantic(pictures)?;
        on_seen();
        let sources = semantic.into_iter().zip(self.codes(pictures).await?).map(|(semantic, codes)| {
            let known: Vec<Option<u32>> = codes.iter().copied().map(Some).collect();
            let rows = self.model.embed_codes(&known, &self.device)?;
            Ok((Source { semantic: Some(semantic), codes: Some(rows) }, codes))
        });
        sources.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{engine, picture};
    use super::*;
    use crate::sampling::Path;
    use pollster::FutureExt;

    fn request(seed: u64) -> EditRequest {
        EditRequest { image: picture(50, 40), instruction: "make the apple red".into(), seed, mask: None }
    }

    #[test]
    fn cached_and_naive_edits_are_the_same() {
        let engine = engine();
        let mut masked = request(2);
        masked.mask = Some(RgbImage::from_fn(50, 40, |x, _| {
            image::Rgb([if (5..25).contains(&x) { 255 } else { 0 }; 3])
        }));
        let requests = [request(1), masked.clone()];
        let edit = |path, requests: &[EditRequest]| {
            let mut seen = false;
            let edit = engine.begin_edit(requests, engine.generation(), || seen = true);
            let mut edit = edit.block_on().unwrap();
            edit.decoding.path = path;
            assert!(seen && edit.steps() == 3);
            engine.decode(edit, async |_| Flow::Continue).block_on().unwrap()
        };
        let cached = edit(Path::Cached, &requests);
        assert_eq!(cached, edit(Path::Naive, &requests));
        assert_eq!(cached[1..], edit(Path::Cached, &[masked]));
        // The right half of the second picture may not change.
        let square = [Picture::square(&picture(50, 40), 32)];
        let source = engine.source(&square, || ()).block_on().unwrap().remove(0).1;
        let kept = |codes: &Codes| codes.iter().zip(&source).map(|(a, b)| a == b).collect::<Vec<_>>();
        assert!(kept(&cached[1]).chunks(4).all(|row| row[2] && row[3]));
        assert!(!kept(&cached[1]).iter().all(|&kept| kept));
        assert_ne!(cached[0], edit(Path::Cached, &[request(9)])[0]);
    }

    #[test]
    fn around_the_mask_an_edit_keeps_the_pixels() {
        let engine = engine();
        let mut masked = request(2);
        masked.mask = Some(RgbImage::from_fn(50, 40, |x, _| {
            image::Rgb([if (5..25).contains(&x) { 255 } else { 0 }; 3])
        }));
        let edit = |requests: &[EditRequest]| {
            let edits = engine.edit_batch(requests, engine.generation(), async |_| Flow::Continue);
            edits.block_on().unwrap()
        };
        let edited = edit(&[request(2), masked]);
        // Without a mask all of it is what the model drew; under one the picture keeps its own size.
        assert_eq!([edited[0].dimensions(), edited[1].dimensions()], [(32, 32), (50, 40)]);
        let source = picture(50, 40);
        let same = |(x, y)| edited[1].get_pixel(x, y) == source.get_pixel(x, y);
        let all = |from: u32, to: u32| (0..40).flat_map(move |y| (from..to).map(move |x| (x, y)));
        assert!(all(25, 50).all(same));
        assert!(!all(5, 25).all(same));
    }

    #[test]
    fn edits_have_steps_of_their_own() {
        let (engine, mut steps) = (engine(), vec![]);
        let on_step = async |report: StepReport<'_>| {
            steps.push((report.step, report.steps));
            Flow::Continue
        };
        engine.edit(&request(1), engine.generation(), on_step).block_on().unwrap();
        assert_eq!(steps, [(1, 3), (2, 3), (3, 3)]);
    }

    #[test]
    fn bad_edits_are_errors() {
        let mut engine = engine();
        let edit = |engine: &Engine, request: EditRequest| {
            engine.edit(&request, engine.generation(), async |_| Flow::Continue).block_on().unwrap_err()
        };
        let black = RgbImage::new(50, 40);
        for (request, kind, words) in [
            (EditRequest { instruction: " ".into(), ..request(1) }, ErrorKind::Text, "instruction"),
            (EditRequest { image: RgbImage::new(0, 0), ..request(1) }, ErrorKind::Image, "pixels"),
            (EditRequest { mask: Some(RgbImage::new(4, 4)), ..request(1) }, ErrorKind::Image, "4 x 4"),
            (EditRequest { mask: Some(black), ..request(1) }, ErrorKind::Image, "no white"),
        ] {
            let error = edit(&engine, request);
            assert!(error.kind == kind && error.to_string().contains(words), "{error}");
            assert!(!error.fix.is_empty(), "{error}");
        }
        engine.vision = None;
        let error = edit(&engine, request(1));
        assert!(
            error.kind == ErrorKind::Weights && error.to_string().contains("vision.safetensors"),
            "{error}"
        );
    }
}
