//! Masked decoding that never leaves the device: steps follow one another without anything being read back.

use super::blocks::{Blocks, Target};
use super::masked::{MaskedDecoding, masked_positions};
use super::read::read_codes;
use super::step::{Flow, StepReport, StepState};
use super::{Branch, Seeds, scheduled};
use crate::error::Result;
use crate::model::UniGen;
use crate::ops::sample::{Sampler, sample_draw, sample_keep};
use burn::tensor::{Int, Tensor, TensorData};

impl MaskedDecoding {
    /// [`Self::decode`] with the noise of one seed per image. Every step computes all positions, because only the device
    /// knows which ones are masked.
    pub(super) async fn decode_on_device(
        &self,
        model: &UniGen,
        branches: &[Branch],
        blocks: &Blocks,
        targets: &[Target],
        seeds: Vec<u64>,
        mut on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<Vec<u32>>> {
        let (images, length) = (targets.len(), targets.first().map_or(0, Vec::len));
        let device = blocks.device().clone();
        let masked = masked_positions(targets);
        let schedule: Vec<Vec<usize>> = (1..=self.steps)
            .map(|step| {
                let counts = masked.iter().map(|masked| self.counted.of(length, masked.len()));
                counts.map(|count| scheduled(count, step, self.steps)).collect()
            })
            .collect();
        let weights = branches.iter().map(|branch| branch.weight).collect();
        let noise = Seeds(seeds);
        let turns = self.order.turns(images, length, &noise);
        let sampler = Sampler::new(weights, model.config().code_groups.clone(), noise.0, &schedule, &device);

        let live = blocks.live(model, &vec![(0..length).collect(); images]);
        let cache = blocks.prefill(model);
        let codes =
            targets.iter().flatten().map(|code| code.map_or(-1, |code| code as i32)).collect::<Vec<_>>();
        let mut codes = Tensor::<2, Int>::from_data(TensorData::new(codes, [images, length]), &device);
        let mut drawn = codes.clone();
        let mut log_probs = Tensor::<2>::zeros([images, length], &device);
        let turns = turns
            .map(|turns| Tensor::<2>::from_data(TensorData::new(turns.concat(), [images, length]), &device));
        let mut temperature = self.order.temperature();
        for step in 1..=self.steps {
            let embedded = model.embed_code_tensor(codes.clone().reshape([images * length]));
            let logits = model.code_logits(live.hidden(blocks, model, &cache, embedded));
            temperature *= 1.0 - step as f32 / self.steps as f32;
            let now = sample_draw(&sampler, logits, codes.clone(), step - 1, temperature);
            // A code that is known keeps the probability it was drawn with.
            log_probs = now.log_probs.mask_where(codes.clone().greater_equal_elem(0), log_probs);
            drawn = now.codes;
            codes = sample_keep(
                &sampler,
                codes,
                drawn.clone(),
                turns.clone().unwrap_or(now.confidence),
                step - 1,
            );
            let state = StepState::OnDevice { drawn: &drawn, log_probs: &log_probs, codes: &codes };
            on_step(StepReport { step, steps: self.steps, state }).await.check(step)?;
        }
        read_codes(drawn, |code| code as u32).await
    }
}
