//! Writing safetensors files, tensor after tensor.

use super::{Element, ElementType, StoredTensor};
use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomic;
use crate::quantized::{BlockFormat, QuantizedMatrix};
use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use bytes::Bytes;
use half::{bf16, f16};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// How many values are converted at a time: little beside a model, much beside a page.
const CHUNK: usize = 1 << 20;

/// Element type of floating-point weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes.
    F32,
    /// 2 bytes, 11 bits of precision, up to 65504.
    F16,
    /// 2 bytes, 8 bits of precision, the range of F32.
    Bf16,
}

impl Precision {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 | Precision::Bf16 => 2,
        }
    }

    /// Little-endian bytes; fails where a value is not finite in this precision.
    pub(super) fn encode(self, values: &[f32]) -> std::result::Result<Bytes, String> {
        match self {
            Precision::F32 => encode(values, f32::to_le_bytes),
            Precision::F16 => encode(values, f16::to_le_bytes),
            Precision::Bf16 => encode(values, bf16::to_le_bytes),
        }
        .map_err(|at| format!("{} at flat index {at} does not fit {}", values[at], ElementType::from(self)))
    }
}

impl From<Precision> for ElementType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => ElementType::F32,
            Precision::F16 => ElementType::F16,
            Precision::Bf16 => ElementType::Bf16,
        }
    }
}

/// The bytes of `values` as `T`, or the index of the first that is not finite.
fn encode<T: Element, const N: usize>(
    values: &[f32],
    bytes: impl Fn(T) -> [u8; N],
) -> std::result::Result<Bytes, usize> {
    let mut encoded = Vec::with_capacity(values.len() * N);
    for (at, &value) in values.iter().enumerate() {
        let value = T::from_f32(value);
        if !value.is_finite() {
            return Err(at);
        }
        encoded.extend(bytes(value));
    }
    Ok(encoded.into())
}

/// A tensor for a weight file. Its bytes are made piece by piece when their turn comes, so that a model that does not fit into
/// memory can be converted.
pub struct FileTensor<'a> {
    /// Name in the file, without what tells the format of blocks.
    pub name: String,
    /// Type of the elements.
    pub element_type: ElementType,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// The bytes, row-major, little-endian.
    pub chunks: Box<dyn Iterator<Item = Result<Bytes>> + 'a>,
}

impl FileTensor<'static> {
    /// The tensor as it is. Floating-point values that are not finite are an error when they are written.
    pub fn kept(name: &str, tensor: &StoredTensor) -> Self {
        Self::new(name, tensor, tensor.element_type().clone(), |rows| {
            if let ElementType::F32 | ElementType::F16 | ElementType::Bf16 = rows.element_type() {
                rows.values::<f32>()?;
            }
            Ok(rows.bytes().clone())
        })
    }

    /// The tensor in another precision; whatever does not fit is an error when it is written.
    pub fn converted(name: &str, tensor: &StoredTensor, precision: Precision) -> Self {
        Self::new(name, tensor, precision.into(), move |rows| {
            let bytes = precision.encode(&rows.values::<f32>()?);
            bytes.map_err(|what| Error::new(ErrorKind::Weights, &rows.place, what))
        })
    }

    /// The matrix in blocks, see [`QuantizedMatrix::quantize`]; nothing where the tensor is no matrix or its rows are not
    /// whole blocks.
    pub fn quantized(name: &str, tensor: &StoredTensor, format: BlockFormat) -> Option<Self> {
        let &[_, columns] = tensor.shape() else { return None };
        format.row_bytes(columns).filter(|&bytes| bytes > 0)?;
        Some(Self::new(name, tensor, ElementType::Blocks(format), move |rows| {
            let matrix = QuantizedMatrix::quantize(format, columns, &rows.values::<f32>()?);
            Ok(matrix.map_err(|e| Error { place: rows.place.clone(), ..e })?.bytes().clone())
        }))
    }

    fn new(
        name: &str,
        tensor: &StoredTensor,
        element_type: ElementType,
        mut convert: impl FnMut(StoredTensor) -> Result<Bytes> + 'static,
    ) -> Self {
        let (name, shape) = (name.to_owned(), tensor.shape().to_vec());
        let mut before: Option<StoredTensor> = None;
        let pieces = tensor.clone().pieces(CHUNK).map(Some).chain([None]);
        let chunks = pieces.filter_map(move |piece| {
            // Whoever asks for more, or for the end, is done with the bytes before.
            if let Some(before) = before.take() {
                before.release();
            }
            let rows = match piece? {
                Ok(rows) => rows,
                Err(error) => return Some(Err(error)),
            };
            before = Some(rows.clone());
            Some(convert(rows))
        });
        Self { name, element_type, shape, chunks: Box::new(chunks) }
    }
}

