//! The inputs of reinforcement learning: prompts and edits. Both come with a description of the wanted picture, so
//! that one reward scores both (UniGen-1.5, arXiv 2511.14760, section 3.4).

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use std::sync::Arc;
use unigen_core::engine::layouts;
use unigen_core::image_tokenizer::{lfq, pixels_from_images};
use unigen_core::model::UniGen;
use unigen_core::sampling::Prefix;
use unigen_core::sequence::{EditBranch, Sequence};

use crate::batch::{Base, Example, Sample, task_of};
use crate::data::{Edit, Edits, Order, Prompt, Prompts};

/// The task of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Generate,
    Edit,
}

impl Task {
    /// Both tasks.
    pub const ALL: [Task; 2] = [Task::Generate, Task::Edit];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        ["generate", "edit"][self as usize]
    }
}

/// One input and its wanted result.
pub struct Input {
    pub task: Task,
    /// The prompt, or the instruction.
    pub text: String,
    /// What the picture should show.
    pub description: String,
    /// For an edit, the picture that is edited.
    pub before: Option<RgbImage>,
    /// For an edit, the wanted picture.
    pub wanted: Option<RgbImage>,
    plan: Sequence,
    /// For an edit, the features of the picture before, `[features, width]`, and its codes.
    semantic: Option<TensorData>,
    source: Vec<Option<u32>>,
}

impl Input {
    /// The embedded rows before the target, by `model` on `device`. They have gradients if the model has.
    ///
    /// # Errors
    /// If the model has no projector for the features of a picture.
    pub fn prefix(&self, model: &UniGen, device: &Device) -> Result<Prefix> {
        let project = |features: &TensorData| -> Result<Tensor<2>> {
            let projector = model.mm_projector.as_ref().context("the model has no projector for features")?;
            Ok(projector.forward(Tensor::from_data(features.clone(), device)))
        };
        let semantic = self.semantic.as_ref().map(project).transpose()?;
        let source =
            (!self.source.is_empty()).then(|| model.embed_codes(&self.source, device)).transpose()?;
        Ok(Prefix::of(model, &self.plan, semantic.as_ref(), source.as_ref(), device)?)
    }
}

/// The inputs of training, generation and editing mixed.
pub struct Mix {
    /// Shares of generation and of editing.
    pub shares: [u64; 2],
    pub prompts: Option<Arc<dyn Prompts>>,
    pub edits: Option<Arc<dyn Edits>>,
    /// The orders of prompts and of edits.
    pub orders: [Order; 2],
}

impl Mix {
    /// Prompts and edits in turns, or those of one kind alone; `None` without either.
    pub fn of(prompts: Option<Arc<dyn Prompts>>, edits: Option<Arc<dyn Edits>>) -> Option<Self> {
        let shares = [u64::from(prompts.is_some()), u64::from(edits.is_some())];
        (shares != [0, 0]).then_some(Self { shares, prompts, edits, orders: [Order::Given; 2] })
    }

    /// The inputs `first .. first + count`.
    ///
    /// # Errors
    /// If there is an edit among them and the model has no understanding encoder; if an input cannot be read; if the
    /// device fails.
    pub fn inputs(&self, base: &Base, first: u64, count: u64, device: &Device) -> Result<Vec<Input>> {
        let mut inputs: Vec<Input> =
            (first..first + count).map(|index| self.input(base, index)).collect::<Result<_>>()?;
        let edits: Vec<&mut Input> = inputs.iter_mut().filter(|input| input.before.is_some()).collect();
        let pictures: Vec<RgbImage> = edits.iter().filter_map(|input| input.before.clone()).collect();
        if pictures.is_empty() {
            return Ok(inputs);
        }
        let (encoder, _) = base.encoder();
        let codes = encoder.tokenizer.encode(pixels_from_images(&pictures, device)?)?;
        let codes =
            lfq::codes_from_data(codes.try_into_data().context("cannot read image codes from the device")?)?;
        let samples = pictures.into_iter().map(|p| Sample { example: Example::default(), picture: Some(p) });
        let seen = base.encode(samples.collect(), device)?;
        for ((input, codes), seen) in edits.into_iter().zip(codes).zip(seen) {
            input.source = codes.into_iter().map(Some).collect();
            let features = seen.semantic.context("a picture has no features")?;
            input.semantic = Some(features.try_into_data().context("cannot read the features of a picture")?);
        }
        Ok(inputs)
    }

    fn input(&self, base: &Base, index: u64) -> Result<Input> {
        let (task, number) = task_of(self.shares, index);
        let (layouts, tokens) = (layouts(&base.text), base.image_tokens());
        let (semantic, source) = (None, vec![]);
        Ok(match Task::ALL[task] {
            task @ Task::Generate => {
                let prompts = self.prompts.as_ref().context("there are no prompts")?;
                let Prompt { text, description } =
                    prompts.get(self.orders[0].at(number, prompts.count().unwrap_or(u64::MAX)))?;
                let plan = layouts.generate(&base.tokens(&text)?, tokens);
                Input { task, text, description, before: None, wanted: None, plan, semantic, source }
            }
            task @ Task::Edit => {
                let edits = self.edits.as_ref().context("there are no edits")?;
                let Edit { before, instruction: text, after, description } =
                    edits.read(self.orders[1].at(number, edits.count().unwrap_or(u64::MAX)), base.size())?;
                let plan = layouts.edit(
                    EditBranch::Full,
                    &base.tokens(&text)?,
                    base.feature_count(&before)?,
                    tokens,
                )?;
                let (before, wanted) = (Some(before), Some(after));
                Input { task, text, description, before, wanted, plan, semantic, source }
            }
        })
    }
}
