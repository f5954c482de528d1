//! Times the shaders and their portable twins on the default adapter.

use burn::tensor::{DType, Device, DeviceKind, Distribution, Int, Tensor};
use half::f16;
use std::sync::Arc;
use std::time::Instant;
use unigen_core::ops::sample::{Sampler, sample_draw, sample_keep};
use unigen_core::ops::{self, AttentionLayout, portable};
use unigen_core::precision::MatmulPrecision::F32;

/// Calls in a chain, whose end alone is waited for.
const RUNS: usize = 4;
/// Chains of each kind. They take turns, so that a busy machine slows both.
const CHAINS: usize = 8;

/// Prints the milliseconds of one call of each of two named works, and how many times faster the second is. The fastest chain
/// counts; the first one compiles and does not.
fn compare<const D: usize>(
    name: &str,
    flops: usize,
    (first, old): (&str, impl Fn() -> Tensor<D>),
    (second, new): (&str, impl Fn() -> Tensor<D>),
) {
    let chain = |work: &dyn Fn() -> Tensor<D>| {
        let start = Instant::now();
        (0..RUNS).map(|_| work()).last().map(|x| x.sum().into_scalar::<f32>());
        start.elapsed().as_secs_f64() * 1e3 / RUNS as f64
    };
    let mut fastest = [f64::INFINITY; 2];
    for round in 0..=CHAINS {
        for (work, fastest) in [&old as &dyn Fn() -> Tensor<D>, &new].into_iter().zip(&mut fastest) {
            let milliseconds = chain(work);
            if round > 0 {
                *fastest = fastest.min(milliseconds);
            }
        }
    }
    let [first, second] = [(first, fastest[0]), (second, fastest[1])].map(|(way, ms)| {
        let rate =
            if flops > 0 { format!(" ({:.2} GFLOP/s)", flops as f64 / ms / 1e6) } else { String::new() };
        format!("{way} {ms:.2} ms{rate}")
    });
    println!("{name}: {first}, {second}, {:.2}x", fastest[0] / fastest[1]);
}

fn main() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    for [rows, inputs, outputs] in [[292, 256, 256], [292, 256, 768], [292, 768, 256], [512, 512, 512]] {
        let (x, w) = (random([rows, inputs]), random([outputs, inputs]));
        let flops = 2 * rows * inputs * outputs;
        let name = format!("linear {rows} x {inputs} -> {outputs}");
        let shader = || ops::linear(x.clone(), w.clone(), None, F32);
        let burn = || portable::linear(x.clone(), w.clone(), None);
        compare(&name, flops, ("burn", burn), ("shader", shader));
        if ops::multiplies_halves([outputs, inputs], &device) {
            let halves = w.to_data().convert::<f16>();
            let halves = Tensor::<2>::from_data(halves, (&device, DType::F16));
            let half = || ops::linear(x.clone(), halves.clone(), None, F32);
            compare(&format!("{name}, weights"), flops, ("f32", shader), ("f16", half));
        }
    }
    let x = random([48 * 48, 64]).reshape([1, 48, 48, 64]);
    let (w, b) = (random([64, 64 * 9]).reshape([64, 64, 3, 3]), random([1, 64]).reshape([64]));
    compare(
        "conv2d 48 x 48, 3 x 3, 64 -> 64",
        2 * 48 * 48 * 64 * 64 * 9,
        ("burn", || portable::conv2d(x.clone(), w.clone(), b.clone(), 1, [1; 4])),
        ("shader", || ops::conv::conv2d(x.clone(), w.clone(), b.clone(), 1, [1; 4], F32)),
    );
    let (x, w) = (random([292, 256]), random([1, 256]).reshape([256]));
    compare(
        "rms_norm 292 x 256",
        0,
        ("burn", || portable::rms_norm(x.clone(), w.clone(), 1e-6)),
        ("shader", || ops::rms_norm(x.clone(), w.clone(), 1e-6)),
    );
    compare(
        "layer_norm 292 x 256",
        0,
        ("burn", || portable::layer_norm(x.clone(), w.clone(), w.clone(), 1e-6)),
        ("shader", || ops::layer_norm(x.clone(), w.clone(), w.clone(), 1e-6)),
    );
    compare(
        "gelu_tanh 292 x 256",
        0,
        ("burn", || portable::gelu_tanh(x.clone())),
        ("shader", || ops::gelu_tanh(x.clone())),
    );
    let (gate, up) = (random([292, 768]), random([292, 768]));
    compare(
        "swiglu 292 x 768",
        0,
        ("burn", || portable::swiglu(gate.clone(), up.clone())),
        ("shader", || ops::swiglu(gate.clone(), up.clone())),
    );
    let (x, angles) = (random([292, 256]).reshape([292, 4, 64]), random([292, 32]));
    compare(
        "rope 292 x 4 x 64",
        0,
        ("burn", || portable::rope(x.clone(), angles.clone(), angles.clone())),
        ("shader", || ops::rope(x.clone(), angles.clone(), angles.clone())),
    );

    // Two sequences of 146 target rows after prefixes of 30 and 8.
    let (rows, prefixes) = (146_usize, [30_usize, 8]);
    let (mut visible, mut segments, mut start) = (Vec::new(), Vec::new(), 0);
    for (i, prefix) in prefixes.into_iter().enumerate() {
        let keys = start..start + prefix + rows;
        visible.extend(vec![[keys.start as u32, keys.end as u32]; rows]);
        start = keys.end;
        segments.push((i * rows..(i + 1) * rows, keys));
    }
    let layout = Arc::new(AttentionLayout::new(visible, segments));
    let flops = prefixes.iter().map(|prefix| 4 * rows * (prefix + rows) * 256).sum();
    let q = random([2 * rows, 256]).reshape([2 * rows, 4, 64]);
    let [k, v] = [0; 2].map(|_| random([start, 128]).reshape([start, 2, 64]));
    compare(
        "attention 2 x 146 rows over 176 and 154 keys, 4 heads of 64",
        flops,
        ("burn", || portable::attention(q.clone(), k.clone(), v.clone(), &layout)),
        ("shader", || ops::attention(q.clone(), k.clone(), v.clone(), layout.clone(), F32)),
    );

    let (groups, tokens) = (vec![7, 6], 144);
    let sampler = Sampler::new(vec![4.0, -3.0], groups, vec![1], &[vec![100]], &device);
    let (logits, codes) = (random([2 * tokens, 192]), Tensor::<2, Int>::full([1, tokens], -1, &device));
    compare(
        "sampler step, 144 codes of 7 + 6 bits, 2 branches",
        0,
        ("burn", || {
            let drawn = portable::sample_draw(&sampler, logits.clone(), codes.clone(), 0, 1.0);
            portable::sample_keep(&sampler, codes.clone(), drawn.codes, drawn.confidence, 0).float()
        }),
        ("shader", || {
            let drawn = sample_draw(&sampler, logits.clone(), codes.clone(), 0, 1.0);
            sample_keep(&sampler, codes.clone(), drawn.codes, drawn.confidence, 0).float()
        }),
    );
}
