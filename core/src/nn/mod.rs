//! The layers that all models share, with the parameter names and layouts of published PyTorch checkpoints.

mod weight;

pub(crate) use weight::{BLOCKS, PARTS, answer};
pub use weight::{WeightParam, blocks_in};

use crate::ops;
use crate::precision::MatmulPrecision;
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
    pub weight: WeightParam,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
    /// A change of the weight that is trained in its place.
    pub adapter: Option<Adapter>,
    /// Of the layer's products.
    pub precision: MatmulPrecision,
}

/// A change of a weight by a product of two small matrices (LoRA, Hu et al., arXiv 2106.09685): `ΔW = α / r · B A`.
#[derive(Module, Debug)]
pub struct Adapter {
    /// `A`, `[r, inputs]`
    pub down: Param<Tensor<2>>,
    /// `B`, `[outputs, r]`, zeros at first
    pub up: Param<Tensor<2>>,
    /// `α / r`
    #[module(skip)]
    scale: f64,
}

impl Linear {
    /// A layer with normal weights of deviation `std` and, where asked for, zero bias.
    pub fn new(inputs: usize, outputs: usize, bias: bool, std: f64, device: &Device) -> Self {
        let weight = weight::normal([outputs, inputs], std, device);
        let bias = bias.then(|| zeros([outputs], device));
        Self { weight, bias, adapter: None, precision: MatmulPrecision::F32 }
    }

    /// `[.., inputs]` → `[.., outputs]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let linear = |x| ops::linear(x, self.weight.val(), bias, self.precision);
        match &self.adapter {
            Some(adapter) => linear(x.clone()) + adapter.forward(x, self.precision),
            None => linear(x),
        }
    }

    /// The same layer with a new [`Adapter`] of rank `rank`, which changes nothing yet.
    pub fn adapted(self, rank: usize, alpha: f64) -> Self {
        let ([outputs, inputs], device) = (self.weight.dims(), self.weight.device());
        let adapter = Adapter {
            down: normal([rank, inputs], (inputs as f64).powf(-0.5), &device),
            up: zeros([outputs, rank], &device),
            scale: alpha / rank as f64,
        };
        Self { adapter: Some(adapter), ..self }
    }

    /// The same layer with its adapter added to the weight.
    pub fn merged(self) -> Self {
        let weight = match self.adapter {
            Some(Adapter { down, up, scale }) => {
                self.weight.map_values(|weight| weight + up.val().matmul(down.val()) * scale)
            }
            None => self.weight,
        };
        Self { weight, bias: self.bias, adapter: None, precision: self.precision }
    }
}

impl Adapter {
    /// `[.., inputs]` → `[.., outputs]`
    fn forward<const D: usize>(&self, x: Tensor<D>, precision: MatmulPrecision) -> Tensor<D> {
        let low = ops::linear(x, self.down.val(), None, precision);
        ops::linear(low, self.up.val(), None, precision) * self.scale
    }
}

/// A table of `[entries, width]`.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, width]`
    pub weight: WeightParam,
}

impl Embedding {
    /// A table with normal entries of deviation `std`.
    pub fn new(entries: usize, width: usize, std: f64, device: &Device) -> Self {
        Self { weight: weight::normal([entries, width], std, device) }
    }

    /// `[tokens]` → `[tokens, width]`
    pub fn forward(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        ops::embed(self.weight.val(), ids)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_adapter_does_what_it_did() {
        let device = Device::flex();
        let x = Tensor::<2>::random([5, 6], Distribution::Default, &device);
        let plain = Linear::new(6, 4, true, 0.5, &device);
        let mut adapted = plain.clone().adapted(2, 6.0);
        let difference = |a: &Linear, b: &Linear| {
            (a.forward(x.clone()) - b.forward(x.clone())).abs().max().into_scalar::<f32>()
        };
        assert_eq!(difference(&plain, &adapted), 0.0);
        if let Some(adapter) = &mut adapted.adapter {
            adapter.up = normal([4, 2], 1.0, &device);
        }
        let merged = adapted.clone().merged();
        assert!(merged.adapter.is_none());
        assert!(difference(&adapted, &merged) < 1e-5 && difference(&plain, &merged) > 0.1);
    }
}
