//! Forward passes without gradients, as the engine runs them.

use crate::{Checks, data, ints, random};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::sync::Arc;
use unigen_core::ops::sample::{Sampler, sample_draw, sample_keep};
use unigen_core::ops::{self, AttentionLayout, Weight, portable};
use unigen_core::precision::MatmulPrecision::F32;
use unigen_core::quantized::{BlockFormat, QuantizedMatrix};
use unigen_core::sampling::scheduled;

pub(crate) async fn run(checks: &mut Checks) {
    linear(checks).await;
    linear_stored(checks).await;
    embed_stored(checks).await;
    conv2d(checks).await;
    norms(checks).await;
    activations(checks).await;
    rope(checks).await;
    attention(checks).await;
    sample_noise(checks).await;
    sample_steps(checks).await;
}

async fn linear(checks: &mut Checks) {
    for [rows, inputs, outputs] in [[1, 4, 1], [7, 12, 6], [37, 64, 45]] {
        let (x, w, b) = (random([2, rows, inputs]), random([outputs, inputs]), random([outputs]));
        let case = format!("2 x {rows} x {inputs} -> {outputs}");
        let want = portable::linear(x.clone(), w.clone(), Some(b.clone()));
        let got = ops::linear(checks.there(&x), checks.there(&w), Some(checks.there(&b)), F32);
        checks.close(&["linear_bias"], &case, got, want, 1e-5).await;
        let want = portable::linear(x.clone(), w.clone(), None);
        let got = ops::linear(checks.there(&x), checks.there(&w), None, F32);
        checks.close(&["linear"], &case, got, want.clone(), 1e-5).await;
        // A transposed view of the rows is put in order first.
        let turned = checks.there(&x.swap_dims(0, 1)).swap_dims(0, 1);
        let got = ops::linear(turned, checks.there(&w), None, F32);
        checks.close(&["linear"], case + ", a view", got, want, 1e-5).await;
    }
}

/// Weights that stay as they are stored, and some of their rows.
async fn linear_stored(checks: &mut Checks) {
    for (rows, inputs, outputs) in [(1, 32, 4), (5, 96, 12), (37, 64, 48)] {
        let (x, b) = (random([rows, inputs]), random([outputs]));
        for [here, there] in stored(checks, [outputs, inputs]) {
            let case = format!("{rows} x {inputs} -> {outputs}");
            let name = |kernel| kernel_of(kernel, &there);
            let want = portable::linear(x.clone(), here.clone().values(), Some(b.clone()));
            let got = ops::linear(checks.there(&x), there.clone(), Some(checks.there(&b)), F32);
            checks.close(&[name("linear_bias")], &case, got, want, 1e-5).await;
            let want = portable::linear(x.clone(), here.clone().values(), None);
            let got = ops::linear(checks.there(&x), there.clone(), None, F32);
            checks.close(&[name("linear")], &case, got, want, 1e-5).await;
            let some = 1..outputs - 1;
            let want = portable::linear(x.clone(), here.rows(some.clone()).values(), None);
            let got = ops::linear(checks.there(&x), there.clone().rows(some), None, F32);
            checks.close(&[name("linear")], case + ", some rows", got, want, 1e-5).await;
        }
    }
}

/// Entries of tables that stay as they are stored.
async fn embed_stored(checks: &mut Checks) {
    let ids = [3, 0, 7, 3];
    for [here, there] in stored(checks, [8, 64]) {
        let want = ops::embed(here.values(), Tensor::from_ints(ids, &Device::flex()));
        let name = kernel_of("embed", &there);
        let got = ops::embed(there, Tensor::from_ints(ids, &checks.device));
        checks.close(&[name], "4 of 8 x 64", got, want, 0.0).await;
    }
}

/// A matrix in each way of storing it that shaders take, on the CPU device and on the GPU.
pub(crate) fn stored(checks: &Checks, shape: [usize; 2]) -> Vec<[Weight; 2]> {
    let values = random(shape).into_data();
    let halves = [
        (values.clone().convert::<half::f16>(), DType::F16),
        (values.clone().convert::<half::bf16>(), DType::BF16),
    ];
    let halves = halves.map(|(data, dtype)| {
        [&Device::flex(), &checks.device].map(|d| Tensor::<2>::from_data(data.clone(), (d, dtype)).into())
    });
    let values: Vec<f32> = values.try_to_vec().expect("f32 values");
    let blocks = [BlockFormat::Q8_0, BlockFormat::Q4_0].map(|format| {
        let blocks = QuantizedMatrix::quantize(format, shape[1], &values).expect("rows of whole blocks");
        let data = TensorData::new(blocks.bytes().to_vec(), [blocks.rows(), blocks.row_bytes()]);
        [&Device::flex(), &checks.device]
            .map(|d| Weight::blocks(Tensor::from_data(data.clone(), (d, DType::U8)), format))
    });
    halves.into_iter().chain(blocks).collect()
}