impl FileTensor<'_> {
    /// Name, type and shape in the header of the file, and the number of bytes.
    fn header(&self) -> Option<(String, Dtype, Vec<usize>, usize)> {
        let Self { name, element_type, shape, .. } = self;
        let bytes = element_type.bytes(shape)?;
        let dtype = match element_type {
            ElementType::F32 => Dtype::F32,
            ElementType::F16 => Dtype::F16,
            ElementType::Bf16 => Dtype::BF16,
            ElementType::I64 => Dtype::I64,
            ElementType::I32 => Dtype::I32,
            ElementType::U8 => Dtype::U8,
            ElementType::Bool => Dtype::BOOL,
            ElementType::Blocks(format) => {
                let &[rows, columns] = shape.as_slice() else { return None };
                let blocks = vec![rows, columns / format.block_values(), format.block_bytes()];
                return Some((format!("{name}{}", format.suffix()), Dtype::U8, blocks, bytes));
            }
            ElementType::Other(_) => return None,
        };
        Some((name.clone(), dtype, shape.clone(), bytes))
    }
}

/// Writes tensors to the safetensors file `path`, whole or not at all.
///
/// # Errors
/// NaN, infinity or overflow in a tensor, one name twice, a type that cannot be written, a failed write (a full disk);
/// an old file at `path` survives them.
pub fn write_file(
    path: &Path,
    mut tensors: Vec<FileTensor<'_>>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let error =
        |name: &str, what: &str| Error::new(ErrorKind::Weights, format!("{}: {name}", path.display()), what);
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(error(&pair[0].name, "two tensors have this name"));
    }
    // The widest first, so that all are aligned to their own width.
    tensors.sort_by_key(|tensor| Reverse(tensor.element_type.bytes(&[])));
    let mut end = 0;
    let (mut infos, mut lengths) = (vec![], vec![]);
    for tensor in &tensors {
        let (name, dtype, shape, bytes) = tensor.header().ok_or_else(|| {
            let what = format!("{:?} in {} cannot be written", tensor.shape, tensor.element_type);
            error(&tensor.name, &what)
        })?;
        infos.push((name, TensorInfo { dtype, shape, data_offsets: (end, end + bytes) }));
        lengths.push(bytes);
        end += bytes;
    }
    let metadata = Some(metadata).filter(|m| !m.is_empty());
    let mut header = Metadata::new(metadata, infos)
        .map_err(|e| error("header", &e.to_string()))
        .and_then(|m| serde_json::to_value(&m).map_err(|e| error("header", &e.to_string())))?;
    // The same content gives the same bytes, whatever the order of the map in memory.
    if let Some(metadata) = header.get_mut("__metadata__").and_then(Value::as_object_mut) {
        metadata.sort_keys();
    }
    // Spaces align the data to 8 bytes.
    let header = header.to_string();
    let header = header.clone() + &" ".repeat((8 - header.len() % 8) % 8);

    let mut wrong = None;
    let written = write_atomic(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for (tensor, mut left) in tensors.into_iter().zip(lengths) {
            let mut fail = |error| {
                wrong = Some(error);
                io::Error::from(io::ErrorKind::InvalidData)
            };
            for chunk in tensor.chunks {
                let chunk = chunk.map_err(&mut fail)?;
                out.write_all(&chunk)?;
                left = left
                    .checked_sub(chunk.len())
                    .ok_or_else(|| fail(error(&tensor.name, "too many bytes")))?;
            }
            if left > 0 {
                return Err(fail(error(&tensor.name, &format!("{left} bytes are missing"))));
            }
        }
        Ok(())
    });
    match wrong {
        Some(error) => {
            let remedy = if error.fix.is_empty() { String::new() } else { format!("{}; ", error.fix) };
            Err(error.fix(format!("{remedy}nothing was written, and an old file stays as it was")))
        }
        None => written,
    }
}
