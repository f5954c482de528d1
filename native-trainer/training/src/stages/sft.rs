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
use unigen_core::config::ModelConfig;
use unigen_core::engine::layouts;
use unigen_core::model::UniGen;
use unigen_core::sequence::EditBranch;

use super::sources::{self, Origin};
use crate::batch::{Base, Example, Lora, Sample, hidden, mask, task_of};
use crate::data::codes::CodeCache;
use crate::data::{
    Annotation, Captioned, Edit, Edits, Files, Order, Pictures, SourceSettings, any_shape, rng_at,
};
use crate::estimate::{Estimate, Exports, Rows, Sequences};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training};
use crate::validation::{OwnValidation, SEED, Validation};
use crate::world::{World, WorldSettings};
use unigen_runs::Compute;

/// Number of pictures and of edits of a world, unless the settings say otherwise.
const PICTURES: u64 = 65_536;
const EDITS: u64 = 32_768;
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
    /// Folder that keeps the codes of the pictures, as in `pretrain`. What is missing there is made.
    pub codes: PathBuf,
    /// Number of different pictures to generate. Without it, all pictures of the user's own files, or 65,536 of the
    /// world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pictures: Option<u64>,
    /// Folder that keeps the codes of edits, before and after. What is missing there is made.
    pub edit_codes: PathBuf,
    /// Number of different edits. Without it, all edits of the user's own files, or 32,768 of the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edits: Option<u64>,
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
            pictures: None,
            edit_codes: "runs/edit-codes".into(),
            edits: None,
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

/// The data that samples are made from. Held-out data may lack some kinds.
struct Material {
    source: Option<Arc<dyn Pictures>>,
    questions: Option<Arc<Files>>,
    edits: Option<Arc<dyn Edits>>,
    pictures: Option<CodeCache<Arc<dyn Annotation>>>,
    /// The instruction of every edit, and the codes of the pictures before and after it.
    changes: Option<CodeCache<String, 2>>,
    orders: Orders,
}

/// The orders in which samples are seen.
#[derive(Clone, Copy)]
struct Orders {
    pictures: Order,
    edits: Order,
    questions: Order,
}

impl Material {
    /// The data of training and what is held out, with its codes.
    fn open(world: &impl World, settings: &Settings, origin: Origin, base: &Base) -> Result<[Self; 2]> {
        let Settings { data, triples, questions, edit_kinds, .. } = settings;
        let (encoder, weights) = base.encoder();
        let source = sources::pictures(world, data, SEED, origin)?;
        let edits = sources::edits(world, triples, &data.validation, origin, |world| {
            world.edits(data.seed, edit_kinds)
        })?;
        let questions = match &questions[..] {
            [] => None,
            files => Some(Files::split(files, "questions", &data.validation, "question")?),
        };
        let (questions, asked) = questions.map(|split| (split.training, split.held_out)).unzip();
        let kinds = [source.held_out.is_some(), edits.held_out.is_some(), matches!(asked, Some(Some(_)))];
        sources::check_held_out(&data.validation, &kinds)?;
        let shown = sources::limit(settings.pictures, source.training.count(), PICTURES);
        let pictures = CodeCache::captioned(&settings.codes, &source.training, shown, encoder, weights)?;
        let count = sources::limit(settings.edits, edits.training.count(), EDITS);
        let read = |index| change(&*edits.training, index, encoder.size);
        let changes =
            CodeCache::open(&settings.edit_codes, edits.training.name(), count, encoder, weights, read)?;
        let few = |count: Option<u64>| count.unwrap_or(HELD_OUT).min(HELD_OUT);
        let shown = source
            .held_out
            .as_ref()
            .map(|pictures| CodeCache::captioned_in_memory(pictures, few(pictures.count()), encoder));
        let changed = edits.held_out.as_ref().map(|edits| {
            CodeCache::encode(few(edits.count()), encoder, |index| change(&**edits, index, encoder.size))
        });
        let order = |files: &[PathBuf]| origin.order(!files.is_empty(), settings.training.seed);
        let orders = Orders {
            pictures: order(&data.shards),
            edits: order(triples),
            questions: order(&settings.questions),
        };
        let training = Self {
            source: Some(source.training),
            questions,
            edits: Some(edits.training),
            pictures: Some(pictures),
            changes: Some(changes),
            orders,
        };
        let held_out = Self {
            source: source.held_out,
            questions: asked.flatten(),
            edits: edits.held_out,
            pictures: shown.transpose()?,
            changes: changed.transpose()?,
            orders: Orders { pictures: Order::Given, edits: Order::Given, questions: Order::Given },
        };
        Ok([training, held_out])
    }

