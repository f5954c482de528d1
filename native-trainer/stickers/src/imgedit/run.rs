//! Runs cases to scores: edits, detects, judges.

use anyhow::{Result, ensure};
use image::RgbImage;
use pollster::FutureExt;
use rayon::prelude::*;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{EditRequest, Engine};
use unigen_core::picture::Picture;
use unigen_evaluation::{BATCH, check_judge};
use unigen_runs::Interrupt;

use super::case::{Before, Case};
use super::change::{Change, Changes};
use super::pixels::{all, distance, within};
use super::quality::{Expected, Quality};
use super::report::{Edits, Judged, Report};
use super::score::Pictures;
use crate::judge::{Detection, Detector};
use crate::world::Renderer;

/// From this mean squared error on, the background counts as changed.
const BEHIND: f64 = 0.003;

/// Cases with their pictures, ready to be edited and judged.
pub struct ImgEdit<'a> {
    judge: &'a Detector,
    renderer: Renderer,
    cases: Vec<(Case, Pictures)>,
}

impl<'a> ImgEdit<'a> {
    /// Draws the pictures of `cases`, `size` pixels a side.
    ///
    /// # Errors
    /// If the judge is not accurate enough or fails, if there are no cases, or if a case asks for no change.
    pub fn new(cases: Vec<Case>, size: u32, judge: &'a Detector) -> Result<Self> {
        check_judge(judge)?;
        ensure!(!cases.is_empty(), "nothing to edit: give at least one case");
        let renderer = Renderer::new();
        let befores: Vec<RgbImage> = cases
            .par_iter()
            .map(|case| match &case.before {
                Before::Scene(scene) => renderer.render(scene, size, size),
                Before::Picture(picture) => Picture::square(picture, size),
            })
            .collect();
        let mut seen = Vec::with_capacity(cases.len());
        for (case, before) in cases.iter().zip(&befores) {
            let known = matches!(case.before, Before::Scene(_));
            seen.extend(if known { vec![vec![]] } else { judge.find(std::slice::from_ref(before))? });
        }
        let prepare = |((case, before), seen): ((Case, RgbImage), Vec<Detection>)| {
            let wanted = renderer.render(&case.wanted, size, size);
            let changes = Changes::of(&case, size, &seen, || {
                let things = Changes::of(&case, size, &seen, || false);
                let things: Vec<_> = things.wanted().map(|t| t.truth.bbox).chain(things.boxes()).collect();
                let behind = all(&before).filter(|&(x, y)| !within(&things, x, y));
                distance(&before, &wanted, behind) > BEHIND
            });
            ensure!(
                !changes.changes.is_empty(),
                "the edit \"{}\" asks for nothing: the wanted scene is what the picture shows already",
                case.instruction
            );
            let styled = changes.has(&Change::Style);
            let styles = if styled { Pictures::in_styles(&renderer, &case.wanted, size) } else { vec![] };
            let (scene, rendered) = (case.wanted.clone(), matches!(case.before, Before::Scene(_)));
            Ok((case, Pictures { before, wanted, scene, changes, styles, rendered }))
        };
        let cases = cases.into_iter().zip(befores).zip(seen).map(prepare).collect::<Result<_>>()?;
        Ok(Self { judge, renderer, cases })
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Always false, since [`Self::new`] refuses an empty list.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Lets `edit` edit every picture with the seeds `seed`, `seed + 1`, .., and judges the results. Calls `progress`
    /// with the number of pictures done.
    ///
    /// # Errors
    /// If `edit` or the judge fails.
    pub fn run(
        &self,
        seed: u64,
        mut edit: impl FnMut(&[EditRequest]) -> Result<Vec<RgbImage>>,
        mut progress: impl FnMut(usize),
    ) -> Result<Report> {
        let mut seeds = (0..).map(|index| seed.wrapping_add(index));
        let mut done = 0;
        self.judge(seed, |cases| {
            let requests = cases.iter().zip(&mut seeds).map(|((case, pictures), seed)| EditRequest {
                image: pictures.before.clone(),
                instruction: case.instruction.clone(),
                seed,
                mask: None,
            });
            let drawn = edit(&requests.collect::<Vec<_>>())?;
            done += drawn.len();
            progress(done);
            Ok(drawn)
        })
    }

    /// The lower end of the scale: unchanged copies.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn copy(&self) -> Result<Report> {
        self.judge(0, |cases| Ok(cases.iter().map(|(_, pictures)| pictures.before.clone()).collect()))
    }

