//! Reinforcement learning with one reward for generation and editing (UniGen-1.5, stage 4): samples of prompts and of
//! edits are scored against descriptions of the wanted pictures, and the policy moves towards the better of each group.

mod experience;
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
use std::path::Path;
use std::time::Instant;
use unigen_core::engine::ModelFolder;
use unigen_core::model::UniGen;
use unigen_core::precision::{MatmulPrecision, WithPrecision};
use unigen_rewards::{Ensemble, Member};
use unigen_runs::{Compute, Record, floats, sheet};

pub use settings::{Replay, Settings};

use crate::batch::Base;
use crate::data::{Files, Prompts};
use crate::optimizer::HostGradients;
use crate::rl::{Input, Mix, Objective, Terms, hacked};
use crate::stages::open_edits;
use crate::train::{Evaluation, Loss, Stage, Training, Update, scalar};
use crate::validation::Validation;
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
    reference: UniGen,
    rewards: Ensemble,
    validation: Box<dyn Validation>,
    mix: Mix,
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
        let plain = compute.without_autodiff();
        let vision = settings.model.join(ModelFolder::VISION).exists().then_some(&*settings.model);
        let (base, model) = Base::open(&settings.model, vision, None, compute)?;
        settings.check(base.image_tokens())?;
        ensure!(
            base.has_vision() || settings.mix[1] == 0,
            "mix asks for edits, but the model in {} has no understanding encoder: set mix = [1, 0], or start from a model \
             of the stage `sft` or `align`",
            settings.model.display()
        );
        let world = W::open(&settings.world)?;
        let validation = world.validation(settings.judge.as_deref(), &plain)?;
        let reference = Base::open(&settings.model, vision, None, &plain)?.1;
        let prompts: Box<dyn Prompts> = match &settings.prompts[..] {
            [] => world.prompts(settings.seed),
            files => Box::new(Files::open(files, "prompts")?),
        };
        let edits = match &settings.triples[..] {
            [] => world.described_edits(settings.seed, &settings.edit_kinds)?,
            triples => open_edits(&world, triples, settings.seed, &[])?,
        };
        let mix = Mix { shares: settings.mix, prompts, edits };
        let stage = Self {
            settings: settings.clone(),
            base,
            reference,
            rewards,
            validation,
            mix,
            device: compute.device.clone(),
            experience: RefCell::default(),
            world: PhantomData,
        };
        Ok((stage, model))
    }

    fn delimiters(&self) -> [u32; 2] {
        [self.base.text.special().soi, self.base.text.special().eoi]
    }

    /// The objective over pass `index`, and the entropy of its tokens.
    fn objective(&self, model: &UniGen, experience: &Experience, index: usize) -> Result<(Terms, Tensor<1>)> {
        let Experience { inputs, rollouts, passes, reference, .. } = experience;
        let (pass, device) = (&passes[index], &self.device);
        let temperature = self.settings.rollout.temperature;
        let prefix = |group: usize| inputs[group].prefix(model, device);
        let replayed = pass.replay(model, rollouts, temperature, self.delimiters(), prefix, device)?;
        let of_tokens = |value: &dyn Fn(usize, usize) -> f32| {
            let values: Vec<f32> = pass.tokens.iter().map(|&(rollout, at)| value(rollout, at)).collect();
            Tensor::<1>::from_floats(values.as_slice(), device)
        };
        let terms = Objective { beta: self.settings.beta, clip: self.settings.clip }.terms(
            replayed.log_probs,
            of_tokens(&|rollout, at| rollouts[rollout].log_probs[at]),
            Tensor::from_floats(reference[index].as_slice(), device),
            of_tokens(&|rollout, _| experience.advantages[rollout].unwrap_or(0.0)),
            of_tokens(&|rollout, _| experience.weights[rollout]),
        );
        Ok((terms, replayed.entropy))
    }

    /// The gradients of a step, computed pass by pass because the graph of all passes would take too much memory.
    fn replayed(&self, model: &UniGen, step: u64) -> Result<Update> {
        let experience = self.experience(model, step)?;
        let start = Instant::now();
        let tokens: usize = experience.passes.iter().map(|pass| pass.tokens.len()).sum();
        let (mut loss, mut kl, mut entropy, mut off, mut clipped) = (0.0, 0.0, 0.0, 0.0_f64, 0.0);
        let mut gradients = HostGradients::default();
        for (index, pass) in experience.passes.iter().enumerate() {
            let (terms, spread) = self.objective(model, &experience, index)?;
            let share = pass.tokens.len() as f64 / tokens as f64;
            loss += scalar(terms.loss.clone())?;
            kl += scalar(terms.kl)?;
            entropy += share * scalar(spread)?;
            for ratio in floats(terms.ratios)? {
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
        // If `beta` is 0, the reference is not computed.
        scalars.extend((self.settings.beta > 0.0).then(|| ("kl".into(), kl)));
        scalars.extend([
            ("entropy".into(), entropy),
            ("ratio_error".into(), off),
            ("clipped".into(), clipped / tokens as f64),
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
    const SCORE: Option<&'static str> = Some(JUDGE);
    const ONE_DEVICE: Option<&'static str> = Some("the samples of a step are drawn and scored together");

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn on_trial(settings: Settings, _: &Path) -> Settings {
        Settings { judge: None, ..settings }
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
        let mut found =
            if self.base.has_vision() { self.validation.editing(&engine)? } else { Evaluation::default() };
        if self.validation.judged() {
            let drawn = self.validation.drawing(&engine)?;
            found.scalars.extend(drawn.scalars);
            found.sheets.extend(drawn.sheets);
        }
        found.scalars.extend(self.validation.score(&found).map(|score| (JUDGE, score)));
        found.sheets.extend(self.samples().map(|sheet| ("rollouts", sheet)));
        Ok(found)
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.base.export(model, folder)
    }
}
