//! `y = x wᵀ + b` and its gradient for `x`, where the weight stays as it is stored: each task unpacks a tile at a time.

use super::bf16;
use super::matmul::matmul_beside;
use super::matrix::Mat;
use super::memory::{assume_init, uninit};
use super::threads::{self, Shared};
use super::vector::{dot, vectorised};
use crate::ops::fused::{CpuTensor, FusedOp, View};
use crate::ops::weight::{Stored, Weight};
use crate::precision::MatmulPrecision;
use crate::quantized::BlockFormat;
use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::cell::RefCell;
use std::ops::Range;

/// Outputs and inputs of a tile: in `f32` it takes a half of a second-level cache. Any block ends where a tile does.
const OUTPUTS: usize = 64;
const INPUTS: usize = 2048;
/// Up to so many rows, a weight that is unpacked is multiplied at once, without a tile.
const FEW_ROWS: usize = 4;
/// Values that are unpacked at a time for few rows.
const CHUNK: usize = 1024;

/// How the values of a matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    F32,
    F16,
    Bf16,
    Blocks(BlockFormat),
}

impl Format {
    /// Bytes of this many values of a row, which are whole blocks.
    pub fn bytes(self, values: usize) -> usize {
        match self {
            Self::F32 => 4 * values,
            Self::F16 | Self::Bf16 => 2 * values,
            Self::Blocks(format) => values / format.block_values() * format.block_bytes(),
        }
    }

    /// Writes the values in `bytes`, as many as `values` has room for.
    #[inline(always)]
    fn unpack(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, &bits) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(bits);
                }
            }
            Self::F16 => {
                for (value, &bits) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = from_half(u16::from_le_bytes(bits));
                }
            }
            Self::Bf16 => {
                for (value, &bits) in values.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(bits)) << 16);
                }
            }
            Self::Blocks(format) => format.dequantize(bytes, values),
        }
    }
}

