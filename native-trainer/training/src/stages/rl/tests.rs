//! The stage on a tiny model with a known reward: how red a picture is.

use super::experience::token_weights;
use super::*;
use crate::batch::{Example, Lora, hidden};
use crate::optimizer::{AdamW, Step};
use crate::rl::{Estimator, Ratio, Rollout, Sampling, Task};
use crate::shapes::{Shapes, model_folder, quantize};
use crate::train::{Start, run, train};
use std::cell::Cell;
use std::collections::BTreeMap;
use tempfile::TempDir;
use unigen_core::weights::Checkpoint;
use unigen_rewards::{Item, Reward, Score};
use unigen_runs::RunFolder;

struct Red;

impl Reward for Red {
    fn name(&self) -> &str {
        "red"
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        let red = |item: &Item| {
            let sum = |channel: usize| item.image.pixels().map(|p| f32::from(p.0[channel])).sum::<f32>();
            sum(0) / (sum(0) + sum(1) + sum(2)).max(1.0)
        };
        items.iter().map(|item| Ok(red(item))).collect()
    }
}

/// [`RlStage`] with the reward [`Red`].
struct Painted(RlStage<Shapes>);

impl Stage for Painted {
    type Settings = Settings;
    type Model = UniGen;
    const NAME: &'static str = "painted";

    fn training(settings: &Settings) -> &Training {
        RlStage::<Shapes>::training(settings)
    }

    fn open(settings: &Settings, compute: &Compute) -> Result<(Self, UniGen)> {
        let red = Member { reward: Box::new(Red), weight: 1.0 };
        let (stage, model) = RlStage::with(settings, Ensemble::new(vec![red])?, compute)?;
        Ok((Self(stage), model))
    }

    fn loss(&self, model: &UniGen, step: u64) -> Result<Loss> {
        self.0.loss(model, step)
    }

    fn update(&self, model: &UniGen, step: u64) -> Result<Update> {
        self.0.update(model, step)
    }

    fn resumable(&self, steps: u64) -> bool {
        self.0.resumable(steps)
    }

    fn evaluate(&self, _: &UniGen) -> Result<Evaluation> {
        Ok(Evaluation {
            scalars: vec![],
            sheets: self.0.samples().map(|s| ("rollouts", s)).into_iter().collect(),
        })
    }

    fn export(&self, model: &UniGen, folder: &Path) -> Result<()> {
        self.0.export(model, folder)
    }
}

fn settings(model: &TempDir) -> Settings {
    let mut settings = Settings {
        model: model.path().into(),
        rollout: Sampling { samples: 8, steps: 4, temperature: 1.0 },
        replay: Replay { blocks: 13, ..Replay::default() },
        ..Settings::default()
    };
    settings.training.steps = 40;
    settings.training.batch = 2;
    settings.training.warmup_steps = 0;
    settings.training.learning_rate = 2e-3;
    settings.training.evaluate_every = 0;
    settings
}

fn open(settings: &Settings) -> (Painted, UniGen) {
    Painted::open(settings, &Device::flex().autodiff().into()).unwrap()
}

