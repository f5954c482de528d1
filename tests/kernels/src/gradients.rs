//! Forward and backward of the kernels that training needs, against the twins on the CPU device.

use crate::cases::{kernel_of, mixed_rows, stored};
use crate::{Checks, random};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use std::sync::Arc;
use unigen_core::ops::{self, AttentionLayout, portable};
use unigen_core::precision::MatmulPrecision::F32;

pub(crate) async fn run(checks: &mut Checks) {
    linear(checks).await;
    linear_stored(checks).await;
    norms(checks).await;
    activations(checks).await;
    rope(checks).await;
    attention(checks).await;
    rows_and_entries(checks).await;
}

/// Values shaped like `y` that weigh its entries in a sum.
fn weights<const D: usize>(y: &Tensor<D>) -> TensorData {
    random(y.dims()).into_data()
}

fn backward<const D: usize>(y: &Tensor<D>, weights: &TensorData) -> Gradients {
    (y.clone() * Tensor::from_data(weights.clone(), &y.device())).sum().backward()
}

impl Checks {
    /// A leaf on each device with the same values: the GPU's, the CPU's.
    fn leaf<const D: usize>(&self, shape: [usize; D], scale: f64) -> [Tensor<D>; 2] {
        let data = (random(shape) * scale).into_data();
        [&self.device, &Device::flex()]
            .map(|d| Tensor::from_data(data.clone(), &d.clone().autodiff()).require_grad())
    }
}

/// Compares `$fused` on the GPU, which `$kernels` compute, with `$plain` on the CPU device, and the gradients of all the
/// leaves `$x`, which the `$backward` kernels compute.
macro_rules! compare {
    ($checks:ident, $case:expr, $kernels:expr, [$($x:ident: $backward:expr),*], $fused:expr, $plain:expr) => {{
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
        $checks.close($kernels, format!("{} in training", $case), fused.inner(), plain.inner(), 1e-5).await;
        $({
            let case = format!("{}, gradient of {}", $case, stringify!($x));
            let [there, here] = &$x;
            let (got, want) = (there.grad(&got).expect("a gradient"), here.grad(&want).expect("a gradient"));
            // A sum of many terms keeps their rounding.
            $checks.close($backward, case, got, want, 1e-4).await;
        })*
    }};
}

fn ids(values: &[i32], on: &Tensor<2>) -> Tensor<1, Int> {
    Tensor::from_ints(values, &on.device())
}

async fn linear(checks: &mut Checks) {
    for [rows, inputs, outputs] in [[1, 4, 1], [37, 12, 44], [300, 64, 132], [1000, 260, 20]] {
        let [x, w] = [[rows, inputs], [outputs, inputs]].map(|shape| checks.leaf(shape, 1.0));
        let b = checks.leaf([outputs], 1.0);
        let case = format!("{rows} x {inputs} -> {outputs}");
        // A part of a quad is multiplied by burn.
        let product: &[&str] = if outputs.is_multiple_of(4) { &["matmul"] } else { &[] };
        compare!(
            checks,
            case,
            &["add_bias"],
            [x: product, w: product, b: &["sum_rows"]],
            ops::linear(x, w, Some(b), F32),
            portable::linear(x, w, Some(b))
        );
        compare!(
            checks,
            case,
            product,
            [x: product, w: product],
            ops::linear(x, w, None, F32),
            portable::linear(x, w, None)
        );
    }
}

/// A weight that stays as it is stored is frozen; what it multiplies has a gradient.
async fn linear_stored(checks: &mut Checks) {
    for [rows, inputs, outputs] in [[1, 32, 4], [300, 64, 132], [1000, 288, 20]] {
        let case = format!("{rows} x {inputs} -> {outputs}");
        for [here, there] in stored(checks, [outputs, inputs]) {
            let (x, b) = (checks.leaf([rows, inputs], 1.0), checks.leaf([outputs], 1.0));
            let product = [kernel_of("matmul", &there)];
            let of = |x: &Tensor<2>| {
                Tensor::from_inner(here.clone().values().to_device(&x.clone().inner().device()))
            };
            compare!(
                checks,
                case,
                &product,
                [x: &product, b: &["sum_rows"]],
                ops::linear(x, there.clone(), Some(b), F32),
                portable::linear(x.clone(), of(&x), Some(b))
            );
        }
    }
}

