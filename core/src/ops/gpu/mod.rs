//! Operations of the GPU device: the kernels of `unigen-shaders`, launched through burn's wgpu runtime. They have no
//! backward passes, so tensors of a device with gradients take the portable operations.

mod launch;

use super::AttentionRows;
use super::sample::{Drawn, Sampler};
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use launch::{Launch, dense, tensor};
use unigen_shaders as shaders;

/// Whether kernels run on `device`: a wgpu device without gradients.
pub fn runs_on(device: &Device) -> bool {
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    let wgpu = matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)));
    super::kernels_on() && wgpu
}

/// Whether kernels are to take `x`: it lies where they run, in `f32`, and is not empty.
pub fn on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device()) && x.dtype() == DType::F32 && x.dims().iter().all(|&side| side > 0)
}

/// Whether [`linear`] is to multiply `x` by these weights: a whole number of quads a row, in `f32` or `f16`. Products in
/// `f32` on a card that the runtime knows by its bus address stay burn's, which is written for such cards: a kernel
/// without workgroup memory is for browsers and software adapters.
pub fn takes_linear<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    let [outputs, inputs] = weight.dims();
    let rows = x.shape().num_elements() / inputs.max(1);
    let card = || x.device().as_dispatch().identity().is_some_and(|identity| identity.physical.is_some());
    let wanted = match weight.dtype() {
        DType::F16 => true,
        DType::F32 => !card(),
        _ => false,
    };
    wanted && outputs > 0 && inputs.is_multiple_of(4) && fits(rows)
}

/// Whether [`conv2d`] can compute so many pixels from so many channels.
pub fn takes_conv2d(pixels: usize, channels: usize) -> bool {
    channels.is_multiple_of(4) && pixels > 0 && fits(pixels)
}

/// A dispatch has at most 65535 workgroups in a direction.
fn fits(rows: usize) -> bool {
    rows.div_ceil(shaders::TILE_ROWS) <= 65535
}

/// Workgroups for a product with `rows` rows and `outputs` columns.
fn tiles(shader: &shaders::Shader, rows: usize, outputs: usize) -> [usize; 2] {
    [outputs.div_ceil(4 * shader.workgroup[0] as usize), rows.div_ceil(shaders::TILE_ROWS)]
}

/// See [`super::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut shape = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows = shape.iter().take(D - 1).product::<usize>();
    shape[D - 1] = outputs;
    let variants = if weight.dtype() == DType::F16 { &shaders::LINEAR_F16 } else { &shaders::LINEAR };
    let shader = &variants[usize::from(bias.is_some())];
    let (x, weight, bias) = (dense(x), dense(weight), bias.map(dense));
    let y = tensor(&x, &shape, DType::F32);
    Launch::new(shader)
        .buffers([&x, &y, &weight].into_iter().chain(&bias))
        .numbers([rows, inputs / 4, outputs])
        .workgroups(tiles(shader, rows, outputs));
    y.into()
}

/// See [`super::conv::conv2d`]; the input channels are a multiple of 4.
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
        .workgroups(tiles(&shaders::CONV2D, pixels, c_out));
    y.into()
}

/// See [`super::rms_norm`]; the width is a multiple of 4.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let shape = x.dims();
    let rows = shape.iter().take(D - 1).product::<usize>();
    let (x, weight) = (dense(x), dense(weight));
    let y = tensor(&x, &shape, DType::F32);
    Launch::new(&shaders::RMS_NORM)
        .buffers([&x, &weight, &y])
        .numbers([rows, shape[D - 1] / 4])
        .scales([eps as f32])
        .list(rows);
    y.into()
}

/// See [`super::swiglu`]; the number of values is a multiple of 4.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let shape = gate.dims();
    let quads = shape.iter().product::<usize>() / 4;
    let (gate, up) = (dense(gate), dense(up));
    let y = tensor(&gate, &shape, DType::F32);
    Launch::new(&shaders::SWIGLU).buffers([&gate, &up, &y]).numbers([quads]).list(quads);
    y.into()
}

/// See [`super::rope`]; the width of a head is a multiple of 8.
pub fn rope(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    let shape = x.dims();
    let [tokens, heads, width] = shape;
    let quads = width / 8;
    let (x, cos, sin) = (dense(x), dense(cos), dense(sin));
    let y = tensor(&x, &shape, DType::F32);
    Launch::new(&shaders::ROPE)
        .buffers([&x, &cos, &sin, &y])
        .numbers([tokens * heads * quads, heads, quads])
        .list(tokens * heads * quads);
    y.into()
}

