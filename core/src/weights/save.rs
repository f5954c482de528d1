//! From modules to weight files.

use super::ParameterPath;
use super::write::{FileTensor, Precision, write_file};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::BLOCKS;
use crate::ops::Weight;
use crate::quantized::BlockFormat;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Int, Tensor};
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
    let mut saver = Saver { key, path: ParameterPath::default(), blocks: false, found: vec![] };
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
    /// Whether the last step of the path is the format of blocks.
    blocks: bool,
    found: Vec<NamedTensor<'a>>,
}

impl<K: Fn(&str) -> Option<String>> ModuleVisitor for Saver<'_, K> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.blocks = container == BLOCKS;
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.leave(container);
    }

    /// The bytes of blocks, whose values are written; the last step of the path is the name of their format.
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let path = self.path.joined();
        let Some((weight, format)) = path.rsplit_once('.').filter(|_| self.blocks) else { return };
        let format = BlockFormat::ALL.into_iter().find(|known| known.suffix()[1..] == *format);
        let (Some(name), Some(format)) = ((self.key)(weight), format) else { return };
        let weight = Weight::blocks(param.val().reshape([param.dims()[0] as i32, -1]), format);
        let shape = weight.dims().to_vec();
        let values = Box::new(move || floats(weight.clone().values()));
        self.found.push(NamedTensor { name, shape, values });
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = (self.key)(&self.path.joined()) else {
            return;
        };
        let tensor = param.base().detach();
        let shape = tensor.dims().to_vec();
        let values = Box::new(move || floats(tensor.clone()));
        self.found.push(NamedTensor { name, shape, values });
    }
}

/// The values of a tensor, row-major.
fn floats<const D: usize>(tensor: Tensor<D>) -> std::result::Result<Cow<'static, [f32]>, String> {
    let data = tensor.try_into_data().map_err(|e| format!("{e:?}"))?;
    data.convert_dtype(DType::F32).try_into_vec::<f32>().map(Cow::Owned).map_err(|e| format!("{e:?}"))
}
