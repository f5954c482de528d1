//! A tensor as it lies in a file.

use super::mapped::Mapped;
use super::{Element, ElementType};
use crate::error::{Error, ErrorKind, Result};
use crate::quantized::QuantizedMatrix;
use burn::tensor::{AllocationProperty, DType, TensorData};
use bytes::Bytes;
use half::{bf16, f16};
use std::fmt;
use std::ops::Range;

/// A tensor whose bytes stay where they are, mapped from a file or in memory, until its values are asked for.
#[derive(Clone)]
pub struct StoredTensor {
    /// File and name, for messages.
    pub(super) place: String,
    pub(super) element_type: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Bytes,
    /// The file that `bytes` are mapped from.
    pub(super) mapped: Option<Mapped>,
}

impl fmt::Debug for StoredTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} in {}", self.place, self.shape, self.element_type)
    }
}

impl StoredTensor {
    /// A tensor in `bytes`, row-major, little-endian; errors call it `place`.
    ///
    /// # Errors
    /// Where `bytes` are not those of the type and shape.
    pub fn new(place: &str, element_type: ElementType, shape: Vec<usize>, bytes: Bytes) -> Result<Self> {
        if element_type.bytes(&shape) != Some(bytes.len()) {
            let what = format!("{} bytes are not those of {shape:?} in {element_type}", bytes.len());
            return Err(Error::new(ErrorKind::Weights, place, what));
        }
        Ok(Self { place: place.into(), element_type, shape, bytes, mapped: None })
    }

    /// Type of the elements.
    pub fn element_type(&self) -> &ElementType {
        &self.element_type
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The bytes in the file, row-major, little-endian.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Lets go of the memory that holds the bytes, where they are mapped from a file: they are read again when they are
    /// needed. Whoever reads tensors larger than the memory calls this after each piece.
    pub fn release(&self) {
        if let Some(mapped) = &self.mapped {
            mapped.release(&self.bytes);
        }
    }

    /// The values, row-major, of a floating-point or quantised tensor.
    ///
    /// # Errors
    /// Another type; NaN, infinity, or a value that is too large for `T` (with its index).
    pub fn values<T: Element>(&self) -> Result<Vec<T>> {
        let from_f32 = |x| T::from_f32(x);
        let values: Vec<T> = match &self.element_type {
            ElementType::F32 => words(&self.bytes, |b| from_f32(f32::from_le_bytes(b))),
            ElementType::F16 => words(&self.bytes, |b| from_f32(f16::from_le_bytes(b).to_f32())),
            ElementType::Bf16 => words(&self.bytes, |b| from_f32(bf16::from_le_bytes(b).to_f32())),
            ElementType::Blocks(format) => {
                let mut values = Vec::with_capacity(self.shape.iter().product());
                let mut block = vec![0.0; format.block_values()];
                for bytes in self.bytes.chunks_exact(format.block_bytes()) {
                    format.dequantize(bytes, &mut block);
                    values.extend(block.iter().map(|&x| from_f32(x)));
                }
                values
            }
            _ => return Err(self.unsupported("F32, F16 or BF16")),
        };
        self.release();
        match values.iter().position(|x| !x.is_finite()) {
            Some(i) => {
                let what = format!("{} at {:?}, flat index {i}", values[i], unravel(i, &self.shape));
                Err(Error::new(ErrorKind::Weights, &self.place, what)
                    .fix("the weights are broken: take an earlier checkpoint, or download them again"))
            }
            None => Ok(values),
        }
    }

    /// The bytes as a tensor's data, without a copy where they are aligned.
    ///
    /// # Errors
    /// NaN or infinity in half precision or blocks.
    pub(super) fn data(&self, shape: Vec<usize>, dtype: DType) -> Result<TensorData> {
        /// About how many bytes are looked at before their memory is given back.
        const PIECE: usize = 16 << 20;
        let block = match self.element_type {
            ElementType::Blocks(format) => format.block_bytes(),
            _ => 2,
        };
        // A half is finite unless all bits of its exponent are set.
        let halves = |bytes: &[u8], exponent: u16| {
            let mut words = bytes.as_chunks::<2>().0.chunks(4096);
            words.all(|words| {
                words.iter().fold(true, |finite, &w| finite & (u16::from_le_bytes(w) & exponent != exponent))
            })
        };
        for bytes in self.bytes.chunks(PIECE / block * block) {
            let finite = match self.element_type {
                ElementType::F16 => halves(bytes, 0x7c00),
                ElementType::Bf16 => halves(bytes, 0x7f80),
                ElementType::Blocks(format) => format.is_finite(bytes),
                _ => true,
            };
            if !finite {
                // Says where.
                self.values::<f32>()?;
            }
            if let Some(mapped) = &self.mapped {
                mapped.release(bytes);
            }
        }
        let aligned = self.bytes.as_ptr().addr().is_multiple_of(dtype.size().max(1));
        let bytes = if aligned {
            burn::tensor::Bytes::from_shared(self.bytes.clone(), AllocationProperty::Other)
        } else {
            burn::tensor::Bytes::from_bytes_vec(self.bytes.to_vec())
        };
        Ok(TensorData::from_bytes(bytes, shape, dtype))
    }

    /// The values, row-major, of an integer tensor.
    ///
    /// # Errors
    /// Another type.
    pub fn ints(&self) -> Result<Vec<i64>> {
        match &self.element_type {
            ElementType::I64 => Ok(words(&self.bytes, i64::from_le_bytes)),
            ElementType::I32 => Ok(words(&self.bytes, |b| i32::from_le_bytes(b).into())),
            ElementType::U8 | ElementType::Bool => Ok(self.bytes.iter().map(|&b| b.into()).collect()),
            _ => Err(self.unsupported("I64, I32, U8 or BOOL")),
        }
    }

    /// Some entries along the first dimension, without a copy: rows of a matrix.
    ///
    /// # Errors
    /// Where there are not as many, or the tensor has no dimensions.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self> {
        let row = self.row_bytes()?;
        if rows.start > rows.end || rows.end > self.shape[0] {
            let what = format!("has {} rows, so there are no rows {rows:?}", self.shape[0]);
            return Err(Error::new(ErrorKind::Weights, &self.place, what));
        }
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        let bytes = self.bytes.slice(rows.start * row..rows.end * row);
        Ok(Self { shape, bytes, ..self.clone() })
    }

