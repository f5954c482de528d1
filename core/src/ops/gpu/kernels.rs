//! The kernels that training needs, forward and backward: the equations are in the shaders.

use super::extension::Kernel;
use super::launch::{Buffer, Launch, tensor};
use super::{Tables, tiles};
use burn::tensor::DType;
use unigen_shaders as shaders;

/// All but the last dimension as rows, and the last.
fn rows_and_width(x: &Buffer) -> [usize; 2] {
    let width = x.shape().last().copied().unwrap_or(1);
    [x.shape().iter().product::<usize>() / width.max(1), width]
}

/// A new `f32` tensor shaped like `x`.
fn like(x: &Buffer) -> Buffer {
    tensor(x, x.shape(), DType::F32)
}

/// Sums over chunks of the `rows` rows of `x` `[rows, width]`, of the given shape.
fn sum_chunks(x: &Buffer, rows: usize, width: usize, chunk: usize, shape: &[usize]) -> Buffer {
    let sums = tensor(x, shape, DType::F32);
    let lanes = shaders::SUM_ROWS.workgroup[0] as usize;
    Launch::new(&shaders::SUM_ROWS)
        .buffers([x, &sums])
        .numbers([rows, width, chunk])
        .workgroups([width.div_ceil(lanes), rows.div_ceil(chunk)]);
    sums
}

/// Sums over the rows, `[rows, width]` → `[width]`: first over chunks of them, then over the chunks.
fn sum_rows(x: &Buffer) -> Buffer {
    let [rows, width] = rows_and_width(x);
    let chunk = rows.isqrt();
    let chunks = rows.div_ceil(chunk);
    let sums = sum_chunks(x, rows, width, chunk, &[chunks, width]);
    sum_chunks(&sums, chunks, width, chunks, &[width])
}

/// An operand of [`matmul`]: a matrix as it is stored, and whether it is meant transposed.
#[derive(Clone, Copy)]
struct Operand<'a> {
    stored: &'a Buffer,
    transposed: bool,
}

impl Operand<'_> {
    fn sides(&self) -> [usize; 2] {
        let [rows, columns] = rows_and_width(self.stored);
        if self.transposed { [columns, rows] } else { [rows, columns] }
    }
}

/// The matrix product, of `shape`. A small one over a long inner dimension is summed in chunks, so that all of the card has
/// something to do.
fn matmul(left: Operand, right: Operand, shape: &[usize]) -> Buffer {
    /// Workgroups that keep a card busy, and the shortest chunk that is worth its own sums.
    const BUSY: usize = 512;
    const SHORTEST: usize = 256;
    let ([rows, inner], [_, columns]) = (left.sides(), right.sides());
    let [row_tiles, column_tiles] = [rows, columns].map(|side| side.div_ceil(shaders::MATMUL_TILE));
    let chunks = (BUSY / (row_tiles * column_tiles)).clamp(1, (inner / SHORTEST).max(1));
    let chunk = inner.div_ceil(chunks).next_multiple_of(8);
    let chunks = inner.div_ceil(chunk);
    let products = match chunks {
        1 => tensor(left.stored, shape, DType::F32),
        _ => tensor(left.stored, &[chunks, rows * columns], DType::F32),
    };
    Launch::new(&shaders::MATMUL)
        .constants([usize::from(left.transposed), usize::from(right.transposed)])
        .buffers([left.stored, right.stored, &products])
        .numbers([rows, columns, inner, chunk, row_tiles])
        .workgroups([column_tiles, row_tiles * chunks]);
    if chunks == 1 { products } else { sum_chunks(&products, chunks, rows * columns, chunks, shape) }
}

/// `x wᵀ`; inputs `x` and `w`, whose sides are multiples of 4.
#[derive(Debug)]
pub struct Product;

impl Kernel<2> for Product {
    fn forward(&self, [x, weight]: &[Buffer; 2]) -> Buffer {
        let mut shape = x.shape().to_vec();
        if let Some(width) = shape.last_mut() {
            *width = weight.shape()[0];
        }
        matmul(plain(x), transposed(weight), &shape)
    }

