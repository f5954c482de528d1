//! Grouped-query attention over packed rows.

use crate::sequence::{AttentionLayout, Segment};
use burn::tensor::{Tensor, TensorData, activation};

/// Scaled dot-product attention: `q` `[queries, heads, head_dim]`, `k` and `v` `[keys, kv_heads, head_dim]` →
/// `[queries, heads, head_dim]`; who sees whom is the layout's.
///
/// Sequences of one size go through one batched product; others one after another.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
    let segments = &layout.segments;
    let first = &segments[0];
    let (queries, keys) = (first.queries.len(), first.keys.len());
    if segments.iter().all(|s| s.queries.len() == queries && s.keys.len() == keys) {
        return batched(q, k, v, layout, segments);
    }
    let parts = segments.iter().map(|s| {
        let q = q.clone().slice([s.queries.clone()]);
        batched(
            q,
            k.clone().slice([s.keys.clone()]),
            v.clone().slice([s.keys.clone()]),
            layout,
            std::slice::from_ref(s),
        )
    });
    Tensor::cat(parts.collect(), 0)
}

/// [`attention`] for `segments` of one size whose rows `q`, `k` and `v` hold.
fn batched(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    layout: &AttentionLayout,
    segments: &[Segment],
) -> Tensor<3> {
    let batch = segments.len();
    let [_, heads, head] = q.dims();
    let [_, kv_heads, _] = k.dims();
    let device = q.device();
    let (queries, keys) = (q.dims()[0] / batch, k.dims()[0] / batch);
    let group = heads / kv_heads;
    // Heads that share keys are rows of one product: [batch, kv_heads, group * queries, head_dim].
    let q = q.reshape([batch, queries, kv_heads, group, head]).permute([0, 2, 3, 1, 4]);
    let q = q.reshape([batch, kv_heads, group * queries, head]);
    let by_head = |x: Tensor<3>| x.reshape([batch, keys, kv_heads, head]).permute([0, 2, 1, 3]);
    let (k, v) = (by_head(k), by_head(v));
    let scores = q.matmul(k.transpose()) / (head as f64).sqrt();
    let mask: Vec<f32> = segments.iter().flat_map(|s| layout.additive(s)).collect();
    let mask = Tensor::<4>::from_data(TensorData::new(mask, [batch, 1, queries, keys]), &device);
    let scores = scores.reshape([batch, kv_heads * group, queries, keys]) + mask;
    let weights = activation::softmax(scores, 3).reshape([batch, kv_heads, group * queries, keys]);
    let mixed = weights.matmul(v).reshape([batch, kv_heads, group, queries, head]);
    mixed.permute([0, 3, 1, 2, 4]).reshape([batch * queries, heads, head])
}