    fn any(&self) -> bool {
        self.source.is_some() || self.questions.is_some() || self.edits.is_some()
    }

    /// The user's own samples that validation shows.
    fn shown(&self) -> OwnValidation {
        let Self { source, questions, edits, .. } = self;
        let (pictures, edits, questions) = (source.clone(), edits.clone(), questions.clone());
        OwnValidation { pictures, edits, questions, prompts: None }
    }

    /// Picture number `number`, and the questions about it with their answers; `None` without pictures. A user's own
    /// questions and others take turns.
    fn conversation(
        &self,
        number: u64,
        visit: u64,
        size: u32,
        rng: &mut impl Rng,
    ) -> Result<Option<(RgbImage, Vec<[String; 2]>)>> {
        Ok(Some(match (&self.questions, &self.source) {
            (Some(own), source) if source.is_none() || number.is_multiple_of(2) => {
                let number = if source.is_some() { number / 2 } else { number };
                own.usable(self.orders.questions.at(number, own.len()), |record| {
                    Ok((record.picture("image")?, vec![[record.text("question")?, record.text("answer")?]]))
                })?
            }
            (_, Some(source)) => {
                let count = source.count().unwrap_or(u64::MAX);
                let number = self.orders.pictures.at(number, count);
                let Captioned { picture, annotation } = source.captioned(number, any_shape(size, rng))?;
                let turns = annotation.conversation(visit, rng);
                (picture, turns)
            }
            (_, None) => return Ok(None),
        }))
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
    origin: Origin,
    validation: Box<dyn Validation>,
    training: Material,
    held_out: Material,
    device: Device,
    world: PhantomData<fn() -> W>,
}

impl<W: World> SftStage<W> {
    /// Sample `index` of `material`; `None` if `material` lacks its kind.
    fn sample(&self, material: &Material, index: u64) -> Result<Option<(Task, Sample)>> {
        let (base, settings) = (&self.base, &self.settings);
        let layouts = layouts(&base.text);
        let (mut rng, orders) = (rng_at(settings.training.seed, index), material.orders);
        let (task, number) = Task::of(settings.mix, index);
        let (example, picture) = match task {
            Task::Generate => {
                let Some(pictures) = &material.pictures else { return Ok(None) };
                let ([codes], annotation) = pictures.get(orders.pictures.at(number, pictures.len()))?;
                let text = if rng.random_bool(settings.drop_text) {
                    vec![]
                } else {
                    base.tokens(&annotation.caption(index))?
                };
                let (sequence, masked) = (layouts.generate(&text, codes.len()), mask(codes.len(), &mut rng));
                (Example { sequence, target: codes, masked, ..Example::default() }, None)
            }
            Task::Edit => {
                let (Some(changes), Some(edits)) = (&material.changes, &material.edits) else {
                    return Ok(None);
                };
                let number = orders.edits.at(number, changes.len());
                let ([before, after], instruction) = changes.get(number)?;
                let branch = branch([settings.drop_instruction, settings.drop_both], &mut rng);
                let picture = edits.read(number % changes.len(), base.size())?.before;
                let text = base.tokens(&instruction)?;
                let example = Example {
                    sequence: layouts.edit(branch, &text, base.feature_count(&picture)?, after.len())?,
                    masked: mask(after.len(), &mut rng),
                    source: before,
                    target: after,
                    ..Example::default()
                };
                (example, (branch != EditBranch::None).then_some(picture))
            }
            Task::Describe => {
                let Some((picture, turns)) = material.conversation(number, index, base.size(), &mut rng)?
                else {
                    return Ok(None);
                };
                let sequence = base.conversation(&picture, &turns)?;
                (Example { sequence, ..Example::default() }, Some(picture))
            }
            Task::Text => {
                let Some(pictures) = &material.pictures else { return Ok(None) };
                let (_, annotation) = pictures.get(orders.pictures.at(number, pictures.len()))?;
                let text = annotation.caption(index);
                (Example { sequence: layouts.text(&base.tokens(&text)?), ..Example::default() }, None)
            }
        };
        Ok(Some((task, Sample { example, picture })))
    }

