//! The layers that all models share, with the parameter names and layouts of published PyTorch checkpoints.

use crate::ops;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Distribution, Int, Tensor};

/// A parameter that `init` makes at its first use; one that is loaded before is never made.
fn lazy<const D: usize>(
    shape: [usize; D],
    device: &Device,
    init: impl FnOnce(&Device) -> Tensor<D> + Send + Sync + 'static,
) -> Param<Tensor<D>> {
    let init = move |device: &Device, grad| init(device).set_require_grad(grad);
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
}

/// A parameter drawn from a normal distribution with standard deviation `std`.
pub fn normal<const D: usize>(shape: [usize; D], std: f64, device: &Device) -> Param<Tensor<D>> {
    lazy(shape, device, move |device| Tensor::random(shape, Distribution::Normal(0.0, std), device))
}

/// A parameter of zeros.
pub fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    lazy(shape, device, move |device| Tensor::zeros(shape, device))
}

/// A parameter of ones.
pub fn ones<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    lazy(shape, device, move |device| Tensor::ones(shape, device))
}

/// `y = x weightᵀ + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with normal weights of deviation `std` and, where asked for, zero bias.
    pub fn new(inputs: usize, outputs: usize, bias: bool, std: f64, device: &Device) -> Self {
        Self { weight: normal([outputs, inputs], std, device), bias: bias.then(|| zeros([outputs], device)) }
    }

    /// `[.., inputs]` → `[.., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

/// A table of `[entries, width]`.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, width]`
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table with normal entries of deviation `std`.
    pub fn new(entries: usize, width: usize, std: f64, device: &Device) -> Self {
        Self { weight: normal([entries, width], std, device) }
    }

    /// `[tokens]` → `[tokens, width]`
    pub fn forward(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.weight.val().select(0, ids)
    }
}

/// Root-mean-square normalisation, see [`ops::rms_norm`].
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl RmsNorm {
    /// The identity scale.
    pub fn new(width: usize, eps: f64, device: &Device) -> Self {
        Self { weight: ones([width], device), eps }
    }

    /// `[.., width]` → `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.eps)
    }
}

/// Layer normalisation, see [`ops::layer_norm`].
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`
    pub weight: Param<Tensor<1>>,
    /// `[width]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// The identity scale and no shift.
    pub fn new(width: usize, eps: f64, device: &Device) -> Self {
        Self { weight: ones([width], device), bias: zeros([width], device), eps }
    }

    /// `[.., width]` → `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}
