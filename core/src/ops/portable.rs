//! The operations in plain burn tensor operations: what every device can run, and what the kernels are
//! tested against.

use super::AttentionRows;
use burn::tensor::{Int, Tensor, TensorData, activation};

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
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionRows) -> Tensor<3> {
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
