//! How fused kernels reach burn: one backend extension that runs any [`Kernel`] on the CPU device; its
//! gradients are in `autodiff`.

use super::cpu::View;
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

    /// The gradients of the inputs, given that of the result; only the `wanted` ones are looked at.
    fn backward(&self, inputs: [View; N], grad: &[f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N];
}

/// Kernels by their number of inputs.
#[backend_extension(Flex, Autodiff: cfg(feature = "train"))]
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

impl KernelOps for Flex {
    fn run1(a: CpuTensor, kernel: Arc<dyn Kernel<1>>) -> CpuTensor {
        run([a], &*kernel)
    }

    fn run2(a: CpuTensor, b: CpuTensor, kernel: Arc<dyn Kernel<2>>) -> CpuTensor {
        run([a, b], &*kernel)
    }

    fn run3(a: CpuTensor, b: CpuTensor, c: CpuTensor, kernel: Arc<dyn Kernel<3>>) -> CpuTensor {
        run([a, b, c], &*kernel)
    }
}

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

/// Something that [`Dispatch`] runs: a kernel with its inputs.
pub trait Inputs<const N: usize> {
    /// The result, as a tensor of `D` dimensions.
    fn apply<const D: usize>(self, kernel: impl Kernel<N>) -> Tensor<D>;
}

impl Inputs<1> for [DispatchTensor; 1] {
    fn apply<const D: usize>(self, kernel: impl Kernel<1>) -> Tensor<D> {
        let [a] = self;
        Tensor::from_dispatch(Dispatch::run1(a, Arc::new(kernel)))
    }
}

impl Inputs<2> for [DispatchTensor; 2] {
    fn apply<const D: usize>(self, kernel: impl Kernel<2>) -> Tensor<D> {
        let [a, b] = self;
        Tensor::from_dispatch(Dispatch::run2(a, b, Arc::new(kernel)))
    }
}

impl Inputs<3> for [DispatchTensor; 3] {
    fn apply<const D: usize>(self, kernel: impl Kernel<3>) -> Tensor<D> {
        let [a, b, c] = self;
        Tensor::from_dispatch(Dispatch::run3(a, b, c, Arc::new(kernel)))
    }
}
