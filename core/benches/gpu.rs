//! The GPU's kernels beside their portable twins, on the default adapter: chained work, timed to its end.

use burn::tensor::{DType, Device, DeviceKind, Distribution, Int, Tensor};
use half::f16;
use std::sync::Arc;
use std::time::Instant;
use unigen_core::ops::sample::{Sampler, sample_draw, sample_keep};
use unigen_core::ops::{self, AttentionRows, use_kernels};

/// Calls in a chain, and chains of each kind; they take turns, so that a busy machine slows both.
const RUNS: usize = 4;
const CHAINS: usize = 8;

/// `work` by burn's operations and by the kernel.
fn compare<const D: usize>(name: &str, flops: usize, work: impl Fn() -> Tensor<D>) {
    race(name, flops, ["burn", "kernel"], |second| {
        use_kernels(second);
        work()
    });
}

/// Milliseconds of one `work`, first and second way, the fastest chain counting; what the first calls compile is not counted.
fn race<const D: usize>(name: &str, flops: usize, ways: [&str; 2], work: impl Fn(bool) -> Tensor<D>) {
    let finish = |x: Tensor<D>| x.sum().into_scalar::<f32>();
    let mut fastest = [f64::INFINITY; 2];
    for chain in 0..=CHAINS {
        for (second, fastest) in [false, true].into_iter().zip(&mut fastest) {
            let start = Instant::now();
            (0..RUNS).map(|_| work(second)).last().map(finish);
            if chain > 0 {
                *fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3 / RUNS as f64);
            }
        }
    }
    let shown = |way: usize| {
        let (ms, rate) = (fastest[way], flops as f64 / fastest[way] / 1e6);
        let rate = if flops > 0 { format!(" ({rate:.2} GFLOP/s)") } else { String::new() };
        format!("{} {ms:.2} ms{rate}", ways[way])
    };
    println!("{name}: {}, {}, {:.2}x", shown(0), shown(1), fastest[0] / fastest[1]);
}

fn main() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    for [rows, inputs, outputs] in [[292, 256, 256], [292, 256, 768], [292, 768, 256], [512, 512, 512]] {
        let (x, w) = (random([rows, inputs]), random([outputs, inputs]));
        let flops = 2 * rows * inputs * outputs;
        compare(&format!("linear {rows} x {inputs} -> {outputs}"), flops, || {
            ops::linear(x.clone(), w.clone(), None)
        });
        if ops::multiplies_halves(inputs, &device) {
            let halves = w.to_data().convert::<f16>();
            let halves = Tensor::<2>::from_data(halves, (&device, DType::F16));
            race(
                &format!("linear {rows} x {inputs} -> {outputs}, weights"),
                flops,
                ["f32", "f16"],
                |second| ops::linear(x.clone(), if second { halves.clone() } else { w.clone() }, None),
            );
        }
    }
    let x = random([48 * 48, 64]).reshape([1, 48, 48, 64]);
    let (w, b) = (random([64, 64 * 9]).reshape([64, 64, 3, 3]), random([1, 64]).reshape([64]));
    compare("conv2d 48 x 48, 3 x 3, 64 -> 64", 2 * 48 * 48 * 64 * 64 * 9, || {
        ops::conv::conv2d(x.clone(), w.clone(), b.clone(), 1, [1; 4])
    });
    let (x, w) = (random([292, 256]), random([1, 256]).reshape([256]));
    compare("rms_norm 292 x 256", 0, || ops::rms_norm(x.clone(), w.clone(), 1e-6));
    compare("layer_norm 292 x 256", 0, || ops::layer_norm(x.clone(), w.clone(), w.clone(), 1e-6));
    compare("gelu_tanh 292 x 256", 0, || ops::gelu_tanh(x.clone()));
    let (gate, up) = (random([292, 768]), random([292, 768]));
    compare("swiglu 292 x 768", 0, || ops::swiglu(gate.clone(), up.clone()));
    let (x, angles) = (random([292, 256]).reshape([292, 4, 64]), random([292, 32]));
    compare("rope 292 x 4 x 64", 0, || ops::rope(x.clone(), angles.clone(), angles.clone()));

    // Two sequences of 146 target rows after prefixes of 30 and 8.
    let (rows, prefixes) = (146_usize, [30_usize, 8]);
    let (mut visible, mut segments, mut start) = (Vec::new(), Vec::new(), 0);
    for (i, prefix) in prefixes.into_iter().enumerate() {
        let keys = start..start + prefix + rows;
        visible.extend(vec![[keys.start as u32, keys.end as u32]; rows]);
        start = keys.end;
        segments.push((i * rows..(i + 1) * rows, keys));
    }
    let layout = Arc::new(AttentionRows::new(visible, segments));
    let flops = prefixes.iter().map(|prefix| 4 * rows * (prefix + rows) * 256).sum();
    let q = random([2 * rows, 256]).reshape([2 * rows, 4, 64]);
    let [k, v] = [0; 2].map(|_| random([start, 128]).reshape([start, 2, 64]));
    compare("attention 2 x 146 rows over 176 and 154 keys, 4 heads of 64", flops, || {
        ops::attention(q.clone(), k.clone(), v.clone(), layout.clone())
    });

    let (groups, tokens) = (vec![7, 6], 144);
    let sampler = Sampler::new(vec![4.0, -3.0], groups, vec![1], &[vec![100]], &device);
    let (logits, codes) = (random([2 * tokens, 192]), Tensor::<2, Int>::full([1, tokens], -1, &device));
    compare("sampler step, 144 codes of 7 + 6 bits, 2 branches", 0, || {
        let drawn = sample_draw(&sampler, logits.clone(), codes.clone(), 0, 1.0);
        sample_keep(&sampler, codes.clone(), drawn.codes, drawn.confidence, 0).float()
    });
}
