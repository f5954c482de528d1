//! Operations of the GPU device: the kernels of `unigen-shaders`, launched through burn's wgpu runtime. Those in [`kernels`]
//! have backward passes; for the others, tensors of a device with gradients take the portable operations.

pub mod extension;
mod kernels;
mod launch;

use super::sample::{Drawn, Sampler};
use super::{AttentionRows, portable};
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use extension::Inputs;
use launch::{Buffer, Launch, dense, tensor};
use unigen_shaders as shaders;

/// Whether kernels run on `device`: a wgpu device without gradients.
pub fn runs_on(device: &Device) -> bool {
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    let wgpu = matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)));
    super::kernels_on() && wgpu
}

/// Whether kernels are to take `x`: it lies where they run, in `f32`, and is not empty.
pub fn on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device().without_autodiff())
        && x.dtype() == DType::F32
        && x.dims().iter().all(|&side| side > 0)
}

/// Whether kernels without a backward pass are to take `x`.
pub fn plain_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device()) && on_gpu(x)
}

/// How [`linear`] multiplies.
enum Multiply {
    /// By a kernel that needs neither workgroup memory nor barriers: for browsers and software adapters, and for `f16`.
    Simply,
    /// By a kernel for cards, which knows its gradients.
    InTiles,
    /// As burn does.
    Portably,
}

/// The way to multiply `x` by these weights: kernels take whole numbers of quads.
fn way<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> Multiply {
    let [outputs, inputs] = weight.dims();
    let rows = x.shape().num_elements() / inputs.max(1);
    let plain = plain_on_gpu(x);
    let card = || is_card(&x.device());
    match weight.dtype() {
        _ if outputs == 0 || !inputs.is_multiple_of(4) || !fits(rows) => Multiply::Portably,
        DType::F16 if plain => Multiply::Simply,
        DType::F32 if plain && !card() => Multiply::Simply,
        DType::F32 if outputs.is_multiple_of(4) && (!plain || rows >= 4 * shaders::MATMUL_TILE) => {
            Multiply::InTiles
        }
        _ => Multiply::Portably,
    }
}

/// Whether `device` is a card: one that the runtime knows by its bus address.
fn is_card(device: &Device) -> bool {
    device.as_dispatch().identity().is_some_and(|identity| identity.physical.is_some())
}

/// See [`super::multiplies_halves`].
pub fn multiplies_halves(inputs: usize, device: &Device) -> bool {
    runs_on(device) && !is_card(device) && inputs > 0 && inputs.is_multiple_of(4)
}

/// Whether [`conv2d`] can compute so many pixels from so many channels.
pub fn takes_conv2d(pixels: usize, channels: usize) -> bool {
    channels.is_multiple_of(4) && pixels > 0 && fits(pixels)
}

/// A dispatch has at most 65535 workgroups in a direction.
fn fits(rows: usize) -> bool {
    rows.div_ceil(shaders::TILE_ROWS) <= 65535
}

/// Workgroups for one of the [`Tables`] of tiles.
fn tiles(table: &Buffer) -> usize {
    table.shape()[0]
}

/// Workgroups for a product with `rows` rows and `outputs` columns.
fn products(shader: &shaders::Shader, rows: usize, outputs: usize) -> [usize; 2] {
    [outputs.div_ceil(4 * shader.workgroup[0] as usize), rows.div_ceil(shaders::TILE_ROWS)]
}

/// See [`super::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let way = way(&x, &weight);
    if !matches!(way, Multiply::Simply) {
        let y = match way {
            Multiply::InTiles => [x.into_dispatch(), weight.into_dispatch()].apply(kernels::Product),
            _ => portable::linear(x, weight, None),
        };
        return match bias {
            Some(bias) => [y.into_dispatch(), bias.into_dispatch()].apply(kernels::AddBias),
            None => y,
        };
    }
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
        .workgroups(products(shader, rows, outputs));
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
        .workgroups(products(&shaders::CONV2D, pixels, c_out));
    y.into()
}

/// See [`super::rms_norm`]; the width is a multiple of 4.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    [x.into_dispatch(), weight.into_dispatch()].apply(kernels::RmsNorm { eps: eps as f32 })
}

/// See [`super::layer_norm`]; the width is a multiple of 4.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    inputs.apply(kernels::LayerNorm { eps: eps as f32 })
}

/// See [`super::gelu_tanh`]; the number of values is a multiple of 4.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    [x.into_dispatch()].apply(kernels::GeluTanh)
}

/// See [`super::swiglu`]; the number of values is a multiple of 4.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    [gate.into_dispatch(), up.into_dispatch()].apply(kernels::SwiGlu)
}

/// See [`super::rope`]; the width of a head is a multiple of 8.
pub fn rope(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    [x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch()].apply(kernels::Rope)
}

/// See [`super::embed`]; the width is a multiple of 4.
pub fn embed(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    [table.into_dispatch()].apply(kernels::Embed { ids: dense(ids) })
}

/// See [`super::select_rows`]; the width is a multiple of 4.
pub fn select_rows(x: Tensor<2>, rows: Tensor<1, Int>) -> Tensor<2> {
    [x.into_dispatch()].apply(kernels::SelectRows { rows: dense(rows) })
}

/// [`AttentionRows`] as the kernels take them; uploaded once.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The keys `[start, end)` that each query sees in its segment, `[queries, 2]`.
    visible: Buffer,
    /// Query rows of one segment that make a workgroup, and the keys that any of them sees, `[tiles, 4]`.
    queries: Buffer,
    /// Key rows that make a workgroup, and the queries of which any may see one of them, `[tiles, 4]`.
    keys: Buffer,
}

impl Tables {
    fn new(layout: &AttentionRows, keys: usize, device: &Device) -> Self {
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
        // Keys of no segment get their gradient, nothing, too.
        let mut seen =
            layout.segments.iter().map(|(rows, keys)| (keys.clone(), rows.clone())).collect::<Vec<_>>();
        seen.sort_by_key(|(keys, _)| keys.start);
        let mut next = 0;
        let mut key_tiles = Vec::new();
        for (of, rows) in seen.into_iter().chain([(keys..keys, 0..0)]) {
            for (keys, rows) in [(next..of.start, 0..0), (of.clone(), rows)] {
                let tiles = keys.clone().step_by(lanes);
                key_tiles.extend(
                    tiles.flat_map(|first| [first, keys.end.min(first + lanes), rows.start, rows.end]),
                );
            }
            next = next.max(of.end);
        }
        let table = |values: Vec<usize>, columns| {
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            let shape = [values.len() / columns, columns];
            dense(Tensor::<2, Int>::from_data(TensorData::new(values, shape), device))
        };
        Self { visible: table(visible, 2), queries: table(queries, 4), keys: table(key_tiles, 4) }
    }
}

/// See [`super::attention`]; the width of a head is a multiple of 4.
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, layout: &AttentionRows) -> Tensor<3> {
    let tables = layout.on_gpu.get_or_init(|| Tables::new(layout, k.dims()[0], &q.device())).clone();
    [q.into_dispatch(), k.into_dispatch(), v.into_dispatch()].apply(kernels::Attention { tables })
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
