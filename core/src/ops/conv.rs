//! Convolution and its companions on channels-last images `[batch, height, width, channels]`: the channels of a
//! pixel are one row of a matrix, so a kernel tap is a product with shifted rows.

#[cfg(feature = "cpu")]
use super::cpu;
#[cfg(feature = "cpu")]
use super::fused::{Inputs, flex, on_cpu};
#[cfg(feature = "wgpu")]
use super::gpu;
use super::portable;
use super::transformer::linear;
use crate::precision::MatmulPrecision;
use burn::tensor::{Device, Tensor, activation};

/// Whether kernels in half precision stay so on `device` and are widened for each convolution, which takes little time beside
/// it. With gradients they are `f32`, since they may be trained.
pub fn widens_kernels(device: &Device) -> bool {
    #[cfg(feature = "cpu")]
    return flex(device);
    #[cfg(not(feature = "cpu"))]
    {
        let _ = device;
        false
    }
}

/// Two-dimensional cross-correlation, zero-padded.
///
/// - `x` `[batch, height, width, c_in]`
/// - `weight` `[c_out, c_in, k, k]`, PyTorch's layout
/// - `bias` `[c_out]`
/// - `padding`: rows on top and bottom, columns on the left and right
///
/// → `[batch, (height + top + bottom - k) / stride + 1, (width + left + right - k) / stride + 1, c_out]`.
/// Panics where the padded image is smaller than the kernel.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 4],
    precision: MatmulPrecision,
) -> Tensor<4> {
    let [c_out, c_in, k, _] = weight.dims();
    if k == 1 && stride == 1 && padding == [0; 4] {
        return linear(x, weight.reshape([c_out, c_in]), Some(bias), precision);
    }
    if x.dims()[1..3] == [1, 1] && stride == 1 && padding == [k / 2; 4] && k % 2 == 1 {
        // All that a single pixel sees of the kernel is its middle.
        let middle = weight.slice([0..c_out, 0..c_in, k / 2..k / 2 + 1, k / 2..k / 2 + 1]);
        return linear(x, middle.reshape([c_out, c_in]), Some(bias), precision);
    }
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        return inputs.apply(cpu::Conv2d { stride, padding, precision });
    }
    #[cfg(feature = "wgpu")]
    if gpu::plain_on_gpu(&x) && weight.dtype() == x.dtype() {
        let [batch, height, width, _] = x.dims();
        // Not fewer pixels than there are.
        let pixels = batch * (height + padding[0] + padding[1]) * (width + padding[2] + padding[3]);
        if gpu::takes_conv2d(pixels, c_in) {
            return gpu::conv2d(x, weight, bias, stride, padding);
        }
    }
    portable::conv2d(x, weight, bias, stride, padding)
}

/// Group normalisation (Wu & He 2018) over the pixels and the channels of each of `groups` equal groups:
/// `x` `[batch, height, width, channels]`, `weight` and `bias` `[channels]`.
/// Panics where `groups` does not divide the channels.
pub fn group_norm(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, groups: usize, eps: f64) -> Tensor<4> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        return inputs.apply(cpu::GroupNorm { groups, eps, swish: false });
    }
    portable::group_norm(x, weight, bias, groups, eps)
}

/// [`group_norm`], then [`swish`].
pub fn group_norm_swish(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
) -> Tensor<4> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
        return inputs.apply(cpu::GroupNorm { groups, eps, swish: true });
    }
    swish(portable::group_norm(x, weight, bias, groups, eps))
}

/// [`group_norm_swish`] of one image in horizontal bands.
pub fn group_norm_swish_bands(
    bands: Vec<Tensor<4>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
) -> Vec<Tensor<4>> {
    match <[_; 1]>::try_from(bands) {
        Ok([whole]) => vec![group_norm_swish(whole, weight, bias, groups, eps)],
        Err(bands) => {
            let bands = portable::group_norm_bands(bands, weight, bias, groups, eps);
            bands.into_iter().map(swish).collect()
        }
    }
}

/// The most values that a tensor on the device of `x` may have for kernels to take it.
pub fn largest_tensor(x: &Tensor<4>) -> usize {
    #[cfg(feature = "wgpu")]
    if gpu::plain_on_gpu(x) {
        return gpu::largest_binding(x) / size_of::<f32>();
    }
    let _ = x;
    usize::MAX
}

/// `x · sigmoid(x)` (Ramachandran et al. 2017).
pub fn swish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// Nearest-neighbour enlargement: `[batch, height, width, channels]` → `[batch, 2 height, 2 width, channels]`.
pub fn upsample2(x: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return [x.into_dispatch()].apply(cpu::Upsample2);
    }
    portable::upsample2(x)
}

/// [`upsample2`], then a 3 x 3 [`conv2d`] that keeps the size: `[batch, height, width, c_in]` →
/// `[batch, 2 height, 2 width, c_out]`. Panics where the kernel is not 3 x 3.
pub fn upsample2_conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    precision: MatmulPrecision,
) -> Tensor<4> {
    assert_eq!(weight.dims()[2..], [3, 3], "an enlargement is followed by a 3 x 3 convolution");
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()]
            .apply(cpu::UpsampleConv2d { precision });
    }
    conv2d(upsample2(x), weight, bias, 1, [1; 4], precision)
}
