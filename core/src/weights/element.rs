//! Types of a tensor's elements.

use crate::quantized::BlockFormat;
use half::{bf16, f16};
use std::fmt;

/// Element type of a tensor in a weight file, whichever kind of file that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// 4 bytes.
    F32,
    /// 2 bytes, 11 bits of precision, up to 65504.
    F16,
    /// 2 bytes, 8 bits of precision, the range of `F32`.
    Bf16,
    /// Signed, 8 bytes.
    I64,
    /// Signed, 4 bytes.
    I32,
    /// Unsigned, 1 byte.
    U8,
    /// 0 or 1, 1 byte.
    Bool,
    /// Quantised in blocks along the rows.
    Blocks(BlockFormat),
    /// A type that is listed but not read, by the name that the file's format has for it.
    Other(String),
}

impl ElementType {
    /// Bytes of a tensor of this type and shape; nothing where the type is not read, where a row is not whole blocks, or where
    /// the product overflows.
    pub fn bytes(&self, shape: &[usize]) -> Option<usize> {
        let width = match self {
            ElementType::I64 => 8,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F16 | ElementType::Bf16 => 2,
            ElementType::U8 | ElementType::Bool => 1,
            ElementType::Blocks(format) => {
                let (&columns, rows) = shape.split_last()?;
                let row = format.row_bytes(columns)?;
                return rows.iter().try_fold(row, |bytes, &size| bytes.checked_mul(size));
            }
            ElementType::Other(_) => return None,
        };
        shape.iter().try_fold(width, |bytes: usize, &size| bytes.checked_mul(size))
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ElementType::F32 => "F32",
            ElementType::F16 => "F16",
            ElementType::Bf16 => "BF16",
            ElementType::I64 => "I64",
            ElementType::I32 => "I32",
            ElementType::U8 => "U8",
            ElementType::Bool => "BOOL",
            ElementType::Blocks(format) => format.name(),
            ElementType::Other(name) => name,
        })
    }
}

/// A floating-point type that tensors can be read as.
pub trait Element: Copy + fmt::Display {
    /// The nearest value.
    fn from_f32(value: f32) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

impl Element for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f16 {
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for bf16 {
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}
