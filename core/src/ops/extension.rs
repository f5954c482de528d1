//! How fused kernels reach burn: one backend extension that runs any [`Kernel`] on the CPU device; its
//! gradients are in `autodiff`.

use super::cpu::View;
use super::kernel_ops::kernel_ops;
use burn::backend::{
    Backend, Dispatch, DispatchDevice, DispatchTensor, Flex, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{DType, Tensor, TensorData};
use std::fmt::Debug;
use std::sync::Arc;

/// The tensor of burn's CPU device.
pub type CpuTensor = FloatTensor<Flex>;

/// A differentiable function of `N` dense `f32` tensors to one.
pub trait Kernel<const N: usize>: Debug + Send + Sync + 'static {
    /// The values and the shape of the result.
    fn forward(&self, inputs: [View; N]) -> (Vec<f32>, Vec<usize>);

    /// Whether it is so cheap that training with gradient checkpointing runs it again in the backward pass rather than keep
    /// its result.
    fn cheap(&self) -> bool {
        false
    }

    /// The gradients of the inputs, given that of the result; only the `wanted` ones are looked at.
    fn backward(&self, inputs: [View; N], grad: &[f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N];
}

kernel_ops!(Flex);

/// The result of `kernel` on tensors of any layout.
pub fn run<const N: usize>(inputs: [CpuTensor; N], kernel: &dyn Kernel<N>) -> CpuTensor {
    let inputs = inputs.map(dense);
    let (values, shape) = kernel.forward(inputs.each_ref().map(view));
    CpuTensor::from_data(TensorData::new(values, shape))
}

/// The gradients of `kernel`, shaped like its inputs.
pub fn differentiate<const N: usize>(
    inputs: [CpuTensor; N],
    grad: CpuTensor,
    wanted: [bool; N],
    kernel: &dyn Kernel<N>,
) -> [Option<CpuTensor>; N] {
    let (inputs, grad) = (inputs.map(dense), dense(grad));
    let grads = kernel.backward(inputs.each_ref().map(view), view(&grad).data, wanted);
    let mut inputs = inputs.iter();
    grads.map(|values| {
        let shape = inputs.next().map(|input| view(input).shape.to_vec());
        Some(CpuTensor::from_data(TensorData::new(values?, shape?)))
    })
}

/// The tensor itself where its items lie in order, else a copy.
fn dense(tensor: CpuTensor) -> CpuTensor {
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

fn view(tensor: &CpuTensor) -> View<'_> {
    let layout = tensor.layout();
    let (shape, start) = (&layout.shape()[..], layout.start_offset());
    View { data: &tensor.storage()[start..start + shape.iter().product::<usize>()], shape }
}

/// Whether kernels are to take `x`: it lies on the CPU device, in `f32`.
pub fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    if !super::kernels_on() {
        return false;
    }
    let device = x.device().without_autodiff();
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    let flex = matches!(device.as_dispatch(), DispatchDevice::Flex(_));
    flex && x.dtype() == DType::F32
}
