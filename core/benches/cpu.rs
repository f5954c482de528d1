//! Times the fused operations of the CPU device and their portable twins, forward and backward, at the sizes of the nano
//! preset's training.

use burn::tensor::{Device, Distribution, Tensor};
use std::sync::Arc;
use std::time::Instant;
use unigen_core::ops::{self, AttentionLayout, portable};
use unigen_core::precision::MatmulPrecision::{self, Bf16, F32};

/// Runs of each kind. They take turns, so that a busy machine slows both.
const RUNS: usize = 8;

/// Milliseconds of the fastest run of each work, forward and backward; the first run does not count.
fn fastest<const N: usize, const D: usize>(works: [&dyn Fn() -> Tensor<D>; N]) -> [f64; N] {
    let mut fastest = [f64::INFINITY; N];
    for round in 0..=RUNS {
        for (work, fastest) in works.iter().zip(&mut fastest) {
            let start = Instant::now();
            work().sum().backward();
            if round > 0 {
                *fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    fastest
}

fn compare<const D: usize>(name: &str, portable: impl Fn() -> Tensor<D>, fused: impl Fn() -> Tensor<D>) {
    let [old, new] = fastest([&portable, &fused]);
    println!("{name}: portable {old:.2} ms, fused {new:.2} ms, {:.2}x", old / new);
}

/// [`compare`], with the fused operation in both precisions.
fn compare_products<const D: usize>(
    name: &str,
    portable: impl Fn() -> Tensor<D>,
    fused: impl Fn(MatmulPrecision) -> Tensor<D>,
) {
    let [old, f32, bf16] = fastest([&portable, &|| fused(F32), &|| fused(Bf16)]);
    let same = if ops::multiplies_bf16() { "" } else { " (computed in f32 here)" };
    println!(
        "{name}: portable {old:.2} ms, fused f32 {f32:.2} ms, {:.2}x, bf16 {bf16:.2} ms{same}, {:.2}x",
        old / f32,
        old / bf16
    );
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
}

fn main() {
    let rows = 32 * 180;
    for [inputs, outputs] in [[256, 256], [256, 768], [768, 256]] {
        let (x, w) = (random([rows, inputs]), random([outputs, inputs]));
        compare_products(
            &format!("linear {rows} x {inputs} -> {outputs}"),
            || portable::linear(x.clone(), w.clone(), None),
            |precision| ops::linear(x.clone(), w.clone(), None, precision),
        );
    }
    let layout = Arc::new(AttentionLayout::causal(&[180; 32]));
    let (q, k, v) = (random([rows, 4, 64]), random([rows, 2, 64]), random([rows, 2, 64]));
    compare_products(
        "attention, 32 sequences of 180 rows, 4 heads of 64",
        || portable::attention(q.clone(), k.clone(), v.clone(), &layout),
        |precision| ops::attention(q.clone(), k.clone(), v.clone(), layout.clone(), precision),
    );
    for (side, channels) in [(96, 32), (48, 64), (24, 128)] {
        let (x, w) = (random([4, side, side, channels]), random([channels, channels, 3, 3]));
        let b = random([channels]);
        compare_products(
            &format!("conv2d 4 x {side} x {side}, 3 x 3, {channels} -> {channels}"),
            || portable::conv2d(x.clone(), w.clone(), b.clone(), 1, [1; 4]),
            |precision| ops::conv::conv2d(x.clone(), w.clone(), b.clone(), 1, [1; 4], precision),
        );
    }
    let (x, w) = (random([4, 48, 48, 64]), random([64]));
    compare(
        "group_norm_swish 4 x 48 x 48 x 64",
        || ops::conv::swish(portable::group_norm(x.clone(), w.clone(), w.clone(), 8, 1e-6)),
        || ops::conv::group_norm_swish(x.clone(), w.clone(), w.clone(), 8, 1e-6),
    );
    let (x, w) = (random([rows, 256]), random([256]));
    compare(
        &format!("rms_norm {rows} x 256"),
        || portable::rms_norm(x.clone(), w.clone(), 1e-6),
        || ops::rms_norm(x.clone(), w.clone(), 1e-6),
    );
    compare(
        &format!("layer_norm {rows} x 256"),
        || portable::layer_norm(x.clone(), w.clone(), w.clone(), 1e-6),
        || ops::layer_norm(x.clone(), w.clone(), w.clone(), 1e-6),
    );
    compare(
        &format!("gelu_tanh {rows} x 256"),
        || portable::gelu_tanh(x.clone()),
        || ops::gelu_tanh(x.clone()),
    );
    let (gate, up) = (random([rows, 768]), random([rows, 768]));
    compare(
        &format!("swiglu {rows} x 768"),
        || portable::swiglu(gate.clone(), up.clone()),
        || ops::swiglu(gate.clone(), up.clone()),
    );
    let (x, angles) = (random([rows, 4, 64]), random([rows, 32]).detach());
    compare(
        &format!("rope {rows} x 4 x 64"),
        || portable::rope(x.clone(), angles.clone(), angles.clone()),
        || ops::rope(x.clone(), angles.clone(), angles.clone()),
    );
    let logits = random([rows, 512]);
    let targets: Vec<u32> = (0..rows as u32).map(|row| row * 31 % 512).collect();
    compare(
        &format!("cross_entropy {rows} x 512"),
        || portable::cross_entropy(logits.clone(), targets.clone()),
        || ops::cross_entropy(logits.clone(), targets.clone()).expect("targets are classes"),
    );
}
