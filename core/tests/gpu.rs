//! Every shader against its portable twin, on whatever adapter there is: a software one will do. The twins run on the
//! CPU device, so nothing but the shader is compiled for the adapter.

#![cfg(all(feature = "cpu", feature = "wgpu"))]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, DeviceKind, Distribution, Int, Tensor, TensorData};
use std::collections::HashMap;
use std::sync::Arc;
use unigen_core::config::ModelConfig;
use unigen_core::model::UniGen;
use unigen_core::ops::sample::{Sampler, sample_draw, sample_keep};
use unigen_core::ops::{self, AttentionRows, portable};
use unigen_core::sampling::scheduled;
use unigen_core::sequence::{AttentionLayout, Segment};
use unigen_core::weights::{Checkpoint, Precision, keys, load, save};

fn gpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// The same values on the GPU.
fn there<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    Tensor::from_data(x.to_data(), &gpu())
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("f32 values")
}

fn ints<const D: usize>(x: Tensor<D, Int>) -> Vec<i64> {
    x.into_data().convert::<i64>().try_to_vec().expect("integers")
}

fn assert_close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    for (i, (got, want)) in floats(got).into_iter().zip(floats(want)).enumerate() {
        assert!((got - want).abs() <= tolerance * (1.0 + want.abs()), "{name}[{i}]: {got}, want {want}");
    }
}

#[test]
fn linear_is_its_twin() {
    for [rows, inputs, outputs] in [[1, 4, 1], [7, 12, 6], [37, 64, 45]] {
        let (x, w, b) = (random([2, rows, inputs]), random([outputs, inputs]), random([outputs]));
        let want = portable::linear(x.clone(), w.clone(), Some(b.clone()));
        assert_close("bias", ops::linear(there(&x), there(&w), Some(there(&b))), want, 1e-5);
        let want = portable::linear(x.clone(), w.clone(), None);
        assert_close("no bias", ops::linear(there(&x), there(&w), None), want, 1e-5);
        // A transposed view of the rows is put in order first.
        let turned = ops::linear(there(&x.clone().swap_dims(0, 1)).swap_dims(0, 1), there(&w), None);
        assert_close("view", turned, portable::linear(x, w, None), 1e-5);
    }
}

#[test]
fn linear_f16_is_its_twin() {
    let (x, w, b) = (random([5, 16]), random([9, 16]), random([9]));
    let halves = w.to_data().convert::<half::f16>();
    let rounded = Tensor::<2>::from_data(halves.clone().convert::<f32>(), &Device::flex());
    let weight = Tensor::<2>::from_data(halves, (&gpu(), DType::F16));
    assert_eq!(weight.dtype(), DType::F16);
    let want = portable::linear(x.clone(), rounded.clone(), Some(b.clone()));
    assert_close("bias", ops::linear(there(&x), weight.clone(), Some(there(&b))), want, 1e-5);
    let want = portable::linear(x.clone(), rounded, None);
    assert_close("no bias", ops::linear(there(&x), weight, None), want, 1e-5);
}

#[test]
fn weights_in_halves_stay_so_and_give_the_same() {
    let (device, folder) = (gpu(), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    let mut config = ModelConfig::preset("nano").unwrap();
    config.decoder.num_hidden_layers = 1;
    save(&UniGen::new(&config, &Device::flex()), &path, Precision::F16, keys::same, HashMap::new()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let open = |device: &Device| load(UniGen::new(&config, device), &checkpoint, keys::same).unwrap();
    let (here, there) = (open(&Device::flex()), open(&device));
    let mut kinds = Kinds::default();
    there.visit(&mut kinds);
    // A card multiplies `f32`.
    assert_eq!(kinds.halves > 8, ops::multiplies_halves(4, &device), "{kinds:?}");
    assert!(kinds.others > 3, "{kinds:?}");
    let rows = 7;
    let hidden = |model: &UniGen, device: &Device| {
        let ids: Vec<i32> = (0..rows as i32).map(|i| 31 * i % 97).collect();
        let layout = AttentionLayout {
            visible: (0..rows).map(|i| [0, i as u32 + 1]).collect(),
            segments: vec![Segment { queries: 0..rows, keys: 0..rows }],
        };
        let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), device);
        let x = model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
        model.llm.logits(model.llm.forward(x, &positions, &layout), 5..70)
    };
    assert_close("logits", hidden(&there, &device), hidden(&here, &Device::flex()), 1e-4);
}

/// How many weights are in `f16`, and how many are not.
#[derive(Debug, Default)]
struct Kinds {
    halves: usize,
    others: usize,
}

impl ModuleVisitor for Kinds {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.val().dtype() {
            DType::F16 => self.halves += 1,
            _ => self.others += 1,
        }
    }
}

