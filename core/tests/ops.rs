//! Every fused operation of the CPU device against its portable twin, forward and backward.

#![cfg(all(feature = "cpu", feature = "train"))]

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::sync::Arc;
use unigen_core::ops::{self, AttentionLayout, portable};
use unigen_core::precision::MatmulPrecision::{self, Bf16, F32};

thread_local! {
    /// Every test runs in a thread of its own and draws the same numbers each time, whatever others draw.
    static NUMBERS: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(1));
}

/// Nearly normal numbers: sums of twelve even ones.
fn normal<const D: usize>(shape: [usize; D], mean: f32, device: &Device) -> Tensor<D> {
    let number = |rng: &mut ChaCha8Rng| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0 + mean;
    let numbers = NUMBERS.with_borrow_mut(|rng| (0..shape.iter().product()).map(|_| number(rng)).collect());
    Tensor::from_data(TensorData::new::<f32, _>(numbers, shape), device)
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    normal(shape, 0.0, &Device::flex().autodiff()).require_grad()
}

fn assert_close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let [got, want] = [got, want].map(|x| x.into_data().try_to_vec::<f32>().expect("f32 values"));
    // Inputs are of size 1: a gradient that cancels to nearly nothing keeps the rounding of its terms.
    let size = (want.iter().map(|x| x * x).sum::<f32>() / want.len().max(1) as f32).sqrt().max(1e-2);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let bound = tolerance * (want.abs() + 4.0 * size);
        assert!((got - want).abs() <= bound, "{name}[{i}]: {got}, want {want}");
    }
}

/// Compares `$fused` with `$plain`, both functions of the tensors `$x`, and the gradients of all of them.
macro_rules! compare {
    ($tolerance:expr, [$($x:ident),*], $fused:expr, $plain:expr) => {{
        let (fused, plain) = ($fused, $plain);
        let weight = normal(plain.dims(), 0.0, &plain.device());
        let fused_grads = (fused.clone() * weight.clone()).sum().backward();
        let plain_grads = (plain.clone() * weight).sum().backward();
        assert_close("output", fused.inner(), plain.inner(), $tolerance);
        $(assert_close(
            stringify!($x),
            $x.grad(&fused_grads).unwrap(),
            $x.grad(&plain_grads).unwrap(),
            $tolerance,
        );)*
    }};
}

/// Runs `check(precision, tolerance)` with `f32` and, where the processor has them, `bf16` products.
fn in_both_precisions(check: impl Fn(MatmulPrecision, f32)) {
    check(F32, 1e-4);
    if ops::multiplies_bf16() {
        check(Bf16, 2e-2);
    }
}

#[test]
fn linear_is_its_twin() {
    in_both_precisions(|precision, tolerance| {
        for [rows, inputs, outputs] in [[1, 1, 1], [3, 5, 7], [70, 33, 129], [180, 256, 96]] {
            let (x, w, b) = (random([2, rows, inputs]), random([outputs, inputs]), random([outputs]));
            let plain = portable::linear(x.clone(), w.clone(), Some(b.clone()));
            compare!(
                tolerance,
                [x, w, b],
                ops::linear(x.clone(), w.clone(), Some(b.clone()), precision),
                plain
            );
            let x = random([rows, inputs]);
            let plain = portable::linear(x.clone(), w.clone(), None);
            compare!(tolerance, [x, w], ops::linear(x.clone(), w.clone(), None, precision), plain);
        }
    });
}

#[test]
fn linear_takes_any_layout_and_constants() {
    let (x, w) = (random([6, 5, 4]), random([3, 6]));
    let turned = || x.clone().narrow(1, 1, 3).swap_dims(0, 2);
    compare!(
        1e-4,
        [x, w],
        ops::linear(turned(), w.clone(), None, F32),
        portable::linear(turned(), w.clone(), None)
    );
    let constant = w.clone().detach();
    let (fused, plain) = (
        ops::linear(turned(), constant.clone(), None, F32),
        portable::linear(turned(), constant.clone(), None),
    );
    compare!(1e-4, [x], fused, plain);
    // Without gradients the operation runs on plain tensors.
    let (x, w) = (turned().inner(), w.inner());
    assert_close("plain", ops::linear(x.clone(), w.clone(), None, F32), portable::linear(x, w, None), 1e-4);
}

#[test]
fn norms_are_their_twins() {
    for [rows, width] in [[1, 1], [3, 7], [33, 64], [500, 259]] {
        let (x, w, b) = (random([2, rows, width]), random([width]), random([width]));
        let plain = portable::rms_norm(x.clone(), w.clone(), 1e-5);
        compare!(1e-4, [x, w], ops::rms_norm(x.clone(), w.clone(), 1e-5), plain);
        if width > 1 {
            let plain = portable::layer_norm(x.clone(), w.clone(), b.clone(), 1e-5);
            compare!(1e-4, [x, w, b], ops::layer_norm(x.clone(), w.clone(), b.clone(), 1e-5), plain);
        }
    }
}

