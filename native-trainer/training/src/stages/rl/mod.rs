//! Reinforcement learning with one reward for generation and editing (UniGen-1.5, stage 4): samples of prompts and of
//! edits are scored against descriptions of the wanted pictures, and the policy moves towards the better of each group.

mod estimate;
mod experience;
mod held_out;
mod settings;
mod summary;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use std::cell::{Ref, RefCell};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Instant;
use unigen_core::engine::ModelFolder;
use unigen_core::model::UniGen;
use unigen_core::precision::{MatmulPrecision, WithPrecision};
use unigen_rewards::{Ensemble, Member};
use unigen_runs::{Compute, Record, floats, sheet};

pub use settings::{Data, Normalisation, Replay, Settings};

use crate::batch::Base;
use crate::estimate::{Estimate, Exports};
use crate::optimizer::HostGradients;
use crate::rl::{Input, Mix, Terms, Tokens, hacked};
use crate::stages::sources::{self, Origin};
use crate::train::{Best, Counted, Evaluation, Loss, Stage, Training, Update, scalar};
use crate::validation::{OwnValidation, Validation};
use crate::world::World;
use experience::Experience;

/// Largest distance from 1 of the ratio of a replayed to a drawn probability before the first update.
const RATIO_TOLERANCE: f64 = 1e-4;
/// How far the judge, 0 to 1, may fall without the policy counting as worse.
const JUDGE_TOLERANCE: f64 = 0.01;
/// The score of validation, and the number that the updates raise.
const JUDGE: &str = "judge";
const REWARD: &str = "reward";
/// Largest number of columns of the sheet of samples.
const COLUMNS: usize = 8;

/// The stage `rl`.
pub struct RlStage<W> {
    settings: Settings,
    base: Base,
    /// The model at the start. With adapters it is the model without them, so there is no copy.
    reference: Option<UniGen>,
    rewards: Ensemble,
    validation: Box<dyn Validation>,
    mix: Mix,
    /// The user's own held-out inputs.
    held_out: Option<Mix>,
    origin: Origin,
    device: Device,
    /// The latest samples.
    experience: RefCell<Option<Experience>>,
    world: PhantomData<fn() -> W>,
}

impl<W: World> RlStage<W> {
    /// Opens the stage with `rewards` instead of those of the settings, and the model it starts from.
    ///
    /// # Errors
    /// If the model or the judge cannot be used or a setting is out of range.
    pub fn with(settings: &Settings, rewards: Ensemble, compute: &Compute) -> Result<(Self, UniGen)> {
        let Settings { data, lora, prompts, triples, .. } = settings;
        let vision = settings.model.join(ModelFolder::VISION).exists().then_some(&*settings.model);
        let (base, model) = Base::open(&settings.model, vision, lora.as_ref(), data.max_text, compute)?;
        settings.check(base.image_tokens())?;
        ensure!(
            base.has_vision() || settings.mix[1] == 0,
            "mix asks for edits, but the model in {} has no understanding encoder: set mix = [1, 0], or start from a model \
             of the stage `sft` or `align`",
            settings.model.display()
        );
        let (world, origin) = (W::open(&settings.world)?, Origin::of(&[prompts, triples]));
        let prompts = sources::prompts(&world, prompts, &data.validation, settings.seed)?;
        let described = |world: &W| world.described_edits(settings.seed, &settings.edit_kinds);
        let edits = sources::edits(&world, triples, &data.validation, origin, described)?;
        let own = OwnValidation {
            prompts: prompts.held_out.clone(),
            edits: edits.held_out.clone().filter(|_| base.has_vision()),
            ..OwnValidation::default()
        };
        sources::check_held_out(&data.validation, &[own.prompts.is_some(), own.edits.is_some()])?;
        let held_out = (origin == Origin::Own).then(|| held_out::inputs(&own)).flatten();
        let validation = sources::validation(&world, origin, own, settings.judge.as_deref(), compute)?;
        let order = |files: &[PathBuf]| origin.order(!files.is_empty(), settings.training.seed);
        let orders = [order(&settings.prompts), order(&settings.triples)];
        let (asked, edited) = (Some(prompts.training), Some(edits.training));
        let mix = Mix { shares: settings.mix, prompts: asked, edits: edited, orders };
        let reference = lora.is_none().then(|| model.valid());
        let stage = Self {
            settings: settings.clone(),
            base,
            reference,
            rewards,
            validation,
            mix,
            held_out,
            origin,
            device: compute.device.clone(),
            experience: RefCell::default(),
            world: PhantomData,
        };
        Ok((stage, model))
    }

