//! AdamW (Loshchilov & Hutter, arXiv 1711.05101) with averaged weights.
//!
//! Gradients, moments and averages stay in the host's memory on every device, so that one parallel pass over a
//! parameter does everything. On a GPU, each step therefore transfers the weights and the gradients.

use anyhow::{Context, Result, anyhow};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData, Transaction};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use unigen_core::weights::{Checkpoint, NamedTensor, ParameterPath};
use unigen_runs::{floats, values};

/// Number of elements that one task updates.
const CHUNK: usize = 1 << 14;

/// AdamW with an exponential moving average of the weights. Decoupled weight decay applies to matrices and
/// convolutions, not to biases, scales and other vectors.
///
/// The state of a parameter belongs to its path in the module (`layers.0.norm.weight`) and begins at its first
/// gradient.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Added to the denominator of an update.
    pub eps: f64,
    /// Weight decay per unit of learning rate.
    pub weight_decay: f64,
    updates: u64,
    slots: BTreeMap<String, Slot>,
}

/// The numbers that change from step to step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Learning rate.
    pub learning_rate: f64,
    /// Gradients are multiplied by this first.
    pub gradient_scale: f64,
    /// Decay of the averaged weights: `average = ema_decay * average + (1 - ema_decay) * weight`.
    pub ema_decay: f64,
}

/// State of one parameter. The vectors are as long as the parameter has elements, row-major.
#[derive(Debug, Clone)]
struct Slot {
    shape: Vec<usize>,
    /// Number of gradients so far. As in PyTorch, it corrects the bias of the moments, since a parameter may begin
    /// late.
    count: u64,
    m: Vec<f32>,
    v: Vec<f32>,
    average: Vec<f32>,
}

impl AdamW {
    /// A new optimiser.
    pub fn new(betas: [f64; 2], eps: f64, weight_decay: f64) -> Self {
        Self { betas, eps, weight_decay, updates: 0, slots: BTreeMap::new() }
    }

    /// Steps taken.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes one step. Parameters without a gradient stay as they are.
    ///
    /// # Errors
    /// If a parameter cannot be read from its device.
    pub fn step<M: Module>(&mut self, module: M, gradients: HostGradients, step: Step) -> Result<M> {
        self.updates += 1;
        let weights = self.weights(&module, &gradients)?;
        let mut update = Update {
            optimizer: self,
            gradients,
            weights,
            step,
            path: ParameterPath::default(),
            failure: None,
        };
        let module = module.map(&mut update);
        update.failure.map_or(Ok(module), Err)
    }

    /// `module` with the averaged weights.
    pub fn averaged<M: Module>(&self, module: M) -> M {
        module.map(&mut Average { slots: &self.slots, path: ParameterPath::default() })
    }

    /// The moments of every parameter that has had a gradient, called `adam.m.PATH` and `adam.v.PATH`.
    pub fn moments(&self) -> impl Iterator<Item = NamedTensor<'_>> {
        self.slots.iter().flat_map(|(path, slot)| {
            [(M, &slot.m), (V, &slot.v)].map(|(kind, values)| NamedTensor {
                name: format!("{kind}{path}"),
                shape: slot.shape.clone(),
                values: Box::new(move || Ok(Cow::Borrowed(values))),
            })
        })
    }

    /// The number of gradients of each parameter that had one in some steps only, by path.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        let fewer = self.slots.iter().filter(|(_, slot)| slot.count != self.updates);
        fewer.map(|(path, slot)| (path.as_str(), slot.count)).collect()
    }

    /// Restores the state from a checkpoint: the tensors that [`AdamW::moments`] names, the averages called
    /// `ema.PATH`, the number of steps, and the value of [`AdamW::counts`].
    ///
    /// # Errors
    /// If a tensor is missing or damaged.
    pub fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        updates: u64,
        counts: &BTreeMap<String, u64>,
    ) -> Result<()> {
        let slot = |path: &str| -> Result<(String, Slot)> {
            let (m, shape) = checkpoint.tensor(&format!("{M}{path}"))?;
            let v = checkpoint.tensor(&format!("{V}{path}"))?.0;
            let average = checkpoint.tensor(&format!("{EMA}{path}"))?.0;
            let count = counts.get(path).copied().unwrap_or(updates);
            Ok((path.to_owned(), Slot { shape, count, m, v, average }))
        };
        let paths = checkpoint.names().filter_map(|name| name.strip_prefix(M));
        self.slots = paths.map(slot).collect::<Result<_>>()?;
        self.updates = updates;
        Ok(())
    }
}

