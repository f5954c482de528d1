//! Operations of shaders: a backend extension of burn runs any [`ShaderOp`] on the GPU device, as `ops::fused` does on the
//! CPU device; `ops::autodiff` records its gradients.

use super::launch::Buffer;
use crate::ops::backend_ops::backend_ops;
use burn::backend::{Backend, Dispatch, DispatchTensor, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{Cube, tensor::CubeTensor};
use std::fmt::Debug;
use std::sync::Arc;

/// A differentiable function of `N` dense `f32` tensors to one.
pub trait ShaderOp<const N: usize>: Debug + Send + Sync + 'static {
    /// The result.
    fn forward(&self, inputs: &[Buffer; N]) -> Buffer;

    /// Whether training with gradient checkpointing runs the operation again in the backward pass instead of keeping its
    /// result.
    fn cheap(&self) -> bool {
        false
    }

    /// The gradients of the inputs, given the gradient of the result. Only those `wanted` are used.
    fn backward(&self, inputs: &[Buffer; N], grad: &Buffer, wanted: [bool; N]) -> [Option<Buffer>; N];
}

backend_ops!(Cube, ShaderOp, ShaderOps);

/// The result of `op` on tensors of any layout.
pub fn run<const N: usize>(inputs: [CubeTensor; N], op: &dyn ShaderOp<N>) -> CubeTensor {
    op.forward(&inputs.map(Buffer::from)).into()
}

/// The gradients of `op`, shaped like its inputs.
pub fn differentiate<const N: usize>(
    inputs: [CubeTensor; N],
    grad: CubeTensor,
    wanted: [bool; N],
    op: &dyn ShaderOp<N>,
) -> [Option<CubeTensor>; N] {
    let grads = op.backward(&inputs.map(Buffer::from), &grad.into(), wanted);
    grads.map(|grad| grad.map(CubeTensor::from))
}
