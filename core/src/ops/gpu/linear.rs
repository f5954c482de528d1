//! Linear layers: naive and tiled matrix products.

use super::device::{is_card, plain_on_gpu};
use super::launch::{Buffer, Launch, dense, tensor};
use super::products::{fits, products};
use super::rows::{like, rows_and_width, sum_chunks, sum_rows};
use super::shader_op::{Inputs, ShaderOp};
use crate::ops::portable;
use burn::tensor::{DType, Tensor};
use unigen_shaders as shaders;

/// How [`linear`] multiplies.
enum Matmul {
    /// Every invocation reads the operands where they lie, without workgroup memory or barriers: for browsers and software
    /// adapters, and for weights in `f16`.
    Naive,
    /// Workgroups keep tiles of the operands in their memory: for graphics cards, with gradients.
    Tiled,
    /// As burn multiplies.
    Portable,
}

/// Chooses how to multiply `x` by `weight`. The shaders take whole numbers of quads.
fn choose<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> Matmul {
    let [outputs, inputs] = weight.dims();
    let rows = x.shape().num_elements() / inputs.max(1);
    let plain = plain_on_gpu(x);
    let card = || is_card(&x.device());
    match weight.dtype() {
        _ if outputs == 0 || !inputs.is_multiple_of(4) || !fits(rows) => Matmul::Portable,
        DType::F16 if plain => Matmul::Naive,
        DType::F32 if plain && !card() => Matmul::Naive,
        DType::F32 if outputs.is_multiple_of(4) && (!plain || rows >= 4 * shaders::MATMUL_TILE) => {
            Matmul::Tiled
        }
        _ => Matmul::Portable,
    }
}

/// See [`crate::ops::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let matmul = choose(&x, &weight);
    if !matches!(matmul, Matmul::Naive) {
        let y = match matmul {
            Matmul::Tiled => [x.into_dispatch(), weight.into_dispatch()].apply(Product),
            _ => portable::linear(x, weight, None),
        };
        return match bias {
            Some(bias) => [y.into_dispatch(), bias.into_dispatch()].apply(AddBias),
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

/// An operand of [`tiled`]: a matrix as it is stored, and whether it is meant transposed.
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
fn tiled(left: Operand, right: Operand, shape: &[usize]) -> Buffer {
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
struct Product;

impl ShaderOp<2> for Product {
    fn forward(&self, [x, weight]: &[Buffer; 2]) -> Buffer {
        let mut shape = x.shape().to_vec();
        if let Some(width) = shape.last_mut() {
            *width = weight.shape()[0];
        }
        tiled(plain(x), transposed(weight), &shape)
    }

    /// `dx = g w` and `dw = gᵀ x`.
    fn backward(&self, [x, weight]: &[Buffer; 2], grad: &Buffer, wanted: [bool; 2]) -> [Option<Buffer>; 2] {
        let dx = || tiled(plain(grad), plain(weight), x.shape());
        let dweight = || tiled(transposed(grad), plain(x), weight.shape());
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
