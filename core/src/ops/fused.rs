//! Fused operations of the CPU device: a backend extension of burn runs any [`FusedOp`]; `autodiff` records its gradients.

use super::backend_ops::backend_ops;
use burn::backend::{
    Backend, Dispatch, DispatchDevice, DispatchTensor, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::fmt::Debug;
use std::sync::Arc;

/// The tensor of burn's CPU device.
pub type CpuTensor = FloatTensor<Flex>;

/// A dense tensor as operations see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The values, last dimension fastest.
    pub data: &'a [f32],
    /// The sizes of the dimensions.
    pub shape: &'a [usize],
}

impl View<'_> {
    /// The size of the last dimension.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many rows of [`Self::width`] there are.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }
}

/// A differentiable function of `N` dense `f32` tensors to one.
pub trait FusedOp<const N: usize>: Debug + Send + Sync + 'static {
    /// The values and the shape of the result.
    fn forward(&self, inputs: [View; N]) -> (Vec<f32>, Vec<usize>);

    /// Whether training with gradient checkpointing runs the operation again in the backward pass instead of keeping its
    /// result.
    fn cheap(&self) -> bool {
        false
    }

    /// The gradients of the inputs, given the gradient of the result. Only those `wanted` are used.
    fn backward(&self, inputs: [View; N], grad: &[f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N];
}

backend_ops!(Flex, FusedOp, FusedOps);

/// The result of `op` on tensors of any layout.
pub fn run<const N: usize>(inputs: [CpuTensor; N], op: &dyn FusedOp<N>) -> CpuTensor {
    let inputs = inputs.map(dense);
    let (values, shape) = op.forward(inputs.each_ref().map(view));
    CpuTensor::from_data(TensorData::new(values, shape))
}

/// The gradients of `op`, shaped like its inputs.
pub fn differentiate<const N: usize>(
    inputs: [CpuTensor; N],
    grad: CpuTensor,
    wanted: [bool; N],
    op: &dyn FusedOp<N>,
) -> [Option<CpuTensor>; N] {
    let (inputs, grad) = (inputs.map(dense), dense(grad));
    let grads = op.backward(inputs.each_ref().map(view), view(&grad).data, wanted);
    let mut inputs = inputs.iter();
    grads.map(|values| {
        let shape = inputs.next().map(|input| view(input).shape.to_vec());
        Some(CpuTensor::from_data(TensorData::new(values?, shape?)))
    })
}

/// The tensor itself if its items lie in order, otherwise a copy.
fn dense(tensor: CpuTensor) -> CpuTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

fn view(tensor: &CpuTensor) -> View<'_> {
    let layout = tensor.layout();
    let (shape, start) = (&layout.shape()[..], layout.start_offset());
    View { data: &tensor.storage()[start..start + shape.iter().product::<usize>()], shape }
}

/// Whether `device` is burn's CPU device without gradients.
pub fn flex(device: &Device) -> bool {
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    return matches!(device.as_dispatch(), DispatchDevice::Flex(_));
}

/// Whether fused operations take `x`: it lies on the CPU device, in `f32`.
pub fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    flex(&x.device().without_autodiff()) && x.dtype() == DType::F32
}
