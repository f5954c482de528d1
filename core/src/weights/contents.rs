//! What the header of a weight file lists, whatever its format.

use super::ElementType;
use crate::error::Result;
use std::collections::HashMap;
use std::ops::Range;

/// What the header of a file lists.
#[derive(Default)]
pub struct Contents {
    pub tensors: Vec<Listed>,
    pub metadata: HashMap<String, String>,
}

/// A tensor in the header of a file.
pub struct Listed {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<usize>,
    /// Where in the file its bytes are, or why they cannot be had.
    pub data: Result<Range<usize>>,
}
