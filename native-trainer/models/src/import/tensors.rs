//! Tensors on their way into a model folder.

use super::Storage;
use std::iter;
use std::sync::Arc;
use unigen_core::weights::{
    Bytes, Checkpoint, ElementType, FileTensor, GgufDecoder, Precision, StoredTensor, Tensors,
};
use unigen_core::{Error, ErrorKind, Result};

/// How many problems an error lists before it only counts.
const LISTED: usize = 5;

/// Rows of a tensor, piece after piece.
pub type Pieces = Box<dyn Iterator<Item = Result<StoredTensor>>>;

/// A tensor of the new model, unread.
pub struct NewTensor {
    name: String,
    shape: Vec<usize>,
    /// The type that it has unless the user wants another.
    found: ElementType,
    read: Box<dyn Fn() -> Result<Pieces>>,
}

impl NewTensor {
    /// A tensor whose pieces `read` gives.
    pub fn new(
        name: String,
        shape: Vec<usize>,
        found: ElementType,
        read: impl Fn() -> Result<Pieces> + 'static,
    ) -> Self {
        Self { name, shape, found, read: Box::new(read) }
    }

    /// The tensor as `storage` has it, to be written.
    pub fn stored(self, storage: Storage) -> FileTensor<'static> {
        let Self { name, shape, found, read } = self;
        let element_type = storage.of(&name, &shape, &found);
        let wanted = element_type.clone();
        let pieces = iter::once_with(read)
            .flat_map(|pieces| pieces.unwrap_or_else(|error| Box::new(iter::once(Err(error))) as Pieces));
        let chunks = pieces.flat_map(move |piece| match piece {
            Ok(piece) => converted(&piece, &wanted),
            Err(error) => Box::new(iter::once(Err(error))),
        });
        FileTensor { name, element_type, shape, chunks: Box::new(chunks) }
    }
}

/// The bytes of `piece` as `wanted`.
fn converted(piece: &StoredTensor, wanted: &ElementType) -> Box<dyn Iterator<Item = Result<Bytes>>> {
    let as_float = |precision| FileTensor::converted("", piece, precision);
    let tensor = match wanted {
        wanted if wanted == piece.element_type() => FileTensor::kept("", piece),
        ElementType::F32 => as_float(Precision::F32),
        ElementType::F16 => as_float(Precision::F16),
        ElementType::Bf16 => as_float(Precision::Bf16),
        // `Storage` asks for blocks only where rows are whole blocks.
        ElementType::Blocks(format) => {
            FileTensor::quantized("", piece, *format).unwrap_or_else(|| FileTensor::kept("", piece))
        }
        _ => FileTensor::kept("", piece),
    };
    tensor.chunks
}

/// A parameter's name in a checkpoint from its path in a module.
type Key = dyn Fn(&str) -> Option<String>;

/// A checkpoint, and what it calls the parameters of a module.
#[derive(Clone)]
pub struct Weights {
    checkpoint: Arc<Checkpoint>,
    key: Arc<Key>,
}

impl Weights {
    /// The weights in `checkpoint`, where `key` gives a parameter's name from its path in the module.
    pub fn new(checkpoint: Arc<Checkpoint>, key: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { checkpoint, key: Arc::new(key) }
    }

    /// The name of the parameter at `path`.
    fn name(&self, path: &str) -> String {
        (self.key)(path).unwrap_or_else(|| path.into())
    }

    fn shape(&self, path: &str) -> Result<Option<Vec<usize>>> {
        let name = self.name(path);
        Ok(match self.checkpoint.gguf() {
            Some(_) => GgufDecoder::new(&self.checkpoint)?.shape(&name),
            None => self.checkpoint.shape(&name).map(<[usize]>::to_vec),
        })
    }

    /// The tensor of the parameter at `path`, unread.
    pub fn stored(&self, path: &str) -> Result<StoredTensor> {
        let name = self.name(path);
        match self.checkpoint.gguf() {
            Some(_) => GgufDecoder::new(&self.checkpoint)?.stored(&name),
            None => self.checkpoint.stored(&name),
        }
    }

    /// The tensors of parameters with these paths and shapes, under the names that `rename` gives.
    ///
    /// # Errors
    /// One error lists what is missing or of another shape; one names a type that cannot be read.
    pub fn tensors(
        &self,
        parameters: impl IntoIterator<Item = (String, Vec<usize>)>,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<NewTensor>> {
        let (mut tensors, mut problems) = (vec![], vec![]);
        for (path, wanted) in parameters {
            let Some(renamed) = rename(&path) else { continue };
            let name = self.name(&path);
            match self.shape(&path)? {
                Some(found) if found == wanted => {
                    let found = self.stored(&path)?.element_type().clone();
                    check_type(&format!("{}: {name}", self.checkpoint.place()), &found)?;
                    let weights = self.clone();
                    tensors.push(NewTensor::new(renamed, wanted, found, move || {
                        Ok(Box::new(iter::once(weights.stored(&path))))
                    }));
                }
                Some(found) => {
                    let file = self.checkpoint.shard(&name);
                    let file = file.map(|file| format!(" in {file}")).unwrap_or_default();
                    problems.push(format!("{name} has shape {found:?}{file}, wanted {wanted:?}"));
                }
                None => problems.push(format!("{name} is missing, wanted {wanted:?}")),
            }
        }
        if problems.is_empty() {
            return Ok(tensors);
        }
        let mut what = problems[..problems.len().min(LISTED)].join("; ");
        if problems.len() > LISTED {
            what += &format!("; and {} more", problems.len() - LISTED);
        }
        Err(Error::new(ErrorKind::Weights, self.checkpoint.place(), what)
            .fix("check that config.json and the weights belong to the same model"))
    }
}

/// Checks that tensors of this type can be read.
fn check_type(place: &str, found: &ElementType) -> Result<()> {
    match found {
        ElementType::F32 | ElementType::F16 | ElementType::Bf16 | ElementType::Blocks(_) => Ok(()),
        other => Err(Error::new(ErrorKind::Weights, place, format!("has type {other}"))
            .fix("take the weights in F32, F16 or BF16")),
    }
}
