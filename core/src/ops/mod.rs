//! Operations with more than one implementation: a portable one of burn tensor operations, and kernels
//! for the CPU device in [`cpu`].

#[cfg(feature = "cpu")]
pub mod cpu;

pub mod conv;

use burn::tensor::{Tensor, activation};

/// `x wᵀ + b`: `x` `[.., inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]` → `[.., outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut shape = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows = shape.iter().take(D - 1).product::<usize>();
    let mut y = x.reshape([rows, inputs]).matmul(weight.transpose());
    if let Some(bias) = bias {
        y = y + bias.unsqueeze();
    }
    shape[D - 1] = outputs;
    y.reshape(shape)
}

/// Root-mean-square normalisation over the last dimension (Zhang & Sennrich 2019): `x` `[.., width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let scale = (x.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// Layer normalisation over the last dimension (Ba et al. 2016): `x` `[.., width]`.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let scale = (centred.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    centred * scale * weight.unsqueeze() + bias.unsqueeze()
}

/// Gated activation of SwiGLU (Shazeer 2020): `silu(gate) * up`, all `[.., width]`.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    activation::silu(gate) * up
}
