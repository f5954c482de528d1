//! How shaders reach burn: one backend extension that runs any [`Kernel`] on the GPU device, as `ops::extension` does on the
//! CPU device; its gradients are in `ops::autodiff`.

use super::launch::Buffer;
use burn::backend::{Backend, Dispatch, DispatchTensor, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_cubecl::{Cube, tensor::CubeTensor};
use std::fmt::Debug;
use std::sync::Arc;

/// A differentiable function of `N` dense `f32` tensors to one.
pub trait Kernel<const N: usize>: Debug + Send + Sync + 'static {
    /// The result.
    fn forward(&self, inputs: &[Buffer; N]) -> Buffer;

    /// The gradients of the inputs, given that of the result; only the `wanted` ones are looked at.
    fn backward(&self, inputs: &[Buffer; N], grad: &Buffer, wanted: [bool; N]) -> [Option<Buffer>; N];
}

/// Kernels by their number of inputs.
#[backend_extension(Cube, Autodiff: cfg(feature = "train"))]
pub trait KernelOps: Backend {
    /// Runs a kernel of one input.
    fn run1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel<1>>) -> FloatTensor<Self>;
    /// Runs a kernel of two inputs.
    fn run2(a: FloatTensor<Self>, b: FloatTensor<Self>, kernel: Arc<dyn Kernel<2>>) -> FloatTensor<Self>;
    /// Runs a kernel of three inputs.
    fn run3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        kernel: Arc<dyn Kernel<3>>,
    ) -> FloatTensor<Self>;
}

impl KernelOps for Cube {
    fn run1(a: CubeTensor, kernel: Arc<dyn Kernel<1>>) -> CubeTensor {
        run([a], &*kernel)
    }

    fn run2(a: CubeTensor, b: CubeTensor, kernel: Arc<dyn Kernel<2>>) -> CubeTensor {
        run([a, b], &*kernel)
    }

    fn run3(a: CubeTensor, b: CubeTensor, c: CubeTensor, kernel: Arc<dyn Kernel<3>>) -> CubeTensor {
        run([a, b, c], &*kernel)
    }
}

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

/// Something that [`Dispatch`] runs: a kernel with its inputs.
pub trait Inputs<const N: usize> {
    /// The result, as a tensor of `D` dimensions.
    fn apply<const D: usize>(self, kernel: impl Kernel<N>) -> Tensor<D>;
}

impl Inputs<1> for [DispatchTensor; 1] {
    fn apply<const D: usize>(self, kernel: impl Kernel<1>) -> Tensor<D> {
        let [a] = self;
        Tensor::from_dispatch(<Dispatch as KernelOps>::run1(a, Arc::new(kernel)))
    }
}

impl Inputs<2> for [DispatchTensor; 2] {
    fn apply<const D: usize>(self, kernel: impl Kernel<2>) -> Tensor<D> {
        let [a, b] = self;
        Tensor::from_dispatch(<Dispatch as KernelOps>::run2(a, b, Arc::new(kernel)))
    }
}

impl Inputs<3> for [DispatchTensor; 3] {
    fn apply<const D: usize>(self, kernel: impl Kernel<3>) -> Tensor<D> {
        let [a, b, c] = self;
        Tensor::from_dispatch(<Dispatch as KernelOps>::run3(a, b, c, Arc::new(kernel)))
    }
}