#[test]
fn gelu_tanh_is_its_twin() {
    for size in [1, 15, 33, 70_001] {
        let x = (random([1, size]) * 8.0).detach().require_grad();
        compare!(1e-4, [x], ops::gelu_tanh(x.clone()), portable::gelu_tanh(x.clone()));
    }
}

#[test]
fn swiglu_is_its_twin() {
    for size in [1, 15, 33, 70_001] {
        let (gate, up) = (random([1, size]) * 8.0, random([1, size]));
        let (gate, up) = (gate.detach().require_grad(), up);
        compare!(
            1e-4,
            [gate, up],
            ops::swiglu(gate.clone(), up.clone()),
            portable::swiglu(gate.clone(), up.clone())
        );
    }
}

#[test]
fn rope_is_its_twin() {
    for [tokens, heads, width] in [[1, 1, 2], [5, 3, 6], [300, 4, 64]] {
        let x = random([tokens, heads, width]);
        let angles = random([tokens, width / 2]).detach();
        let [cos, sin] = [angles.clone().inner().cos(), angles.inner().sin()].map(Tensor::from_inner);
        let plain = portable::rope(x.clone(), cos.clone(), sin.clone());
        compare!(1e-4, [x], ops::rope(x.clone(), cos.clone(), sin.clone()), plain);
    }
}

#[test]
fn attention_is_its_twin() {
    // Two sequences, the first with a bidirectional end and a row that sees nothing.
    let mut mixed = AttentionLayout::causal(&[150, 7]);
    mixed.visible[100..150].fill([0, 150]);
    mixed.visible[3] = [2, 2];
    // Queries that follow cached keys.
    let cached = AttentionLayout::new(vec![[3, 20], [0, 21], [0, 40]], vec![(0..3, 0..21)]);
    in_both_precisions(|precision, tolerance| {
        for (layout, keys, heads, kv_heads, width) in [
            (AttentionLayout::causal(&[1]), 1, 1, 1, 2),
            (AttentionLayout::causal(&[5, 3, 70]), 78, 6, 2, 10),
            (mixed.clone(), 157, 4, 2, 64),
            (cached.clone(), 21, 2, 1, 16),
        ] {
            let q = random([layout.visible.len(), heads, width]);
            let (k, v) = (random([keys, kv_heads, width]), random([keys, kv_heads, width]));
            let plain = portable::attention(q.clone(), k.clone(), v.clone(), &layout);
            let fused = ops::attention(q.clone(), k.clone(), v.clone(), Arc::new(layout), precision);
            compare!(tolerance, [q, k, v], fused, plain);
        }
    });
}

#[test]
fn cross_entropy_is_its_twin() {
    for [rows, classes] in [[1, 1], [3, 7], [50, 259], [9, 8192]] {
        let logits = (random([rows, classes]) * 5.0).detach().require_grad();
        let targets: Vec<u32> = (0..rows).map(|row| (row * 31 % classes) as u32).collect();
        let plain = portable::cross_entropy(logits.clone(), targets.clone());
        compare!(1e-4, [logits], ops::cross_entropy(logits.clone(), targets).unwrap(), plain);
    }
}

#[test]
fn cross_entropy_wants_a_class_for_each_row() {
    let error = |targets| ops::cross_entropy(random([2, 3]), targets).unwrap_err().to_string();
    assert_eq!(error(vec![0]), "cross entropy: there are 1 targets for 2 rows of logits");
    assert_eq!(error(vec![0, 3]), "cross entropy: the target of row 1 is 3, but there are 3 classes");
}

#[test]
fn conv2d_is_its_twin() {
    in_both_precisions(|precision, tolerance| {
        for (batch, [height, width], [c_in, c_out], k, stride, padding) in [
            (1, [1, 1], [1, 1], 1, 2, [0; 4]),
            (2, [5, 7], [3, 4], 3, 1, [1; 4]),
            (1, [12, 12], [33, 65], 3, 1, [1; 4]),
            (3, [8, 6], [5, 34], 3, 2, [0, 1, 0, 1]),
            (2, [9, 7], [32, 16], 3, 2, [1; 4]),
            (2, [11, 9], [8, 8], 5, 3, [2, 1, 0, 2]),
            (5, [24, 24], [16, 40], 4, 2, [1; 4]),
            (2, [40, 40], [64, 32], 3, 1, [1; 4]),
        ] {
            let x = random([batch, height, width, c_in]);
            let (w, b) = (random([c_out, c_in, k, k]), random([c_out]));
            let plain = portable::conv2d(x.clone(), w.clone(), b.clone(), stride, padding);
            compare!(
                tolerance,
                [x, w, b],
                ops::conv::conv2d(x.clone(), w.clone(), b.clone(), stride, padding, precision),
                plain
            );
        }
    });
}

