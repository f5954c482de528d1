//! Matrices that linear layers multiply by, as they are stored.

use crate::quantized::BlockFormat;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use std::ops::Range;

/// A matrix `[outputs, inputs]` on a device, as it is stored. Products unpack it a tile at a time, so that nothing larger
/// than a tile of it is ever in `f32`.
#[derive(Clone, Debug)]
pub struct Weight {
    pub(super) stored: Stored,
    /// The rows that are meant; the others are stored beside them.
    pub(super) rows: Range<usize>,
}

/// What a [`Weight`] is stored in.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// `f32`, `f16` or `bf16`.
    Values(Tensor<2>),
    /// The bytes of blocks, `[outputs, bytes of a row]`.
    Blocks(Tensor<2, Int>, BlockFormat),
    /// Some outputs after others, at least two parts.
    Parts(Vec<Weight>),
}

impl Weight {
    /// A matrix in blocks: `bytes` are `U8`, `[outputs, bytes of a row]`.
    pub fn blocks(bytes: Tensor<2, Int>, format: BlockFormat) -> Self {
        Self { rows: 0..bytes.dims()[0], stored: Stored::Blocks(bytes, format) }
    }

    /// The outputs of one matrix after those of another. There must be one.
    pub(crate) fn parts(mut parts: Vec<Self>) -> Self {
        match parts.len() {
            1 => parts.remove(0),
            _ => {
                let outputs = parts.iter().map(|part| part.rows.len()).sum();
                Self { rows: 0..outputs, stored: Stored::Parts(parts) }
            }
        }
    }

    /// `[outputs, inputs]`
    pub fn dims(&self) -> [usize; 2] {
        let inputs = match &self.stored {
            Stored::Values(values) => values.dims()[1],
            Stored::Blocks(bytes, format) => bytes.dims()[1] / format.block_bytes() * format.block_values(),
            Stored::Parts(parts) => parts[0].dims()[1],
        };
        [self.rows.len(), inputs]
    }

    /// What its values are stored in: `F32`, `F16`, `BF16`, or the name of a [`BlockFormat`].
    pub fn storage(&self) -> &'static str {
        match &self.stored {
            Stored::Values(values) => match values.dtype() {
                DType::F16 => "F16",
                DType::BF16 => "BF16",
                _ => "F32",
            },
            Stored::Blocks(_, format) => format.name(),
            Stored::Parts(parts) => parts[0].storage(),
        }
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match &self.stored {
            Stored::Values(values) => values.device(),
            Stored::Blocks(bytes, _) => bytes.device(),
            Stored::Parts(parts) => parts[0].device(),
        }
    }

    /// The matrix of some outputs; nothing is copied.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.rows.len(), "rows {rows:?} of {}", self.rows.len());
        if let Stored::Parts(parts) = self.stored {
            let mut first = 0;
            let of_part = parts.into_iter().filter_map(|part| {
                let (start, end) = (first, first + part.rows.len());
                first = end;
                let own = rows.start.clamp(start, end)..rows.end.clamp(start, end);
                // The first part stands for no rows at all.
                let some = !own.is_empty() || rows.is_empty() && start == 0;
                some.then(|| part.rows(own.start - start..own.end - start))
            });
            return Self::parts(of_part.collect());
        }
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        Self { rows, ..self }
    }

    /// The values in `f32`: a whole copy of whatever is stored otherwise.
    pub fn values(self) -> Tensor<2> {
        let Self { stored, rows } = self;
        match stored {
            Stored::Values(values) => {
                let values = if values.dtype() == DType::F32 { values } else { values.cast(FloatDType::F32) };
                if rows.len() == values.dims()[0] { values } else { values.slice([rows]) }
            }
            Stored::Blocks(bytes, format) => {
                let (device, row) = (bytes.device(), bytes.dims()[1]);
                let bytes = bytes.into_data();
                let inputs = row / format.block_bytes() * format.block_values();
                let mut values = vec![0.0; rows.len() * inputs];
                format.dequantize(&bytes.bytes()[rows.start * row..rows.end * row], &mut values);
                Tensor::from_data(TensorData::new(values, [rows.len(), inputs]), &device)
            }
            Stored::Parts(parts) => Tensor::cat(parts.into_iter().map(Self::values).collect(), 0),
        }
    }

    /// Whether it is stored in `f32`, so that it can be trained.
    pub(super) fn is_float(&self) -> bool {
        matches!(&self.stored, Stored::Values(values) if values.dtype() == DType::F32)
    }
}

impl From<Tensor<2>> for Weight {
    fn from(values: Tensor<2>) -> Self {
        Self { rows: 0..values.dims()[0], stored: Stored::Values(values) }
    }
}
