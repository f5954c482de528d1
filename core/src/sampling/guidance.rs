//! Classifier-free guidance (Ho & Salimans, arXiv 2207.12598): logits with a condition, pushed away from those without.

use super::Prefix;
use crate::model::UniGen;
use burn::tensor::Tensor;
use std::ops::Range;

/// One term of the guidance: the prefixes of all images under one condition, and its weight.
///
/// Guided logits are the weighted sum over the branches. The weights add up to 1, or to `1 / t` where codes are drawn at
/// temperature `t`.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Weight of this branch's logits.
    pub weight: f32,
    /// One prefix per image. Fewer prefixes are shared: with `n` images and `p` prefixes, each serves `n / p` images in a
    /// row, which then share its keys and values.
    pub prefixes: Vec<Prefix>,
}

/// Guidance by a prompt: `uncond + scale (cond - uncond)`. One branch where the scale is 1.
pub fn text_guidance(scale: f32, cond: Vec<Prefix>, uncond: Vec<Prefix>) -> Vec<Branch> {
    let mut branches = vec![Branch { weight: scale, prefixes: cond }];
    if scale != 1.0 {
        branches.push(Branch { weight: 1.0 - scale, prefixes: uncond });
    }
    branches
}

/// Guidance of an edit by two conditions (InstructPix2Pix, arXiv 2211.09800, section 3.2.1):
/// `none + image_scale (image - none) + text_scale (full - image)`. Branches of weight zero are left out.
pub fn edit_guidance(
    text_scale: f32,
    image_scale: f32,
    full: Vec<Prefix>,
    image: Vec<Prefix>,
    none: Vec<Prefix>,
) -> Vec<Branch> {
    let all = [(text_scale, full), (image_scale - text_scale, image), (1.0 - image_scale, none)];
    let used = all.into_iter().filter(|(weight, _)| *weight != 0.0);
    used.map(|(weight, prefixes)| Branch { weight, prefixes }).collect()
}

/// The weighted sum of the branches' logits for some `rows` of each branch, `[rows, classes]`. `hidden` has final hidden
/// states, branch after branch, equally many of each.
pub(super) fn guided(
    model: &UniGen,
    branches: &[Branch],
    hidden: &Tensor<2>,
    rows: Range<usize>,
) -> Tensor<2> {
    let (all, count) = (hidden.dims()[0] / branches.len(), rows.len());
    let of = |branch: usize| hidden.clone().slice([branch * all + rows.start..branch * all + rows.end]);
    let logits = model.code_logits(Tensor::cat((0..branches.len()).map(of).collect(), 0));
    let parts = branches.iter().enumerate().map(|(b, branch)| {
        let part = logits.clone().slice([b * count..(b + 1) * count]);
        if branch.weight == 1.0 { part } else { part * branch.weight }
    });
    parts.reduce(|a, b| a + b).unwrap_or(logits)
}
