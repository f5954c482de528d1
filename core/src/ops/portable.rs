//! The operations in plain burn tensor operations: what every device can run, and what the kernels are
//! tested against.

use super::attention_layout::AttentionLayout;
use super::sampler::{Drawn, LEAST_LOG_P, Sampler};
use crate::philox::{Draws, Stream};
use burn::tensor::{Int, Slice, Tensor, TensorData, activation, ops::PadMode, s};
use std::f64::consts::FRAC_2_PI;

/// See [`super::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut shape = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows = shape.iter().take(D - 1).product::<usize>();
    let mut y = x.reshape([rows, inputs]).matmul(weight.transpose());
    if let Some(bias) = bias {
        y = y + bias.unsqueeze();
    }
    shape[D - 1] = outputs;
    y.reshape(shape)
}

/// See [`super::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let scale = (x.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    x * scale * weight.unsqueeze()
}

/// See [`super::layer_norm`].
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let scale = (centred.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    centred * scale * weight.unsqueeze() + bias.unsqueeze()
}

/// See [`super::gelu_tanh`].
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // (1 + tanh z) / 2 is the logistic function of 2 z.
    let slope = (x.clone().square() * 0.044715 + 1.0) * (2.0 * FRAC_2_PI.sqrt());
    x.clone() * activation::sigmoid(x * slope)
}

/// See [`super::swiglu`].
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    activation::silu(gate) * up
}

/// See [`super::rope`].
pub fn rope(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    let half = x.dims()[2] / 2;
    let (cos, sin) = (cos.unsqueeze_dim::<3>(1), sin.unsqueeze_dim::<3>(1));
    let (low, high) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let rotated_low = low.clone() * cos.clone() - high.clone() * sin.clone();
    Tensor::cat(vec![rotated_low, high * cos + low * sin], 2)
}

/// See [`super::attention`].
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
    let [_, heads, width] = q.dims();
    let kv_heads = k.dims()[1];
    let device = q.device();
    // `[tokens, kv_heads, width]` → `[heads, tokens, width]`, each key head repeated for its group.
    let by_head = |x: Tensor<3>| {
        let [tokens, _, _] = x.dims();
        x.swap_dims(0, 1)
            .unsqueeze_dim::<4>(1)
            .expand([kv_heads, heads / kv_heads, tokens, width])
            .reshape([heads, tokens, width])
    };
    let outputs = layout.segments.iter().map(|(queries, keys)| {
        let (rows, columns) = (queries.len(), keys.len());
        if columns == 0 {
            return Tensor::zeros([rows, heads, width], &device);
        }
        let q = q.clone().narrow(0, queries.start, rows).swap_dims(0, 1);
        let [k, v] = [&k, &v].map(|x| by_head(x.clone().narrow(0, keys.start, columns)));
        let seen: Vec<f32> = queries
            .clone()
            .flat_map(|row| {
                let visible = layout.visible_in(row, keys);
                keys.clone().map(move |key| f32::from(visible.contains(&key)))
            })
            .collect();
        let seen = Tensor::<2>::from_data(TensorData::new(seen, [rows, columns]), &device).unsqueeze::<3>();
        // A row that sees nothing gives zeros: its weights are multiplied away.
        let scores = q.matmul(k.transpose()) * (width as f64).powf(-0.5) + (seen.clone() - 1.0) * 1e9;
        (activation::softmax(scores, 2) * seen).matmul(v).swap_dims(0, 1)
    });
    Tensor::cat(outputs.collect(), 0)
}

/// See [`super::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, targets: Vec<u32>) -> Tensor<1> {
    let rows = targets.len();
    let targets: Vec<i64> = targets.into_iter().map(i64::from).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &logits.device());
    activation::log_softmax(logits, 1).gather(1, targets).mean().neg()
}

