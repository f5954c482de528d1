//! From weight files to modules.

use super::{ElementType, ParameterPath, StoredTensor, Tensors};
use crate::error::{Error, ErrorKind, Result};
use crate::ops;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::f16;

/// How many problems an error lists before it only counts.
const LISTED: usize = 5;

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
    let mut loader = Loader {
        checkpoint,
        key,
        path: ParameterPath::default(),
        linear: false,
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
        let whole = !self.path.contains("lm_head");
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
        self.path.enter(name, container);
        self.linear = container == "Struct:Linear";
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.leave(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = (self.key)(&self.path.joined()) else {
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
