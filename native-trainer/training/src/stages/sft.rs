//! Supervised fine-tuning on all tasks together (UniGen-1.5, stage 2): generation, editing, understanding and text.
//! The image tokenizer and the understanding encoder are frozen.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::engine::layouts;
use unigen_core::model::UniGen;
use unigen_core::sequence::EditBranch;

use super::{open_edits, open_pictures};
use crate::batch::{Base, Example, Lora, Sample, hidden, mask, task_of};
use crate::data::codes::CodeCache;
use crate::data::{Annotation, Captioned, Edit, Edits, Files, Pictures, SourceSettings, any_shape, rng_at};
use crate::train::{Evaluation, Loss, Stage, Training};
use crate::validation::{SEED, Validation};
use crate::world::{World, WorldSettings};
use unigen_runs::Compute;

/// Number of held-out pictures, of held-out edits, and of samples for the losses of validation.
const HELD_OUT: u64 = 24;
const MEASURED: u64 = 64;

/// Settings of the stage `sft`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Folder of the model to start from, as the stage `pretrain` exports it.
    pub model: PathBuf,
    /// Folder of the understanding encoder, as the stage `vision` exports it, or of a model that has one.
    pub vision: PathBuf,
    /// File that keeps the codes of the pictures, as in `pretrain`. It is made if it is missing.
    pub codes: PathBuf,
    /// Number of different pictures to generate.
    pub pictures: u64,
    /// File that keeps the codes of edits, before and after. It is made if it is missing.
    pub edit_codes: PathBuf,
    /// Number of different edits.
    pub edits: u64,
    /// Kinds of the world's edits, all equally often. A kind that is named twice comes twice as often. An empty list
    /// means all kinds.
    pub edit_kinds: Vec<String>,
    /// Shares of generation, editing, understanding and text. In the paper, generation and editing together are 3 of
    /// 8.
    pub mix: [u64; 4],
    /// Weights of the losses of generation, editing, understanding and text.
    pub weights: [f64; 4],
    /// A user's own questions with answers as shards or jsonl files ([`crate::data::record`]). They are half of the
    /// questions. If the list is empty, all questions come from the pictures' annotations.
    pub questions: Vec<PathBuf>,
    /// A user's own edits in the same formats: before, instruction, after and description. If the list is empty, the
    /// world's edits are used.
    pub triples: Vec<PathBuf>,
    /// Share of generation samples whose text is dropped, for guidance.
    pub drop_text: f64,
    /// Share of edits whose instruction is dropped, for the guidance branch "image".
    pub drop_instruction: f64,
    /// Share of edits whose picture and instruction are both dropped, for the guidance branch "none". InstructPix2Pix
    /// (arXiv 2211.09800, section 3.2.1) does the same, and also drops the picture alone, which our guidance does not
    /// need.
    pub drop_both: f64,
    /// The detector that scores edits in validation. Without it, there is no such score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<PathBuf>,
    /// Train low-rank adapters beside the frozen weights. Without it, all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
    pub data: SourceSettings,
    /// What the world shows, if it gives the material.
    #[serde(skip_serializing_if = "WorldSettings::is_empty")]
    pub world: WorldSettings,
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: "runs/pretrain/export".into(),
            vision: "runs/vision/export".into(),
            codes: "runs/codes".into(),
            pictures: 65_536,
            edit_codes: "runs/edit-codes".into(),
            edits: 32_768,
            edit_kinds: vec![],
            mix: [3, 3, 8, 2],
            weights: [0.5, 1.0, 0.5, 0.1],
            questions: vec![],
            triples: vec![],
            judge: None,
            lora: None,
            drop_text: 0.1,
            drop_instruction: 0.05,
            drop_both: 0.05,
            data: SourceSettings { seed: 3, ..SourceSettings::default() },
            world: WorldSettings::default(),
            training: Training {
                steps: 6000,
                batch: 24,
                learning_rate: 4e-4,
                warmup_steps: 200,
                final_rate: 0.05,
                weight_decay: 0.05,
                betas: [0.9, 0.98],
                clip_norm: 1.0,
                ema_decay: 0.999,
                seed: 5,
                ..Training::default()
            },
        }
    }
}

/// The task of one sequence, in the order of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Generate,
    Edit,
    Describe,
    Text,
}

impl Task {
    const ALL: [Task; 4] = [Task::Generate, Task::Edit, Task::Describe, Task::Text];

    /// The task of sample `index`, and the number of earlier samples with the same task.
    fn of(mix: [u64; 4], index: u64) -> (Self, u64) {
        let (share, number) = task_of(mix, index);
        (Self::ALL[share], number)
    }
}

/// The data that samples are made from.
struct Material {
    source: Box<dyn Pictures>,
    questions: Option<Files>,
    edits: Box<dyn Edits>,
    pictures: CodeCache<Arc<dyn Annotation>>,
    /// The instruction of every edit, and the codes of the pictures before and after it.
    changes: CodeCache<String, 2>,
}