/// The variant of a shader for a weight that stays as it is stored.
pub(crate) fn kernel_of(kernel: &str, weight: &Weight) -> &'static str {
    let name = format!("{kernel}_{}", weight.storage().to_lowercase());
    let mut shaders = unigen_shaders::all().map(|shader| shader.name);
    shaders.find(|shader| *shader == name).expect("a shader")
}

async fn conv2d(checks: &mut Checks) {
    for (batch, [height, width], [c_in, c_out], side, stride, padding) in [
        (1, [1, 1], [4, 1], 2, 1, [0, 1, 1, 0]),
        (2, [5, 7], [8, 6], 3, 1, [1; 4]),
        (3, [8, 6], [12, 34], 3, 2, [0, 1, 0, 1]),
    ] {
        let (x, w) = (random([batch, height, width, c_in]), random([c_out, c_in, side, side]));
        let b = random([c_out]);
        let want = portable::conv2d(x.clone(), w.clone(), b.clone(), stride, padding);
        let (x, w, b) = (checks.there(&x), checks.there(&w), checks.there(&b));
        let got = ops::conv::conv2d(x, w, b, stride, padding, F32);
        let case = format!("{batch} x {height} x {width} x {c_in} -> {c_out}, {side} x {side} by {stride}");
        checks.close(&["conv2d"], case, got, want, 1e-5).await;
    }
}

async fn norms(checks: &mut Checks) {
    for shape in [[1, 1, 4], [2, 3, 20], [3, 70, 64]] {
        let case = format!("{shape:?}");
        let (x, w, b) = (random(shape) * 3.0, random([shape[2]]), random([shape[2]]));
        let want = portable::rms_norm(x.clone(), w.clone(), 1e-6);
        let got = ops::rms_norm(checks.there(&x), checks.there(&w), 1e-6);
        checks.close(&["rms_norm"], &case, got, want, 1e-5).await;
        let x = x + 1.0;
        let want = portable::layer_norm(x.clone(), w.clone(), b.clone(), 1e-6);
        let got = ops::layer_norm(checks.there(&x), checks.there(&w), checks.there(&b), 1e-6);
        checks.close(&["layer_norm"], &case, got, want, 1e-5).await;
    }
}

async fn activations(checks: &mut Checks) {
    let (x, up) = (random([7, 36]) * 20.0, random([7, 36]));
    let got = ops::gelu_tanh(checks.there(&x));
    checks.close(&["gelu_tanh"], "7 x 36", got, portable::gelu_tanh(x.clone()), 1e-5).await;
    let got = ops::swiglu(checks.there(&x), checks.there(&up));
    checks.close(&["swiglu"], "7 x 36", got, portable::swiglu(x, up), 1e-5).await;
}

async fn rope(checks: &mut Checks) {
    for shape in [[1, 1, 8], [5, 3, 24], [33, 4, 64]] {
        let (x, angles) = (random(shape), random([shape[0], shape[2] / 2]));
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        let want = portable::rope(x.clone(), cos.clone(), sin.clone());
        let got = ops::rope(checks.there(&x), checks.there(&cos), checks.there(&sin));
        checks.close(&["rope"], format!("{shape:?}"), got, want, 1e-5).await;
    }
}

async fn attention(checks: &mut Checks) {
    // Queries that follow cached keys; the last asks for more keys than its segment has.
    let cached = AttentionLayout::new(vec![[3, 20], [0, 21], [0, 40]], vec![(0..3, 0..21)]);
    for (case, layout, keys, heads, kv_heads, width) in [
        ("one", AttentionLayout::causal(&[1]), 1, 1, 1, 4),
        ("causal", AttentionLayout::causal(&[5, 3, 70]), 78, 6, 2, 12),
        ("mixed", mixed_rows(), 57, 4, 2, 64),
        ("cached", cached, 21, 2, 1, 16),
    ] {
        let q = random([layout.visible.len(), heads, width]) * 3.0;
        let (k, v) = (random([keys, kv_heads, width]), random([keys, kv_heads, width]));
        let want = portable::attention(q.clone(), k.clone(), v.clone(), &layout);
        let got = ops::attention(checks.there(&q), checks.there(&k), checks.there(&v), Arc::new(layout), F32);
        checks.close(&["attention"], case, got, want, 1e-5).await;
    }
}

/// Two sequences, the first with a bidirectional end and a row that sees nothing.
pub(crate) fn mixed_rows() -> AttentionLayout {
    let mut mixed = AttentionLayout::causal(&[50, 7]);
    mixed.visible[30..50].fill([0, 50]);
    mixed.visible[3] = [2, 2];
    mixed
}

