//! The rows whose output is wanted.

use super::Positions;
use crate::ops::{self, AttentionLayout};
use burn::tensor::{Device, Int, Tensor};
use std::sync::Arc;

/// The rows that the last layer computes. It takes keys and values from all rows.
#[derive(Debug, Clone)]
pub struct Wanted {
    rows: Tensor<1, Int>,
    pub(super) positions: Positions,
    pub(super) layout: Arc<AttentionLayout>,
}

impl Wanted {
    /// The packed rows with the indices `rows`, ascending. `positions` and `layout` are those of all rows.
    pub fn new(rows: &[usize], positions: &Positions, layout: &AttentionLayout, device: &Device) -> Self {
        let indices: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), device);
        Self {
            positions: positions.pick(indices.clone()),
            layout: Arc::new(layout.pick(rows)),
            rows: indices,
        }
    }

    /// The wanted rows of `x` `[rows, width]`.
    pub(super) fn pick(&self, x: Tensor<2>) -> Tensor<2> {
        ops::select_rows(x, self.rows.clone())
    }
}