impl Material {
    fn of_training(world: &impl World, settings: &Settings, base: &Base) -> Result<Self> {
        let (encoder, weights) = base.encoder();
        let source = open_pictures(world, &settings.data)?;
        let questions = match &settings.questions[..] {
            [] => None,
            files => Some(Files::open(files, "questions")?),
        };
        let edits = open_edits(world, &settings.triples, settings.data.seed, &settings.edit_kinds)?;
        let pictures = CodeCache::captioned(&settings.codes, &*source, settings.pictures, encoder, weights)?;
        let count = edits.count().map_or(settings.edits, |len| len.min(settings.edits));
        let read = |index| change(&*edits, index, encoder.size);
        let changes = CodeCache::open(&settings.edit_codes, edits.name(), count, encoder, weights, read)?;
        Ok(Self { source, questions, edits, pictures, changes })
    }

    fn held_out(world: &impl World, base: &Base) -> Result<Self> {
        let (encoder, _) = base.encoder();
        let (source, edits) = (world.held_out_pictures(SEED), world.held_out_edits(SEED));
        let pictures = CodeCache::captioned_in_memory(&*source, HELD_OUT, encoder)?;
        let changes = CodeCache::encode(HELD_OUT, encoder, |index| change(&*edits, index, encoder.size))?;
        Ok(Self { source, questions: None, edits, pictures, changes })
    }

    /// Picture number `number`, and the questions about it with their answers. A user's own questions and others take
    /// turns.
    fn conversation(
        &self,
        number: u64,
        visit: u64,
        size: u32,
        rng: &mut impl Rng,
    ) -> Result<(RgbImage, Vec<[String; 2]>)> {
        match &self.questions {
            Some(own) if number.is_multiple_of(2) => own.usable(number / 2, |record| {
                Ok((record.picture("image")?, vec![[record.text("question")?, record.text("answer")?]]))
            }),
            _ => {
                let Captioned { picture, annotation } =
                    self.source.captioned(number, any_shape(size, rng))?;
                Ok((picture, annotation.conversation(visit, rng)))
            }
        }
    }
}

/// The pictures before and after edit `index`, and its instruction.
fn change(edits: &dyn Edits, index: u64, size: u32) -> Result<([RgbImage; 2], String)> {
    let Edit { before, instruction, after, .. } = edits.read(index, size)?;
    Ok(([before, after], instruction))
}

/// The stage `sft`.
pub struct SftStage<W> {
    settings: Settings,
    base: Base,
    validation: Box<dyn Validation>,
    training: Material,
    held_out: Material,
    device: Device,
    world: PhantomData<fn() -> W>,
}

impl<W: World> SftStage<W> {
    /// Sample `index` of `material`.
    fn sample(&self, material: &Material, index: u64) -> Result<(Task, Sample)> {
        let (base, settings) = (&self.base, &self.settings);
        let layouts = layouts(&base.text);
        let mut rng = rng_at(settings.training.seed, index);
        let (task, number) = Task::of(settings.mix, index);
        let (example, picture) = match task {
            Task::Generate => {
                let ([codes], annotation) = material.pictures.get(number);
                let text = if rng.random_bool(settings.drop_text) {
                    vec![]
                } else {
                    base.tokens(&annotation.caption(index))?
                };
                let (sequence, masked) = (layouts.generate(&text, codes.len()), mask(codes.len(), &mut rng));
                (Example { sequence, target: codes.to_vec(), masked, ..Example::default() }, None)
            }
            Task::Edit => {
                let ([before, after], instruction) = material.changes.get(number);
                let branch = branch([settings.drop_instruction, settings.drop_both], &mut rng);
                let picture = material.edits.read(number % material.changes.len(), base.size())?.before;
                let text = base.tokens(instruction)?;
                let example = Example {
                    sequence: layouts.edit(branch, &text, base.feature_count(&picture)?, after.len())?,
                    source: before.to_vec(),
                    target: after.to_vec(),
                    masked: mask(after.len(), &mut rng),
                    ..Example::default()
                };
                (example, (branch != EditBranch::None).then_some(picture))
            }
            Task::Describe => {
                let (picture, turns) = material.conversation(number, index, base.size(), &mut rng)?;
                let sequence = base.conversation(&picture, &turns)?;
                (Example { sequence, ..Example::default() }, Some(picture))
            }
            Task::Text => {
                let text = material.pictures.get(number).1.caption(index);
                (Example { sequence: layouts.text(&base.tokens(&text)?), ..Example::default() }, None)
            }
        };
        Ok((task, Sample { example, picture }))
    }

