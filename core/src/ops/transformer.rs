//! The operations of transformers: each picks the implementation of the device that its tensors are on.

use super::attention_layout::AttentionLayout;
#[cfg(feature = "cpu")]
use super::cpu;
#[cfg(feature = "cpu")]
use super::fused::{Inputs, flex, on_cpu};
#[cfg(feature = "wgpu")]
use super::gpu;
use super::portable;
use super::weight::{Stored, Weight};
use crate::error::{Error, ErrorKind, Result};
use crate::precision::MatmulPrecision;
use crate::quantized::BlockFormat;
use burn::tensor::{Device, Int, Tensor};
use std::sync::Arc;

/// Whether [`linear`] on `device` multiplies weights `[outputs, inputs]` in `f16` and `bf16` as they are stored: they take half
/// of the memory and give the same result. With gradients they are `f32`, since they may be trained.
pub fn multiplies_halves(shape: [usize; 2], device: &Device) -> bool {
    #[cfg(feature = "cpu")]
    if flex(device) {
        return true;
    }
    #[cfg(feature = "wgpu")]
    if gpu::runs_on(device) {
        return gpu::takes_stored(shape, 2 * shape[0] * shape[1]);
    }
    let _ = (shape, device);
    false
}

/// Whether [`linear`] on `device` multiplies weights `[outputs, inputs]` in blocks as they are stored. They get no gradient, but
/// what they multiply does.
pub fn multiplies_blocks(format: BlockFormat, shape: [usize; 2], device: &Device) -> bool {
    let [outputs, inputs] = shape;
    let Some(row) = format.row_bytes(inputs).filter(|&row| row > 0) else { return false };
    let plain = device.clone().without_autodiff();
    #[cfg(feature = "cpu")]
    if flex(&plain) {
        return true;
    }
    #[cfg(feature = "wgpu")]
    if gpu::runs_on(&plain) {
        let unpacked = matches!(format, BlockFormat::Q4_0 | BlockFormat::Q8_0);
        return unpacked && gpu::takes_stored(shape, outputs * row);
    }
    let _ = (outputs, row, plain);
    false
}

/// How many rows of a weight `[outputs, inputs]` a tensor on `device` may have, so that it is bound at once in `f32`; nothing
/// where it may have them all. With gradients, weights are whole.
pub fn rows_at_once([outputs, inputs]: [usize; 2], device: &Device) -> Option<usize> {
    #[cfg(feature = "wgpu")]
    if gpu::runs_on(device) {
        // Shaders read rows by four.
        let rows = gpu::largest_binding(&Tensor::<1>::zeros([1], device)) / (4 * inputs).max(1) / 4 * 4;
        return (rows < outputs).then_some(rows.max(4));
    }
    let _ = (outputs, inputs, device);
    None
}

/// Whether this processor multiplies `bf16`; elsewhere [`MatmulPrecision::Bf16`] is the same as `F32`.
pub fn multiplies_bf16() -> bool {
    #[cfg(feature = "cpu")]
    return cpu::multiplies_bf16();
    #[cfg(not(feature = "cpu"))]
    false
}

/// `x wᵀ + b`: `x` `[.., inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]` → `[.., outputs]`.
///
/// A weight in half precision or in blocks is frozen: `x` and the bias get gradients, the weight none.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: impl Into<Weight>,
    bias: Option<Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<D> {
    #[cfg(not(feature = "cpu"))]
    let _ = precision;
    let weight = weight.into();
    if let Stored::Parts(parts) = weight.stored {
        let mut first = 0;
        let products = parts.into_iter().map(|part| {
            let outputs = first..first + part.dims()[0];
            first = outputs.end;
            linear(x.clone(), part, bias.clone().map(|bias| bias.slice([outputs])), precision)
        });
        return Tensor::cat(products.collect(), D - 1);
    }
    if !weight.is_float() {
        return stored_linear(x, weight, bias, precision);
    }
    let weight = weight.values();
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        return match bias {
            Some(bias) => [x, weight, bias.into_dispatch()].apply(cpu::Linear { precision }),
            None => [x, weight].apply(cpu::Linear { precision }),
        };
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && weight.shape().num_elements() > 0 {
        return gpu::linear(x, weight, bias);
    }
    portable::linear(x, weight, bias)
}

/// [`linear`] with a weight that stays as it is stored.
fn stored_linear<const D: usize>(
    x: Tensor<D>,
    weight: Weight,
    bias: Option<Tensor<1>>,
    precision: MatmulPrecision,
) -> Tensor<D> {
    #[cfg(not(feature = "cpu"))]
    let _ = precision;
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let op = cpu::StoredLinear { weight: cpu::Matrix::of(weight), precision };
        return match bias {
            Some(bias) => [x.into_dispatch(), bias.into_dispatch()].apply(op),
            None => [x.into_dispatch()].apply(op),
        };
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) {
        return gpu::stored_linear(x, weight, bias);
    }
    portable::linear(x, weight.values(), bias)
}

/// Root-mean-square normalisation over the last dimension (Zhang & Sennrich 2019): `x` `[.., width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return [x.into_dispatch(), weight.into_dispatch()].apply(cpu::RmsNorm { eps: eps as f32 });
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && x.dims()[D - 1].is_multiple_of(4) {
        return gpu::rms_norm(x, weight, eps);
    }
    portable::rms_norm(x, weight, eps)
}

/// Layer normalisation over the last dimension (Ba et al. 2016): `x` `[.., width]`.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        return inputs.apply(cpu::LayerNorm { eps: eps as f32 });
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && x.dims()[D - 1].is_multiple_of(4) {
        return gpu::layer_norm(x, weight, bias, eps);
    }
    portable::layer_norm(x, weight, bias, eps)
}

