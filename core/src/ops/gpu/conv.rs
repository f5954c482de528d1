//! Convolution.

use super::launch::{Launch, dense, tensor};
use super::products::{fits, products};
use burn::tensor::{DType, Tensor};
use unigen_shaders as shaders;

/// Whether [`conv2d`] can compute so many pixels from so many channels.
pub fn takes_conv2d(pixels: usize, channels: usize) -> bool {
    channels.is_multiple_of(4) && pixels > 0 && fits(pixels)
}

/// See [`crate::ops::conv::conv2d`]; the input channels are a multiple of 4.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 4],
) -> Tensor<4> {
    let [batch, height, width, c_in] = x.dims();
    let [c_out, _, side, _] = weight.dims();
    let [top, bottom, left, right] = padding;
    let rows = (height + top + bottom - side) / stride + 1;
    let columns = (width + left + right - side) / stride + 1;
    let pixels = batch * rows * columns;
    let (x, weight, bias) = (dense(x), dense(weight.permute([0, 2, 3, 1])), dense(bias));
    let y = tensor(&x, &[batch, rows, columns, c_out], DType::F32);
    Launch::new(&shaders::CONV2D)
        .buffers([&x, &weight, &bias, &y])
        .numbers([height, width, c_in / 4, pixels, rows * columns, columns, c_out, side, stride, top, left])
        .workgroups(products(&shaders::CONV2D, pixels, c_out));
    y.into()
}
