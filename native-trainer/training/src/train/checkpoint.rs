//! Checkpoints: all that a run needs to resume, in one file.

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use unigen_core::nn::blocks_in;
use unigen_core::weights::{Checkpoint, ParameterPath, Precision, keys, load, tensors, write_tensors};

use crate::optimizer::{AdamW, EMA};

/// File name of the last checkpoint of a run.
pub const LAST: &str = "last.safetensors";
/// File name of the checkpoint with the best validation, in stages that look for it.
pub const BEST: &str = "best.safetensors";

const MODEL: &str = "model.";
const STEP: &str = "step";
const UPDATES: &str = "updates";
const COUNTS: &str = "counts";

/// Writes `model.*`, `ema.*`, `adam.m.*` and `adam.v.*` of the parameters that are trained, by path in f32; frozen ones lie
/// in the folder of the model that the run starts from. The metadata has `step` (steps done), `updates` (steps that
/// changed weights) and `counts` (JSON: the number of gradients of each parameter that had one in some updates only).
///
/// # Errors
/// If a weight is not finite, or if writing fails (a full disk). An old file at `path` stays as it was.
pub fn save<M: Module>(path: &Path, model: &M, optimizer: &AdamW, step: u64) -> Result<()> {
    let average = optimizer.averaged(model.valid());
    let trained = trained(model);
    let called = |prefix: &str, name: &str| trained.contains(name).then(|| format!("{prefix}{name}"));
    let mut all = tensors(model, |name| called(MODEL, name));
    all.extend(tensors(&average, |name| called(EMA, name)));
    all.extend(optimizer.moments());
    let metadata = [
        (STEP, step.to_string()),
        (UPDATES, optimizer.updates().to_string()),
        (COUNTS, serde_json::to_string(&optimizer.counts())?),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    Ok(write_tensors(path, Precision::F32, all, metadata)?)
}

/// Restores `model` and `optimizer` from the file `path`, and returns the number of steps done.
///
/// # Errors
/// If the file is missing or damaged, or belongs to a model of other sizes.
pub fn restore<M: Module>(path: &Path, model: M, optimizer: &mut AdamW) -> Result<(M, u64)> {
    let checkpoint = Checkpoint::open(path)?;
    let (step, updates) = (number(&checkpoint, STEP)?, number(&checkpoint, UPDATES)?);
    // Older checkpoints lack the counts, because their runs assumed that every parameter had all gradients.
    let counts: BTreeMap<String, u64> = match checkpoint.metadata().get(COUNTS) {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(text)
            .with_context(|| format!("{} is damaged: its {COUNTS} cannot be read", path.display()))?,
    };
    let trained = trained(&model);
    let model = load(model, &checkpoint, |name| trained.contains(name).then(|| format!("{MODEL}{name}")))?;
    optimizer.restore(&checkpoint, updates, &counts)?;
    Ok((model, step))
}

/// The number of steps done in the checkpoint `path`.
///
/// # Errors
/// If the file is missing or damaged, or is not the checkpoint of a run.
pub fn step(path: &Path) -> Result<u64> {
    number(&Checkpoint::open(path)?, STEP)
}

fn number(checkpoint: &Checkpoint, key: &str) -> Result<u64> {
    let text = checkpoint.metadata().get(key);
    text.and_then(|text| text.parse().ok()).with_context(|| {
        format!("{} is not the checkpoint of a run: it has no number {key}", checkpoint.place())
    })
}

/// `model` with the averaged weights of the checkpoint `path` of its own run.
///
/// # Errors
/// If the file is missing or damaged, or belongs to a model of other sizes.
pub fn averaged<M: Module>(path: &Path, model: M) -> Result<M> {
    let checkpoint = Checkpoint::open(path)?;
    Ok(load(model, &checkpoint, |name| {
        Some(format!("{EMA}{name}")).filter(|name| checkpoint.contains(name))
    })?)
}

/// `model` with the weights of the safetensors file or folder `path`. If the file has weights called `ema.*`, those
/// are taken; else if it has published names ([`keys::unigen`]), those; else the parameters' own names. A file of an image
/// tokenizer alone is for the part `tokenizer` of a module, whose other parts begin anew.
///
/// # Errors
/// The error names every parameter that is missing or of another shape. Quantised weights are refused, because they
/// cannot be trained.
pub fn initial<M: Module>(path: &Path, model: M) -> Result<M> {
    let checkpoint = Checkpoint::open(path)?;
    let has = |prefix: &str| checkpoint.names().any(|name| name.starts_with(prefix));
    let (averaged, published) = (has(EMA), has("llm.model."));
    let images = checkpoint.contains("encoder.conv_in.weight");
    let (before, trained) = (blocks_in(&model), trained(&model));
    let model = load(model, &checkpoint, |name| match (averaged, published) {
        // The checkpoint of a run may lack what was frozen.
        (true, _) => {
            Some(format!("{EMA}{name}")).filter(|key| trained.contains(name) || checkpoint.contains(key))
        }
        (false, true) => keys::unigen(name),
        (false, false) if images => name.strip_prefix("tokenizer.").map(str::to_owned),
        (false, false) => keys::same(name),
    })?;
    match blocks_in(&model).filter(|_| before.is_none()) {
        Some(format) => bail!(
            "the weights in {} are quantised ({}), and such weights cannot be trained: import the model with --quantize none",
            path.display(),
            format.name()
        ),
        None => Ok(model),
    }
}

/// The paths of the parameters that are trained.
fn trained<M: Module>(model: &M) -> BTreeSet<String> {
    let mut trained = Trained::default();
    model.visit(&mut trained);
    trained.found
}

#[derive(Default)]
struct Trained {
    path: ParameterPath,
    found: BTreeSet<String>,
}

impl ModuleVisitor for Trained {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.val().is_require_grad() {
            self.found.insert(self.path.joined());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Step;
    use crate::optimizer::tests::{Two, gradients, two};
    use std::borrow::Cow;
    use unigen_core::weights::NamedTensor;
    use unigen_runs::floats;

    fn adam() -> AdamW {
        AdamW::new([0.9, 0.95], 0.0, 0.0)
    }

    /// The model after one more step, in which the vector has a gradient of 3 or no gradient.
    fn moved(optimizer: &mut AdamW, model: Two, late: bool) -> Two {
        let gradients = gradients(&model, 2.0, late.then_some(3.0));
        let step = Step { learning_rate: 0.1, gradient_scale: 1.0, ema_decay: 0.5 };
        optimizer.step(model, gradients, step).unwrap()
    }

    fn values(model: &Two) -> [Vec<f32>; 2] {
        [floats(model.matrix.val().inner()).unwrap(), floats(model.vector.val().inner()).unwrap()]
    }

    #[test]
    fn a_parameter_that_began_late_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let [new, old] = ["new.safetensors", "old.safetensors"].map(|name| folder.path().join(name));
        let (mut optimizer, mut model) = (adam(), two());
        for late in [false, false, true] {
            model = moved(&mut optimizer, model, late);
        }
        save(&new, &model, &optimizer, 5).unwrap();
        assert_eq!(step(&new).unwrap(), 5);
        let before = values(&model);
        let resumed = |path: &Path| {
            let mut optimizer = adam();
            let (model, _) = restore(path, two(), &mut optimizer).unwrap();
            values(&moved(&mut optimizer, model, true))
        };
        let after = values(&moved(&mut optimizer, model, true));
        assert_eq!(resumed(&new), after);

        // Without the counts, as in older versions, the bias is corrected for three gradients, and then for four.
        let file = Checkpoint::open(&new).unwrap();
        let tensors = file.names().map(|name| {
            let (values, shape) = file.tensor(name).unwrap();
            let name = name.to_owned();
            NamedTensor { name, shape, values: Box::new(move || Ok(Cow::Owned(values.clone()))) }
        });
        let mut metadata = file.metadata().clone();
        assert_eq!(metadata.remove(COUNTS).unwrap(), "{\"vector\":1}");
        write_tensors(&old, Precision::F32, tensors.collect(), metadata).unwrap();
        let [early, late] = resumed(&old);
        assert_eq!(early, after[0]);
        let (m, v): (f64, f64) = (3.0 * (0.9 * 0.1 + 0.1), 9.0 * (0.95 * 0.05 + 0.05));
        let length = 0.1 * m / (1.0 - 0.9_f64.powi(4)) / (v / (1.0 - 0.95_f64.powi(4))).sqrt();
        assert!((f64::from(before[1][0] - late[0]) - length).abs() < 1e-5, "{late:?}");
    }
}