    /// The upper end of the scale: the wanted pictures after `round_trip` through an image tokenizer.
    ///
    /// # Errors
    /// If `round_trip` or the judge fails.
    pub fn oracle(&self, mut round_trip: impl FnMut(&[RgbImage]) -> Result<Vec<RgbImage>>) -> Result<Report> {
        self.judge(0, |cases| {
            let wanted: Vec<_> = cases.iter().map(|(_, pictures)| pictures.wanted.clone()).collect();
            round_trip(&wanted)
        })
    }

    fn judge(
        &self,
        seed: u64,
        mut draw: impl FnMut(&[(Case, Pictures)]) -> Result<Vec<RgbImage>>,
    ) -> Result<Report> {
        let mut judged = Vec::with_capacity(self.cases.len());
        for cases in self.cases.chunks(BATCH) {
            let drawn = draw(cases)?;
            let found = self.judge.find(&drawn)?;
            ensure!(
                drawn.len() == cases.len() && found.len() == cases.len(),
                "{} edits gave {} pictures and {} lists of detections",
                cases.len(),
                drawn.len(),
                found.len()
            );
            for ((_, pictures), drawn) in cases.iter().zip(&drawn) {
                ensure!(
                    drawn.dimensions() == pictures.before.dimensions(),
                    "the edited picture has {} x {} pixels, the picture before {} x {}",
                    drawn.width(),
                    drawn.height(),
                    pictures.before.width(),
                    pictures.before.height()
                );
            }
            let expected: Vec<Expected> = (cases, &drawn, &found)
                .into_par_iter()
                .map(|((case, _), drawn, found)| Expected::of(&self.renderer, &case.wanted, drawn, found))
                .collect();
            let pictures: Vec<_> = expected.iter().map(|expected| expected.picture.clone()).collect();
            let unlike = self.judge.unlikeness(&drawn, &pictures)?;
            let qualities: Vec<Quality> = expected
                .iter()
                .zip(&drawn)
                .zip(&unlike)
                .map(|((expected, drawn), unlike)| Quality::of(expected, drawn, unlike))
                .collect();
            for ((((case, pictures), quality), drawn), detections) in
                cases.iter().zip(qualities).zip(drawn).zip(found)
            {
                let (scores, wrong) = pictures.score(&drawn, &detections, &quality);
                judged.push(Judged {
                    kind: case.kind,
                    instruction: case.instruction.clone(),
                    seed: seed.wrapping_add(judged.len() as u64),
                    scores,
                    reason: wrong.join("\n"),
                    detections,
                    images: [pictures.before.clone(), drawn, pictures.wanted.clone()],
                });
            }
        }
        Ok(Report::of(judged))
    }
}

/// Lets `engine` edit every case with the seeds `seed`, `seed + 1`, .., and judges the results. Calls `progress` with
/// the number of pictures done.
///
/// # Errors
/// Those of [`ImgEdit::new`] and of [`Engine::edit_batch`], or if Ctrl-C was pressed.
pub fn evaluate(
    engine: &Engine,
    cases: Vec<Case>,
    settings: &GenerationConfig,
    seed: u64,
    judge: &Detector,
    progress: impl FnMut(usize),
) -> Result<Edits> {
    let edits = ImgEdit::new(cases, engine.config().image_size as u32, judge)?;
    let edit = |requests: &[EditRequest]| {
        Ok(engine.edit_batch(requests, settings, async |_| Interrupt::flow()).block_on()?)
    };
    let model = edits.run(seed, edit, progress)?;
    let (copy, oracle) = (edits.copy()?, edits.oracle(|wanted| Ok(engine.round_trip(wanted).block_on()?))?);
    Ok(Edits { model, copy, oracle })
}
