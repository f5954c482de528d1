//! Convolution and its companions on channels-last images `[batch, height, width, channels]`, as matrix
//! products: the channels of a pixel are one row of a matrix, so a kernel tap is a product with a slice.

use crate::ops;
use burn::tensor::{Slice, Tensor, activation, ops::PadMode, s};

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
) -> Tensor<4> {
    let [c_out, c_in, k, _] = weight.dims();
    if k == 1 && stride == 1 && padding == [0; 4] {
        return ops::linear(x, weight.reshape([c_out, c_in]), Some(bias));
    }
    let [top, bottom, left, right] = padding;
    let x = x.pad([(top, bottom), (left, right), (0, 0)], PadMode::Constant(0.0));
    let [batch, height, width, _] = x.dims();
    let [rows, columns] = [height, width].map(|side| (side - k) / stride + 1);

    let taps = weight.permute([2, 3, 1, 0]).reshape([k * k, c_in, c_out]);
    // Sums over the taps, given the pixels `[n, c_in]` under the tap at row dy and column dx of the kernel.
    let sum = |under: &dyn Fn(usize, usize) -> Tensor<2>| {
        let product = |t| under(t / k, t % k).matmul(taps.clone().slice(s![t..t + 1]).reshape([c_in, c_out]));
        (1..k * k).fold(product(0) + bias.clone().unsqueeze(), |y, t| y + product(t))
    };
    if stride == 1 {
        // A tap is a shift of the flattened image, one contiguous slice. Where the shift runs over the right or
        // lower edge the sum means nothing; those pixels are cut off.
        let pixels = batch * height * width;
        let reach = (k - 1) * (width + 1);
        let x = x.reshape([pixels, c_in]);
        let y = sum(&|dy, dx| {
            let shift = dy * width + dx;
            x.clone().slice(s![shift..shift + pixels - reach])
        });
        let y = y.pad([(0, reach), (0, 0)], PadMode::Constant(0.0)).reshape([batch, height, width, c_out]);
        y.slice(s![.., ..rows, ..columns, ..])
    } else {
        let every = |from: usize, n: usize| {
            Slice::new(from as isize, Some((from + (n - 1) * stride + 1) as isize), stride as isize)
        };
        let y = sum(&|dy, dx| {
            let under = x.clone().slice(s![.., every(dy, rows), every(dx, columns), ..]);
            under.reshape([batch * rows * columns, c_in])
        });
        y.reshape([batch, rows, columns, c_out])
    }
}

/// Group normalisation (Wu & He 2018) over the pixels and the channels of each of `groups` equal groups:
/// `x` `[batch, height, width, channels]`, `weight` and `bias` `[channels]`.
/// Panics where `groups` does not divide the channels.
pub fn group_norm(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, groups: usize, eps: f64) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let per_group = channels / groups;
    // The mean over a group, spread over its channels again; pixels first, so that the rest is tiny.
    let mean = |x: Tensor<3>| {
        let means = x.mean_dim(1).reshape([batch, groups, per_group]).mean_dim(2);
        means.repeat_dim(2, per_group).reshape([batch, 1, channels])
    };
    let x = x.reshape([batch, height * width, channels]);
    let centred = x.clone() - mean(x);
    let scale = (mean(centred.clone().square()) + eps).sqrt().recip() * weight.unsqueeze();
    (centred * scale + bias.unsqueeze()).reshape([batch, height, width, channels])
}

/// `x · sigmoid(x)` (Ramachandran et al. 2017).
pub fn swish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// Nearest-neighbour enlargement: `[batch, height, width, channels]` → `[batch, 2 height, 2 width, channels]`.
pub fn upsample2(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height, 1, width, 1, channels])
        .expand([batch, height, 2, width, 2, channels])
        .reshape([batch, 2 * height, 2 * width, channels])
}
