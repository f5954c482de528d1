//! What the layers of every architecture share: which rows they compute, and what these rows see.

use super::cache::{KeyOrder, KeysValues};
use super::rope::Positions;
use super::wanted::Wanted;
use crate::ops::{self, AttentionLayout};
use crate::precision::MatmulPrecision;
use burn::tensor::Tensor;
use std::sync::Arc;

/// One pass of packed rows through a layer.
pub(super) struct Pass<'a> {
    /// Of all rows.
    pub positions: &'a Positions,
    /// Who sees whom. Keys are in the order of `past`, where there is one.
    pub layout: &'a Arc<AttentionLayout>,
    /// Keys and values from before, and how they and the new ones are put in order.
    pub past: Option<(&'a KeysValues, &'a KeyOrder)>,
    /// The rows whose output is wanted; all where there is nothing. Keys and values are of all rows in any case.
    pub wanted: Option<&'a Wanted>,
}

impl Pass<'_> {
    /// The wanted rows of `x` `[rows, width]`.
    pub fn pick(&self, x: Tensor<2>) -> Tensor<2> {
        match self.wanted {
            Some(wanted) => wanted.pick(x),
            None => x,
        }
    }

    /// Positions of the wanted rows.
    pub fn query_positions(&self) -> &Positions {
        self.wanted.map_or(self.positions, |wanted| &wanted.positions)
    }

    /// Attention of the wanted rows' queries `[wanted, heads, head]` over the rows' `own` keys and values and those from
    /// before → `[wanted, heads · head]`.
    pub fn attention(&self, q: Tensor<3>, own: &KeysValues, precision: MatmulPrecision) -> Tensor<2> {
        let (k, v) = match self.past {
            Some((past, order)) => order.join(past, own.clone()),
            None => own.clone(),
        };
        let layout = self.wanted.map_or(self.layout, |wanted| &wanted.layout);
        let [rows, heads, head] = q.dims();
        ops::attention(q, k, v, layout.clone(), precision).reshape([rows, heads * head])
    }
}
