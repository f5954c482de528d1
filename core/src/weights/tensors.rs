//! What modules are filled from.

use super::{Checkpoint, StoredTensor};
use crate::error::Result;

/// Named tensors that a module can be filled from.
pub trait Tensors {
    /// Where they come from, for messages.
    fn place(&self) -> &str;

    /// Shape of the tensor `name`, where there is one.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// The tensor `name`, its values unread. Errors name it.
    fn stored(&self, name: &str) -> Result<StoredTensor>;

    /// The file that holds the tensor `name`, where there are several.
    fn shard(&self, _name: &str) -> Option<&str> {
        None
    }

    /// Values, row-major, and shape of a floating-point tensor. Errors name it.
    fn tensor(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
        let tensor = self.stored(name)?;
        Ok((tensor.values()?, tensor.shape().to_vec()))
    }
}

impl<T: Tensors> Tensors for &T {
    fn place(&self) -> &str {
        (**self).place()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        (**self).shape(name)
    }

    fn stored(&self, name: &str) -> Result<StoredTensor> {
        (**self).stored(name)
    }

    fn shard(&self, name: &str) -> Option<&str> {
        (**self).shard(name)
    }
}

impl Tensors for Checkpoint {
    fn place(&self) -> &str {
        Checkpoint::place(self)
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Checkpoint::shape(self, name).map(<[usize]>::to_vec)
    }

    fn stored(&self, name: &str) -> Result<StoredTensor> {
        Checkpoint::stored(self, name)
    }

    fn shard(&self, name: &str) -> Option<&str> {
        Checkpoint::shard(self, name)
    }
}
