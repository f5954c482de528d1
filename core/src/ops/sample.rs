//! A step of masked decoding after the logits, on the device: guidance, draws, confidences, re-masking. Nothing is read
//! back, so steps follow one another without waiting.

#[cfg(feature = "wgpu")]
use super::gpu;
use super::portable;
pub use super::sampler::{Drawn, LEAST_LOG_P, Sampler};
use burn::tensor::{Device, Int, Tensor};

/// Whether steps on this device should stay there: reading back from a GPU costs more than drawing on it.
#[cfg(feature = "wgpu")]
pub fn on_device(device: &Device) -> bool {
    gpu::runs_on(device)
}

/// Without a GPU device, steps draw where the values are read.
#[cfg(not(feature = "wgpu"))]
pub fn on_device(_: &Device) -> bool {
    false
}

/// Guidance, softmax, Gumbel-max draws and confidences.
///
/// - `logits` `[branches * images * tokens, classes]`, the classes group after group
/// - `codes` `[images, tokens]`, negative where masked
/// - `step` from 0; `temperature` scales the noise on confidences
pub fn sample_draw(
    sampler: &Sampler,
    logits: Tensor<2>,
    codes: Tensor<2, Int>,
    step: usize,
    temperature: f32,
) -> Drawn {
    #[cfg(feature = "wgpu")]
    if gpu::plain_on_gpu(&logits) && sampler.weights.len() <= 4 && sampler.groups.len() <= 4 {
        return gpu::sample_draw(sampler, logits, codes, step, temperature);
    }
    portable::sample_draw(sampler, logits, codes, step, temperature)
}

/// Masks the least confident of the `drawn` codes again, as many as the schedule says: the `codes` of the next step,
/// `[images, tokens]`, negative where masked.
pub fn sample_keep(
    sampler: &Sampler,
    codes: Tensor<2, Int>,
    drawn: Tensor<2, Int>,
    confidence: Tensor<2>,
    step: usize,
) -> Tensor<2, Int> {
    #[cfg(feature = "wgpu")]
    if gpu::plain_on_gpu(&confidence) {
        return gpu::sample_keep(sampler, codes, drawn, confidence, step);
    }
    portable::sample_keep(sampler, codes, drawn, confidence, step)
}