    /// The losses of each task over samples of `material`.
    fn losses(
        &self,
        model: &UniGen,
        material: &Material,
        samples: Range<u64>,
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 4]> {
        let drawn = samples.into_par_iter().map(|index| self.sample(material, index));
        let mut drawn = drawn.collect::<Result<Vec<_>>>()?;
        drawn.sort_by_key(|(task, _)| *task);
        let of = Task::ALL.map(|task| {
            let start = drawn.partition_point(|(other, _)| *other < task);
            start..drawn.partition_point(|(other, _)| *other <= task)
        });
        let drawn = drawn.into_iter().map(|(_, sample)| sample).collect();
        let examples = self.base.encode(drawn, device)?;
        let hidden = hidden(model, &examples, device)?;
        let [generate, edit, describe, text] = of;
        Ok([
            hidden.code_loss(model, &examples, generate)?,
            hidden.code_loss(model, &examples, edit)?,
            hidden.answer_loss(model, &examples, describe)?,
            hidden.answer_loss(model, &examples, text)?,
        ])
    }
}

/// The conditions of an edit that are kept, when instruction and both are dropped in the shares `[instruction,
/// both]`.
fn branch([instruction, both]: [f64; 2], rng: &mut impl Rng) -> EditBranch {
    match rng.random_range(0.0..1.0) {
        place if place < instruction => EditBranch::Image,
        place if place < instruction + both => EditBranch::None,
        _ => EditBranch::Full,
    }
}

impl<W: World> Stage for SftStage<W> {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "sft";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, folder: &Path) -> Settings {
        let few = |count: u64| count.min(settings.training.samples());
        let (pictures, edits) = (few(settings.pictures), few(settings.edits));
        let (codes, edit_codes) = (folder.join("codes"), folder.join("edit-codes"));
        Settings { pictures, codes, edits, edit_codes, judge: None, ..settings }
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let mix = settings.mix;
        ensure!(mix.iter().sum::<u64>() > 0, "mix is {mix:?}; at least one share must be above 0");
        let Settings { drop_text, drop_instruction, drop_both, .. } = *settings;
        for (name, share) in [
            ("drop_text", drop_text),
            ("drop_instruction", drop_instruction),
            ("drop_both", drop_both),
            ("drop_instruction + drop_both", drop_instruction + drop_both),
        ] {
            ensure!((0.0..=1.0).contains(&share), "{name} is {share}, not 0 to 1");
        }
        let world = W::open(&settings.world)?;
        let validation = world.validation(settings.judge.as_deref(), &compute.without_autodiff())?;
        let (base, model) =
            Base::open(&settings.model, Some(&settings.vision), settings.lora.as_ref(), compute)?;
        let (training, held_out) =
            (Material::of_training(&world, settings, &base)?, Material::held_out(&world, &base)?);
        let (settings, device) = (settings.clone(), compute.device.clone());
        Ok((Self { settings, base, validation, training, held_out, device, world: PhantomData }, model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let batch = self.settings.training.batch as u64;
        let samples = step * batch..(step + 1) * batch;
        let losses = self.losses(model, &self.training, samples, &self.device)?;
        let names = ["generate", "edit", "describe", "text"];
        Ok(Loss::weighted(names, losses, self.settings.weights, &self.device))
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let device = self.device.clone().without_autodiff();
        let losses = self.losses(model, &self.held_out, 0..MEASURED, &device)?;
        let names = ["held-out generate", "held-out edit", "held-out describe", "held-out text"];
        let mut found = self.validation.editing(&self.base.engine(model)?)?;
        for (name, loss) in names.into_iter().zip(losses) {
            if let Some(loss) = loss {
                found.scalars.push((name, f64::from(loss.into_scalar::<f32>())));
            }
        }
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_and_editing_take_turns_and_the_shares_are_exact() {
        let tasks: Vec<_> = (0..160).map(|index| Task::of([3, 3, 8, 2], index)).collect();
        for window in tasks.windows(16) {
            let count = Task::ALL.map(|task| window.iter().filter(|(other, _)| *other == task).count());
            assert_eq!(count, [3, 3, 8, 2]);
        }
        let images = tasks.iter().filter(|(task, _)| *task <= Task::Edit);
        for (place, (task, number)) in images.enumerate() {
            assert_eq!((*task, *number), (Task::ALL[place % 2], place as u64 / 2));
        }
    }

    #[test]
    fn conditions_are_dropped_in_their_shares() {
        let mut rng = rng_at(1, 0);
        let drawn: Vec<_> = (0..20_000).map(|_| branch([0.05, 0.1], &mut rng)).collect();
        for (wanted, share) in [(EditBranch::Image, 0.05), (EditBranch::None, 0.1), (EditBranch::Full, 0.85)]
        {
            let found = drawn.iter().filter(|branch| **branch == wanted).count() as f64 / 20_000.0;
            assert!((found - share).abs() < 0.01, "{wanted:?}: {found}");
        }
        assert!((0..100).all(|_| branch([0.0, 0.0], &mut rng) == EditBranch::Full));
        assert!((0..100).all(|_| branch([0.0, 1.0], &mut rng) == EditBranch::None));
    }
}