async fn norms(checks: &mut Checks) {
    for shape in [[1, 4], [700, 20], [70, 64]] {
        let x = checks.leaf(shape, 3.0);
        let [w, b] = [0; 2].map(|_| checks.leaf([shape[1]], 1.0));
        let case = format!("{shape:?}");
        compare!(
            checks,
            case,
            &["rms_norm"],
            [x: &["rms_norm_backward"], w: &["rms_norm_backward", "sum_rows"]],
            ops::rms_norm(x, w, 1e-6),
            portable::rms_norm(x, w, 1e-6)
        );
        compare!(
            checks,
            case,
            &["layer_norm"],
            [x: &["layer_norm_backward"], w: &["layer_norm_backward", "sum_rows"], b: &["sum_rows"]],
            ops::layer_norm(x, w, b, 1e-6),
            portable::layer_norm(x, w, b, 1e-6)
        );
    }
}

async fn activations(checks: &mut Checks) {
    let x = checks.leaf([7, 36], 8.0);
    compare!(
        checks,
        "7 x 36",
        &["gelu_tanh"],
        [x: &["gelu_tanh_backward"]],
        ops::gelu_tanh(x),
        portable::gelu_tanh(x)
    );
    let (gate, up) = (checks.leaf([7, 36], 8.0), checks.leaf([7, 36], 1.0));
    compare!(
        checks,
        "7 x 36",
        &["swiglu"],
        [gate: &["swiglu_backward"], up: &["swiglu_backward"]],
        ops::swiglu(gate, up),
        portable::swiglu(gate, up)
    );
}

async fn rope(checks: &mut Checks) {
    let x = checks.leaf([33, 4, 64], 1.0);
    let angles = random([33, 32]);
    let tables = |x: &Tensor<3>| {
        [angles.clone().cos(), angles.clone().sin()].map(|t| Tensor::from_data(t.into_data(), &x.device()))
    };
    compare!(
        checks,
        "33 x 4 x 64",
        &["rope"],
        [x: &["rope"]],
        {
            let [cos, sin] = tables(&x);
            ops::rope(x, cos, sin)
        },
        {
            let [cos, sin] = tables(&x);
            portable::rope(x, cos, sin)
        }
    );
}

async fn attention(checks: &mut Checks) {
    // Some queries only; keys before, between and after the segments belong to none.
    let gaps = AttentionLayout::new(vec![[3, 20], [0, 21], [40, 73]], vec![(0..2, 2..21), (2..3, 40..73)]);
    for (case, layout, keys, heads, kv_heads, width) in [
        ("one", AttentionLayout::causal(&[1]), 1, 1, 1, 4),
        ("causal", AttentionLayout::causal(&[5, 3, 70]), 78, 6, 2, 12),
        ("mixed", mixed_rows(), 57, 4, 2, 64),
        ("gaps", gaps, 80, 2, 1, 16),
    ] {
        let q = checks.leaf([layout.visible.len(), heads, width], 1.0);
        let [k, v] = [0; 2].map(|_| checks.leaf([keys, kv_heads, width], 1.0));
        let layout = Arc::new(layout);
        compare!(
            checks,
            case,
            &["attention"],
            [
                q: &["attention_backward_queries"],
                k: &["attention_backward_queries", "attention_backward_keys"],
                v: &["attention_backward_queries", "attention_backward_values"]
            ],
            ops::attention(q, k, v, layout.clone(), F32),
            portable::attention(q, k, v, &layout)
        );
    }
}

async fn rows_and_entries(checks: &mut Checks) {
    let (table, x) = (checks.leaf([9, 12], 1.0), checks.leaf([70, 8], 1.0));
    let rows: Vec<i32> = (0..70).filter(|row| row % 3 != 1).rev().collect();
    let entries = [4, 4, 0, 8, 4, 1];
    compare!(
        checks,
        "entries of a table",
        &["embed"],
        [table: &["embed_backward"]],
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
        checks,
        "rows",
        &["select_rows"],
        [x: &["invert", "select_backward"]],
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
