//! Edit instruction alignment (UniGen-1.5, stage 3): from a picture and an instruction the model says what the wanted
//! picture shows. It does not draw; it learns what instructions mean.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use unigen_core::engine::layouts;
use unigen_core::model::UniGen;
use unigen_core::sequence::ImageRows;

use super::base::{Base, Lesson, Lora};
use super::batch::{Example, hidden};
use super::exam::{self, exam, open_judge};
use crate::data::{EditSample, EditSource};
use crate::eval::detector::Detector;
use crate::train::{Evaluation, Loss, Stage, Training};

/// Held-out edits of which the loss is measured.
const MEASURED: u64 = 64;

/// Settings of the stage `align`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model to start from, as the stage `sft` exports it.
    pub model: PathBuf,
    /// What the edits are drawn from.
    pub seed: u64,
    /// A user's own edits, as shards or jsonl files ([`crate::data::record`]); none: the sticker world's.
    pub triples: Vec<PathBuf>,
    /// The detector that scores edits in validation; none: no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// Train small matrices beside the frozen weights; none: all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "runs/sft/export".into(),
            seed: 6,
            triples: vec![],
            judge: None,
            lora: None,
            training: Training {
                steps: 500,
                batch: 64,
                learning_rate: 1e-4,
                warmup_steps: 25,
                final_rate: 0.0,
                weight_decay: 0.05,
                betas: [0.9, 0.98],
                ema_decay: 0.99,
                seed: 6,
                evaluate_every: 250,
                save_every: 100,
                ..Training::default()
            },
        }
    }
}

/// The stage `align`.
pub struct AlignStage {
    settings: Settings,
    base: Base,
    judge: Option<Detector>,
    edits: EditSource,
    device: Device,
}

impl AlignStage {
    /// A picture and an instruction as the question, the description of what is wanted as the answer.
    fn lesson(&self, edit: EditSample) -> Result<Lesson> {
        let (base, picture) = (&self.base, edit.before);
        let (instruction, description) = (base.tokens(&edit.instruction)?, base.tokens(&edit.description)?);
        let rows = ImageRows::Semantic(base.features(&picture)?);
        let sequence = layouts(&base.text).conversation(rows, [[&instruction[..], &description]]);
        Ok(Lesson { example: Example { sequence, ..Example::default() }, picture: Some(picture) })
    }

    /// Cross-entropy of the descriptions' tokens over some edits.
    fn description_loss(
        &self,
        model: &UniGen,
        edits: &EditSource,
        of: Range<u64>,
        device: &Device,
    ) -> Result<Tensor<1>> {
        let size = self.base.size();
        let edits = of.into_par_iter().map(|index| edits.read(index, size)).collect::<Result<Vec<_>>>()?;
        let lessons = edits.into_iter().map(|edit| self.lesson(edit)).collect::<Result<_>>()?;
        let examples = self.base.look(lessons, device)?;
        let hidden = hidden(model, &examples, device)?;
        hidden.answer_loss(model, &examples, 0..examples.len()).context("no edits are asked for")
    }
}

impl Stage for AlignStage {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "align";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn open(settings: &Settings, device: &Device) -> Result<(Self, UniGen)> {
        let judge = open_judge(settings.judge.as_deref(), &device.clone().without_autodiff())?;
        let (base, model) =
            Base::open(&settings.model, Some(&settings.model), settings.lora.as_ref(), device)?;
        let edits = EditSource::open(&settings.triples, settings.seed)?;
        let (settings, device) = (settings.clone(), device.clone());
        Ok((Self { settings, base, judge, edits, device }, model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let batch = self.settings.training.batch as u64;
        let edits = step * batch..(step + 1) * batch;
        let total = self.description_loss(model, &self.edits, edits, &self.device)?;
        Ok(Loss { total, parts: vec![] })
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let loss = self.description_loss(model, &EditSource::held_out(exam::SEED), 0..MEASURED, &device)?;
        let mut found = exam(&self.base.engine(model)?, self.judge.as_ref())?;
        found.scalars.push(("held-out description", f64::from(loss.into_scalar::<f32>())));
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