#[test]
fn conv2d_is_its_twin() {
    for (batch, [height, width], [c_in, c_out], side, stride, padding) in [
        (1, [1, 1], [4, 1], 2, 1, [0, 1, 1, 0]),
        (2, [5, 7], [8, 6], 3, 1, [1; 4]),
        (3, [8, 6], [12, 34], 3, 2, [0, 1, 0, 1]),
    ] {
        let (x, w) = (random([batch, height, width, c_in]), random([c_out, c_in, side, side]));
        let b = random([c_out]);
        let want = portable::conv2d(x.clone(), w.clone(), b.clone(), stride, padding);
        let got = ops::conv::conv2d(there(&x), there(&w), there(&b), stride, padding);
        assert_close("conv2d", got, want, 1e-5);
    }
}

#[test]
fn rms_norm_is_its_twin() {
    for shape in [[1, 1, 4], [2, 3, 20], [3, 70, 64]] {
        let (x, w) = (random(shape) * 3.0, random([shape[2]]));
        let want = portable::rms_norm(x.clone(), w.clone(), 1e-6);
        assert_close("rms_norm", ops::rms_norm(there(&x), there(&w), 1e-6), want, 1e-5);
    }
}

#[test]
fn layer_norm_is_its_twin() {
    for shape in [[1, 1, 4], [2, 3, 20], [3, 70, 64]] {
        let (x, w, b) = (random(shape) * 3.0 + 1.0, random([shape[2]]), random([shape[2]]));
        let want = portable::layer_norm(x.clone(), w.clone(), b.clone(), 1e-6);
        let found = ops::layer_norm(there(&x), there(&w), there(&b), 1e-6);
        assert_close("layer_norm", found, want, 1e-5);
    }
}

#[test]
fn gelu_tanh_is_its_twin() {
    let x = random([7, 36]) * 20.0;
    assert_close("gelu_tanh", ops::gelu_tanh(there(&x)), portable::gelu_tanh(x), 1e-5);
}

#[test]
fn swiglu_is_its_twin() {
    let (gate, up) = (random([7, 36]) * 20.0, random([7, 36]));
    let want = portable::swiglu(gate.clone(), up.clone());
    assert_close("swiglu", ops::swiglu(there(&gate), there(&up)), want, 1e-5);
}

#[test]
fn rope_is_its_twin() {
    for shape in [[1, 1, 8], [5, 3, 24], [33, 4, 64]] {
        let (x, angles) = (random(shape), random([shape[0], shape[2] / 2]));
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        let want = portable::rope(x.clone(), cos.clone(), sin.clone());
        assert_close("rope", ops::rope(there(&x), there(&cos), there(&sin)), want, 1e-5);
    }
}

#[test]
fn attention_is_its_twin() {
    // Two sequences, the first with a bidirectional end and a row that sees nothing.
    let mut mixed = AttentionRows::causal(&[50, 7]);
    mixed.visible[30..50].fill([0, 50]);
    mixed.visible[3] = [2, 2];
    // Queries that follow cached keys; the last asks for more keys than its segment has.
    let cached = AttentionRows::new(vec![[3, 20], [0, 21], [0, 40]], vec![(0..3, 0..21)]);
    for (layout, keys, heads, kv_heads, width) in [
        (AttentionRows::causal(&[1]), 1, 1, 1, 4),
        (AttentionRows::causal(&[5, 3, 70]), 78, 6, 2, 12),
        (mixed, 57, 4, 2, 64),
        (cached, 21, 2, 1, 16),
    ] {
        let q = random([layout.visible.len(), heads, width]) * 3.0;
        let (k, v) = (random([keys, kv_heads, width]), random([keys, kv_heads, width]));
        let want = portable::attention(q.clone(), k.clone(), v.clone(), &layout);
        let got = ops::attention(there(&q), there(&k), there(&v), Arc::new(layout));
        assert_close("attention", got, want, 1e-5);
    }
}

/// Where a class's logit does not matter, the noise alone draws: the random numbers of shader and core are the same ones.
#[test]
fn sample_draw_draws_with_the_same_numbers() {
    let (images, tokens, groups) = (3, 50, vec![3, 1, 6]);
    let seeds = vec![7, u64::MAX - 3, 1 << 40];
    let codes = Tensor::<2, Int>::full([images, tokens], -1, &Device::flex());
    let logits = Tensor::<2>::zeros([images * tokens, 8 + 2 + 64], &Device::flex());
    let sampler =
        |device: &Device| Sampler::new(vec![1.0], groups.clone(), seeds.clone(), &[vec![1; 3]], device);
    for step in [0, 1, 49] {
        let want = portable::sample_draw(&sampler(&Device::flex()), logits.clone(), codes.clone(), step, 2.0);
        let codes = Tensor::from_data(codes.to_data().convert::<i32>(), &gpu());
        let got = sample_draw(&sampler(&gpu()), there(&logits), codes, step, 2.0);
        assert_eq!(ints(got.codes), ints(want.codes), "step {step}");
        assert_close("log_probs", got.log_probs, want.log_probs, 1e-5);
        assert_close("confidence", got.confidence, want.confidence, 1e-5);
    }
}