/// The value of a finite `f16`: shifting moves the exponent into its place, and the product corrects its bias, for small
/// numbers too.
#[inline(always)]
fn from_half(bits: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// A matrix `[outputs, inputs]` in the host's memory or mapped from a file.
#[derive(Clone, Debug)]
pub struct Matrix {
    tensor: CpuTensor,
    pub format: Format,
    rows: Range<usize>,
    pub inputs: usize,
}

impl Matrix {
    /// The matrix of a weight on the CPU device.
    ///
    /// # Panics
    /// Where it is on another.
    pub fn of(weight: Weight) -> Self {
        let [_, inputs] = weight.dims();
        let Weight { stored, rows } = weight;
        let (kind, format) = match stored {
            Stored::Values(values) => {
                let format = match values.dtype() {
                    DType::F16 => Format::F16,
                    DType::BF16 => Format::Bf16,
                    _ => Format::F32,
                };
                (values.without_autodiff().into_dispatch().kind, format)
            }
            Stored::Blocks(bytes, format) => {
                (bytes.without_autodiff().into_dispatch().kind, Format::Blocks(format))
            }
            Stored::Parts(_) => unreachable!("parts are multiplied one by one"),
        };
        match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor) | BackendTensor::Int(tensor)) => {
                let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
                Self { tensor, format, rows, inputs }
            }
            other => panic!("a CPU kernel was given {other:?}"),
        }
    }

    pub fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// The bytes of some inputs, whole blocks, of an output.
    #[inline(always)]
    pub fn bytes(&self, output: usize, inputs: Range<usize>) -> &[u8] {
        let width = self.format.bytes(1).max(1);
        let start = match self.format {
            Format::Blocks(_) => self.tensor.layout().start_offset(),
            _ => self.tensor.layout().start_offset() * width,
        };
        let row = start + (self.rows.start + output) * self.format.bytes(self.inputs);
        &self.tensor.bytes()[row + self.format.bytes(inputs.start)..row + self.format.bytes(inputs.end)]
    }

    /// Unpacks a tile, `[outputs.len(), inputs.len()]`.
    pub fn unpack(&self, outputs: Range<usize>, inputs: Range<usize>, tile: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                for (output, values) in outputs.zip(tile.chunks_exact_mut(inputs.len())) {
                    self.format.unpack(self.bytes(output, inputs.clone()), values);
                }
            },
        );
    }

    /// `y = x wᵀ`, or `y += x wᵀ` where there are values in `y`.
    fn product(&self, x: Mat, y: &mut [f32], precision: MatmulPrecision) {
        let (rows, outputs) = (x.rows, self.outputs());
        if rows == 0 || outputs == 0 || self.inputs == 0 {
            return;
        }
        if rows <= FEW_ROWS {
            return self.few(x, y);
        }
        let shared = Shared::new(y);
        if precision == MatmulPrecision::Bf16 && bf16::available() {
            // SAFETY: the processor multiplies bf16, and `y` has the product's shape.
            return unsafe { bf16::matmul_stored(x, self, shared) };
        }
        let tile = OUTPUTS.min(outputs.div_ceil(threads::count()).next_multiple_of(16));
        threads::for_each(outputs.div_ceil(tile), |task| {
            let first = task * tile;
            let last = outputs.min(first + tile);
            for start in (0..self.inputs).step_by(INPUTS) {
                let end = self.inputs.min(start + INPUTS);
                with_tile((last - first) * (end - start), |tile| {
                    self.unpack(first..last, start..end, tile);
                    let weight = Mat::new(tile, last - first, end - start).t();
                    let x = Mat::strided(&x.data[start..], rows, end - start, self.inputs);
                    // SAFETY: the columns `first..last` are this task's own.
                    unsafe { matmul_beside(x, weight, shared.after(first), outputs, precision) };
                });
            }
        });
    }

    /// [`Self::product`] with few rows: each weight is unpacked once and multiplied at once.
    fn few(&self, x: Mat, y: &mut [f32]) {
        let (rows, outputs) = (x.rows, self.outputs());
        let shared = Shared::new(y);
        let chunk = threads::rows_per_task(outputs, self.inputs);
        threads::for_each(outputs.div_ceil(chunk), |task| {
            vectorised(
                #[inline(always)]
                || {
                    let mut values = [0.0; CHUNK];
                    for output in task * chunk..outputs.min((task + 1) * chunk) {
                        let mut sums = [0.0; FEW_ROWS];
                        for start in (0..self.inputs).step_by(CHUNK) {
                            let end = self.inputs.min(start + CHUNK);
                            let values = &mut values[..end - start];
                            self.format.unpack(self.bytes(output, start..end), values);
                            for (row, sum) in sums.iter_mut().enumerate().take(rows) {
                                *sum += dot(&x.data[row * self.inputs + start..][..end - start], values);
                            }
                        }
                        for (row, sum) in sums.into_iter().enumerate().take(rows) {
                            // SAFETY: an output belongs to one task.
                            unsafe { *shared.at(row * outputs + output) += sum };
                        }
                    }
                },
            );
        });
    }

    /// `dx = g w`: `g` `[rows, outputs]` → `[rows, inputs]`.
    fn product_of_gradient(&self, grad: Mat, precision: MatmulPrecision) -> Vec<f32> {
        /// Inputs of a tile, and outputs: whole blocks of any format.
        const SIDE: usize = 256;
        let (rows, outputs, inputs) = (grad.rows, self.outputs(), self.inputs);
        let mut dx = vec![0.0; rows * inputs];
        if dx.is_empty() || outputs == 0 {
            return dx;
        }
        let shared = Shared::new(&mut dx);
        threads::for_each(inputs.div_ceil(SIDE), |task| {
            let columns = task * SIDE..inputs.min((task + 1) * SIDE);
            for start in (0..outputs).step_by(SIDE) {
                let end = outputs.min(start + SIDE);
                with_tile((end - start) * columns.len(), |tile| {
                    self.unpack(start..end, columns.clone(), tile);
                    let weight = Mat::new(tile, end - start, columns.len());
                    let grad = Mat::strided(&grad.data[start..], rows, end - start, outputs);
                    // SAFETY: the columns are this task's own.
                    unsafe { matmul_beside(grad, weight, shared.after(columns.start), inputs, precision) };
                });
            }
        });
        dx
    }
}

