//! Keys and values kept from one forward pass to the next.

use burn::tensor::{Device, Int, Tensor};
use std::ops::Range;

/// Keys and values of one layer, `[rows, kv_heads, head_dim]` each, keys already rotated.
pub(super) type KeysValues = (Tensor<3>, Tensor<3>);

/// Every layer's keys and values of some packed rows.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<KeysValues>,
}

impl Cache {
    pub(super) fn new(layers: Vec<KeysValues>) -> Self {
        Self { layers }
    }

    pub(super) fn layers(&self) -> &[KeysValues] {
        &self.layers
    }

    /// The rows of `self` and `more` in the order of `order`: each sequence's old rows, then its new ones.
    pub fn join(self, more: Cache, order: &KeyOrder) -> Cache {
        let layers = self.layers.iter().zip(more.layers).map(|(past, own)| order.join(past, own));
        Cache { layers: layers.collect() }
    }
}

/// Puts cached and new rows in order, sequence after sequence.
#[derive(Debug, Clone)]
pub struct KeyOrder {
    rows: Tensor<1, Int>,
}

impl KeyOrder {
    /// Sequence `i` has the cached rows `cached[i]` and the new rows `new[i]`; sequences may share cached rows.
    pub fn new(cached: &[Range<usize>], new: &[Range<usize>], cached_rows: usize, device: &Device) -> Self {
        let rows = cached.iter().zip(new).flat_map(|(old, new)| {
            old.clone().chain(new.start + cached_rows..new.end + cached_rows).map(|r| r as i32)
        });
        let rows: Vec<i32> = rows.collect();
        Self { rows: Tensor::from_ints(rows.as_slice(), device) }
    }

    pub(super) fn join(&self, past: &KeysValues, own: KeysValues) -> KeysValues {
        let join = |old: &Tensor<3>, new| Tensor::cat(vec![old.clone(), new], 0).select(0, self.rows.clone());
        (join(&past.0, own.0), join(&past.1, own.1))
    }
}
