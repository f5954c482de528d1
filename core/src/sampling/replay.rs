//! Logits of chosen codes in partly known images: what a drawn image is replayed with, step by step.

use super::Prefix;
use super::blocks::Blocks;
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use burn::tensor::Tensor;

/// An image as it stood before a step of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialTarget {
    /// Index of the prefix that it comes after.
    pub prefix: usize,
    /// The known codes, row-major; `None` where masked.
    pub codes: Vec<Option<u32>>,
    /// The positions whose logits are wanted, ascending.
    pub wanted: Vec<usize>,
}

/// Logits of the wanted codes, target after target: `[wanted codes, classes]`.
///
/// Every prefix is computed once, for all targets after it. Gradients reach the model, and the prefixes where they
/// have them.
///
/// # Errors
/// `Config` for no targets, for targets of unequal size, and for a prefix or a position that does not exist.
pub fn target_logits(
    model: &UniGen,
    prefixes: &[Prefix],
    targets: &[PartialTarget],
    delimiters: [u32; 2],
) -> Result<Tensor<2>> {
    let fits = |t: &PartialTarget| t.prefix < prefixes.len() && t.wanted.iter().all(|&w| w < t.codes.len());
    if targets.is_empty() || !targets.iter().all(fits) {
        let what = format!("{} targets and {} prefixes do not fit", targets.len(), prefixes.len());
        return Err(Error::new(ErrorKind::Config, "partly known images", what)
            .fix("give at least one image, each with a prefix and positions that exist"));
    }
    let all: Vec<&Prefix> = prefixes.iter().collect();
    let of: Vec<usize> = targets.iter().map(|target| target.prefix).collect();
    let codes: Vec<_> = targets.iter().map(|target| target.codes.clone()).collect();
    let wanted: Vec<_> = targets.iter().map(|target| target.wanted.clone()).collect();
    let blocks = Blocks::new(model, &all, &of, &codes, delimiters)?;
    let hidden = blocks.hidden(model, Some(&blocks.prefill(model)), &codes, &wanted)?;
    Ok(model.code_logits(hidden))
}
