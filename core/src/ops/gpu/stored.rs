//! Weights that stay as they are stored.

use super::launch::{Buffer, Launch, dense, tensor};
use super::rows::rows_and_width;
use crate::ops::weight::{Stored, Weight};
use crate::quantized::BlockFormat;
use burn::tensor::{DType, Int, Tensor};
use unigen_shaders::{EMBED, Storage};

/// A matrix `[outputs, inputs]` on the device, the inputs a multiple of 4.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub buffer: Buffer,
    pub storage: Storage,
    /// The row of the buffer where the first output is.
    pub first: usize,
    pub outputs: usize,
    pub inputs: usize,
}

impl Matrix {
    /// The matrix of a weight on the wgpu device.
    ///
    /// # Panics
    /// Where it is on another device, or in a format that has no shader.
    pub fn of(weight: Weight) -> Self {
        let [outputs, inputs] = weight.dims();
        let Weight { stored, rows } = weight;
        let (buffer, storage) = match stored {
            Stored::Values(values) => {
                let storage = match values.dtype() {
                    DType::F16 => Storage::F16,
                    DType::BF16 => Storage::Bf16,
                    _ => Storage::F32,
                };
                (dense(values.without_autodiff()), storage)
            }
            Stored::Blocks(bytes, format) => {
                let storage = match format {
                    BlockFormat::Q4_0 => Storage::Q4_0,
                    BlockFormat::Q8_0 => Storage::Q8_0,
                    other => panic!("no shader multiplies {}", other.name()),
                };
                (dense(bytes.without_autodiff()), storage)
            }
            Stored::Parts(_) => unreachable!("parts are multiplied one by one"),
        };
        Self { buffer, storage, first: rows.start, outputs, inputs }
    }

    /// A matrix of `f32`: the rows of a tensor.
    pub fn floats(stored: &Buffer) -> Self {
        let [outputs, inputs] = rows_and_width(stored);
        Self { buffer: stored.clone(), storage: Storage::F32, first: 0, outputs, inputs }
    }
}

/// Whether shaders take a weight `[outputs, inputs]` of so many bytes: they read whole words, four values at a time.
pub fn takes_stored([outputs, inputs]: [usize; 2], bytes: usize) -> bool {
    outputs > 0
        && inputs > 0
        && outputs.is_multiple_of(4)
        && inputs.is_multiple_of(4)
        && bytes.is_multiple_of(4)
}

/// The entries `ids` of a table, `[ids, width]`.
pub fn entries(table: &Matrix, ids: &Buffer) -> Buffer {
    let (rows, quads) = (ids.shape()[0], table.inputs / 4);
    let y = tensor(ids, &[rows, table.inputs], DType::F32);
    Launch::new(&EMBED[table.storage as usize])
        .buffers([ids, &y, &table.buffer])
        .numbers([rows, quads, table.first])
        .list(rows * quads);
    y
}

/// See [`crate::ops::embed`]: the entries of a table that gets no gradient.
pub fn embed_stored(table: Weight, ids: Tensor<1, Int>) -> Tensor<2> {
    let device = ids.device();
    let y = entries(&Matrix::of(table), &dense(ids));
    if device.is_autodiff() { Tensor::from_inner(y.into()) } else { y.into() }
}