    /// `dx = g w` and `dw = gᵀ x`.
    fn backward(&self, [x, weight]: &[Buffer; 2], grad: &Buffer, wanted: [bool; 2]) -> [Option<Buffer>; 2] {
        let dx = || matmul(plain(grad), plain(weight), x.shape());
        let dweight = || matmul(transposed(grad), plain(x), weight.shape());
        [wanted[0].then(dx), wanted[1].then(dweight)]
    }
}

fn plain(stored: &Buffer) -> Operand<'_> {
    Operand { stored, transposed: false }
}

fn transposed(stored: &Buffer) -> Operand<'_> {
    Operand { stored, transposed: true }
}

/// The last step of a linear layer, see [`crate::ops::linear`]: inputs `x` and the bias.
#[derive(Debug)]
pub struct AddBias;

impl Kernel<2> for AddBias {
    fn forward(&self, [x, bias]: &[Buffer; 2]) -> Buffer {
        let (y, [rows, width]) = (like(x), rows_and_width(x));
        Launch::new(&shaders::ADD_BIAS)
            .buffers([x, bias, &y])
            .numbers([rows * width, width])
            .list(rows * width);
        y
    }

    fn backward(&self, _: &[Buffer; 2], grad: &Buffer, [x, bias]: [bool; 2]) -> [Option<Buffer>; 2] {
        [x.then(|| grad.clone()), bias.then(|| sum_rows(grad))]
    }
}

/// See [`crate::ops::rms_norm`]; inputs `x`, `weight`. The width is a multiple of 4.
#[derive(Debug)]
pub struct RmsNorm {
    pub eps: f32,
}

impl Kernel<2> for RmsNorm {
    fn forward(&self, [x, weight]: &[Buffer; 2]) -> Buffer {
        let (y, [rows, width]) = (like(x), rows_and_width(x));
        Launch::new(&shaders::RMS_NORM)
            .buffers([x, weight, &y])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x, weight]: &[Buffer; 2], grad: &Buffer, _: [bool; 2]) -> [Option<Buffer>; 2] {
        let (dx, terms, [rows, width]) = (like(x), like(x), rows_and_width(x));
        Launch::new(&shaders::RMS_NORM_BACKWARD)
            .buffers([x, weight, grad, &dx, &terms])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        [Some(dx), Some(sum_rows(&terms))]
    }
}

/// See [`crate::ops::layer_norm`]; inputs `x`, `weight`, `bias`. The width is a multiple of 4.
#[derive(Debug)]
pub struct LayerNorm {
    pub eps: f32,
}

impl Kernel<3> for LayerNorm {
    fn forward(&self, [x, weight, bias]: &[Buffer; 3]) -> Buffer {
        let (y, [rows, width]) = (like(x), rows_and_width(x));
        Launch::new(&shaders::LAYER_NORM)
            .buffers([x, weight, bias, &y])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x, weight, _]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        let (dx, terms, [rows, width]) = (like(x), like(x), rows_and_width(x));
        Launch::new(&shaders::LAYER_NORM_BACKWARD)
            .buffers([x, weight, grad, &dx, &terms])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        [Some(dx), Some(sum_rows(&terms)), Some(sum_rows(grad))]
    }
}

/// See [`crate::ops::gelu_tanh`]; the number of values is a multiple of 4.
#[derive(Debug)]
pub struct GeluTanh;

impl Kernel<1> for GeluTanh {
    fn forward(&self, [x]: &[Buffer; 1]) -> Buffer {
        let (y, quads) = (like(x), x.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::GELU_TANH).buffers([x, &y]).numbers([quads]).list(quads);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dx, quads) = (like(x), x.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::GELU_TANH_BACKWARD).buffers([x, grad, &dx]).numbers([quads]).list(quads);
        [Some(dx)]
    }
}

/// See [`crate::ops::swiglu`]; inputs `gate`, `up`. The number of values is a multiple of 4.
#[derive(Debug)]
pub struct SwiGlu;

