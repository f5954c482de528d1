//! From weight files to modules.

use super::{ElementType, ParameterPath, StoredTensor, Tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::{nn, ops};
use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use half::{bf16, f16};

/// The field of a decoder that is its token table.
const TABLE: &str = "embed_tokens";

/// How many problems an error lists before it only counts.
const LISTED: usize = 5;

/// `module` with its floating-point parameters from `checkpoint`; devices, element types and gradient
/// requirements stay.
///
/// But weights of linear layers and token tables stay as they are stored, in half precision or in blocks, where the device multiplies
/// them so ([`ops::multiplies_halves`], [`ops::multiplies_blocks`]), and kernels of convolutions in half precision where the device
/// widens them as they are needed ([`ops::conv::widens_kernels`]): on the CPU they are the bytes of `checkpoint` themselves, mapped
/// from its file.
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
    let mut loader = Loader {
        checkpoint,
        key,
        path: ParameterPath::default(),
        matrix: false,
        kernel: false,
        blocks: false,
        part: None,
        problems: vec![],
        unreadable: None,
    };
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
    path: ParameterPath,
    /// Whether the path leads to the weight of a linear layer or of a token table.
    matrix: bool,
    /// Whether the path leads to the kernel of a convolution.
    kernel: bool,
    /// Whether the last step of the path is the format of blocks.
    blocks: bool,
    /// The first output of the part of a weight.
    part: Option<usize>,
    problems: Vec<String>,
    unreadable: Option<Error>,
}

impl<T: Tensors, K> Loader<'_, T, K> {
    /// Whether a tensor of the shape `found` has what a parameter of the shape `wanted` holds.
    fn fits(&self, found: &[usize], wanted: &[usize]) -> bool {
        match (self.part, found, wanted) {
            (Some(first), [rows, row @ ..], [part, wanted @ ..]) => first + part <= *rows && row == wanted,
            _ => found == wanted,
        }
    }

    /// The type in which a new parameter is to have the values of `stored`.
    fn dtype(&self, stored: &StoredTensor, device: &Device) -> DType {
        let halves = match *stored.shape() {
            [outputs, inputs] if self.matrix => ops::multiplies_halves([outputs, inputs], device),
            _ if self.kernel => ops::conv::widens_kernels(device),
            _ => false,
        };
        match stored.element_type() {
            ElementType::Bf16 if halves => DType::BF16,
            // Blocks that a device does not multiply fit into halves.
            ElementType::F16 | ElementType::Blocks(_) if halves => DType::F16,
            _ => DType::F32,
        }
    }

    /// The tensor `name`, or the part of it that has so many `rows`.
    fn stored(&self, name: &str, rows: usize) -> Result<StoredTensor> {
        let stored = self.checkpoint.stored(name)?;
        self.part.map_or(Ok(stored.clone()), |first| stored.rows(first..first + rows))
    }

    /// The values of the tensor `name` for `param`, in the type that it is to have.
    fn read<const D: usize>(&self, name: &str, param: &Param<Tensor<D>>) -> Result<Tensor<D>> {
        let stored = self.stored(name, param.lazy_shape()[0])?;
        let device = param.lazy_device();
        let dtype = if param.is_initialized() { param.dtype() } else { self.dtype(&stored, &device) };
        let shape = stored.shape().to_vec();
        let data = match (dtype, stored.element_type()) {
            (DType::F16, ElementType::F16) | (DType::BF16, ElementType::Bf16) => stored.data(shape, dtype)?,
            (DType::F16, _) => TensorData::new(stored.values::<f16>()?, shape),
            (DType::BF16, _) => TensorData::new(stored.values::<bf16>()?, shape),
            _ => TensorData::new(stored.values::<f32>()?, shape),
        };
        Ok(Tensor::from_data(data, (&device, dtype)))
    }
}

impl<T: Tensors, K: Fn(&str) -> Option<String>> ModuleMapper for Loader<'_, T, K> {
    fn enter_module(&mut self, name: &str, container: &str) {
        // A file has the weight whole, under its own name.
        if container == nn::PARTS {
            (self.part, self.matrix) = (name.parse().ok(), true);
            return;
        }
        let table = self.path.contains(TABLE) && container == "Struct:Embedding";
        self.matrix = name == "weight" && (table || container == "Struct:Linear");
        self.kernel = name == "weight" && container == "Struct:Conv2d";
        self.blocks = container == nn::BLOCKS;
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if container == nn::PARTS {
            self.part = None;
            return;
        }
        self.path.leave(container);
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        nn::answer(flag, || {
            let name = (self.key)(&self.path.joined()).filter(|_| self.matrix)?;
            match *self.checkpoint.stored(&name).ok()?.element_type() {
                ElementType::Blocks(format) => Some(format),
                _ => None,
            }
        })
    }

    /// The bytes of blocks; the last step of the path is the name of their format.
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let path = self.path.joined();
        let Some((weight, _)) = path.rsplit_once('.').filter(|_| self.blocks) else { return param };
        let Some(name) = (self.key)(weight) else { return param };
        let shape = param.lazy_shape().as_slice().to_vec();
        let read = || {
            let stored = self.stored(&name, shape[0])?;
            let rows =
                stored.quantized().filter(|blocks| [blocks.rows(), blocks.row_bytes()][..] == shape[..]);
            let Some(_) = rows else {
                let what = format!("{name} has shape {:?} in {}", stored.shape(), stored.element_type());
                return Err(Error::new(ErrorKind::Weights, self.checkpoint.place(), what)
                    .fix("load it into a model that holds nothing yet"));
            };
            Ok(Tensor::from_data(stored.data(shape.clone(), DType::U8)?, (&param.lazy_device(), DType::U8)))
        };
        match read() {
            Ok(bytes) => Param::initialized(param.id, bytes),
            Err(error) => {
                self.unreadable.get_or_insert(error);
                param
            }
        }
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = (self.key)(&self.path.joined()) else {
            return param;
        };
        let wanted = param.lazy_shape().as_slice().to_vec();
        match self.checkpoint.shape(&name) {
            None => self.problems.push(format!("{name} is missing, wanted {wanted:?}")),
            Some(found) if !self.fits(&found, &wanted) => {
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
