//! The rewards of the user's own held-out prompts and edits.

use anyhow::Result;
use image::RgbImage;
use pollster::FutureExt;
use unigen_core::engine::{EditRequest, Engine, GenerateRequest};
use unigen_rewards::{Deviation, Groups, Item, Scored};
use unigen_runs::Interrupt;

use super::RlStage;
use crate::rl::{Input, Mix};
use crate::validation::OwnValidation;
use crate::world::World;

/// The number of validation: the weighted mean of the rewards.
pub(super) const REWARD: &str = "held-out reward";

/// Number of inputs, and how many are drawn together.
const INPUTS: u64 = 32;
const BATCH: usize = 8;

/// The held-out prompts and edits in turns; `None` without any. A kind that is missing is left out.
pub(super) fn inputs(own: &OwnValidation) -> Option<Mix> {
    Mix::of(own.prompts.clone(), own.edits.clone())
}

impl<W: World> RlStage<W> {
    /// Draws `inputs` as a user would, and scores the pictures by the rewards of training.
    pub(super) fn held_out_reward(
        &self,
        inputs: &Mix,
        engine: &Engine,
    ) -> Result<Option<(&'static str, f64)>> {
        let device = self.device.clone().without_autodiff();
        let inputs = inputs.inputs(&self.base, 0, INPUTS, &device)?;
        let (edits, prompts): (Vec<_>, Vec<_>) = inputs.iter().partition(|input| input.before.is_some());
        let mut items = Vec::new();
        for (prompts, first) in prompts.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let request =
                |(input, seed): (&&Input, u64)| GenerateRequest { prompt: input.text.clone(), seed };
            let requests: Vec<_> = prompts.iter().zip(first..).map(request).collect();
            let draw = engine.generate_batch(&requests, engine.generation(), async |_| Interrupt::flow());
            items.extend(prompts.iter().zip(draw.block_on()?).map(item));
        }
        for (edits, first) in edits.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let request = |(input, seed): (&&Input, u64)| {
                let (image, instruction) = (input.before.clone()?, input.text.clone());
                Some(EditRequest { image, instruction, seed, mask: None })
            };
            let requests: Vec<_> = edits.iter().zip(first..).filter_map(request).collect();
            let draw = engine.edit_batch(&requests, engine.generation(), async |_| Interrupt::flow());
            items.extend(edits.iter().zip(draw.block_on()?).map(item));
        }
        let (scored, ()) = self.rewards.score(&items, Groups::of(1), Deviation::Group, || ())?;
        Ok(mean(&scored).map(|mean| (REWARD, mean)))
    }
}

fn item((input, image): (&&Input, RgbImage)) -> Item {
    Item { image, description: input.description.clone(), before: input.before.clone() }
}

/// The weighted mean of the rewards' means; `None` if every score is missing.
fn mean(scored: &Scored) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (summary, reward) in scored.summaries().iter().zip(&scored.rewards) {
        if let Some(mean) = summary.mean {
            sum += f64::from(reward.weight) * mean;
            weights += f64::from(reward.weight);
        }
    }
    (weights > 0.0).then(|| sum / weights)
}
