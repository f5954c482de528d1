//! Between modules and weight files.

use super::{ElementType, StoredTensor, Tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomic;
use crate::ops;
use ::safetensors::Dtype;
use ::safetensors::tensor::{Metadata, TensorInfo};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// How many problems an error lists before it only counts.
const LISTED: usize = 5;

/// Element type of a weight file.
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

    fn dtype(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
            Precision::Bf16 => Dtype::BF16,
        }
    }

    /// Little-endian bytes; the index of the first value that is not finite in this precision fails.
    fn encode(self, values: &[f32]) -> std::result::Result<Vec<u8>, usize> {
        let finite = |x: f32| match self {
            Precision::F32 => x.is_finite(),
            Precision::F16 => f16::from_f32(x).is_finite(),
            Precision::Bf16 => bf16::from_f32(x).is_finite(),
        };
        match values.iter().position(|&x| !finite(x)) {
            Some(at) => Err(at),
            None => Ok(match self {
                Precision::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Precision::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
                Precision::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            }),
        }
    }
}

/// `module` with its floating-point parameters from `checkpoint`; devices, element types and gradient
/// requirements stay. But where a device multiplies `f16` as it lies ([`ops::multiplies_halves`]), weights of linear layers
/// that are stored so keep half of their size.
///
/// `key` gives the checkpoint's name of a parameter from its path in the module (`layers.0.norm.weight`),
/// or nothing for a parameter that shall stay as it is.
///
/// One error lists every problem: missing tensors, shapes (found and wanted), and the first unreadable tensor.
pub fn load<M: Module>(
    module: M,
    checkpoint: &impl Tensors,
    key: impl Fn(&str) -> Option<String>,
) -> Result<M> {
    let mut loader =
        Loader { checkpoint, key, path: vec![], linear: false, problems: vec![], unreadable: None };
    let module = module.map(&mut loader);
    if let Some(error) = loader.unreadable.filter(|_| loader.problems.is_empty()) {
        return Err(error);
    }
    let problems = loader.problems;
    if problems.is_empty() {
        return Ok(module);
    }
    let mut what = problems[..problems.len().min(LISTED)].join("; ");
    if problems.len() > LISTED {
        what += &format!("; and {} more", problems.len() - LISTED);
    }
    Err(Error::new(ErrorKind::Weights, checkpoint.place(), what)
        .fix("check that config.json and the weights belong to the same model"))
}

struct Loader<'a, T, K> {
    checkpoint: &'a T,
    key: K,
    path: Vec<String>,
    /// Whether the last step of the path led into a linear layer.
    linear: bool,
    problems: Vec<String>,
    unreadable: Option<Error>,
}

impl<T: Tensors, K> Loader<'_, T, K> {
    /// Whether `weight` stays in `f16` on `device`.
    fn stays_half(&self, weight: &StoredTensor, device: &Device) -> bool {
        let &[_, inputs] = weight.shape() else { return false };
        // A head gives some of its rows, which takes `f16` in shaders.
        let whole = !self.path.iter().any(|part| part == "lm_head");
        let half = *weight.element_type() == ElementType::F16;
        self.linear && whole && half && ops::multiplies_halves(inputs, device)
    }

    /// The values of the tensor `name` for `param`, in the type that it is to have.
    fn read<const D: usize>(&self, name: &str, param: &Param<Tensor<D>>) -> Result<Tensor<D>> {
        let stored = self.checkpoint.stored(name)?;
        let device = param.lazy_device();
        let dtype = match param.is_initialized() {
            true => param.dtype(),
            false if self.stays_half(&stored, &device) => DType::F16,
            false => DType::F32,
        };
        let shape = stored.shape().to_vec();
        let data = match dtype {
            DType::F16 => TensorData::new(stored.values::<f16>()?, shape),
            _ => TensorData::new(stored.values::<f32>()?, shape),
        };
        Ok(Tensor::from_data(data, (&device, dtype)))
    }
}