const M: &str = "adam.m.";
const V: &str = "adam.v.";
/// Prefix of averaged weights in checkpoints, before the path of the parameter.
pub const EMA: &str = "ema.";

/// The gradients of a module by parameter path, in the host's memory.
#[derive(Debug, Default, Clone)]
pub struct HostGradients(BTreeMap<String, Vec<f32>>);

impl HostGradients {
    /// Reads the gradients of the parameters of `module`.
    ///
    /// # Errors
    /// If a gradient cannot be read from its device.
    pub fn read<M: Module>(module: &M, gradients: Gradients) -> Result<Self> {
        Reader::of(Wanted::Gradients(gradients)).read(module).map(Self)
    }

    /// The sum with other gradients of the same module. A parameter may have a gradient in one of them only.
    pub fn plus(mut self, other: Self) -> Self {
        for (path, values) in other.0 {
            match self.0.get_mut(&path) {
                Some(sum) => {
                    sum.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(sum, values)| {
                        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                    })
                }
                None => drop(self.0.insert(path, values)),
            }
        }
        self
    }

    /// The gradients by parameter path, row-major.
    pub fn into_values(self) -> BTreeMap<String, Vec<f32>> {
        self.0
    }

    /// The Euclidean norm of all gradients together. It does not depend on the number of threads.
    pub fn norm(&self) -> f64 {
        let squares = |values: &Vec<f32>| -> Vec<f64> { values.par_chunks(CHUNK).map(square).collect() };
        self.0.values().flat_map(squares).sum::<f64>().sqrt()
    }
}

/// The sum of squares, in lanes that the processor adds in parallel.
fn square(values: &[f32]) -> f64 {
    let mut lanes = [0.0; 16];
    let (whole, rest) = values.as_chunks::<16>();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(sum, &g)| *sum += f64::from(g) * f64::from(g));
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>()
}

/// What a [`Reader`] reads.
enum Wanted<'a> {
    /// The gradients of all parameters.
    Gradients(Gradients),
    /// The parameters with these paths.
    Weights(&'a dyn Fn(&str) -> bool),
}

/// Collects gradients or parameters, and reads them together, since every read from a GPU takes a round trip.
struct Reader<'a> {
    wanted: Wanted<'a>,
    path: ParameterPath,
    paths: Vec<String>,
    reads: Transaction,
}

impl<'a> Reader<'a> {
    fn of(wanted: Wanted<'a>) -> Self {
        Self { wanted, path: ParameterPath::default(), paths: Vec::new(), reads: Transaction::default() }
    }

    fn read<M: Module>(mut self, module: &M) -> Result<BTreeMap<String, Vec<f32>>> {
        module.visit(&mut self);
        let read = self.reads.try_execute().map_err(|e| anyhow!("cannot read from the device: {e}"))?;
        self.paths.into_iter().zip(read).map(|(path, data)| Ok((path, values(data)?))).collect()
    }
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.joined();
        let tensor = match &mut self.wanted {
            Wanted::Gradients(gradients) => param.val().grad_remove(gradients),
            Wanted::Weights(wanted) => wanted(&path).then(|| param.val().inner()),
        };
        if let Some(tensor) = tensor {
            self.paths.push(path);
            self.reads = std::mem::take(&mut self.reads).register(tensor);
        }
    }
}

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: HostGradients,
    /// The weights that were read from the device together.
    weights: BTreeMap<String, Vec<f32>>,
    step: Step,
    path: ParameterPath,
    failure: Option<anyhow::Error>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.joined();
        let gradient = self.gradients.0.remove(&path);
        if gradient.is_none() && !self.optimizer.slots.contains_key(&path) {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let (shape, device, dtype) = (tensor.dims(), tensor.device(), tensor.dtype());
        let trains = tensor.is_require_grad();
        let weights = self.weights.remove(&path).map_or_else(|| floats(tensor.inner()), Ok);
        let tensor = match weights.with_context(|| format!("the parameter {path}")) {
            Ok(mut values) => {
                self.optimizer.update(path, &shape, &mut values, gradient.as_deref(), self.step);
                Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
            }
            Err(error) => {
                self.failure = Some(error);
                Tensor::zeros(shape, (&device, dtype))
            }
        };
        Param::from_mapped_value(id, tensor.set_require_grad(trains), mapper)
    }
}

