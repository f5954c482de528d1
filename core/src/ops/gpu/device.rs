//! Which tensors shaders compute with.

use super::launch::dense;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::{DType, Device, Tensor};

/// Whether shaders run on `device`: a wgpu device without gradients.
pub fn runs_on(device: &Device) -> bool {
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)));
}

/// Whether shaders take `x`: it lies where they run, in `f32`, and is not empty.
pub fn on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device().without_autodiff())
        && x.dtype() == DType::F32
        && x.dims().iter().all(|&side| side > 0)
}

/// Whether shaders without a backward pass take `x`.
pub fn plain_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device()) && on_gpu(x)
}

/// The most bytes that the device of `x` binds at once.
pub fn largest_binding<const D: usize>(x: &Tensor<D>) -> usize {
    // Not all of `x`, which may have gaps that are closed by copying it.
    dense(x.clone().slice([0..1])).largest_binding()
}

/// Whether `device` is a graphics card: the runtime knows its bus address.
pub fn is_card(device: &Device) -> bool {
    device.as_dispatch().identity().is_some_and(|identity| identity.physical.is_some())
}

/// See [`crate::ops::multiplies_halves`].
pub fn multiplies_halves(inputs: usize, device: &Device) -> bool {
    runs_on(device) && !is_card(device) && inputs > 0 && inputs.is_multiple_of(4)
}