#[test]
fn group_norm_is_its_twin() {
    for (batch, [height, width], channels, groups) in
        [(1, [3, 2], 2, 2), (2, [3, 5], 6, 3), (3, [12, 12], 32, 32), (2, [40, 40], 64, 8)]
    {
        let shape = [batch, height, width, channels];
        let device = Device::flex().autodiff();
        // A mean far from zero, which must not drown the variance.
        let x = normal(shape, 30.0, &device).require_grad();
        let (w, b) = (random([channels]), random([channels]));
        let plain = || portable::group_norm(x.clone(), w.clone(), b.clone(), groups, 1e-6);
        let fused = ops::conv::group_norm(x.clone(), w.clone(), b.clone(), groups, 1e-6);
        compare!(1e-3, [x, w, b], fused, plain());
        let fused = ops::conv::group_norm_swish(x.clone(), w.clone(), b.clone(), groups, 1e-6);
        compare!(1e-3, [x, w, b], fused, ops::conv::swish(plain()));
    }
}

/// A large image is convolved in bands, with the same bits as a part of it by itself.
#[test]
fn large_images_are_convolved_in_bands() {
    let device = Device::flex();
    let (x, w) = (normal([1, 300, 130, 128], 0.0, &device), normal([5, 128, 3, 3], 0.0, &device));
    let b = normal([5], 0.0, &device);
    for (stride, padding) in [(1, [1; 4]), (2, [0, 1, 0, 1])] {
        let of = |x: Tensor<4>| ops::conv::conv2d(x, w.clone(), b.clone(), stride, padding, F32);
        let rows = |y: &Tensor<4>, start: usize, count: usize| y.clone().narrow(1, start, count).into_data();
        let whole = of(x.clone());
        let count = whole.dims()[1];
        let (top, bottom) = (of(x.clone().narrow(1, 0, 180)), of(x.clone().narrow(1, 120, 180)));
        let (half, cut) = (count / 2, 120 / stride);
        rows(&whole, 0, half).assert_eq(&rows(&top, 0, half), true);
        rows(&whole, half, count - half).assert_eq(&rows(&bottom, half - cut, count - half), true);
    }
}

#[test]
fn upsample2_conv2d_is_its_twin() {
    in_both_precisions(|precision, tolerance| {
        for (batch, [height, width], [c_in, c_out]) in
            [(1, [1, 1], [1, 1]), (2, [3, 5], [3, 4]), (3, [12, 10], [33, 40]), (2, [24, 24], [64, 32])]
        {
            let x = random([batch, height, width, c_in]);
            let (w, b) = (random([c_out, c_in, 3, 3]), random([c_out]));
            let large = portable::upsample2(x.clone());
            let plain = portable::conv2d(large, w.clone(), b.clone(), 1, [1; 4]);
            let fused = ops::conv::upsample2_conv2d(x.clone(), w.clone(), b.clone(), precision);
            compare!(tolerance, [x, w, b], fused, plain);
        }
    });
}

#[test]
fn upsample2_is_its_twin() {
    let x = random([2, 3, 5, 7]);
    compare!(1e-6, [x], ops::conv::upsample2(x.clone()), portable::upsample2(x.clone()));
}

/// The same values on `device`.
fn there<const D: usize>(x: &Tensor<D>, device: &Device) -> Tensor<D> {
    Tensor::from_data(x.clone().into_data(), device).require_grad()
}

/// Results that are computed again in the backward pass give the gradients of those that were kept.
#[test]
fn gradient_checkpointing_changes_no_gradient() {
    let (x, square, wide) = (random([6, 16]), random([16, 16]), random([16, 16]));
    let (scale, shift) = (random([16]), random([16]));
    let run = |device: &Device, precision| {
        let [x, square, wide] = [&x, &square, &wide].map(|x| there(x, device));
        let [scale, shift] = [&scale, &shift].map(|x| there(x, device));
        let seen = ops::rms_norm(x.clone(), scale.clone(), 1e-6);
        let gate = ops::linear(seen.clone(), square.clone(), None, precision);
        let up = ops::linear(seen, wide.clone(), None, precision);
        let y = x.clone() + ops::swiglu(gate, up);
        let y = ops::gelu_tanh(ops::layer_norm(y, scale.clone(), shift.clone(), 1e-6));
        let grads = ops::linear(y, square.clone(), None, precision).square().sum().backward();
        let of = [x, square, wide].map(|x| x.grad(&grads).unwrap().into_data());
        (of, [scale, shift].map(|x| x.grad(&grads).unwrap().into_data()))
    };
    let device = Device::flex().autodiff();
    in_both_precisions(|precision, _| {
        let recomputed = run(&device.clone().gradient_checkpointing(), precision);
        assert_eq!(run(&device, precision), recomputed);
    });
}

/// The precision belongs to the call: it holds in the backward pass, and a call in the other precision on another thread
/// changes nothing.
#[test]
fn each_call_has_its_own_precision() {
    let (x, w) = (random([40, 64]), random([24, 64]));
    let run = |precision| {
        let grads = ops::linear(x.clone(), w.clone(), None, precision).square().sum().backward();
        [&x, &w].map(|x| x.grad(&grads).unwrap().into_data())
    };
    let alone = [run(F32), run(Bf16)];
    assert_eq!(alone[0] != alone[1], ops::multiplies_bf16());
    std::thread::scope(|scope| {
        for (precision, alone) in [F32, Bf16].into_iter().zip(&alone) {
            scope.spawn(move || (0..20).for_each(|_| assert_eq!(run(precision), *alone)));
        }
    });
}