impl AdamW {
    /// The weights that a step changes, by parameter path, if they lie on a GPU. Weights in the host's memory need no copy,
    /// and frozen ones are not read.
    fn weights<M: Module>(
        &self,
        module: &M,
        gradients: &HostGradients,
    ) -> Result<BTreeMap<String, Vec<f32>>> {
        let here = |device: Device| device.without_autodiff() == Device::flex();
        if module.devices().into_iter().all(here) {
            return Ok(BTreeMap::new());
        }
        let changed = |path: &str| gradients.0.contains_key(path) || self.slots.contains_key(path);
        Reader::of(Wanted::Weights(&changed)).read(module)
    }

    /// Updates the weights `values` of the parameter at `path`, or only its average if it has no gradient.
    fn update(
        &mut self,
        path: String,
        shape: &[usize],
        values: &mut [f32],
        gradient: Option<&[f32]>,
        step: Step,
    ) {
        let Self { betas, eps, weight_decay, slots, .. } = self;
        let slot = slots.entry(path).or_insert_with(|| Slot {
            shape: shape.to_vec(),
            count: 0,
            m: vec![0.0; values.len()],
            v: vec![0.0; values.len()],
            average: values.to_vec(),
        });
        slot.count += u64::from(gradient.is_some());
        let weight_decay = if shape.len() > 1 { *weight_decay } else { 0.0 };
        let update = Constants::of(*betas, *eps, weight_decay, slot.count, step);
        let Slot { m, v, average, .. } = slot;
        if let Some(gradient) = gradient {
            let [values, m, v, average] =
                [values, m.as_mut_slice(), v, average].map(|part| part.par_chunks_mut(CHUNK));
            (values, m, v, average, gradient.par_chunks(CHUNK))
                .into_par_iter()
                .for_each(|(values, m, v, average, gradient)| update.apply(values, m, v, average, gradient));
        } else {
            average.iter_mut().zip(values).for_each(|(a, x)| *a = update.kept * *a + update.new * *x);
        }
    }
}

/// The constants of one step for one parameter, rounded once. The order of operations is that of PyTorch.
#[derive(Clone, Copy)]
struct Constants {
    beta1: f32,
    beta2: f32,
    /// `1 - beta1`.
    new1: f32,
    /// `1 - beta2`.
    new2: f32,
    /// Factor of the gradients.
    scale: f32,
    /// Factor of the weights.
    decay: f32,
    /// Learning rate divided by the first moment's bias correction.
    rate: f32,
    /// Square root of the second moment's bias correction.
    root: f32,
    eps: f32,
    kept: f32,
    /// `1 - kept`.
    new: f32,
}

impl Constants {
    /// The constants of the step in which a parameter has its gradient number `count`, counted from 1.
    fn of([beta1, beta2]: [f64; 2], eps: f64, weight_decay: f64, count: u64, step: Step) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(count as f64);
        Self {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            new1: (1.0 - beta1) as f32,
            new2: (1.0 - beta2) as f32,
            scale: step.gradient_scale as f32,
            decay: (1.0 - step.learning_rate * weight_decay) as f32,
            rate: (step.learning_rate / correction(beta1)) as f32,
            root: correction(beta2).sqrt() as f32,
            eps: eps as f32,
            kept: step.ema_decay as f32,
            new: (1.0 - step.ema_decay) as f32,
        }
    }

    fn apply(&self, values: &mut [f32], m: &mut [f32], v: &mut [f32], average: &mut [f32], gradient: &[f32]) {
        for ((((x, m), v), a), &g) in values.iter_mut().zip(m).zip(v).zip(average).zip(gradient) {
            let g = g * self.scale;
            *m = self.beta1 * *m + self.new1 * g;
            *v = self.beta2 * *v + self.new2 * (g * g);
            *x = self.decay * *x - self.rate * (*m / (v.sqrt() / self.root + self.eps));
            *a = self.kept * *a + self.new * *x;
        }
    }
}