impl<T: Tensors, K: Fn(&str) -> Option<String>> ModuleMapper for Loader<'_, T, K> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.into());
        self.linear = container == "Struct:Linear";
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = (self.key)(&self.path.join(".")) else {
            return param;
        };
        let wanted = param.lazy_shape().as_slice().to_vec();
        match self.checkpoint.shape(&name) {
            None => self.problems.push(format!("{name} is missing, wanted {wanted:?}")),
            Some(found) if found != wanted => {
                let file = self.checkpoint.shard(&name).map(|file| format!(" in {file}")).unwrap_or_default();
                self.problems.push(format!("{name} has shape {found:?}{file}, wanted {wanted:?}"));
            }
            // After the first problem, only names and shapes matter.
            Some(_) if self.problems.is_empty() && self.unreadable.is_none() => {
                match self.read(&name, &param) {
                    Err(error) => self.unreadable = Some(error),
                    Ok(new) => {
                        let id = param.id;
                        return param.transform_for_load(new, id);
                    }
                }
            }
            Some(_) => {}
        }
        param
    }
}

/// Scalars in all parameters of `module`.
pub fn parameters<M: Module>(module: &M) -> usize {
    module.num_params()
}

/// Writes the floating-point parameters of `module` to the safetensors file `path`, whole or not at all.
///
/// `key` gives the name in the file of a parameter from its path in the module, or nothing to leave it out.
/// Errors: NaN, infinity or (in half precision) overflow in a parameter, one name twice, a failed write (a
/// full disk); an old file at `path` survives them.
pub fn save<M: Module>(
    module: &M,
    path: &Path,
    dtype: Precision,
    key: impl Fn(&str) -> Option<String>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    write_tensors(path, dtype, tensors(module, key), metadata)
}

/// The floating-point parameters of `module` under the names that `key` gives, as in [`save`].
pub fn tensors<'a, M: Module>(module: &M, key: impl Fn(&str) -> Option<String>) -> Vec<NamedTensor<'a>> {
    let mut saver = Saver { key, path: vec![], found: vec![] };
    module.visit(&mut saver);
    saver.found
}

/// Writes tensors to the safetensors file `path`, whole or not at all. Errors are those of [`save`].
pub fn write_tensors(
    path: &Path,
    dtype: Precision,
    mut found: Vec<NamedTensor<'_>>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let error = |name: &str, what: String| {
        Error::new(ErrorKind::Weights, format!("{}: {name}", path.display()), what)
    };
    if let Some(pair) = found.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(error(&pair[0].name, "two parameters have this name".into()));
    }

    let mut end = 0;
    let infos = found.iter().map(|parameter| {
        let start = end;
        end += parameter.shape.iter().product::<usize>() * dtype.bytes();
        let info =
            TensorInfo { dtype: dtype.dtype(), shape: parameter.shape.clone(), data_offsets: (start, end) };
        (parameter.name.clone(), info)
    });
    let metadata = Some(metadata).filter(|m| !m.is_empty());
    let mut header = Metadata::new(metadata, infos.collect())
        .map_err(|e| error("header", e.to_string()))
        .and_then(|m| serde_json::to_value(&m).map_err(|e| error("header", e.to_string())))?;
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
        for parameter in &found {
            let values = (parameter.values)().map_err(io::Error::other)?;
            match dtype.encode(&values) {
                Ok(bytes) => out.write_all(&bytes)?,
                Err(at) => {
                    let what = format!("{} at flat index {at} does not fit {dtype:?}", values[at]);
                    wrong = Some(error(&parameter.name, what));
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    });
    match wrong {
        Some(error) => Err(error.fix("nothing was written; an old file stays as it was")),
        None => written,
    }
}

/// A tensor for a weight file.
pub struct NamedTensor<'a> {
    /// Name in the file.
    pub name: String,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Reads the values, row-major, or says why it cannot.
    pub values: Box<dyn Fn() -> std::result::Result<Cow<'a, [f32]>, String> + 'a>,
}

struct Saver<'a, K> {
    key: K,
    path: Vec<String>,
    found: Vec<NamedTensor<'a>>,
}

impl<K: Fn(&str) -> Option<String>> ModuleVisitor for Saver<'_, K> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = (self.key)(&self.path.join(".")) else {
            return;
        };
        let tensor = param.base().detach();
        let shape = tensor.dims().to_vec();
        let values = Box::new(move || {
            let data = tensor.clone().try_into_data().map_err(|e| format!("{e:?}"))?;
            data.convert_dtype(DType::F32).try_into_vec::<f32>().map(Cow::Owned).map_err(|e| format!("{e:?}"))
        });
        self.found.push(NamedTensor { name, shape, values });
    }
}
