//! What reinforcement learning needs: the passes of a replay, and the samples that are drawn together.

use anyhow::Result;
use unigen_core::config::ModelConfig;

use super::Settings;
use crate::estimate::{Adapters, Estimate, Place, Rows, Sequences};
use crate::rl::Estimator;
use crate::stages::sources;
use crate::world::World;

/// The estimate for `config`, without the rewards, whose sizes only they know.
pub(super) fn of<W: World>(
    settings: &Settings,
    config: &ModelConfig,
    lora: Option<Adapters>,
) -> Result<Estimate> {
    let (replay, rollout, training) = (&settings.replay, &settings.rollout, &settings.training);
    let text = match settings.mix[0] {
        0 => sources::tokens_of(
            &W::open(&settings.world)?,
            &settings.triples,
            "instruction",
            settings.data.max_text,
        )?,
        _ => sources::tokens_of(
            &W::open(&settings.world)?,
            &settings.prompts,
            "prompt",
            settings.data.max_text,
        )?,
    };
    let sequences = Sequences { config, text };
    let codes = config.image_codes() as f64;
    let (samples, batch) = (rollout.samples as f64, training.batch as f64);
    let steps = if replay.steps == 0 { rollout.steps } else { replay.steps } as f64;
    // The rows before a target, of the task that has most.
    let edits = settings.mix[1] > 0;
    let whole = if edits { sequences.edit() } else { sequences.generate() };
    let prefix = Rows { all: whole.all - codes, codes: 0.0, embedded: whole.embedded - codes, ..whole };
    let masks = replay.estimator != Estimator::Steps;
    let predicted = if masks { whole.codes } else { codes / rollout.steps as f64 };
    let blocks = (replay.blocks as f64).min(samples * steps * batch);
    let groups = (blocks / samples).ceil().min(batch) + 1.0;
    let target = Rows { all: codes + 2.0, codes: predicted, embedded: codes, ..Rows::default() };
    let rows = Rows::mean([prefix.times(2.0 * groups), target.times(2.0 * blocks)], [1, 1]);
    let mut found = sequences.estimate(rows, lora, 1, training.gradient_checkpointing, edits)?;
    let passes = (samples * steps * batch / blocks).ceil();
    let own = found.parts.iter().find(|part| part.name == "weights").map_or(0.0, |part| part.bytes);
    if lora.is_none() && settings.divergence() > 0.0 {
        found.add("reference", own, Place::Device);
    }
    // All samples are drawn together: the keys and values of prefixes and targets, and the logits.
    let drawn = batch * (prefix.all + samples * (codes + 2.0));
    found.add("rollouts", sequences.cache(drawn), Place::Device);
    // A rollout runs the targets forward once a step, the reference once a pass.
    let forward = found.flops / if lora.is_some() { 2.0 } else { 3.0 };
    let rollouts = forward * samples * batch / blocks * rollout.steps as f64;
    found.flops = found.flops * passes + rollouts;
    Ok(found)
}