/// A step with branches, groups, given codes and images of unequal size.
#[test]
fn sample_step_is_its_twin() {
    let (images, tokens, steps) = (3, 40, 5);
    for (weights, groups) in [(vec![2.0], vec![9]), (vec![3.0, -1.5, -0.5], vec![5, 2, 4])] {
        let classes: usize = groups.iter().map(|bits| 1 << bits).sum();
        let schedule: Vec<Vec<usize>> = (1..=steps)
            .map(|step| [40, 25, 1].map(|unknown| scheduled(unknown, step, steps)).to_vec())
            .collect();
        let sampler =
            |device: &Device| Sampler::new(weights.clone(), groups.clone(), vec![1, 2, 3], &schedule, device);
        let (here, beyond) = (sampler(&Device::flex()), sampler(&gpu()));
        // The second image has fifteen codes given, the third all but one.
        let given = |i: usize| match (i / tokens, i % tokens) {
            (1, position) if position < 15 => position as i32,
            (2, position) if position != 17 => 0,
            _ => -1,
        };
        let data = TensorData::new((0..images * tokens).map(given).collect::<Vec<i32>>(), [images, tokens]);
        let mut codes = Tensor::<2, Int>::from_data(data.clone(), &Device::flex());
        let mut codes_there = Tensor::<2, Int>::from_data(data, &gpu());
        for (step, scheduled) in schedule.iter().enumerate() {
            let logits = random([weights.len() * images * tokens, classes]) * 2.0;
            let temperature = 1.0 - step as f32 / steps as f32;
            let want = portable::sample_draw(&here, logits.clone(), codes.clone(), step, temperature);
            let got = sample_draw(&beyond, there(&logits), codes_there.clone(), step, temperature);
            assert_eq!(ints(got.codes.clone()), ints(want.codes.clone()), "step {step}");
            let masked = codes.clone().lower_elem(0).float();
            for (got, want) in [(&got.log_probs, &want.log_probs), (&got.confidence, &want.confidence)] {
                let got = Tensor::from_data(got.to_data(), &Device::flex()) * masked.clone();
                assert_close("log_probs, confidence", got, want.clone() * masked.clone(), 1e-5);
            }
            codes = portable::sample_keep(&here, codes, want.codes, want.confidence, step);
            codes_there = sample_keep(&beyond, codes_there, got.codes, got.confidence, step);
            assert_eq!(ints(codes_there.clone()), ints(codes.clone()), "step {step}");
            let left: Vec<usize> = ints(codes.clone())
                .chunks(tokens)
                .map(|codes| codes.iter().filter(|&&c| c < 0).count())
                .collect();
            assert_eq!(left[2], 1, "the last unknown stays");
            assert!(left[0] >= 1 && left[0] == scheduled[0].max(1), "{left:?}");
        }
    }
}

/// Forward and backward of the kernels that training needs, against the twins on the CPU device.
#[cfg(feature = "train")]
mod gradients {
    use super::*;
    use burn::tensor::Gradients;

    /// A leaf on each device with the same values: the GPU's, the CPU's.
    fn leaf<const D: usize>(shape: [usize; D], scale: f64) -> [Tensor<D>; 2] {
        let data = (random(shape) * scale).into_data();
        [gpu(), Device::flex()].map(|d| Tensor::from_data(data.clone(), &d.autodiff()).require_grad())
    }

    /// Values shaped like `y` that weigh its entries in a sum.
    fn weights<const D: usize>(y: &Tensor<D>) -> TensorData {
        Tensor::<D>::random(y.dims(), Distribution::Normal(0.0, 1.0), &Device::flex()).into_data()
    }

    fn backward<const D: usize>(y: &Tensor<D>, weights: &TensorData) -> Gradients {
        (y.clone() * Tensor::from_data(weights.clone(), &y.device())).sum().backward()
    }

    /// Compares `$fused` on the GPU with `$plain` on the CPU device, and the gradients of all the leaves `$x`.
    macro_rules! compare {
        ($name:expr, [$($x:ident),*], $fused:expr, $plain:expr) => {{
            let fused = {
                $(let $x = $x[0].clone();)*
                $fused
            };
            let plain = {
                $(let $x = $x[1].clone();)*
                $plain
            };
            let weights = weights(&plain);
            let (got, want) = (backward(&fused, &weights), backward(&plain, &weights));
            assert_close($name, fused.inner(), plain.inner(), 1e-5);
            $({
                let name = format!("{}: {}", $name, stringify!($x));
                let [there, here] = &$x;
                let (got, want) = (there.grad(&got), here.grad(&want));
                // A sum of many terms keeps their rounding.
                assert_close(&name, got.expect("a gradient"), want.expect("a gradient"), 1e-4);
            })*
        }};
    }

