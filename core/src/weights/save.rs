//! From modules to weight files.

use super::ParameterPath;
use super::write::{FileTensor, Precision, write_file};
use crate::error::{Error, ErrorKind, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

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
    let mut saver = Saver { key, path: ParameterPath::default(), found: vec![] };
    module.visit(&mut saver);
    saver.found
}

/// Writes tensors to the safetensors file `path`, whole or not at all. Errors are those of [`save`].
pub fn write_tensors(
    path: &Path,
    precision: Precision,
    tensors: Vec<NamedTensor<'_>>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let tensors = tensors.into_iter().map(|NamedTensor { name, shape, values }| {
        let place = format!("{}: {name}", path.display());
        let chunk = move || {
            let values = values().map_err(|e| Error::new(ErrorKind::Weights, &place, e))?;
            precision.encode(&values).map_err(|what| Error::new(ErrorKind::Weights, &place, what))
        };
        let chunks = Box::new(std::iter::once_with(chunk));
        FileTensor { name, element_type: precision.into(), shape, chunks }
    });
    write_file(path, tensors.collect(), metadata)
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
    path: ParameterPath,
    found: Vec<NamedTensor<'a>>,
}

impl<K: Fn(&str) -> Option<String>> ModuleVisitor for Saver<'_, K> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = (self.key)(&self.path.joined()) else {
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