/// Where the logits do not matter, the noise alone decides: shader and core draw the same random numbers.
async fn sample_noise(checks: &mut Checks) {
    let (images, tokens, groups) = (3, 50, vec![3, 1, 6]);
    let seeds = vec![7, u64::MAX - 3, 1 << 40];
    let codes = Tensor::<2, Int>::full([images, tokens], -1, &Device::flex());
    let logits = Tensor::<2>::zeros([images * tokens, 8 + 2 + 64], &Device::flex());
    let sampler =
        |device: &Device| Sampler::new(vec![1.0], groups.clone(), seeds.clone(), &[vec![1; 3]], device);
    for step in [0, 1, 49] {
        let want = portable::sample_draw(&sampler(&Device::flex()), logits.clone(), codes.clone(), step, 2.0);
        let codes = Tensor::from_data(codes.to_data().convert::<i32>(), &checks.device);
        let got = sample_draw(&sampler(&checks.device), checks.there(&logits), codes, step, 2.0);
        let case = |what| format!("{what} of noise alone, step {step}");
        let (drawn, wanted) = (ints(got.codes).await, ints(want.codes).await);
        checks.equal(&["sample_draw"], case("codes"), &drawn, &wanted);
        let name = case("log-probabilities");
        checks.close(&["sample_draw"], name, got.log_probs, want.log_probs, 1e-5).await;
        checks.close(&["sample_draw"], case("confidence"), got.confidence, want.confidence, 1e-5).await;
    }
}

/// A step with branches, groups, given codes and images of unequal size.
async fn sample_steps(checks: &mut Checks) {
    let (images, tokens, steps) = (3, 40, 5);
    for (weights, groups) in [(vec![2.0], vec![9]), (vec![3.0, -1.5, -0.5], vec![5, 2, 4])] {
        let classes: usize = groups.iter().map(|bits| 1 << bits).sum();
        let schedule: Vec<Vec<usize>> = (1..=steps)
            .map(|step| [40, 25, 1].map(|unknown| scheduled(unknown, step, steps)).to_vec())
            .collect();
        let sampler =
            |device: &Device| Sampler::new(weights.clone(), groups.clone(), vec![1, 2, 3], &schedule, device);
        let (here, beyond) = (sampler(&Device::flex()), sampler(&checks.device));
        // The second image has fifteen codes given, the third all but one.
        let given = |i: usize| match (i / tokens, i % tokens) {
            (1, position) if position < 15 => position as i32,
            (2, position) if position != 17 => 0,
            _ => -1,
        };
        let values = TensorData::new((0..images * tokens).map(given).collect::<Vec<i32>>(), [images, tokens]);
        let mut codes = Tensor::<2, Int>::from_data(values.clone(), &Device::flex());
        let mut codes_there = Tensor::<2, Int>::from_data(values, &checks.device);
        for (step, scheduled) in schedule.iter().enumerate() {
            let case = |what| format!("{what} of groups {groups:?}, step {step}");
            let logits = random([weights.len() * images * tokens, classes]) * 2.0;
            let temperature = 1.0 - step as f32 / steps as f32;
            let want = portable::sample_draw(&here, logits.clone(), codes.clone(), step, temperature);
            let got = sample_draw(&beyond, checks.there(&logits), codes_there.clone(), step, temperature);
            let (drawn, wanted) = (ints(got.codes.clone()).await, ints(want.codes.clone()).await);
            checks.equal(&["sample_draw"], case("codes"), &drawn, &wanted);
            let masked = codes.clone().lower_elem(0).float();
            for (what, got, want) in [
                ("log-probabilities", &got.log_probs, &want.log_probs),
                ("confidence", &got.confidence, &want.confidence),
            ] {
                let got = Tensor::from_data(data(got.clone()).await, &Device::flex()) * masked.clone();
                let want = want.clone() * masked.clone();
                checks.close(&["sample_draw"], case(what), got, want, 1e-5).await;
            }
            codes = portable::sample_keep(&here, codes, want.codes, want.confidence, step);
            codes_there = sample_keep(&beyond, codes_there, got.codes, got.confidence, step);
            let (kept, wanted) = (ints(codes_there.clone()).await, ints(codes.clone()).await);
            checks.equal(&["sample_keep"], case("codes that stay"), &kept, &wanted);
            let left = |image: usize| {
                kept[image * tokens..][..tokens].iter().filter(|&&code| code < 0).count() as i64
            };
            // The last unknown stays.
            let want = [scheduled[0].max(1) as i64, 1];
            checks.equal(&["sample_keep"], case("how many"), &[left(0), left(2)], &want);
        }
    }
}
