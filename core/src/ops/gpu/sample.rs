//! A step of masked decoding after the logits.

use super::launch::{Launch, dense, tensor};
use crate::ops::sampler::{Drawn, Sampler};
use burn::tensor::{DType, Int, Tensor};
use unigen_shaders as shaders;

/// See [`crate::ops::sample::sample_draw`]; at most four branches and four groups.
pub fn sample_draw(
    sampler: &Sampler,
    logits: Tensor<2>,
    codes: Tensor<2, Int>,
    step: usize,
    temperature: f32,
) -> Drawn {
    let shape = codes.dims();
    let [images, tokens] = shape;
    let classes = logits.dims()[1];
    let (mut weights, mut bits) = ([0.0; 4], [0; 4]);
    weights[..sampler.weights.len()].copy_from_slice(&sampler.weights);
    bits[..sampler.groups.len()].copy_from_slice(&sampler.groups);
    let (logits, codes, seeds) = (dense(logits), dense(codes), dense(sampler.seed_words.clone()));
    let drawn = tensor(&codes, &shape, DType::I32);
    let [log_probs, confidence] = [0; 2].map(|_| tensor(&codes, &shape, DType::F32));
    Launch::new(&shaders::SAMPLE_DRAW)
        .buffers([&logits, &codes, &seeds, &drawn, &log_probs, &confidence])
        .scales(weights)
        .numbers(bits)
        .numbers([sampler.weights.len(), sampler.groups.len(), images, tokens, classes, step])
        .scales([temperature])
        .workgroups_list(images * tokens);
    Drawn { codes: drawn.into(), log_probs: log_probs.into(), confidence: confidence.into() }
}

/// See [`crate::ops::sample::sample_keep`].
pub fn sample_keep(
    sampler: &Sampler,
    codes: Tensor<2, Int>,
    drawn: Tensor<2, Int>,
    confidence: Tensor<2>,
    step: usize,
) -> Tensor<2, Int> {
    let shape = codes.dims();
    let [images, tokens] = shape;
    let (codes, drawn, confidence) = (dense(codes), dense(drawn), dense(confidence));
    let schedule = dense(sampler.schedule.clone());
    let next = tensor(&codes, &shape, DType::I32);
    Launch::new(&shaders::SAMPLE_KEEP)
        .buffers([&codes, &drawn, &confidence, &schedule, &next])
        .numbers([images, tokens, step])
        .list(images * tokens);
    next.into()
}
