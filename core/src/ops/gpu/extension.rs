//! How shaders reach burn: one backend extension that runs any [`Kernel`] on the GPU device, as `ops::extension` does on the
//! CPU device; its gradients are in `ops::autodiff`.

use super::launch::Buffer;
use crate::ops::kernel_ops::kernel_ops;
use burn::backend::{Backend, Dispatch, DispatchTensor, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{Cube, tensor::CubeTensor};
use std::fmt::Debug;
use std::sync::Arc;

/// A differentiable function of `N` dense `f32` tensors to one.
pub trait Kernel<const N: usize>: Debug + Send + Sync + 'static {
    /// The result.
    fn forward(&self, inputs: &[Buffer; N]) -> Buffer;

    /// Whether it is so cheap that training with gradient checkpointing runs it again in the backward pass rather than keep
    /// its result.
    fn cheap(&self) -> bool {
        false
    }

    /// The gradients of the inputs, given that of the result; only the `wanted` ones are looked at.
    fn backward(&self, inputs: &[Buffer; N], grad: &Buffer, wanted: [bool; N]) -> [Option<Buffer>; N];
}

kernel_ops!(Cube);

/// The result of `kernel` on tensors of any layout.
pub fn run<const N: usize>(inputs: [CubeTensor; N], kernel: &dyn Kernel<N>) -> CubeTensor {
    kernel.forward(&inputs.map(Buffer::from)).into()
}

/// The gradients of `kernel`, shaped like its inputs.
pub fn differentiate<const N: usize>(
    inputs: [CubeTensor; N],
    grad: CubeTensor,
    wanted: [bool; N],
    kernel: &dyn Kernel<N>,
) -> [Option<CubeTensor>; N] {
    let grads = kernel.backward(&inputs.map(Buffer::from), &grad.into(), wanted);
    grads.map(|grad| grad.map(CubeTensor::from))
}
