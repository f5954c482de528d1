//! From the layout of sequences to the rows of the attention operation.

use crate::ops::AttentionRows;
use crate::sequence::AttentionLayout;
use std::sync::Arc;

/// What [`crate::ops::attention`] needs of a layout; made once a forward pass.
pub fn attention_rows(layout: &AttentionLayout) -> Arc<AttentionRows> {
    let segments = layout.segments.iter().map(|s| (s.queries.clone(), s.keys.clone()));
    Arc::new(AttentionRows::new(layout.visible.clone(), segments.collect()))
}