    /// The tensor in pieces of whole rows, one after the other, of about as many values.
    pub(super) fn pieces(self, values: usize) -> impl Iterator<Item = Result<Self>> {
        let (rows, step) = match self.shape.as_slice() {
            // A single number, and a quantised vector, are one piece.
            [] => (1, 1),
            [_] if matches!(self.element_type, ElementType::Blocks(_)) => (1, 1),
            [rows, row @ ..] => (*rows, (values / row.iter().product::<usize>().max(1)).max(1)),
        };
        (0..rows).step_by(step).map(move |start| {
            if rows <= step {
                return Ok(self.clone());
            }
            let end = rows.min(start + step);
            let place = format!("{}, from row {start} on", self.place);
            Ok(Self { place, ..self.rows(start..end)? })
        })
    }

    /// The same entries along the first dimension in another order, `order[i]` at `i`, as a copy.
    ///
    /// # Errors
    /// Where there is no such entry, or the tensor has no dimensions.
    pub fn reordered(&self, order: impl ExactSizeIterator<Item = usize>) -> Result<Self> {
        let row = self.row_bytes()?;
        let mut shape = self.shape.clone();
        shape[0] = order.len();
        let mut bytes = Vec::with_capacity(order.len().min(self.shape[0]) * row);
        for at in order {
            if at >= self.shape[0] {
                let what = format!("has {} rows, so there is no row {at}", self.shape[0]);
                return Err(Error::new(ErrorKind::Weights, &self.place, what));
            }
            bytes.extend_from_slice(&self.bytes[at * row..(at + 1) * row]);
        }
        Ok(Self { shape, bytes: bytes.into(), ..self.clone() })
    }

    /// A matrix with rows and columns exchanged, as a copy.
    ///
    /// # Errors
    /// Where the tensor is no matrix, or quantised.
    pub fn transposed(&self) -> Result<Self> {
        let (&[rows, columns], Some(width)) = (self.shape.as_slice(), self.element_type.bytes(&[])) else {
            let what =
                format!("of shape {:?} and type {} cannot be transposed", self.shape, self.element_type);
            return Err(Error::new(ErrorKind::Weights, &self.place, what));
        };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for column in 0..columns {
            for row in 0..rows {
                let at = (row * columns + column) * width;
                bytes.extend_from_slice(&self.bytes[at..at + width]);
            }
        }
        Ok(Self { shape: vec![columns, rows], bytes: bytes.into(), ..self.clone() })
    }

    /// The blocks of a quantised matrix, without a copy; nothing for a tensor of another type or rank.
    pub fn quantized(&self) -> Option<QuantizedMatrix> {
        match (&self.element_type, self.shape.as_slice()) {
            (&ElementType::Blocks(format), &[rows, columns]) => {
                QuantizedMatrix::new(format, rows, columns, self.bytes.clone()).ok()
            }
            _ => None,
        }
    }

    /// Bytes of an entry along the first dimension.
    fn row_bytes(&self) -> Result<usize> {
        match self.shape.split_first() {
            // The last dimension of a quantised tensor is not divisible here: a vector has one row of blocks.
            Some((_, [])) if matches!(self.element_type, ElementType::Blocks(_)) => {
                Err(Error::new(ErrorKind::Weights, &self.place, "is a quantised vector, which has no rows"))
            }
            Some((&rows, _)) => Ok(self.bytes.len().checked_div(rows).unwrap_or(0)),
            None => Err(Error::new(ErrorKind::Weights, &self.place, "is a single number, which has no rows")),
        }
    }

    fn unsupported(&self, wanted: &str) -> Error {
        let what = format!("has type {}", self.element_type);
        Error::new(ErrorKind::Weights, &self.place, what).fix(format!("convert it to {wanted}"))
    }
}

/// Little-endian words of `N` bytes each.
fn words<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&word| from(word)).collect()
}

/// The index along each axis of the flat, row-major index `i`.
fn unravel(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let along = i % size;
            i /= size;
            along
        })
        .collect();
    at.reverse();
    at
}
