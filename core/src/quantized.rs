//! Weights in blocks: a few bits a value, and a scale for every 32 or 256 neighbours in a row.
//!
//! The layouts are those of GGML (`ggml-common.h`), so that tensors of GGUF files are used as they lie. Two of them,
//! [`BlockFormat::Q4_0`] and [`BlockFormat::Q8_0`], are also written ([`QuantizedMatrix::quantize`]); the others are read.

use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use half::f16;
use std::fmt;
use std::ops::Range;

/// Values of a block of the formats that are written.
const BLOCK: usize = 32;
/// Values of a block of the K-formats, which have blocks within blocks.
const SUPER_BLOCK: usize = 256;

/// How the values of a block are packed; `d` and `m` are `f16`, `q` whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// 32 values `d (q - 8)`, `q` in 4 bits: `d`, then 16 bytes, byte `j` with value `j` in its low and `j + 16` in its high half.
    Q4_0,
    /// 32 values `d q + m`, `q` in 4 bits: `d`, `m`, then 16 bytes as in `Q4_0`.
    Q4_1,
    /// 32 values `d q`, `q` a signed byte: `d`, then 32 bytes.
    Q8_0,
    /// 256 values in 8 blocks with scales and minima of 6 bits, `q` in 4 bits.
    Q4K,
    /// 256 values in 16 blocks with scales of 8 bits, `q` in 6 bits.
    Q6K,
}

impl BlockFormat {
    /// All formats.
    pub const ALL: [BlockFormat; 5] =
        [BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q8_0, BlockFormat::Q4K, BlockFormat::Q6K];

    /// GGML's name.
    pub fn name(self) -> &'static str {
        match self {
            BlockFormat::Q4_0 => "Q4_0",
            BlockFormat::Q4_1 => "Q4_1",
            BlockFormat::Q8_0 => "Q8_0",
            BlockFormat::Q4K => "Q4_K",
            BlockFormat::Q6K => "Q6_K",
        }
    }

    /// Values of a block.
    pub fn block_values(self) -> usize {
        match self {
            BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q8_0 => BLOCK,
            BlockFormat::Q4K | BlockFormat::Q6K => SUPER_BLOCK,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            BlockFormat::Q4_0 => 18,
            BlockFormat::Q4_1 => 20,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4K => 144,
            BlockFormat::Q6K => 210,
        }
    }

    /// Bytes of a row of `columns` values; nothing where they are not whole blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        let blocks = columns / self.block_values();
        columns.is_multiple_of(self.block_values()).then(|| blocks.checked_mul(self.block_bytes()))?
    }

    /// What our safetensors files append to the name of a tensor in this format.
    pub fn suffix(self) -> &'static str {
        match self {
            BlockFormat::Q4_0 => ".q4_0",
            BlockFormat::Q4_1 => ".q4_1",
            BlockFormat::Q8_0 => ".q8_0",
            BlockFormat::Q4K => ".q4_k",
            BlockFormat::Q6K => ".q6_k",
        }
    }

    /// The values of one block: `bytes` has [`block_bytes`](Self::block_bytes), `values` takes
    /// [`block_values`](Self::block_values).
    #[inline(always)]
    fn dequantize_block(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            BlockFormat::Q4_0 => {
                let d = half_at(bytes, 0);
                unpack_nibbles(&bytes[2..], values, |q| d * (f32::from(q) - 8.0));
            }
            BlockFormat::Q4_1 => {
                let (d, m) = (half_at(bytes, 0), half_at(bytes, 2));
                unpack_nibbles(&bytes[4..], values, |q| d * f32::from(q) + m);
            }
            BlockFormat::Q8_0 => {
                let d = half_at(bytes, 0);
                for (value, &q) in values.iter_mut().zip(&bytes[2..]) {
                    *value = d * f32::from(q.cast_signed());
                }
            }
            BlockFormat::Q4K => dequantize_q4_k(bytes, values),
            BlockFormat::Q6K => dequantize_q6_k(bytes, values),
        }
    }

    /// Whether all values of consecutive blocks are finite: their scales are.
    pub(crate) fn is_finite(self, bytes: &[u8]) -> bool {
        let scales: &[usize] = match self {
            BlockFormat::Q4_0 | BlockFormat::Q8_0 => &[0],
            BlockFormat::Q4_1 | BlockFormat::Q4K => &[0, 2],
            BlockFormat::Q6K => &[208],
        };
        let mut blocks = bytes.chunks_exact(self.block_bytes());
        blocks.all(|block| scales.iter().all(|&at| half_at(block, at).is_finite()))
    }

    /// The values of consecutive blocks, one after the other.
    #[inline(always)]
    pub(crate) fn dequantize(self, bytes: &[u8], values: &mut [f32]) {
        let blocks = bytes.chunks_exact(self.block_bytes());
        for (bytes, values) in blocks.zip(values.chunks_exact_mut(self.block_values())) {
            self.dequantize_block(bytes, values);
        }
    }
}