/// GELU by its tanh (Hendrycks & Gimpel 2016): `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return [x.into_dispatch()].apply(cpu::GeluTanh);
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && x.shape().num_elements().is_multiple_of(4) {
        return gpu::gelu_tanh(x);
    }
    portable::gelu_tanh(x)
}

/// Gated activation of SwiGLU (Shazeer 2020): `silu(gate) * up`, all `[.., width]`.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if on_cpu(&gate) {
        return [gate.into_dispatch(), up.into_dispatch()].apply(cpu::SwiGlu);
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&gate) && gate.shape().num_elements().is_multiple_of(4) {
        return gpu::swiglu(gate, up);
    }
    portable::swiglu(gate, up)
}

/// The entries `ids` of a `table` `[entries, width]` → `[ids, width]`. A table in half precision or in blocks gets no gradient.
pub fn embed(table: impl Into<Weight>, ids: Tensor<1, Int>) -> Tensor<2> {
    let table = table.into();
    if let Stored::Parts(parts) = table.stored {
        let mut first = 0;
        let rows = parts.into_iter().map(|part| {
            let (own, entries) = (ids.clone() - first, part.dims()[0] as i32);
            first += entries;
            let others = own.clone().lower_elem(0).bool_or(own.clone().greater_equal_elem(entries));
            let rows = embed(part, own.clamp(0, entries - 1));
            let shape = rows.dims();
            rows.mask_fill(others.unsqueeze_dim::<2>(1).expand(shape), 0.0)
        });
        let width = [ids.dims()[0], 0];
        return rows.reduce(|a, b| a + b).unwrap_or_else(|| Tensor::zeros(width, &ids.device()));
    }
    if !table.is_float() {
        return stored_embed(table, ids);
    }
    let table = table.values();
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&table) && ids.dims()[0] > 0 && table.dims()[1].is_multiple_of(4) {
        return gpu::embed(table, ids);
    }
    table.select(0, ids)
}

/// [`embed`] with a table that stays as it is stored.
fn stored_embed(table: Weight, ids: Tensor<1, Int>) -> Tensor<2> {
    let device = ids.device().without_autodiff();
    #[cfg(feature = "cpu")]
    if flex(&device) {
        return cpu::embed(table, ids);
    }
    #[cfg(feature = "wgpu")]
    if gpu::runs_on(&device) && ids.dims()[0] > 0 {
        return gpu::embed_stored(table, ids);
    }
    let _ = device;
    table.values().select(0, ids)
}

/// Chosen rows of `x` `[.., width]`, none of them twice → `[rows, width]`.
pub fn select_rows(x: Tensor<2>, rows: Tensor<1, Int>) -> Tensor<2> {
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && rows.dims()[0] > 0 && x.dims()[1].is_multiple_of(4) {
        return gpu::select_rows(x, rows);
    }
    x.select(0, rows)
}

/// Rotary position embedding (Su et al. 2021) with the two halves of a head as the pairs, as in Qwen2:
/// `x` `[tokens, heads, head_dim]`, `cos` and `sin` `[tokens, head_dim / 2]` (constants: they get no
/// gradient on the CPU device).
pub fn rope(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return [x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch()].apply(cpu::Rope);
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&x) && x.dims()[2].is_multiple_of(8) {
        return gpu::rope(x, cos, sin);
    }
    portable::rope(x, cos, sin)
}

/// Grouped-query attention (Ainslie et al. 2023), scaled by `head_dim^-1/2`, softmax in `f32`: `q`
/// `[queries, heads, head_dim]`, `k` and `v` `[keys, kv_heads, head_dim]` → `[queries, heads, head_dim]`.
/// A row that sees no key gives zeros.
///
/// # Panics
/// If `layout` does not fit the shapes.
pub fn attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    layout: Arc<AttentionLayout>,
    precision: MatmulPrecision,
) -> Tensor<3> {
    #[cfg(not(feature = "cpu"))]
    let _ = precision;
    let [queries, heads, width] = q.dims();
    let [keys, kv_heads, _] = k.dims();
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "{heads} heads are no multiple of {kv_heads}");
    assert_eq!(k.dims(), [keys, kv_heads, width], "queries and keys differ in width");
    assert_eq!(k.dims(), v.dims(), "keys and values differ in shape");
    layout.check(queries, keys);
    #[cfg(feature = "cpu")]
    if on_cpu(&q) {
        let inputs = [q.into_dispatch(), k.into_dispatch(), v.into_dispatch()];
        return inputs.apply(cpu::Attention { layout, precision });
    }
    #[cfg(feature = "wgpu")]
    if gpu::on_gpu(&q) && width.is_multiple_of(4) {
        return gpu::attention(q, k, v, &layout);
    }
    portable::attention(q, k, v, &layout)
}

/// Mean over the rows of `-log softmax(logits)[target]`: `logits` `[rows, classes]`, one target for each row → `[1]`.
///
/// # Errors
/// Where the number of targets is not that of the rows, or a target is not one of the classes.
pub fn cross_entropy(logits: Tensor<2>, targets: Vec<u32>) -> Result<Tensor<1>> {
    let [rows, classes] = logits.dims();
    let wrong = |what: String| Error::new(ErrorKind::Config, "cross entropy", what);
    if targets.len() != rows {
        return Err(wrong(format!("there are {} targets for {rows} rows of logits", targets.len())));
    }
    if let Some(row) = targets.iter().position(|&target| target as usize >= classes) {
        let target = targets[row];
        return Err(wrong(format!("the target of row {row} is {target}, but there are {classes} classes")));
    }
    #[cfg(feature = "cpu")]
    if on_cpu(&logits) {
        return Ok([logits.into_dispatch()].apply(cpu::CrossEntropy { targets }));
    }
    Ok(portable::cross_entropy(logits, targets))
}
