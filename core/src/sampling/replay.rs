//! Logits of chosen codes in partly known images: what a drawn image is replayed with, step by step.

use super::Prefix;
use super::masked::Block;
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use burn::tensor::Tensor;

/// An image as it stood before a step of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialTarget {
    /// Which prefix it comes after.
    pub prefix: usize,
    /// What is known of it, row-major.
    pub codes: Vec<Option<u32>>,
    /// The positions whose logits are wanted, ascending.
    pub wanted: Vec<usize>,
}

/// Logits of the wanted codes, target after target: `[wanted codes, classes]`. Every prefix is computed once, for all
/// targets after it; gradients reach the model and the prefixes where they have them.
///
/// # Errors
/// `Config` for no targets, for targets of unequal size, and for a prefix or a position that is not there.
pub fn target_logits(
    model: &UniGen,
    prefixes: &[Prefix],
    targets: &[PartialTarget],
    delimiters: [u32; 2],
) -> Result<Tensor<2>> {
    let tokens = targets.first().map_or(0, |target| target.codes.len());
    let fits = |t: &PartialTarget| {
        t.codes.len() == tokens && t.prefix < prefixes.len() && t.wanted.iter().all(|&w| w < tokens)
    };
    let (Some(first), true) = (prefixes.first(), tokens > 0 && targets.iter().all(fits)) else {
        let what = format!("{} targets, {} prefixes; they do not fit", targets.len(), prefixes.len());
        return Err(Error::new(ErrorKind::Config, "partly known images", what)
            .fix("give images of one size, each with a prefix that is there"));
    };
    let device = first.rows.device();
    let all: Vec<&Prefix> = prefixes.iter().collect();
    let of: Vec<usize> = targets.iter().map(|target| target.prefix).collect();
    let block = Block::new(model, &all, &of, [targets.len(), tokens], delimiters, &device);
    let codes: Vec<_> = targets.iter().map(|target| target.codes.clone()).collect();
    let wanted: Vec<_> = targets.iter().map(|target| target.wanted.clone()).collect();
    Ok(block.cached_logits(model, &block.prefill(model), &codes, &wanted))
}
