//! The inputs of reinforcement learning: prompts to draw and pictures to edit, both with a description of the wanted
//! picture, by which one reward scores both (UniGen-1.5, arXiv 2511.14760, section 3.4).

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use rand::RngExt;
use unigen_core::engine::layouts;
use unigen_core::image_tokenizer::{lfq, pixels_from_images};
use unigen_core::model::UniGen;
use unigen_core::sampling::Prefix;
use unigen_core::sequence::{EditBranch, Sequence};

use crate::data::stickers::{
    Edit, EditKind, Renderer, Split, caption, description, edit_of, rng_at, scene_at, training_prompt,
};
use crate::stages::base::{Base, Lesson};
use crate::stages::batch::Example;
use crate::stages::mix::turn;

/// Share of prompts in GenEval's words. They say little, so that many pictures are right, and those who prompt say little;
/// captions tell all that a scene holds.
const PLAIN: f64 = 0.7;

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Generate,
    Edit,
}

impl Task {
    /// Both.
    pub const ALL: [Task; 2] = [Task::Generate, Task::Edit];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        ["generate", "edit"][self as usize]
    }
}

/// One input and what is wanted of it.
pub struct Input {
    pub task: Task,
    /// The prompt, or the instruction.
    pub text: String,
    /// What the picture should show.
    pub description: String,
    /// Of an edit, the picture before.
    pub before: Option<RgbImage>,
    /// Of an edit, a picture of what is wanted.
    pub wanted: Option<RgbImage>,
    plan: Sequence,
    /// Features of the picture before, `[features, width]`, and its codes.
    semantic: Option<TensorData>,
    source: Vec<Option<u32>>,
}

impl Input {
    /// Everything before the target, embedded by `model` on `device`, with gradients where the model has them.
    ///
    /// # Errors
    /// Where the model has no projector for the features of a picture.
    pub fn prefix(&self, model: &UniGen, device: &Device) -> Result<Prefix> {
        let project = |features: &TensorData| -> Result<Tensor<2>> {
            let projector = model.mm_projector.as_ref().context("the model has no projector for features")?;
            Ok(projector.forward(Tensor::from_data(features.clone(), device)))
        };
        let semantic = self.semantic.as_ref().map(project).transpose()?;
        let source = (!self.source.is_empty()).then(|| model.embed_codes(&self.source, device));
        Ok(Prefix::of(model, &self.plan, semantic.as_ref(), source.as_ref(), device))
    }
}

/// Draws the inputs of training from the sticker world, generation and editing mixed.
pub struct Mix {
    /// Shares of generation and editing.
    pub shares: [u64; 2],
    /// Kinds of edit, all equally often; one that is named twice comes twice as often.
    pub edit_kinds: Vec<EditKind>,
    /// What scenes and edits are drawn from.
    pub seed: u64,
    pub renderer: Renderer,
}

impl Mix {
    /// Inputs `first .. first + count`.
    ///
    /// # Errors
    /// Where there is an edit among them and the model of `base` sees no pictures; when the device fails.
    pub fn inputs(&self, base: &Base, first: u64, count: u64, device: &Device) -> Result<Vec<Input>> {
        let mut inputs: Vec<Input> =
            (first..first + count).map(|index| self.input(base, index)).collect::<Result<_>>()?;
        let edits: Vec<&mut Input> = inputs.iter_mut().filter(|input| input.before.is_some()).collect();
        let pictures: Vec<RgbImage> = edits.iter().filter_map(|input| input.before.clone()).collect();
        if pictures.is_empty() {
            return Ok(inputs);
        }
        let (encoder, _) = base.encoder();
        let codes = encoder.tokenizer.encode(pixels_from_images(&pictures, device)?);
        let codes = lfq::codes_from_data(codes.try_into_data().context("reading image codes")?)?;
        let lessons = pictures.into_iter().map(|p| Lesson { example: Example::default(), picture: Some(p) });
        let seen = base.look(lessons.collect(), device)?;
        for ((input, codes), seen) in edits.into_iter().zip(codes).zip(seen) {
            input.source = codes.into_iter().map(Some).collect();
            let features = seen.semantic.context("a picture has no features")?;
            input.semantic = Some(features.try_into_data().context("reading features")?);
        }
        Ok(inputs)
    }

    /// An edit that changes the description. Of the others (another size, a move within a third of the picture) it is true before, too,
    /// so that the rewards, which go by it, would teach the model to leave them undone.
    fn edit(&self, number: u64) -> Edit {
        let rng = &mut rng_at(self.seed, number);
        loop {
            let edit = edit_of(&self.edit_kinds, Split::Train, rng.random(), number);
            if description(&edit.before) != description(&edit.after) {
                return edit;
            }
        }
    }

    fn input(&self, base: &Base, index: u64) -> Result<Input> {
        let (task, number) = turn(self.shares, index);
        let (layouts, size, tokens) = (layouts(&base.text), base.size(), base.image_tokens());
        let (semantic, source) = (None, vec![]);
        Ok(match Task::ALL[task] {
            task @ Task::Generate => {
                let rng = &mut rng_at(!self.seed, number);
                let text = match rng.random_bool(PLAIN) {
                    true => training_prompt(rng).prompt,
                    false => caption(&scene_at(Split::Train, self.seed, number), rng),
                };
                let plan = layouts.generate(&base.tokens(&text)?, tokens);
                let description = text.clone();
                Input { task, text, description, before: None, wanted: None, plan, semantic, source }
            }
            task @ Task::Edit => {
                let edit = self.edit(number);
                let render = |scene| self.renderer.render(scene, size, size);
                let [before, wanted] = [&edit.before, &edit.after].map(render);
                let instruction = base.tokens(&edit.instruction)?;
                let plan = layouts.edit(EditBranch::Full, &instruction, base.features(&before)?, tokens);
                // In full: of every other edit a caption is true before it, too.
                let (text, description) = (edit.instruction, description(&edit.after));
                let (before, wanted) = (Some(before), Some(wanted));
                Input { task, text, description, before, wanted, plan, semantic, source }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_edit_is_scored_by_is_not_true_before_it() {
        let of = |kinds: &[EditKind], number| {
            let mix = Mix { shares: [0, 1], edit_kinds: kinds.into(), seed: 3, renderer: Renderer::new() };
            mix.edit(number)
        };
        for kind in EditKind::ALL {
            let edits: Vec<Edit> = (0..40).map(|number| of(&[kind], number)).collect();
            assert!(edits.iter().all(|edit| edit.kind == kind));
            assert!(
                edits.iter().all(|edit| description(&edit.before) != description(&edit.after)),
                "{kind:?}"
            );
            assert_eq!(edits, (0..40).map(|number| of(&[kind], number)).collect::<Vec<_>>());
            assert_ne!(edits[0], edits[1]);
        }
    }
}
