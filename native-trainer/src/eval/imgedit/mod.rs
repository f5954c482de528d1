//! ImgEdit (Ye et al. 2025, arXiv 2505.20275) on the sticker world: nine kinds of edit, three scores each, 1 to 5.
//!
//! A judge reads the edited picture's scene; [`Scores`] says what is made of it. Two rows give the scale its ends: a copy of
//! the picture before, and what the image tokenizer makes of the picture that is wanted.

mod case;
mod change;
mod score;

pub use case::{Before, Case, held_out_cases, read_cases};
pub use score::Scores;

use anyhow::{Result, ensure};
use image::{RgbImage, imageops};
use pollster::FutureExt;
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use std::fmt;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{EditRequest, Engine};
use unigen_core::picture::Picture;

use super::{BATCH, Detect, check_judge};
use crate::data::stickers::{EditKind, Renderer};
use crate::eval::geneval::Detection;
use crate::run::{Interrupt, sheet};
use change::{Change, Changes};
use score::{Pictures, distance};

/// The mean squared error from which the picture behind the objects is another one.
const BEHIND: f64 = 0.003;
/// Edits of each kind on the sheet.
const SHOWN: usize = 6;

/// Edits, ready to be judged by `judge`.
pub struct ImgEdit<'a> {
    judge: &'a dyn Detect,
    cases: Vec<(Case, Pictures)>,
}

/// One edited picture and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    #[serde(rename = "type")]
    pub kind: EditKind,
    pub instruction: String,
    /// `unigen edit` draws the same picture from this seed.
    pub seed: u64,
    pub scores: Scores,
    /// What is not as it was asked for, one line each.
    pub reason: String,
    pub detections: Vec<Detection>,
    /// Before, drawn and wanted.
    #[serde(skip)]
    pub images: [RgbImage; 3],
}

/// The scores of one way to edit all cases.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The unweighted mean of the kinds that have cases, 1 to 5.
    pub overall: f64,
    #[serde(serialize_with = "by_name")]
    pub kinds: Vec<Kind>,
    #[serde(rename = "images")]
    pub judged: Vec<Judged>,
}

/// The scores of one kind of edit, means over its cases.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kind {
    #[serde(skip)]
    pub kind: EditKind,
    /// The mean of the three scores, 1 to 5.
    pub score: f64,
    #[serde(flatten)]
    pub scores: Scores,
    pub images: usize,
}

fn by_name<S: Serializer>(kinds: &[Kind], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(kinds.iter().map(|kind| (kind.kind, kind)))
}

impl<'a> ImgEdit<'a> {
    /// Draws the pictures of `cases`, `size` pixels a side.
    ///
    /// # Errors
    /// Where the judge is not accurate enough, there are no cases, or one asks for nothing; those of the judge.
    pub fn new(cases: Vec<Case>, size: u32, judge: &'a dyn Detect) -> Result<Self> {
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
            seen.extend(if known { vec![vec![]] } else { judge.detect(std::slice::from_ref(before))? });
        }
        let prepare = |((case, before), seen): ((Case, RgbImage), Vec<Detection>)| {
            let wanted = renderer.render(&case.wanted, size, size);
            let changes = Changes::of(&case, size, &seen, || {
                let things = Changes::of(&case, size, &seen, || false);
                let things: Vec<_> = things.wanted().map(|t| t.truth.bbox).chain(things.boxes()).collect();
                distance(&before, &wanted, |x, y| !score::within(&things, x, y)) > BEHIND
            });
            ensure!(
                !changes.changes.is_empty(),
                "the edit {:?} asks for nothing: the wanted scene is what the picture shows already",
                case.instruction
            );
            let styled = changes.has(&Change::Style);
            let styles = if styled { Pictures::in_styles(&renderer, &case.wanted, size) } else { vec![] };
            let (style, rendered) = (case.wanted.style, matches!(case.before, Before::Scene(_)));
            Ok((case, Pictures { before, wanted, changes, styles, style, rendered }))
        };
        let cases = cases.into_iter().zip(befores).zip(seen).map(prepare).collect::<Result<_>>()?;
        Ok(Self { judge, cases })
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there are no cases; there always are.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Has `edit` edit every picture, with the seeds `seed`, `seed + 1`, .., and judges what comes of it. `progress` learns
    /// how many pictures are done.
    ///
    /// # Errors
    /// Those of `edit` and of the judge.
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

