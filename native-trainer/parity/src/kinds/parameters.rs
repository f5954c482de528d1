//! Every parameter of a model, and every gradient, under its published name.

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use unigen_core::model::UniGen;
use unigen_core::weights::{ParameterPath, keys};
use unigen_runs::floats;
use unigen_training::optimizer::HostGradients;

use crate::compare::{Comparer, bounds, largest_difference};
use crate::folder::Folder;

/// Compares the values of every parameter with `after.NAME`.
pub fn compare_parameters(folder: &Folder, comparer: &mut Comparer, model: &UniGen) -> Result<()> {
    let mut named = Named { path: ParameterPath::default(), values: BTreeMap::new() };
    model.visit(&mut named);
    compare_named(folder, comparer, named.values, "after", bounds::WEIGHTS, |_| 1.0)
}

/// Compares every gradient, relative to the tensor's largest, with `grad.NAME`.
pub fn compare_gradients(folder: &Folder, comparer: &mut Comparer, gradients: HostGradients) -> Result<()> {
    compare_named(folder, comparer, gradients.into_values(), "grad", bounds::GRADIENTS, |wanted| {
        wanted.iter().fold(0.0_f32, |max, w| max.max(w.abs())).max(f32::MIN_POSITIVE)
    })
}

/// Compares every tensor `PREFIX.NAME` with what was found under its name, in units of what `unit` makes of it; one that
/// only the file or only the model has fails.
fn compare_named(
    folder: &Folder,
    comparer: &mut Comparer,
    values: BTreeMap<String, Vec<f32>>,
    prefix: &str,
    bound: f64,
    unit: impl Fn(&[f32]) -> f32,
) -> Result<()> {
    let of = |key: &str| format!("{prefix}.{}", key.trim_start_matches("llm."));
    let mut found = BTreeMap::new();
    for (path, values) in values {
        let key = keys::unigen(&path).with_context(|| format!("no key for {path}"))?;
        found.insert(of(&key), (key, values));
    }
    // A tied head is the token table, which a file may name twice.
    let head = of("llm.lm_head.weight");
    if folder.io.contains(&head) && !found.contains_key(&head) {
        let table = found.get(&of("llm.model.embed_tokens.weight")).cloned();
        found.extend(table.map(|table| (head, table)));
    }
    let start = of("");
    let in_file = folder.io.names().filter(|name| name.starts_with(&start));
    let names: BTreeSet<String> = in_file.map(str::to_owned).chain(found.keys().cloned()).collect();
    for name in names {
        let Some((key, values)) = found.get(&name) else {
            comparer.difference(format!("{name}[unknown]"), f64::NAN, bound);
            continue;
        };
        if !folder.io.contains(&name) {
            comparer.difference(format!("{name}[missing]"), f64::NAN, bound);
            continue;
        }
        let shape = folder.model.shape(key).with_context(|| format!("model.safetensors: no {key}"))?;
        let wanted = folder.io.values(&name, shape)?;
        let difference = largest_difference(values, &wanted) / f64::from(unit(&wanted));
        comparer.difference(name, difference, bound);
    }
    Ok(())
}

/// Collects parameters by path.
struct Named {
    path: ParameterPath,
    values: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Named {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // One that cannot be read is then missing.
        if let Ok(values) = floats(param.val().inner()) {
            self.values.insert(self.path.joined(), values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Config, Io};
    use burn::tensor::Device;
    use safetensors::tensor::{Dtype, View, serialize};
    use serde_json::Value;
    use std::borrow::Cow;
    use unigen_core::weights::Checkpoint;

    /// Two numbers.
    struct Pair([f32; 2]);

    impl View for Pair {
        fn dtype(&self) -> Dtype {
            Dtype::F32
        }

        fn shape(&self) -> &[usize] {
            &[2]
        }

        fn data(&self) -> Cow<'_, [u8]> {
            self.0.iter().flat_map(|x| x.to_le_bytes()).collect()
        }

        fn data_len(&self) -> usize {
            8
        }
    }

    fn checkpoint(name: &str, tensors: impl IntoIterator<Item = (&'static str, [f32; 2])>) -> Checkpoint {
        let tensors = tensors.into_iter().map(|(name, pair)| (name, Pair(pair)));
        Checkpoint::from_bytes(name, serialize(tensors, None).unwrap()).unwrap()
    }

    #[test]
    fn every_named_tensor_counts_once() {
        let model = ["llm.model.norm.weight", "llm.model.embed_tokens.weight", "llm.model.layers.0.x"];
        let io = [
            ("grad.model.norm.weight", [1.0, 2.0]),
            ("grad.model.embed_tokens.weight", [1.0, 2.0]),
            ("grad.model.other.weight", [1.0, 2.0]),
            ("grad.lm_head.weight", [1.0, 2.0]),
            ("after.model.norm.weight", [9.0, 9.0]),
        ];
        let folder = Folder {
            config: Config(Value::Null),
            model: checkpoint("model.safetensors", model.map(|name| (name, [1.0, 2.0]))),
            io: Io(checkpoint("io.safetensors", io)),
            device: Device::flex(),
        };
        let mut reported = Vec::new();
        let mut report = |c: crate::Comparison| reported.push((c.tensor, c.ok));
        let mut comparer = Comparer::new(&folder.io, &mut report);
        let values = |norm: [f32; 2]| {
            let named =
                [("norm.weight", norm), ("embed_tokens.weight", [1.0, 2.0]), ("layers.0.x", [0.0; 2])];
            BTreeMap::from(named.map(|(name, values)| (format!("llm.{name}"), values.to_vec())))
        };
        compare_named(&folder, &mut comparer, values([1.0, 2.0]), "grad", 1e-4, |_| 1.0).unwrap();
        compare_named(&folder, &mut comparer, values([f32::NAN; 2]), "after", 1e-4, |_| 1.0).unwrap();
        let short = BTreeMap::from([("llm.norm.weight".to_owned(), vec![1.0])]);
        compare_named(&folder, &mut comparer, short, "after", 1e-4, |_| 1.0).unwrap();
        let wanted = [
            // A tied head is the token table.
            ("grad.lm_head.weight", true),
            ("grad.model.embed_tokens.weight", true),
            ("grad.model.layers.0.x[missing]", false),
            ("grad.model.norm.weight", true),
            ("grad.model.other.weight[unknown]", false),
            ("after.model.embed_tokens.weight[missing]", false),
            ("after.model.layers.0.x[missing]", false),
            ("after.model.norm.weight", false),
            ("after.model.norm.weight", false),
        ];
        assert_eq!(reported, wanted.map(|(name, ok)| (name.to_owned(), ok)));
    }
}
