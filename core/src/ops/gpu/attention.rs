//! Attention.

use super::launch::{Buffer, Launch, dense, tensor};
use super::rows::like;
use super::shader_op::{Inputs, ShaderOp};
use crate::ops::attention_layout::AttentionLayout;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use unigen_shaders as shaders;

/// See [`crate::ops::attention`]; the width of a head is a multiple of 4.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionLayout) -> Tensor<3> {
    let tables = layout.tables.get_or_init(|| tables(layout, k.dims()[0], &q.device()));
    let [visible, queries, keys] = tables.clone().map(dense);
    [q.into_dispatch(), k.into_dispatch(), v.into_dispatch()].apply(Attention { visible, queries, keys })
}

/// `layout` as the shaders take it, see the fields of [`Attention`].
fn tables(layout: &AttentionLayout, keys: usize, device: &Device) -> [Tensor<2, Int>; 3] {
    let lanes = shaders::ATTENTION.workgroup[0] as usize;
    let (mut visible, mut queries) = (Vec::new(), Vec::new());
    for (rows, keys) in &layout.segments {
        let seen: Vec<_> = rows.clone().map(|row| layout.visible_in(row, keys)).collect();
        visible.extend(seen.iter().flat_map(|seen| [seen.start, seen.end]));
        for (tile, seen) in seen.chunks(lanes).enumerate() {
            let first = rows.start + tile * lanes;
            let start = seen.iter().map(|seen| seen.start).min().unwrap_or(0);
            let end = seen.iter().map(|seen| seen.end).max().unwrap_or(0);
            queries.extend([first, first + seen.len(), start, end]);
        }
    }
    // Keys outside all segments get a gradient too: zeros.
    let mut seen =
        layout.segments.iter().map(|(rows, keys)| (keys.clone(), rows.clone())).collect::<Vec<_>>();
    seen.sort_by_key(|(keys, _)| keys.start);
    let mut next = 0;
    let mut key_tiles = Vec::new();
    for (of, rows) in seen.into_iter().chain([(keys..keys, 0..0)]) {
        for (keys, rows) in [(next..of.start, 0..0), (of.clone(), rows)] {
            let tiles = keys.clone().step_by(lanes);
            key_tiles
                .extend(tiles.flat_map(|first| [first, keys.end.min(first + lanes), rows.start, rows.end]));
        }
        next = next.max(of.end);
    }
    let table = |values: Vec<usize>, columns| {
        let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
        let shape = [values.len() / columns, columns];
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    [table(visible, 2), table(queries, 4), table(key_tiles, 4)]
}

/// See [`crate::ops::attention`]; inputs `q`, `k`, `v`. The width of a head is a multiple of 4.
#[derive(Debug)]
struct Attention {
    /// The keys `[start, end)` that each query sees in its segment, `[queries, 2]`.
    visible: Buffer,
    /// Query rows of one segment that make a workgroup, and the keys that any of them sees, `[tiles, 4]`.
    queries: Buffer,
    /// Key rows that make a workgroup, and the queries that may see one of them, `[tiles, 4]`.
    keys: Buffer,
}

impl Attention {
    /// A launch of `shader` with the numbers that all of attention's have.
    fn launch<'a>(shader: &'static shaders::Shader, q: &Buffer, k: &Buffer) -> Launch<'a> {
        let [heads, width] = [q.shape()[1], q.shape()[2]];
        Launch::new(shader)
            .constants([width / 4])
            .numbers([heads, heads / k.shape()[1]])
            .scales([(width as f32).powf(-0.5)])
    }
}

impl ShaderOp<3> for Attention {
    fn forward(&self, [q, k, v]: &[Buffer; 3]) -> Buffer {
        let (Self { visible, queries, .. }, mixed) = (self, like(q));
        Self::launch(&shaders::ATTENTION, q, k)
            .buffers([q, k, v, visible, queries, &mixed])
            .workgroups([tiles(queries), q.shape()[1]]);
        mixed
    }

    fn backward(&self, [q, k, v]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        let Self { visible, queries, keys } = self;
        let (dq, dk, dv) = (like(q), like(k), like(v));
        let (heads, kv_heads) = (q.shape()[1], k.shape()[1]);
        let stats = tensor(q, &[q.shape()[0], heads, 2], DType::F32);
        Self::launch(&shaders::ATTENTION_BACKWARD_QUERIES, q, k)
            .buffers([q, k, v, visible, queries, grad, &dq, &stats])
            .workgroups([tiles(queries), heads]);
        Self::launch(&shaders::ATTENTION_BACKWARD_KEYS, q, k)
            .buffers([q, k, v, visible, keys, grad, &stats, &dk])
            .workgroups([tiles(keys), kv_heads]);
        Self::launch(&shaders::ATTENTION_BACKWARD_VALUES, q, k)
            .buffers([q, k, visible, keys, grad, &stats, &dv])
            .workgroups([tiles(keys), kv_heads]);
        [Some(dq), Some(dk), Some(dv)]
    }
}

/// Workgroups for a table of tiles.
fn tiles(table: &Buffer) -> usize {
    table.shape()[0]
}