    fn delimiters(&self) -> [u32; 2] {
        [self.base.text.special().soi, self.base.text.special().eoi]
    }

    /// The policy that `model`, which has no gradients, stays near.
    fn reference(&self, model: &UniGen) -> UniGen {
        self.reference.clone().unwrap_or_else(|| model.clone().without_adapters())
    }

    /// The objective over pass `index`, and the entropy of its tokens.
    fn objective(&self, model: &UniGen, experience: &Experience, index: usize) -> Result<(Terms, Tensor<1>)> {
        let Experience { inputs, rollouts, passes, reference, old, .. } = experience;
        let (pass, device) = (&passes[index], &self.device);
        let temperature = self.settings.rollout.temperature;
        let prefix = |group: usize| inputs[group].prefix(model, device);
        let replayed = pass.replay(model, rollouts, temperature, self.delimiters(), prefix, device)?;
        let of =
            |value: &dyn Fn(usize) -> f32| pass.tokens.iter().map(|&(rollout, _)| value(rollout)).collect();
        let tokens = Tokens {
            old: old.as_ref().map(|old| old[index].clone()),
            reference: reference[index].clone(),
            advantages: of(&|rollout| experience.advantages[rollout].unwrap_or(0.0)),
            weights: of(&|rollout| experience.weights[rollout]),
            spans: pass.spans.clone(),
        };
        Ok((self.settings.objective().terms(replayed.log_probs, &tokens), replayed.entropy))
    }

    /// The gradients of a step, computed pass by pass because the graph of all passes would take too much memory.
    fn replayed(&self, model: &UniGen, step: u64) -> Result<Update> {
        let experience = self.experience(model, step)?;
        let start = Instant::now();
        let tokens: usize = experience.passes.iter().map(|pass| pass.tokens.len()).sum();
        let (mut loss, mut kl, mut entropy, mut off, mut clipped) = (0.0, 0.0, 0.0, 0.0_f64, 0.0);
        let mut ratios = 0.0_f64;
        let mut gradients = HostGradients::default();
        for (index, pass) in experience.passes.iter().enumerate() {
            let (terms, spread) = self.objective(model, &experience, index)?;
            let share = pass.tokens.len() as f64 / tokens as f64;
            loss += scalar(terms.loss.clone())?;
            kl += scalar(terms.kl)?;
            entropy += share * scalar(spread)?;
            for ratio in floats(terms.ratios)? {
                ratios += 1.0;
                let away = (f64::from(ratio) - 1.0).abs();
                off = if away.is_nan() { f64::NAN } else { off.max(away) };
                clipped += f64::from(u8::from(self.settings.clip > 0.0 && away > self.settings.clip));
            }
            if loss.is_finite() {
                gradients = gradients.plus(HostGradients::read(model, terms.loss.backward())?);
            }
        }
        let fresh = step.is_multiple_of(self.settings.updates);
        // In later steps bf16 rounds, and the log shows how much.
        if step == 0 {
            ensure!(
                off <= RATIO_TOLERANCE,
                "before the first update, the replay gives drawn codes other probabilities than the decoding did: the \
                 ratio differs from 1 by {off:.1e}, and at most {RATIO_TOLERANCE:.0e} is allowed. This is a bug in the program"
            );
        }
        let seconds = start.elapsed().as_secs_f64();
        let all = if fresh { seconds + experience.seconds } else { seconds };
        let drawn: usize = experience.rollouts.iter().map(|rollout| rollout.codes.len()).sum();
        let mut scalars = experience.scalars.clone();
        // Without a divergence, the reference is not computed.
        scalars.extend((self.settings.divergence() > 0.0).then(|| ("kl".into(), kl)));
        scalars.extend([
            ("entropy".into(), entropy),
            ("ratio_error".into(), off),
            ("clipped".into(), clipped / ratios.max(1.0)),
            ("update_seconds".into(), seconds / experience.inputs.len() as f64),
            ("tokens_per_second".into(), drawn as f64 / all),
        ]);
        Ok(Update { loss, gradients: loss.is_finite().then_some(gradients), scalars })
    }

