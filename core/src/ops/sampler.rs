//! What the steps of masked decoding draw with, and what they give.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// No draw counts as less likely than this: `ln(1e-20)`, as in UniGen's published loop.
pub const LEAST_LOG_P: f32 = -46.051_7;

/// What all steps of one decoding draw with.
#[derive(Debug, Clone)]
pub struct Sampler {
    pub(super) weights: Vec<f32>,
    pub(super) groups: Vec<usize>,
    pub(super) seeds: Vec<u64>,
    /// `[images, 2]`: low and high word
    #[cfg(feature = "wgpu")]
    pub(super) seed_words: Tensor<2, Int>,
    /// `[steps, images]`
    pub(super) schedule: Tensor<2, Int>,
}

impl Sampler {
    /// The parts of a sampler:
    ///
    /// - `weights` of the branches' logits
    /// - `groups`: the bits of each group of a code, the most significant group first
    /// - `seeds`, one for each image
    /// - `schedule[step][image]`: how many positions stay masked, see [`crate::sampling::scheduled`]
    pub fn new(
        weights: Vec<f32>,
        groups: Vec<usize>,
        seeds: Vec<u64>,
        schedule: &[Vec<usize>],
        device: &Device,
    ) -> Self {
        let counts = schedule.iter().flatten().map(|&count| count as i32).collect();
        let table = |values: Vec<i32>, shape| Tensor::from_data(TensorData::new(values, shape), device);
        Self {
            #[cfg(feature = "wgpu")]
            seed_words: {
                let words = seeds.iter().flat_map(|&seed| [seed as i32, (seed >> 32) as i32]);
                table(words.collect(), [seeds.len(), 2])
            },
            schedule: table(counts, [schedule.len(), seeds.len()]),
            weights,
            groups,
            seeds,
        }
    }
}

/// What [`sample_draw`](super::sample::sample_draw) returns, `[images, tokens]` each.
#[derive(Debug)]
pub struct Drawn {
    /// The codes where they are known, drawn ones elsewhere.
    pub codes: Tensor<2, Int>,
    /// The guided log-probabilities of the drawn codes; they mean nothing where a code is known.
    pub log_probs: Tensor<2>,
    /// The same, not below [`LEAST_LOG_P`] and with noise: what re-masking goes by.
    pub confidence: Tensor<2>,
}