/// [`AttentionRows`] as the kernel takes them; uploaded once.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The keys `[start, end)` that each query sees in its segment, `[queries, 2]`.
    visible: Tensor<2, Int>,
    /// Query rows of one segment that make a workgroup, and the keys that any of them sees, `[tiles, 4]`.
    tiles: Tensor<2, Int>,
}

impl Tables {
    fn new(layout: &AttentionRows, lanes: usize, device: &Device) -> Self {
        let (mut visible, mut tiles) = (Vec::new(), Vec::new());
        for (rows, keys) in &layout.segments {
            let seen: Vec<_> = rows.clone().map(|row| layout.visible_in(row, keys)).collect();
            visible.extend(seen.iter().flat_map(|seen| [seen.start as i32, seen.end as i32]));
            for (tile, seen) in seen.chunks(lanes).enumerate() {
                let first = rows.start + tile * lanes;
                let start = seen.iter().map(|seen| seen.start).min().unwrap_or(0);
                let end = seen.iter().map(|seen| seen.end).max().unwrap_or(0);
                tiles.extend([first, first + seen.len(), start, end].map(|bound| bound as i32));
            }
        }
        let table = |values: Vec<i32>, columns| {
            let shape = [values.len() / columns, columns];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        Self { visible: table(visible, 2), tiles: table(tiles, 4) }
    }
}

/// See [`super::attention`]; the width of a head is a multiple of 4.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionRows) -> Tensor<3> {
    let shape = q.dims();
    let [_, heads, width] = shape;
    let group = heads / k.dims()[1];
    let lanes = shaders::ATTENTION.workgroup[0] as usize;
    let Tables { visible, tiles } = layout.on_gpu.get_or_init(|| Tables::new(layout, lanes, &q.device()));
    let count = tiles.dims()[0];
    let (visible, tiles) = (dense(visible.clone()), dense(tiles.clone()));
    let (q, k, v) = (dense(q), dense(k), dense(v));
    let mixed = tensor(&q, &shape, DType::F32);
    Launch::new(&shaders::ATTENTION)
        .constants([width / 4])
        .buffers([&q, &k, &v, &visible, &tiles, &mixed])
        .numbers([heads, group])
        .scales([(width as f32).powf(-0.5)])
        .workgroups([count, heads]);
    mixed.into()
}

/// See [`super::sample::sample_draw`]; at most four branches and four groups.
pub fn sample_draw(
    sampler: &Sampler,
    logits: Tensor<2>,
    codes: Tensor<2, Int>,
    step: usize,
    temperature: f32,
) -> Drawn {
    let shape = codes.dims();
    let [images, tokens] = shape;
    let classes = logits.dims()[1];
    let (mut weights, mut bits) = ([0.0; 4], [0; 4]);
    weights[..sampler.weights.len()].copy_from_slice(&sampler.weights);
    bits[..sampler.groups.len()].copy_from_slice(&sampler.groups);
    let (logits, codes, seeds) = (dense(logits), dense(codes), dense(sampler.seed_words.clone()));
    let drawn = tensor(&codes, &shape, DType::I32);
    let [log_probs, confidence] = [0; 2].map(|_| tensor(&codes, &shape, DType::F32));
    Launch::new(&shaders::SAMPLE_DRAW)
        .buffers([&logits, &codes, &seeds, &drawn, &log_probs, &confidence])
        .scales(weights)
        .numbers(bits)
        .numbers([sampler.weights.len(), sampler.groups.len(), images, tokens, classes, step])
        .scales([temperature])
        .workgroups_list(images * tokens);
    Drawn { codes: drawn.into(), log_probs: log_probs.into(), confidence: confidence.into() }
}

/// See [`super::sample::sample_keep`].
pub fn sample_keep(
    sampler: &Sampler,
    codes: Tensor<2, Int>,
    drawn: Tensor<2, Int>,
    confidence: Tensor<2>,
    step: usize,
) -> Tensor<2, Int> {
    let shape = codes.dims();
    let [images, tokens] = shape;
    let (codes, drawn, confidence) = (dense(codes), dense(drawn), dense(confidence));
    let schedule = dense(sampler.schedule.clone());
    let next = tensor(&codes, &shape, DType::I32);
    Launch::new(&shaders::SAMPLE_KEEP)
        .buffers([&codes, &drawn, &confidence, &schedule, &next])
        .numbers([images, tokens, step])
        .list(images * tokens);
    next.into()
}
