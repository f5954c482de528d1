//! The scores of all cases by kind of edit, and a sheet of them.

use image::{RgbImage, imageops};
use serde::{Serialize, Serializer};
use std::fmt;
use unigen_runs::sheet;

use super::score::Scores;
use crate::judge::Detection;
use crate::world::EditKind;

/// Number of edits of each kind on the sheet.
const SHOWN: usize = 6;

/// One edited picture and its scores.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    #[serde(rename = "type")]
    pub kind: EditKind,
    pub instruction: String,
    /// `unigen edit` draws the same picture from this seed.
    pub seed: u64,
    pub scores: Scores,
    /// The faults, one line each.
    pub reason: String,
    pub detections: Vec<Detection>,
    /// The pictures before, drawn and wanted.
    #[serde(skip)]
    pub images: [RgbImage; 3],
}

/// The scores of one editor on all cases.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The unweighted mean over the kinds that have cases, 1 to 5.
    pub overall: f64,
    #[serde(serialize_with = "by_name")]
    pub kinds: Vec<Kind>,
    #[serde(rename = "images")]
    pub judged: Vec<Judged>,
}

/// The scores of one kind of edit, as means over its cases.
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

impl Report {
    pub(super) fn of(judged: Vec<Judged>) -> Self {
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

    /// A sheet of edits of all kinds, from the worst of a kind to its best. Each shows the pictures before, drawn and
    /// wanted side by side, with instruction, seed and scores.
    pub fn sheet(&self) -> RgbImage {
        let mut cells = Vec::new();
        for kind in EditKind::ALL {
            let mut of_kind: Vec<&Judged> = self.judged.iter().filter(|judged| judged.kind == kind).collect();
            of_kind.sort_by(|a, b| a.scores.mean().total_cmp(&b.scores.mean()));
            let shown = of_kind.len().min(SHOWN);
            cells.extend(
                (0..shown).map(|place| cell(of_kind[place * (of_kind.len() - 1) / (shown - 1).max(1)])),
            );
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
    /// The scores of an unchanged copy of each picture.
    #[serde(serialize_with = "without_images")]
    pub copy: Report,
    /// The scores of the wanted pictures as the model's image tokenizer reconstructs them.
    #[serde(serialize_with = "without_images")]
    pub oracle: Report,
}

fn without_images<S: Serializer>(report: &Report, to: S) -> Result<S::Ok, S::Error> {
    Report { judged: vec![], ..report.clone() }.serialize(to)
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