fn number(update: &Update, name: &str) -> f64 {
    update.scalars.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// The values of `name` in a log.
fn logged(out: &Path, name: &str) -> Vec<f64> {
    let log = RunFolder::open(out).unwrap().records().unwrap();
    log.iter().filter_map(|record| record.scalars.get(name)?.as_f64()).collect()
}

#[test]
fn replay_gives_what_was_drawn_the_same_probability() {
    let folder = model_folder();
    let (stage, model) = open(&settings(&folder));
    let update = stage.update(&model, 0).unwrap();
    assert!(number(&update, "ratio_error") < 1e-5, "{}", number(&update, "ratio_error"));
    assert!(number(&update, "kl").abs() < 1e-6, "the policy is still the reference");
    // A model with random weights is unsure, and no distribution over 256 codes has a larger entropy than this.
    let entropy = number(&update, "entropy");
    assert!((2.0..256_f64.ln() + 1e-6).contains(&entropy), "{entropy}");
    assert!((0.2..0.5).contains(&number(&update, "reward/red/edit")));
    let experience = stage.0.experience.borrow();
    let experience = experience.as_ref().unwrap();
    assert_eq!(experience.rollouts.len(), 16);
    assert_eq!(experience.inputs.iter().filter(|input| input.task == Task::Edit).count(), 1);
    assert!((experience.weights.iter().sum::<f32>() * 16.0 - 1.0).abs() < 1e-5);
    // A replay by another policy than the one that drew is detected.
    let (other, _) = open(&settings(&folder));
    other.update(&model, 0).unwrap();
    for rollout in &mut other.0.experience.borrow_mut().as_mut().unwrap().rollouts {
        rollout.codes[3] ^= 1;
    }
    let error = other.update(&model, 0).err().unwrap().to_string();
    assert!(error.contains("ratio differs from 1 by"), "{error}");
}

#[test]
fn parts_of_a_batch_add_up_to_its_gradient() {
    let folder = model_folder();
    let (stage, model) = open(&settings(&folder));
    let parts = stage.update(&model, 0).unwrap();
    let whole = stage.loss(&model, 0).unwrap().total;
    assert!((scalar(whole.clone()).unwrap() - parts.loss).abs() < 1e-6);
    let whole = HostGradients::read(&model, whole.backward()).unwrap().into_values();
    let parts = parts.gradients.unwrap().into_values();
    assert_eq!(whole.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
    for (path, whole) in whole {
        let largest = whole.iter().fold(0.0_f32, |max, g| max.max(g.abs()));
        let apart = whole.iter().zip(&parts[&path]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-4 * largest.max(1e-6), "{path}: {apart} of {largest}");
    }
}

#[test]
fn samples_that_are_worth_the_same_teach_nothing() {
    // The expectation of the scores of drawn codes is zero, unless likely codes are kept: then it points towards a
    // sharper policy, and so do the gradients of all rounds.
    let folder = model_folder();
    let mut settings = Settings { beta: 0.0, ..settings(&folder) };
    settings.rollout.temperature = 0.3;
    settings.training.batch = 8;
    let (stage, model) = open(&settings);
    let gradient = |round: u64| -> Vec<f32> {
        let mut experience = stage.0.gather(&model.valid(), round).unwrap();
        experience.advantages.fill(Some(1.0));
        let parts = (0..experience.passes.len())
            .map(|index| stage.0.objective(&model, &experience, index).unwrap().0.loss.backward())
            .map(|gradients| HostGradients::read(&model, gradients).unwrap());
        parts.reduce(HostGradients::plus).unwrap().into_values().into_values().flatten().collect()
    };
    let rounds: Vec<Vec<f32>> = (0..4).map(gradient).collect();
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let sum: Vec<f32> = (0..rounds[0].len()).map(|i| rounds.iter().map(|round| round[i]).sum()).collect();
    let alone: f64 = rounds.iter().map(|round| product(round, round)).sum();
    // 1 if the gradients of the rounds are unrelated, 4 if they are equal.
    let common = product(&sum, &sum) / alone;
    assert!((0.5..1.5).contains(&common), "{common}");
}

#[test]
fn tokens_of_samples_that_are_left_out_weigh_nothing() {
    assert_eq!(token_weights(&[true, false, true, false], &[4.0, 4.0, 8.0, 4.0]), [0.125, 0.0, 0.0625, 0.0]);
    assert_eq!(token_weights(&[false; 2], &[4.0; 2]), [0.0; 2]);
}

#[test]
fn steps_count_by_their_tokens_whichever_are_replayed() {
    let folder = model_folder();
    let mut settings = settings(&folder);
    settings.replay.steps = 1;
    let (stage, model) = open(&settings);
    // One step of four is replayed, and its tokens stand for those of all steps.
    let wanted = 4.0 / (16.0 * 16.0);
    for round in 0..3 {
        let experience = stage.0.gather(&model.valid(), round).unwrap();
        assert!(experience.weights.iter().all(|&weight| (weight - wanted).abs() < 1e-6));
    }
}

#[test]
fn the_flattest_groups_are_left_out() {
    let folder = model_folder();
    let mut settings = settings(&folder);
    settings.replay.groups = 1;
    // There are two groups of each kind, because a single group would be its own measure.
    (settings.deviation, settings.mix) = (Normalisation::Batch, [1, 0]);
    let (stage, model) = open(&settings);
    let update = stage.update(&model, 0).unwrap();
    assert!(update.gradients.unwrap().norm() > 0.0);
    let experience = stage.0.experience.borrow();
    let experience = experience.as_ref().unwrap();
    let kept = experience.passes[0].groups[0];
    assert!(experience.passes.iter().all(|pass| pass.groups == [kept]));
    let spread = |group: usize| -> f32 {
        experience.advantages[8 * group..8 * (group + 1)].iter().map(|value| value.unwrap().powi(2)).sum()
    };
    assert!(spread(kept) > spread(1 - kept));
    // Every code of the samples that count occurs once, and the weights add up to 1.
    let tokens = experience.passes.iter().flat_map(|pass| &pass.tokens);
    let weight: f32 = tokens.map(|&(rollout, _)| experience.weights[rollout]).sum();
    assert!((weight - 1.0).abs() < 1e-5, "{weight}");
}

#[test]
fn an_update_makes_the_better_samples_likelier() {
    let folder = model_folder();
    let (stage, model) = open(&Settings { beta: 0.0, updates: 2, ..settings(&folder) });
    let update = stage.update(&model, 0).unwrap();
    let gradients = update.gradients.unwrap();
    let step = Step { learning_rate: 1e-4, gradient_scale: 1.0 / gradients.norm(), ema_decay: 0.0 };
    let after = AdamW::new([0.0, 0.0], 1e-3, 0.0).step(model, gradients, step).unwrap();
    let experience = stage.0.experience.borrow();
    let experience = experience.as_ref().unwrap();
    let mut gained = BTreeMap::<bool, (f64, f64)>::new();
    for (index, pass) in experience.passes.iter().enumerate() {
        let (terms, _) = stage.0.objective(&after, experience, index).unwrap();
        let ratios = floats(terms.ratios).unwrap();
        for (&(rollout, _), ratio) in pass.tokens.iter().zip(ratios) {
            let advantage = f64::from(experience.advantages[rollout].unwrap());
            let (sum, weight) = gained.entry(advantage > 0.0).or_default();
            *sum += advantage.abs() * f64::from(ratio.ln());
            *weight += advantage.abs();
        }
    }
    let mean = |better: bool| gained[&better].0 / gained[&better].1;
    assert!(mean(true) > 1e-5 && mean(false) < -1e-5, "{} {}", mean(true), mean(false));
}

/// Trains with the reward [`Red`] for 40 rounds, and checks that the reward rises.
fn rises(settings: Settings, out: &Path) {
    run::<Painted>(settings, out, Start::New, &[Device::flex().into()]).unwrap();
    let rewards = logged(out, "reward");
    assert_eq!(rewards.len(), 40);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let spread = {
        let early = mean(&rewards[..5]);
        rewards[..5].iter().map(|reward| (reward - early).abs()).fold(0.0, f64::max)
    };
    let (early, late) = (mean(&rewards[..5]), mean(&rewards[35..]));
    assert!(late > early + 2.0 * spread && late > early + 0.005, "{rewards:?}");
}

/// Every way to estimate the probability of a sample raises the reward: fresh masks, their pairs, early steps, one
/// ratio for each mask, and imitation of the best.
#[test]
fn the_reward_rises_by_every_estimator() {
    let (folder, place) = (model_folder(), tempfile::tempdir().unwrap());
    let masks = |replay: Replay| Replay { estimator: Estimator::Masks, steps: 2, ..replay };
    let plain = settings(&folder).replay;
    for (name, replay) in [
        ("masks", masks(plain.clone())),
        ("own masks", masks(Replay { shared: false, ..plain.clone() })),
        ("pairs", masks(Replay { pairs: true, ..plain.clone() })),
        ("early, mean", masks(Replay { early: true, ratio: Ratio::Mean, ..plain.clone() })),
        ("early steps", Replay { early: true, steps: 2, ..plain.clone() }),
        ("best", Replay { estimator: Estimator::Best, steps: 2, ..plain.clone() }),
    ] {
        eprintln!("{name}");
        rises(Settings { replay, ..settings(&folder) }, &place.path().join(name));
    }
}

#[test]
fn the_reward_rises_by_adapters_beside_weights_of_4_bits() {
    let (folder, place) = (model_folder(), tempfile::tempdir().unwrap());
    quantize(folder.path());
    let lora = Some(Lora { rank: 8, alpha: 32.0 });
    let mut settings = Settings { lora, ..settings(&folder) };
    settings.training.learning_rate = 1e-2;
    rises(settings, &place.path().join("run"));
}

#[test]
fn the_reward_rises_by_adapters_alone_and_with_gdpo() {
    let (folder, place) = (model_folder(), tempfile::tempdir().unwrap());
    let lora = Some(Lora { rank: 8, alpha: 32.0 });
    let mut settings = Settings { lora, deviation: Normalisation::Gdpo, ..settings(&folder) };
    settings.training.learning_rate = 1e-2;
    let (stage, model) = open(&settings);
    assert!(stage.0.reference.is_none(), "the base is in memory once");
    let before = HostGradients::read(&model, stage.loss(&model, 0).unwrap().total.backward()).unwrap();
    assert!(before.into_values().keys().all(|path| path.contains("adapter")), "only adapters learn");
    let out = place.path().join("run");
    rises(settings, &out);
    assert!(logged(&out, "kl")[39] > 1e-5, "it has left the base");
    assert_eq!(logged(&out, "kl")[0], 0.0, "where it begins");
}

/// The log-probabilities of a replay under fresh masks are those of training by masked prediction.
#[test]
fn fresh_masks_are_masked_prediction() {
    let folder = model_folder();
    let mut settings = settings(&folder);
    settings.replay = Replay { estimator: Estimator::Masks, steps: 3, pairs: true, ..settings.replay };
    settings.mix = [1, 0];
    let (stage, model) = open(&settings);
    let experience = stage.0.gather(&model.valid(), 0).unwrap();
    let (base, plain) = (&stage.0.base, Device::flex());
    let model = model.valid();
    let (mut checked, delimiters) = (0, stage.0.delimiters());
    for pass in &experience.passes {
        let prefix = |group: usize| experience.inputs[group].prefix(&model, &plain);
        let replayed = pass.replay(&model, &experience.rollouts, 1.0, delimiters, prefix, &plain).unwrap();
        let found = floats(replayed.log_probs).unwrap();
        for span in 0..=*pass.spans.last().unwrap() {
            let of = || (0..found.len()).filter(|&token| pass.spans[token] == span);
            let (rollout, _) = pass.tokens[of().next().unwrap()];
            let Rollout { group, codes, .. } = &experience.rollouts[rollout];
            let mut masked = vec![false; codes.len()];
            of().for_each(|token| masked[pass.tokens[token].1] = true);
            let text = base.tokens(&experience.inputs[*group].text).unwrap();
            let sequence = unigen_core::engine::layouts(&base.text).generate(&text, codes.len());
            let example = [Example { sequence, target: codes.clone(), masked, ..Example::default() }];
            let loss = hidden(&model, &example, &plain).unwrap().code_loss(&model, &example, 0..1).unwrap();
            let mean = of().map(|token| f64::from(found[token])).sum::<f64>() / of().count() as f64;
            let loss = scalar(loss.unwrap()).unwrap();
            assert!((loss + mean).abs() < 1e-4, "{loss} {mean}");
            checked += 1;
        }
    }
    assert_eq!(checked, 16 * 6, "16 samples, 3 masks with their complements");
}

/// Samples of groups without spread take no part in the objective, nor in its divergence.
#[test]
fn groups_without_spread_are_out_of_every_term() {
    let folder = model_folder();
    let settings = settings(&folder);
    let (stage, model) = open(&settings);
    let mut experience = stage.0.gather(&model.valid(), 0).unwrap();
    let weights = experience.weights.clone();
    assert!(weights.iter().all(|&weight| weight > 0.0));
    experience.advantages[..8].fill(Some(0.0));
    let kept = crate::rl::taught(&experience.advantages, 8);
    experience.weights = token_weights(&kept, &vec![16.0; kept.len()]);
    // A policy far from the reference has a divergence.
    for reference in &mut experience.reference {
        reference.iter_mut().for_each(|value| *value -= 1.0);
    }
    let kl = |experience: &Experience| -> f64 {
        let parts = 0..experience.passes.len();
        parts.map(|index| scalar(stage.0.objective(&model, experience, index).unwrap().0.kl).unwrap()).sum()
    };
    let half = kl(&experience);
    experience.weights = weights;
    let all = kl(&experience);
    // Every token has the same divergence, and each time the weights add up to 1.
    assert!((half - all).abs() < 1e-4 && half > 0.1, "{half} {all}");
    let flat = experience.passes.iter().flat_map(|pass| &pass.tokens).filter(|&&(rollout, _)| !kept[rollout]);
    assert!(flat.count() > 0);
}

#[test]
fn the_reward_rises() {
    let (folder, place) = (model_folder(), tempfile::tempdir().unwrap());
    let out = place.path().join("run");
    rises(settings(&folder), &out);
    assert!(logged(&out, "kl")[39] > 1e-3, "it has left the reference");
    assert!(out.join("sheets/rollouts-0000040.png").exists());
    for name in ["rollout_seconds", "reward_seconds", "update_seconds", "tokens_per_second", "flat_groups"] {
        assert_eq!(logged(&out, name).len(), 40, "{name}");
    }
}

#[test]
fn some_steps_several_updates_and_consistency_go_on_with_the_same_bits() {
    let (folder, place) = (model_folder(), tempfile::tempdir().unwrap());
    let mut settings = Settings { updates: 2, clip: 0.2, consistency: 0.5, ..settings(&folder) };
    settings.replay.steps = 2;
    (settings.training.steps, settings.training.save_every) = (6, 1);
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    run::<Painted>(settings.clone(), &whole, Start::New, &[Device::flex().into()]).unwrap();
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 0;
    let message =
        train::<Painted>(settings.clone(), &parts, Start::New, &[Device::flex().into()], &stop).unwrap_err();
    assert!(message.to_string().contains("after step 2 "), "{message}");
    run::<Painted>(settings, &parts, Start::Resume, &[Device::flex().into()]).unwrap();
    let weights = |out: &Path| {
        let file = Checkpoint::open(&out.join("checkpoints/last.safetensors")).unwrap();
        file.names().map(|name| (name.to_owned(), file.tensor(name).unwrap().0)).collect::<BTreeMap<_, _>>()
    };
    assert!(weights(&whole) == weights(&parts));
    let ratios = logged(&whole, "ratio_error");
    assert!(ratios.iter().step_by(2).all(|&off| off < 1e-4), "{ratios:?}");
    assert!(ratios.iter().skip(1).step_by(2).all(|&off| off > 1e-4), "{ratios:?}");
    assert!(logged(&whole, "consistency").iter().all(|&share| (0.0..1.0).contains(&share)));
    // Each step has one prompt, and the batch has one input of each task, so both tasks occur.
    assert_eq!(logged(&whole, "reward/red/generate").len(), 6);
}

#[test]
fn what_cannot_train_is_named() {
    let folder = model_folder();
    let fails = |settings: Settings| {
        Painted::open(&settings, &Device::flex().autodiff().into()).err().unwrap().to_string()
    };
    let settings = settings(&folder);
    for (settings, words) in [
        (Settings { mix: [0, 0], ..settings.clone() }, "mix is [0, 0]"),
        (Settings { updates: 0, ..settings.clone() }, "updates is 0"),
        (
            Settings {
                training: Training { accumulate: 2, ..settings.training.clone() },
                ..settings.clone()
            },
            "training.accumulate is 2",
        ),
        (Settings { clip: 1.5, ..settings.clone() }, "clip is 1.5"),
        (Settings { beta: f64::NAN, ..settings.clone() }, "beta is NaN"),
        (
            Settings { replay: Replay { steps: 9, ..Replay::default() }, ..settings.clone() },
            "replay.steps is 9",
        ),
        (
            Settings { replay: Replay { groups: 3, ..Replay::default() }, ..settings.clone() },
            "replay.groups is 3, but training.batch is 2",
        ),
        (
            Settings { replay: Replay { pairs: true, ..Replay::default() }, ..settings.clone() },
            "replay.pairs needs fresh masks",
        ),
        (
            Settings { replay: Replay { early: true, ..Replay::default() }, ..settings.clone() },
            "replay.early needs a number of steps",
        ),
        (
            Settings { rollout: Sampling { samples: 1, ..Sampling::default() }, ..settings.clone() },
            "rollout.samples is 1",
        ),
        (
            Settings { rollout: Sampling { steps: 17, ..Sampling::default() }, ..settings.clone() },
            "rollout.steps is 17; choose 1 to 16, the number of codes",
        ),
    ] {
        let error = fails(settings);
        assert!(error.contains(words), "{error}");
    }
    std::fs::remove_file(folder.path().join(ModelFolder::VISION)).unwrap();
    let error = fails(settings);
    assert!(error.contains("mix = [1, 0]") && error.contains("understanding encoder"), "{error}");
}