/// Lends `body` memory for a tile, which holds whatever it held last.
fn with_tile<R>(len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local!(static TILE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
    // Taken out, since a task can run while another one waits on the same thread.
    let mut tile = TILE.take();
    if tile.len() < len {
        tile.resize(len, 0.0);
    }
    let result = body(&mut tile[..len]);
    TILE.set(tile);
    result
}

/// See [`crate::ops::linear`]: a weight that is frozen and stays as it is stored. Input `x`, or a second, `bias`.
#[derive(Debug)]
pub struct StoredLinear {
    pub weight: Matrix,
    pub precision: MatmulPrecision,
}

impl StoredLinear {
    fn product(&self, x: View, bias: Option<&[f32]>) -> (Vec<f32>, Vec<usize>) {
        let (rows, outputs) = (x.rows(), self.weight.outputs());
        let mut y = match bias {
            Some(bias) => bias.repeat(rows),
            None => vec![0.0; rows * outputs],
        };
        self.weight.product(Mat::new(x.data, rows, self.weight.inputs), &mut y, self.precision);
        let mut shape = x.shape.to_vec();
        if let Some(last) = shape.last_mut() {
            assert_eq!(*last, self.weight.inputs, "inputs of a linear layer");
            *last = outputs;
        }
        (y, shape)
    }

    fn gradient(&self, x: View, grad: &[f32]) -> Vec<f32> {
        let grad = Mat::new(grad, x.rows(), self.weight.outputs());
        self.weight.product_of_gradient(grad, self.precision)
    }
}

impl FusedOp<1> for StoredLinear {
    fn forward(&self, [x]: [View; 1]) -> (Vec<f32>, Vec<usize>) {
        self.product(x, None)
    }

    fn backward(&self, [x]: [View; 1], grad: &[f32], _: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        [Some(self.gradient(x, grad))]
    }
}

impl FusedOp<2> for StoredLinear {
    fn forward(&self, [x, bias]: [View; 2]) -> (Vec<f32>, Vec<usize>) {
        self.product(x, Some(bias.data))
    }

    fn backward(&self, [x, bias]: [View; 2], grad: &[f32], wanted: [bool; 2]) -> [Option<Vec<f32>>; 2] {
        [
            wanted[0].then(|| self.gradient(x, grad)),
            wanted[1].then(|| super::sums::column_sums(grad, bias.width())),
        ]
    }
}

/// See [`crate::ops::embed`]: the rows of a table that is frozen and stays as it is stored.
pub fn embed(table: Weight, ids: Tensor<1, Int>) -> Tensor<2> {
    let (device, table) = (ids.device(), Matrix::of(table));
    let ids: Vec<i64> = ids.into_data().iter::<i64>().collect();
    let mut rows = uninit(ids.len() * table.inputs);
    for (id, row) in ids.iter().zip(rows.chunks_exact_mut(table.inputs.max(1))) {
        let id = usize::try_from(*id).unwrap_or(usize::MAX);
        assert!(id < table.outputs(), "entry {id} of a table of {}", table.outputs());
        let row = super::memory::written(row, std::iter::repeat_n(0.0, table.inputs));
        table.unpack(id..id + 1, 0..table.inputs, row);
    }
    // SAFETY: every row is written, and there is nothing but whole rows.
    let rows = unsafe { assume_init(rows) };
    Tensor::from_data(TensorData::new(rows, [ids.len(), table.inputs]), (&device, DType::F32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_finite_half_has_its_value() {
        for bits in (0..=u16::MAX).filter(|&bits| f16::from_bits(bits).is_finite()) {
            assert_eq!(from_half(bits).to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:#x}");
        }
    }
}