    /// The samples of the round that `step` belongs to. `model` draws them in the first step of a round.
    fn experience(&self, model: &UniGen, step: u64) -> Result<Ref<'_, Experience>> {
        let round = step / self.settings.updates;
        if self.experience.borrow().as_ref().is_none_or(|experience| experience.round != round) {
            *self.experience.borrow_mut() = Some(self.gather(&model.valid(), round)?);
        }
        Ref::filter_map(self.experience.borrow(), Option::as_ref)
            .map_err(|_| anyhow::anyhow!("no samples of round {round}"))
    }

    /// A sheet of the samples with their rewards, one group per row.
    fn samples(&self) -> Option<RgbImage> {
        let experience = self.experience.borrow();
        let Experience { inputs, rollouts, images, rewards, advantages, .. } = experience.as_ref()?;
        let caption = |sample: usize| {
            let number = |value: Option<f32>| value.map_or("none".to_owned(), |value| format!("{value:+.2}"));
            let Input { task, text, .. } = &inputs[rollouts[sample].group];
            let (reward, advantage) = (number(rewards[sample]), number(advantages[sample]));
            format!("{reward} -> {advantage} {}: {text}", task.name())
        };
        let cells: Vec<_> = images.iter().enumerate().map(|(s, image)| (image.clone(), caption(s))).collect();
        Some(sheet(&cells, self.settings.rollout.samples.min(COLUMNS), 1))
    }
}

impl<W: World> Stage for RlStage<W> {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "rl";
    const ONE_DEVICE: Option<&'static str> = Some("the samples of a step are drawn and scored together");

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn models(settings: &mut Settings) -> Vec<&mut PathBuf> {
        vec![&mut settings.model]
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
    }

    fn estimate(settings: &Settings, exports: &mut Exports, export: &Path) -> Result<Option<Estimate>> {
        let config = exports.model_in(&settings.model)?;
        let lora = settings.lora.as_ref().map(|lora| exports.adapters(&settings.model, lora)).transpose()?;
        let found = estimate::of::<W>(settings, &config, lora)?;
        exports.model(export, config);
        Ok(Some(found))
    }

    fn smaller(settings: &Settings, halvings: u32) -> Option<Vec<String>> {
        let blocks = settings.replay.blocks.checked_shr(halvings).filter(|blocks| *blocks > 0)?;
        Some(if halvings == 0 { vec![] } else { vec![format!("replay.blocks={blocks}")] })
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let world = W::open(&settings.world)?;
        let rewards = world.rewards(&settings.rewards, &compute.without_autodiff())?;
        let weights = settings.rewards.iter().map(|settings| settings.weight).chain(std::iter::repeat(1.0));
        let members = rewards.into_iter().zip(weights).map(|(reward, weight)| Member { reward, weight });
        Self::with(settings, Ensemble::new(members.collect())?, compute)
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        let experience = self.experience(model, step)?;
        let parts = (0..experience.passes.len()).map(|index| self.objective(model, &experience, index));
        let parts = parts.map(|part| Ok(part?.0.loss)).collect::<Result<Vec<_>>>()?;
        let total = parts.into_iter().reduce(|a, b| a + b).context("no samples to learn from")?;
        Ok(Loss { total, parts: vec![] })
    }

    /// The first update runs the model in f32, so that its ratios tell bugs from rounding: in bf16 a replay rounds
    /// differently from the drawing (`ratio_error` in the log).
    fn update(&self, model: &UniGen, step: u64) -> Result<Update> {
        match step {
            0 => self.replayed(&model.clone().with_precision(MatmulPrecision::F32), step),
            _ => self.replayed(model, step),
        }
    }

    fn best(&self) -> Option<Best> {
        match self.origin {
            Origin::World => Some(Best::Highest(JUDGE)),
            Origin::Own => self.held_out.as_ref().map(|_| Best::Highest(held_out::REWARD)),
        }
    }

    fn counted(&self) -> Counted {
        self.base.reading.counted()
    }

    /// Between two updates from the same samples, a resumed run would lack the samples.
    fn resumable(&self, steps: u64) -> bool {
        steps.is_multiple_of(self.settings.updates)
    }

    fn finished(&self, log: &[Record]) -> Option<String> {
        let patience = Some(self.settings.patience).filter(|&patience| patience > 0)?;
        hacked(log, JUDGE, REWARD, JUDGE_TOLERANCE, patience)
    }

    fn evaluate(&self, model: &UniGen) -> Result<Evaluation> {
        let engine = self.base.engine(model)?;
        let sees = self.base.has_vision();
        let mut found = if sees { self.validation.editing(&engine)? } else { Evaluation::default() };
        if self.validation.judged() || !sees {
            let drawn = self.validation.drawing(&engine)?;
            found.scalars.extend(drawn.scalars);
            found.sheets.extend(drawn.sheets);
        }
        found.scalars.extend(self.validation.score(&found).map(|score| (JUDGE, score)));
        if let Some(inputs) = &self.held_out {
            found.scalars.extend(self.held_out_reward(inputs, &engine)?);
        }
        found.sheets.extend(self.samples().map(|sheet| ("rollouts", sheet)));
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
