//! All that a run needs to go on, in one file.

use anyhow::{Context, Result};
use burn::module::Module;
use std::path::Path;
use unigen_core::weights::{Checkpoint, Precision, keys, load, tensors, write_tensors};

use crate::optimizer::{AdamW, EMA};

/// Name of the checkpoint in a run's folder.
pub const LAST: &str = "last.safetensors";
/// Name of the checkpoint that validated best, of stages that look for it.
pub const BEST: &str = "best.safetensors";

const MODEL: &str = "model.";
const STEP: &str = "step";
const UPDATES: &str = "updates";

/// Writes `model.*`, `ema.*`, `adam.m.*` and `adam.v.*` by parameter path in f32, and `step` (steps done) and
/// `updates` (steps that changed weights) in the metadata.
///
/// # Errors
/// When a weight is not finite or writing fails (a full disk); an old file at `path` stays as it was.
pub fn save<M: Module>(path: &Path, model: &M, optimizer: &AdamW, step: u64) -> Result<()> {
    let average = optimizer.averaged(model.valid());
    let mut all = tensors(model, |name| Some(format!("{MODEL}{name}")));
    all.extend(tensors(&average, |name| Some(format!("{EMA}{name}"))));
    all.extend(optimizer.moments());
    let metadata = [(STEP, step), (UPDATES, optimizer.updates())];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_string())).into();
    Ok(write_tensors(path, Precision::F32, all, metadata)?)
}

/// Fills `model` and `optimizer` from the file `path` and gives the steps done.
///
/// # Errors
/// When the file is missing or damaged, or of a model of other sizes.
pub fn restore<M: Module>(path: &Path, model: M, optimizer: &mut AdamW) -> Result<(M, u64)> {
    let checkpoint = Checkpoint::open(path)?;
    let number = |key: &str| -> Result<u64> {
        let text = checkpoint.metadata().get(key);
        text.and_then(|text| text.parse().ok())
            .with_context(|| format!("{} is not the checkpoint of a run: no number {key}", path.display()))
    };
    let (step, updates) = (number(STEP)?, number(UPDATES)?);
    let model = load(model, &checkpoint, |name| Some(format!("{MODEL}{name}")))?;
    optimizer.restore(&checkpoint, updates)?;
    Ok((model, step))
}

/// `model` with the weights of the safetensors file or folder `path`: those called `ema.*` where it has such, otherwise
/// those of the published names ([`keys::unigen`]) where it has such, otherwise those of the parameters' own names.
///
/// # Errors
/// Name every parameter that is missing or of another shape.
pub fn initial<M: Module>(path: &Path, model: M) -> Result<M> {
    let checkpoint = Checkpoint::open(path)?;
    let has = |prefix: &str| checkpoint.names().any(|name| name.starts_with(prefix));
    let (averaged, published) = (has(EMA), has("llm.model."));
    Ok(load(model, &checkpoint, |name| match (averaged, published) {
        (true, _) => Some(format!("{EMA}{name}")),
        (false, true) => keys::unigen(name),
        (false, false) => keys::same(name),
    })?)
}