impl Kernel<2> for SwiGlu {
    fn forward(&self, [gate, up]: &[Buffer; 2]) -> Buffer {
        let (y, quads) = (like(gate), gate.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::SWIGLU).buffers([gate, up, &y]).numbers([quads]).list(quads);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [gate, up]: &[Buffer; 2], grad: &Buffer, _: [bool; 2]) -> [Option<Buffer>; 2] {
        let (dgate, dup, quads) = (like(gate), like(up), gate.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::SWIGLU_BACKWARD)
            .buffers([gate, up, grad, &dgate, &dup])
            .numbers([quads])
            .list(quads);
        [Some(dgate), Some(dup)]
    }
}

/// See [`crate::ops::rope`]; inputs `x`, `cos`, `sin`, of which the tables get no gradient. The width of a head is a
/// multiple of 8.
#[derive(Debug)]
pub struct Rope;

impl Rope {
    /// Turned by the angles, or back again.
    fn turn(x: &Buffer, cos: &Buffer, sin: &Buffer, direction: f32) -> Buffer {
        let (y, heads) = (like(x), x.shape()[1]);
        let quads = x.shape()[2] / 8;
        let invocations = x.shape()[0] * heads * quads;
        Launch::new(&shaders::ROPE)
            .buffers([x, cos, sin, &y])
            .numbers([invocations, heads, quads])
            .scales([direction])
            .list(invocations);
        y
    }
}

impl Kernel<3> for Rope {
    fn forward(&self, [x, cos, sin]: &[Buffer; 3]) -> Buffer {
        Self::turn(x, cos, sin, 1.0)
    }

    fn backward(&self, [_, cos, sin]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        [Some(Self::turn(grad, cos, sin, -1.0)), None, None]
    }
}

/// See [`crate::ops::attention`]; inputs `q`, `k`, `v`. The width of a head is a multiple of 4.
#[derive(Debug)]
pub struct Attention {
    pub tables: Tables,
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

impl Kernel<3> for Attention {
    fn forward(&self, [q, k, v]: &[Buffer; 3]) -> Buffer {
        let (Tables { visible, queries, .. }, mixed) = (&self.tables, like(q));
        Self::launch(&shaders::ATTENTION, q, k)
            .buffers([q, k, v, visible, queries, &mixed])
            .workgroups([tiles(queries), q.shape()[1]]);
        mixed
    }

    fn backward(&self, [q, k, v]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        let Tables { visible, queries, keys } = &self.tables;
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

/// See [`crate::ops::embed`]; input: the table. Its width is a multiple of 4.
#[derive(Debug)]
pub struct Embed {
    pub ids: Buffer,
}

impl Kernel<1> for Embed {
    fn forward(&self, [table]: &[Buffer; 1]) -> Buffer {
        select(table, &self.ids)
    }

    fn backward(&self, [table]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dtable, [entries, width]) = (like(table), rows_and_width(table));
        Launch::new(&shaders::EMBED_BACKWARD)
            .buffers([&self.ids, grad, &dtable])
            .numbers([entries, self.ids.shape()[0], width / 4])
            .list(entries * width / 4);
        [Some(dtable)]
    }
}

/// See [`crate::ops::select_rows`]; input `x`. Its width is a multiple of 4.
#[derive(Debug)]
pub struct SelectRows {
    pub rows: Buffer,
}

impl Kernel<1> for SelectRows {
    fn forward(&self, [x]: &[Buffer; 1]) -> Buffer {
        select(x, &self.rows)
    }

    fn backward(&self, [x]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dx, [rows, width]) = (like(x), rows_and_width(x));
        let (inverse, chosen) = (super::launch::zeros(x, &[rows]), self.rows.shape()[0]);
        Launch::new(&shaders::INVERT).buffers([&self.rows, &inverse]).numbers([chosen]).list(chosen);
        Launch::new(&shaders::SELECT_BACKWARD)
            .buffers([&inverse, grad, &dx])
            .numbers([rows, width / 4])
            .list(rows * width / 4);
        [Some(dx)]
    }
}

/// `x[rows]`, `[rows, width]`.
fn select(x: &Buffer, rows: &Buffer) -> Buffer {
    let (chosen, width) = (rows.shape()[0], x.shape()[1]);
    let y = tensor(x, &[chosen, width], DType::F32);
    Launch::new(&shaders::SELECT_ROWS)
        .buffers([x, rows, &y])
        .numbers([chosen, width / 4])
        .list(chosen * width / 4);
    y
}