struct Average<'a> {
    slots: &'a BTreeMap<String, Slot>,
    path: ParameterPath,
}

impl ModuleMapper for Average<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(slot) = self.slots.get(&self.path.joined()) else { return param };
        param.map(|old| {
            let data = TensorData::new(slot.average.clone(), old.dims());
            Tensor::from_data(data, (&old.device(), old.dtype())).set_require_grad(old.is_require_grad())
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[derive(Module, Debug)]
    pub(crate) struct Two {
        pub(crate) matrix: Param<Tensor<2>>,
        pub(crate) vector: Param<Tensor<1>>,
    }

    pub(crate) fn two() -> Two {
        let device = Device::flex().autodiff();
        Two {
            matrix: Param::from_tensor(Tensor::ones([5, 7], &device)),
            vector: Param::from_tensor(Tensor::ones([3], &device)),
        }
    }

    pub(crate) fn gradients(model: &Two, matrix: f64, vector: Option<f64>) -> HostGradients {
        let loss = (model.matrix.val() * matrix).sum();
        let loss = match vector {
            Some(vector) => loss + (model.vector.val() * vector).sum(),
            None => loss,
        };
        HostGradients::read(model, loss.backward()).unwrap()
    }

    fn values(model: &Two) -> (f32, f32) {
        (floats(model.matrix.val().inner()).unwrap()[34], floats(model.vector.val().inner()).unwrap()[2])
    }

    fn close(found: (f32, f32), wanted: (f32, f32)) {
        assert!(
            (found.0 - wanted.0).abs() < 1e-6 && (found.1 - wanted.1).abs() < 1e-6,
            "{found:?} {wanted:?}"
        );
    }

    #[test]
    fn the_norm_is_of_all_gradients() {
        let norm = gradients(&two(), 2.0, Some(-1.0)).norm();
        assert!((norm - (35.0_f64 * 4.0 + 3.0).sqrt()).abs() < 1e-12, "{norm}");
    }

    #[test]
    fn only_matrices_decay_and_averages_follow() {
        let mut optimizer = AdamW::new([0.9, 0.95], 0.0, 0.5);
        let step = Step { learning_rate: 0.1, gradient_scale: 0.25, ema_decay: 0.75 };
        let model = two();
        let first = gradients(&model, 2.0, Some(-1.0));
        let model = optimizer.step(model, first, step).unwrap();
        // The first step of Adam is as long as the learning rate, whatever the gradient.
        close(values(&model), (0.85, 1.1));
        close(values(&optimizer.averaged(model.clone())), (0.9625, 1.025));
        assert!(model.matrix.val().is_require_grad());

        let second = gradients(&model, 2.0, None);
        let next = optimizer.step(model, second, step).unwrap();
        assert_eq!(values(&next).1, 1.1);
        close((0.0, values(&optimizer.averaged(next)).1), (0.0, 1.04375));
        assert_eq!(optimizer.updates(), 2);
    }

    #[test]
    fn a_parameter_that_begins_late_begins_at_full_length() {
        let mut optimizer = AdamW::new([0.9, 0.95], 0.0, 0.0);
        let step = Step { learning_rate: 0.1, gradient_scale: 1.0, ema_decay: 0.0 };
        let mut model = two();
        for vector in [None, Some(4.0), None, Some(4.0)] {
            let found = gradients(&model, 2.0, vector);
            model = optimizer.step(model, found, step).unwrap();
        }
        // Steps with equal gradients are as long as the learning rate: four steps and two.
        close(values(&model), (0.6, 0.8));
        assert_eq!(optimizer.counts(), BTreeMap::from([("vector", 2)]));
    }
}