#[inline(always)]
fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Low halves first, high halves after them.
#[inline(always)]
fn unpack_nibbles(bytes: &[u8], values: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = values.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}

/// `d`, `dmin`, 12 bytes with 8 scales and 8 minima of 6 bits each, 128 bytes of values: 32 bytes hold a block in their
/// low halves and the next in their high halves.
fn dequantize_q4_k(bytes: &[u8], values: &mut [f32]) {
    let (d, d_min) = (half_at(bytes, 0), half_at(bytes, 2));
    let (packed, quants) = bytes[4..].split_at(12);
    let scale_and_min = |block: usize| {
        let (scale, min) = match block {
            0..4 => (packed[block] & 63, packed[block + 4] & 63),
            _ => (
                packed[block + 4] & 15 | packed[block - 4] >> 6 << 4,
                packed[block + 4] >> 4 | packed[block] >> 6 << 4,
            ),
        };
        (d * f32::from(scale), d_min * f32::from(min))
    };
    for (pair, (quants, values)) in quants.chunks_exact(32).zip(values.chunks_exact_mut(64)).enumerate() {
        let (low, high) = (scale_and_min(2 * pair), scale_and_min(2 * pair + 1));
        let (first, second) = values.split_at_mut(32);
        for ((&byte, first), second) in quants.iter().zip(first).zip(second) {
            *first = low.0 * f32::from(byte & 15) - low.1;
            *second = high.0 * f32::from(byte >> 4) - high.1;
        }
    }
}

/// 128 bytes with the low 4 bits, 64 bytes with the high 2 bits, 16 signed scales, `d`. Each half of the block has 64 bytes
/// of low bits and 32 of high bits for its four quarters of 32 values.
fn dequantize_q6_k(bytes: &[u8], values: &mut [f32]) {
    let (low, rest) = bytes.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, d) = rest.split_at(16);
    let d = half_at(d, 0);
    for (i, value) in values.iter_mut().enumerate() {
        let (half, quarter, l) = (i / 128, i % 128 / 32, i % 32);
        let low = low[64 * half + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15;
        let high = high[32 * half + l] >> (2 * quarter) & 3;
        let scale = f32::from(scales[i / 16].cast_signed());
        *value = d * scale * (f32::from(low | high << 4) - 32.0);
    }
}

/// A quantised matrix `[rows, columns]` over bytes that are shared with others or mapped from a file.
#[derive(Clone)]
pub struct QuantizedMatrix {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    bytes: Bytes,
}

impl fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}] in {}", self.rows, self.columns, self.format.name())
    }
}

impl QuantizedMatrix {
    /// The matrix `[rows, columns]` in `bytes`, row after row.
    ///
    /// # Errors
    /// Where a row is not whole blocks, or `bytes` are not those of the rows.
    pub fn new(format: BlockFormat, rows: usize, columns: usize, bytes: Bytes) -> Result<Self> {
        let error =
            |what: String| Error::new(ErrorKind::Weights, format!("a matrix in {}", format.name()), what);
        let row = format.row_bytes(columns).ok_or_else(|| {
            error(format!("rows of {columns} values are not whole blocks of {}", format.block_values()))
        })?;
        match row.checked_mul(rows) {
            Some(wanted) if wanted == bytes.len() => Ok(Self { format, rows, columns, bytes }),
            _ => Err(error(format!("{} bytes are not those of [{rows}, {columns}]", bytes.len()))),
        }
    }