    /// The lower end of the scale: nothing is changed.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn copy(&self) -> Result<Report> {
        self.judge(0, |cases| Ok(cases.iter().map(|(_, pictures)| pictures.before.clone()).collect()))
    }

    /// The upper end of the scale: what is left of the wanted pictures by `round_trip` through an image tokenizer.
    ///
    /// # Errors
    /// Those of `round_trip` and of the judge.
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
            let found = self.judge.detect(&drawn)?;
            ensure!(
                drawn.len() == cases.len() && found.len() == cases.len(),
                "{} edits gave {} pictures and {} lists of detections",
                cases.len(),
                drawn.len(),
                found.len()
            );
            for (((case, pictures), drawn), detections) in cases.iter().zip(drawn).zip(found) {
                ensure!(
                    drawn.dimensions() == pictures.before.dimensions(),
                    "the edited picture has {:?} pixels, the picture before {:?}",
                    drawn.dimensions(),
                    pictures.before.dimensions()
                );
                let (scores, wrong) = pictures.score(&drawn, &detections);
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

impl Report {
    fn of(judged: Vec<Judged>) -> Self {
        let kinds = EditKind::ALL.into_iter().filter_map(|kind| {
            let of_kind: Vec<Scores> = judged.iter().filter(|j| j.kind == kind).map(|j| j.scores).collect();
            let images = of_kind.len();
            let mean = |part: fn(&Scores) -> f64| of_kind.iter().map(part).sum::<f64>() / images as f64;
            let scores = Scores {
                instruction: mean(|s| s.instruction),
                preservation: mean(|s| s.preservation),
                quality: mean(|s| s.quality),
            };
            (images > 0).then(|| Kind { kind, score: scores.mean(), scores, images })
        });
        let kinds: Vec<Kind> = kinds.collect();
        let overall = kinds.iter().map(|kind| kind.score).sum::<f64>() / kinds.len().max(1) as f64;
        Self { overall, kinds, judged }
    }

    /// Edits of all kinds, evenly spaced among those judged: before, drawn and wanted side by side, with instruction, seed
    /// and scores.
    pub fn sheet(&self) -> RgbImage {
        let mut cells = Vec::new();
        for kind in EditKind::ALL {
            let of_kind: Vec<&Judged> = self.judged.iter().filter(|judged| judged.kind == kind).collect();
            let shown = of_kind.len().min(SHOWN);
            cells.extend((0..shown).map(|place| cell(of_kind[place * of_kind.len() / shown])));
        }
        sheet(&cells, 3, 1)
    }
}

fn cell(judged: &Judged) -> (RgbImage, String) {
    let (width, height) = judged.images[0].dimensions();
    let mut row = RgbImage::from_pixel(3 * width + 4, height, image::Rgb([255; 3]));
    for (image, x) in judged.images.iter().zip((0..).step_by(width as usize + 2)) {
        imageops::replace(&mut row, image, x, 0);
    }
    let Scores { instruction, preservation, quality } = judged.scores;
    let text = format!(
        "{}: {} (seed {}) {instruction:.1} {preservation:.1} {quality:.1} {}",
        judged.kind.name(),
        judged.instruction,
        judged.seed,
        judged.reason.replace('\n', ", ")
    );
    (row, text)
}

/// The scores of a model between the two ends of the scale.
#[derive(Clone, Debug, Serialize)]
pub struct Edits {
    #[serde(flatten)]
    pub model: Report,
    /// Nothing is changed.
    #[serde(serialize_with = "without_images")]
    pub copy: Report,
    /// The wanted picture, as the model's image tokenizer reconstructs it.
    #[serde(serialize_with = "without_images")]
    pub oracle: Report,
}

fn without_images<S: Serializer>(report: &Report, to: S) -> Result<S::Ok, S::Error> {
    Report { judged: vec![], ..report.clone() }.serialize(to)
}

/// Has `engine` edit every case, with the seeds `seed`, `seed + 1`, .., and judges what comes of it. `progress` learns how
/// many pictures are done.
///
/// # Errors
/// Those of [`ImgEdit::new`] and of [`Engine::edit_batch`]; after Ctrl-C.
pub fn evaluate(
    engine: &Engine,
    cases: Vec<Case>,
    settings: &GenerationConfig,
    seed: u64,
    judge: &dyn Detect,
    progress: impl FnMut(usize),
) -> Result<Edits> {
    let exam = ImgEdit::new(cases, engine.config().image_size as u32, judge)?;
    let edit = |requests: &[EditRequest]| {
        Ok(engine.edit_batch(requests, settings, async |_| Interrupt::flow()).block_on()?)
    };
    let model = exam.run(seed, edit, progress)?;
    let (copy, oracle) = (exam.copy()?, exam.oracle(|wanted| Ok(engine.round_trip(wanted).block_on()?))?);
    Ok(Edits { model, copy, oracle })
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["score", "instruct", "preserve", "quality", "copy", "oracle"];
        writeln!(f, "{:<12}{}{:>8}", "imgedit", names.map(|name| format!("{name:>10}")).concat(), "images")?;
        for ((kind, copy), oracle) in self.model.kinds.iter().zip(&self.copy.kinds).zip(&self.oracle.kinds) {
            let Scores { instruction, preservation, quality } = kind.scores;
            let numbers = [kind.score, instruction, preservation, quality, copy.score, oracle.score];
            let numbers = numbers.map(|number| format!("{number:>10.3}")).concat();
            writeln!(f, "{:<12}{numbers}{:>8}", kind.kind.name(), kind.images)?;
        }
        let [model, copy, oracle] = [&self.model, &self.copy, &self.oracle].map(|report| report.overall);
        let images = self.model.judged.len();
        writeln!(f, "{:<12}{model:>10.3}{:>30}{copy:>10.3}{oracle:>10.3}{images:>8}", "overall", "")
    }
}

#[cfg(test)]
mod tests;
