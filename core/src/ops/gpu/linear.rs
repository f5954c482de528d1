//! Linear layers: naive and tiled matrix products.

use super::device::{is_card, plain_on_gpu};
use super::launch::{Buffer, Launch, dense, tensor};
use super::products::{fits, products};
use super::rows::{like, rows_and_width, sum_chunks, sum_rows};
use super::shader_op::{Inputs, ShaderOp};
use super::stored::Matrix;
use crate::ops::portable;
use crate::ops::weight::Weight;
use burn::tensor::{DType, Tensor};
use unigen_shaders as shaders;

/// How [`linear`] multiplies.
enum Matmul {
    /// Every invocation reads the operands where they lie, without workgroup memory or barriers: for browsers and software
    /// adapters, and for few rows of weights that stay as they are stored.
    Naive,
    /// Workgroups keep tiles of the operands in their memory: for graphics cards, with gradients.
    Tiled,
    /// As burn multiplies.
    Portable,
}

/// Chooses how to multiply `x` by a weight of `f32`, or by one that stays as it is `stored`. The shaders take whole numbers of
/// quads.
fn choose<const D: usize>(x: &Tensor<D>, [outputs, inputs]: [usize; 2], stored: bool) -> Matmul {
    /// From so many rows on, a tile is worth its barriers.
    const MANY: usize = 4 * shaders::MATMUL_TILE;
    let rows = x.shape().num_elements() / inputs.max(1);
    let plain = plain_on_gpu(x);
    let card = || is_card(&x.device());
    if outputs == 0 || !inputs.is_multiple_of(4) || !fits(rows) {
        return Matmul::Portable;
    }
    match outputs.is_multiple_of(4) {
        _ if plain && !card() => Matmul::Naive,
        true if !plain || rows >= MANY => Matmul::Tiled,
        _ if plain && stored => Matmul::Naive,
        _ => Matmul::Portable,
    }
}

/// See [`crate::ops::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    match choose(&x, weight.dims(), false) {
        Matmul::Naive => naive(x, &Matrix::of(weight.into()), bias),
        Matmul::Tiled => add([x.into_dispatch(), weight.into_dispatch()].apply(Product), bias),
        Matmul::Portable => add(portable::linear(x, weight, None), bias),
    }
}

/// [`linear`] with a weight that stays as it is stored, and gets no gradient.
pub fn stored_linear<const D: usize>(x: Tensor<D>, weight: Weight, bias: Option<Tensor<1>>) -> Tensor<D> {
    match choose(&x, weight.dims(), true) {
        Matmul::Naive => naive(x, &Matrix::of(weight), bias),
        Matmul::Tiled => add([x.into_dispatch()].apply(StoredProduct { weight: Matrix::of(weight) }), bias),
        Matmul::Portable => add(portable::linear(x, weight.values(), None), bias),
    }
}

fn add<const D: usize>(y: Tensor<D>, bias: Option<Tensor<1>>) -> Tensor<D> {
    match bias {
        Some(bias) => [y.into_dispatch(), bias.into_dispatch()].apply(AddBias),
        None => y,
    }
}

fn naive<const D: usize>(x: Tensor<D>, weight: &Matrix, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut shape = x.dims();
    let rows = shape.iter().take(D - 1).product::<usize>();
    shape[D - 1] = weight.outputs;
    let shader =
        &(if bias.is_some() { &shaders::LINEAR_BIAS } else { &shaders::LINEAR })[weight.storage as usize];
    let (x, bias) = (dense(x), bias.map(dense));
    let y = tensor(&x, &shape, DType::F32);
    Launch::new(shader)
        .buffers([&x, &y, &weight.buffer].into_iter().chain(&bias))
        .numbers([rows, weight.inputs / 4, weight.outputs, weight.first])
        .workgroups(products(shader, rows, weight.outputs));
    y.into()
}

/// The left operand of [`tiled`]: a matrix as it is stored, and whether it is meant transposed.
#[derive(Clone, Copy)]
struct Left<'a> {
    stored: &'a Buffer,
    transposed: bool,
}

/// The matrix product, of `shape`; the right operand is meant transposed or as it is. A small product over a long inner dimension
/// is summed in chunks, so that all of the card has something to do.
fn tiled(left: Left, right: &Matrix, transposed: bool, shape: &[usize]) -> Buffer {
    /// Workgroups that keep a card busy, and the shortest chunk that is worth its own sums.
    const BUSY: usize = 512;
    const SHORTEST: usize = 256;
    let [mut rows, mut inner] = rows_and_width(left.stored);
    if left.transposed {
        (rows, inner) = (inner, rows);
    }
    let columns = if transposed { right.outputs } else { right.inputs };
    let [row_tiles, column_tiles] = [rows, columns].map(|side| side.div_ceil(shaders::MATMUL_TILE));
    let chunks = (BUSY / (row_tiles * column_tiles)).clamp(1, (inner / SHORTEST).max(1));
    let chunk = inner.div_ceil(chunks).next_multiple_of(8);
    let chunks = inner.div_ceil(chunk);
    let products = match chunks {
        1 => tensor(left.stored, shape, DType::F32),
        _ => tensor(left.stored, &[chunks, rows * columns], DType::F32),
    };
    Launch::new(&shaders::MATMUL[right.storage as usize])
        .constants([usize::from(left.transposed), usize::from(transposed)])
        .buffers([left.stored, &products, &right.buffer])
        .numbers([rows, columns, inner, chunk, row_tiles, right.first * right.inputs / 4])
        .workgroups([column_tiles, row_tiles * chunks]);
    if chunks == 1 { products } else { sum_chunks(&products, chunks, rows * columns, chunks, shape) }
}

/// The shape of `x wᵀ`.
fn outputs_of(x: &Buffer, outputs: usize) -> Vec<usize> {
    let mut shape = x.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width = outputs;
    }
    shape
}

/// `x wᵀ`; inputs `x` and `w`, whose sides are multiples of 4.
#[derive(Debug)]
struct Product;

impl ShaderOp<2> for Product {
    fn forward(&self, [x, weight]: &[Buffer; 2]) -> Buffer {
        let weight = Matrix::floats(weight);
        tiled(plain(x), &weight, true, &outputs_of(x, weight.outputs))
    }

    /// `dx = g w` and `dw = gᵀ x`.
    fn backward(&self, [x, weight]: &[Buffer; 2], grad: &Buffer, wanted: [bool; 2]) -> [Option<Buffer>; 2] {
        let dx = || tiled(plain(grad), &Matrix::floats(weight), false, x.shape());
        let dweight = || {
            let grad = Left { stored: grad, transposed: true };
            tiled(grad, &Matrix::floats(x), false, weight.shape())
        };
        [wanted[0].then(dx), wanted[1].then(dweight)]
    }
}

/// `x wᵀ` with a weight that stays as it is stored; input `x`. The weight's sides are multiples of 4.
#[derive(Debug)]
struct StoredProduct {
    weight: Matrix,
}

impl ShaderOp<1> for StoredProduct {
    fn forward(&self, [x]: &[Buffer; 1]) -> Buffer {
        tiled(plain(x), &self.weight, true, &outputs_of(x, self.weight.outputs))
    }

    fn backward(&self, [x]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        [Some(tiled(plain(grad), &self.weight, false, x.shape()))]
    }
}

fn plain(stored: &Buffer) -> Left<'_> {
    Left { stored, transposed: false }
}

/// The last step of a linear layer, see [`crate::ops::linear`]: inputs `x` and the bias.
#[derive(Debug)]
struct AddBias;

impl ShaderOp<2> for AddBias {
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