    fn ids(values: &[i32], on: &Tensor<2>) -> Tensor<1, Int> {
        Tensor::from_ints(values, &on.device())
    }

    #[test]
    fn linear() {
        for [rows, inputs, outputs] in [[1, 4, 1], [37, 12, 44], [300, 64, 132], [1000, 260, 20]] {
            let (x, w, b) = (leaf([rows, inputs], 1.0), leaf([outputs, inputs], 1.0), leaf([outputs], 1.0));
            compare!("bias", [x, w, b], ops::linear(x, w, Some(b)), portable::linear(x, w, Some(b)));
            compare!("no bias", [x, w], ops::linear(x, w, None), portable::linear(x, w, None));
        }
    }

    #[test]
    fn rms_norm() {
        for shape in [[1, 4], [700, 20], [70, 64]] {
            let (x, w) = (leaf(shape, 3.0), leaf([shape[1]], 1.0));
            let name = "rms_norm";
            compare!(name, [x, w], ops::rms_norm(x, w, 1e-6), portable::rms_norm(x, w, 1e-6));
        }
    }

    #[test]
    fn layer_norm() {
        for shape in [[1, 4], [700, 20], [70, 64]] {
            let (x, w, b) = (leaf(shape, 3.0), leaf([shape[1]], 1.0), leaf([shape[1]], 1.0));
            let name = "layer_norm";
            compare!(name, [x, w, b], ops::layer_norm(x, w, b, 1e-6), portable::layer_norm(x, w, b, 1e-6));
        }
    }

    #[test]
    fn gelu_tanh() {
        let x = leaf([7, 36], 8.0);
        compare!("gelu_tanh", [x], ops::gelu_tanh(x), portable::gelu_tanh(x));
    }

    #[test]
    fn swiglu() {
        let (gate, up) = (leaf([7, 36], 8.0), leaf([7, 36], 1.0));
        compare!("swiglu", [gate, up], ops::swiglu(gate, up), portable::swiglu(gate, up));
    }

    #[test]
    fn rope() {
        let (x, angles) = (leaf([33, 4, 64], 1.0), leaf([33, 32], 1.0));
        let table = |x: &Tensor<3>, f: fn(Tensor<2>) -> Tensor<2>| {
            Tensor::from_data(f(angles[1].clone()).into_data(), &x.device())
        };
        compare!(
            "rope",
            [x],
            {
                let (cos, sin) = (table(&x, Tensor::cos), table(&x, Tensor::sin));
                ops::rope(x, cos, sin)
            },
            {
                let (cos, sin) = (table(&x, Tensor::cos), table(&x, Tensor::sin));
                portable::rope(x, cos, sin)
            }
        );
    }

    #[test]
    fn attention() {
        let mut mixed = AttentionRows::causal(&[50, 7]);
        mixed.visible[30..50].fill([0, 50]);
        mixed.visible[3] = [2, 2];
        // Some queries only; keys before, between and after the segments belong to none.
        let gaps = AttentionRows::new(vec![[3, 20], [0, 21], [40, 73]], vec![(0..2, 2..21), (2..3, 40..73)]);
        for (layout, keys, heads, kv_heads, width) in [
            (AttentionRows::causal(&[1]), 1, 1, 1, 4),
            (AttentionRows::causal(&[5, 3, 70]), 78, 6, 2, 12),
            (mixed, 57, 4, 2, 64),
            (gaps, 80, 2, 1, 16),
        ] {
            let q = leaf([layout.visible.len(), heads, width], 1.0);
            let (k, v) = (leaf([keys, kv_heads, width], 1.0), leaf([keys, kv_heads, width], 1.0));
            let layout = Arc::new(layout);
            compare!(
                "attention",
                [q, k, v],
                ops::attention(q, k, v, layout.clone()),
                portable::attention(q, k, v, &layout)
            );
        }
    }

    #[test]
    fn rows_and_entries() {
        let (table, x) = (leaf([9, 12], 1.0), leaf([70, 8], 1.0));
        let rows: Vec<i32> = (0..70).filter(|row| row % 3 != 1).rev().collect();
        let entries = [4, 4, 0, 8, 4, 1];
        compare!(
            "embed",
            [table],
            {
                let entries = ids(&entries, &table);
                ops::embed(table, entries)
            },
            {
                let entries = ids(&entries, &table);
                table.select(0, entries)
            }
        );
        compare!(
            "select_rows",
            [x],
            {
                let rows = ids(&rows, &x);
                ops::select_rows(x, rows)
            },
            {
                let rows = ids(&rows, &x);
                x.select(0, rows)
            }
        );
    }
}