    /// Quantises the rows of `values` to `Q4_0` or `Q8_0`.
    ///
    /// Values are rounded to the nearest step, as GGML's reference does. For `Q4_0` the step is the one of a few candidates
    /// that gives the least squared error, GGML's among them.
    ///
    /// # Errors
    /// Where rows are not whole blocks, `values` are not whole rows, the format is only read, or a value is not finite or
    /// too large for a scale in `f16`.
    pub fn quantize(format: BlockFormat, columns: usize, values: &[f32]) -> Result<Self> {
        let error =
            |what: String| Error::new(ErrorKind::Weights, format!("quantising to {}", format.name()), what);
        let quantize_block = match format {
            BlockFormat::Q4_0 => quantize_q4_0,
            BlockFormat::Q8_0 => quantize_q8_0,
            _ => return Err(error("this format is only read".into()).fix("use Q4_0 or Q8_0")),
        };
        if columns == 0 || !columns.is_multiple_of(BLOCK) || !values.len().is_multiple_of(columns) {
            return Err(error(format!(
                "{} values are not rows of {columns}, in blocks of {BLOCK}",
                values.len()
            ))
            .fix("keep it in half precision"));
        }
        let mut bytes = Vec::with_capacity(values.len() / BLOCK * format.block_bytes());
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            let start = bytes.len();
            quantize_block(values, &mut bytes);
            // NaN among the values gives a scale of 0 or NaN, so the values are looked at as well.
            if !half_at(&bytes, start).is_finite() || values.iter().any(|x| !x.is_finite()) {
                let what =
                    format!("a value at flat index {} or after it is not finite or too large", block * BLOCK);
                return Err(error(what).fix("keep it in half precision"));
            }
        }
        Self::new(format, values.len() / columns, columns, bytes.into())
    }

    /// How the blocks are packed.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Rows: outputs of a linear layer, entries of a table.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: inputs of a linear layer, the width of a table.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The blocks, row after row.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len().checked_div(self.rows).unwrap_or(0)
    }

    /// The values of some rows, `[rows.len(), columns]` row-major, into `values`, which takes exactly those.
    ///
    /// # Panics
    /// Where `rows` reach beyond the matrix or `values` has another length.
    pub fn dequantize_into(&self, rows: Range<usize>, values: &mut [f32]) {
        assert_eq!(values.len(), rows.len() * self.columns, "room for the values of the rows");
        let bytes = &self.bytes[rows.start * self.row_bytes()..rows.end * self.row_bytes()];
        self.format.dequantize(bytes, values);
    }

    /// The values of some rows, `[rows.len(), columns]` row-major.
    ///
    /// # Panics
    /// Where `rows` reach beyond the matrix.
    pub fn dequantize(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0; rows.len() * self.columns];
        self.dequantize_into(rows, &mut values);
        values
    }
}

/// GGML's `quantize_row_q8_0_ref`: the largest value becomes 127 steps.
fn quantize_q8_0(values: &[f32; BLOCK], out: &mut Vec<u8>) {
    let largest = values.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
    let step = largest / 127.0;
    let inverse = if step == 0.0 { 0.0 } else { 1.0 / step };
    out.extend(f16::from_f32(step).to_le_bytes());
    out.extend(values.map(|x| ((x * inverse).round() as i8).cast_unsigned()));
}

/// GGML's `quantize_row_q4_0_ref`, but with the best of several steps.
fn quantize_q4_0(values: &[f32; BLOCK], out: &mut Vec<u8>) {
    let largest = values.iter().fold(0_f32, |a, &b| if b.abs() > a.abs() { b } else { a });
    let (mut step, mut least) = (largest / -8.0, f32::INFINITY);
    // The reference maps the value of largest magnitude to -8 steps. A smaller magnitude cuts that value off and resolves the
    // others more finely; a larger one can suit both ends.
    for eighths in STEPS {
        let candidate = largest / -eighths;
        let error = squared_error(values, candidate);
        if error < least {
            (step, least) = (candidate, error);
        }
    }
    out.extend(f16::from_f32(step).to_le_bytes());
    let q = values.map(|x| nibble(x, step));
    out.extend((0..BLOCK / 2).map(|j| q[j] | q[j + BLOCK / 2] << 4));
}

/// To how many steps the value of largest magnitude may be mapped. GGML's own choice comes first, so that it is kept among equals.
const STEPS: [f32; 9] = [8.0, 7.0, 7.25, 7.5, 7.75, 8.25, 8.5, 8.75, 9.0];

/// `round(x / step) + 8`, from 0 to 15.
fn nibble(x: f32, step: f32) -> u8 {
    let inverse = if step == 0.0 { 0.0 } else { 1.0 / step };
    ((x * inverse + 8.5) as u8).min(15)
}

/// Of a block in `Q4_0` with this step, which is stored in `f16`.
fn squared_error(values: &[f32; BLOCK], step: f32) -> f32 {
    let stored = f16::from_f32(step).to_f32();
    values.iter().map(|&x| (x - stored * (f32::from(nibble(x, step)) - 8.0)).powi(2)).sum()
}