    /// The losses of each task over samples of `material`.
    fn losses(
        &self,
        model: &UniGen,
        material: &Material,
        samples: Range<u64>,
        device: &Device,
    ) -> Result<[Option<Tensor<1>>; 4]> {
        let read = samples.into_par_iter().filter_map(|index| self.sample(material, index).transpose());
        let mut drawn = self.base.reading.timed(|| read.collect::<Result<Vec<_>>>())?;
        drawn.sort_by_key(|(task, _)| *task);
        if drawn.is_empty() {
            return Ok([const { None }; 4]);
        }
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

    fn models(settings: &mut Settings) -> Vec<&mut PathBuf> {
        vec![&mut settings.model, &mut settings.vision]
    }

    fn on_trial(settings: Settings, folder: &Path) -> Settings {
        let samples = settings.training.samples();
        let few = |count: Option<u64>| Some(count.map_or(samples, |count| count.min(samples)));
        let (pictures, edits) = (few(settings.pictures), few(settings.edits));
        let (codes, edit_codes) = (folder.join("codes"), folder.join("edit-codes"));
        Settings { pictures, codes, edits, edit_codes, judge: None, ..settings }
    }

    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let vision = Some(exports.vision_in(&settings.vision)?);
        let config = ModelConfig { vision, ..exports.model_in(&settings.model)? };
        let training = &settings.training;
        let sequences = Sequences {
            config: &config,
            text: sources::caption_tokens(&W::open(&settings.world)?, &settings.data)?,
        };
        let about = sources::conversation(&W::open(&settings.world)?, &settings.data)?;
        let of = [sequences.generate(), sequences.edit(), sequences.describe(about), sequences.text()];
        let rows = Rows::mean(of, settings.mix).times(training.batch as f64);
        let (accumulate, again) = (training.accumulate, training.gradient_checkpointing);
        let lora = settings.lora.as_ref().map(|lora| exports.adapters(&settings.model, lora)).transpose()?;
        let found = sequences.estimate(rows, lora, accumulate, again, true)?;
        exports.model(export, config);
        Ok(Some(found))
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
        let Settings { data, triples, questions, lora, .. } = settings;
        let (world, origin) = (W::open(&settings.world)?, Origin::of(&[&data.shards, triples, questions]));
        sources::check_judge(origin, settings.judge.as_deref())?;
        let (base, model) =
            Base::open(&settings.model, Some(&settings.vision), lora.as_ref(), data.max_text, compute)?;
        let [training, held_out] = Material::open(&world, settings, origin, &base)?;
        let validation =
            sources::validation(&world, origin, held_out.shown(), settings.judge.as_deref(), compute)?;
        let (settings, device) = (settings.clone(), compute.device.clone());
        let stage =
            Self { settings, base, origin, validation, training, held_out, device, world: PhantomData };
        Ok((stage, model))
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
        found.add_losses(names, losses, self.settings.weights)?;
        Ok(found)
    }

    fn best(&self) -> Option<Best> {
        (self.origin == Origin::Own && self.held_out.any()).then_some(Best::Lowest(Evaluation::LOSS))
    }

    fn counted(&self) -> Counted {
        self.base.reading.counted()
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