/// See [`super::conv::conv2d`].
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: [usize; 4],
) -> Tensor<4> {
    let [c_out, c_in, k, _] = weight.dims();
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

/// See [`super::conv::group_norm`].
pub fn group_norm(x: Tensor<4>, weight: Tensor<1>, bias: Tensor<1>, groups: usize, eps: f64) -> Tensor<4> {
    group_norm_bands(vec![x.clone()], weight, bias, groups, eps).pop().unwrap_or(x)
}

/// [`group_norm`] of one image in horizontal bands, `[batch, rows, width, channels]` each.
pub fn group_norm_bands(
    bands: Vec<Tensor<4>>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
) -> Vec<Tensor<4>> {
    let shapes: Vec<[usize; 4]> = bands.iter().map(Tensor::dims).collect();
    let pixels: usize = shapes.iter().map(|[_, rows, width, _]| rows * width).sum();
    // The mean over a group, spread over its channels again; pixels first, so that the rest is tiny.
    let mean = |bands: &[Tensor<3>], of: fn(Tensor<3>) -> Tensor<3>| {
        let means = bands.iter().map(|x| {
            let [batch, own, channels] = x.dims();
            let means = of(x.clone()).mean_dim(1).reshape([batch, groups, channels / groups]).mean_dim(2);
            let means = means.repeat_dim(2, channels / groups).reshape([batch, 1, channels]);
            if own == pixels { means } else { means * (own as f64 / pixels as f64) }
        });
        means.reduce(|sum, means| sum + means)
    };
    let bands = bands.into_iter().map(|x| {
        let [batch, rows, width, channels] = x.dims();
        x.reshape([batch, rows * width, channels])
    });
    let bands: Vec<Tensor<3>> = bands.collect();
    let Some(middle) = mean(&bands, |x| x) else { return vec![] };
    let centred: Vec<Tensor<3>> = bands.into_iter().map(|x| x - middle.clone()).collect();
    let Some(variance) = mean(&centred, |x| x.square()) else { return vec![] };
    let scale = (variance + eps).sqrt().recip() * weight.unsqueeze();
    let normalised = centred.into_iter().zip(shapes);
    normalised.map(|(x, shape)| (x * scale.clone() + bias.clone().unsqueeze()).reshape(shape)).collect()
}

/// See [`super::conv::upsample2`].
pub fn upsample2(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height, 1, width, 1, channels])
        .expand([batch, height, 2, width, 2, channels])
        .reshape([batch, 2 * height, 2 * width, channels])
}

/// See [`super::sample::sample_draw`].
pub fn sample_draw(
    sampler: &Sampler,
    logits: Tensor<2>,
    codes: Tensor<2, Int>,
    step: usize,
    temperature: f32,
) -> Drawn {
    let Sampler { weights, groups, seeds, .. } = sampler;
    let [images, tokens] = codes.dims();
    let (rows, classes, device) = (images * tokens, logits.dims()[1], logits.device());
    let branches = weights.iter().enumerate().map(|(branch, &weight)| {
        let part = logits.clone().narrow(0, branch * rows, rows);
        if weight == 1.0 { part } else { part * weight }
    });
    let logits = branches.reduce(|sum, branch| sum + branch).unwrap_or(logits.clone());

    // Lane after lane of every position of every image.
    let noise = |stream, lanes: usize| {
        let mut values = vec![0.0; rows * lanes];
        for (row, values) in values.chunks_mut(lanes).enumerate() {
            let draws = Draws::new(seeds[row / tokens], stream);
            draws.fill_gumbel(step as u32, (row % tokens) as u32, values);
        }
        Tensor::<2>::from_data(TensorData::new(values, [rows, lanes]), &device)
    };
    let scores = logits.clone() + noise(Stream::Token, classes);
    let mut code = Tensor::<2, Int>::zeros([rows, 1], &device);
    let mut log_p = Tensor::<2>::zeros([rows, 1], &device);
    let mut first = 0;
    for &bits in groups {
        let classes = 1 << bits;
        let best = scores.clone().narrow(1, first, classes).argmax(1);
        let group = activation::log_softmax(logits.clone().narrow(1, first, classes), 1);
        log_p = log_p + group.gather(1, best.clone());
        code = code * classes as i32 + best;
        first += classes;
    }
    let confidence = log_p.clone().clamp_min(LEAST_LOG_P) + noise(Stream::Confidence, 1) * temperature;
    let masked = codes.clone().lower_elem(0);
    Drawn {
        codes: codes.mask_where(masked, code.reshape([images, tokens])),
        log_probs: log_p.reshape([images, tokens]),
        confidence: confidence.reshape([images, tokens]),
    }
}

/// See [`super::sample::sample_keep`].
pub fn sample_keep(
    sampler: &Sampler,
    codes: Tensor<2, Int>,
    drawn: Tensor<2, Int>,
    confidence: Tensor<2>,
    step: usize,
) -> Tensor<2, Int> {
    let [images, tokens] = codes.dims();
    let masked = codes.lower_elem(0);
    let among = masked.clone().int();
    let unknown = among.clone().sum_dim(1);
    let scheduled = sampler.schedule.clone().slice(s![step..step + 1]).reshape([images, 1]);
    // At least one stays and at least one is fixed.
    let more = scheduled.clone().greater_equal(unknown.clone());
    let stay = scheduled.mask_where(more, unknown - 1).clamp_min(1).expand([images, tokens]);
    // [image, position, other]
    let (own, other) = (confidence.clone().unsqueeze_dim::<3>(2), confidence.unsqueeze_dim::<3>(1));
    let shape = [images, tokens, tokens];
    let not_above = other.expand(shape).lower_equal(own.expand(shape)).int() * among.unsqueeze_dim(1);
    let stays = not_above.sum_dim(2).reshape([images, tokens]).lower_equal(stay);
    drawn.mask_fill(masked.bool_and(stays), -1)
}
