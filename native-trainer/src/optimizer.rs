//! AdamW (Loshchilov & Hutter, arXiv 1711.05101).

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use std::collections::HashMap;

/// AdamW with decoupled weight decay on matrices and convolutions, not on biases, scales and other vectors.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Decay per unit of learning rate.
    pub weight_decay: f64,
    steps: i32,
    moments: HashMap<ParamId, [Tensor<1>; 2]>,
}

impl AdamW {
    /// An optimiser that has not taken a step.
    pub fn new(betas: [f64; 2], eps: f64, weight_decay: f64) -> Self {
        Self { betas, eps, weight_decay, steps: 0, moments: HashMap::new() }
    }

    /// One step; parameters without a gradient stay as they are.
    pub fn step<M: Module>(&mut self, module: M, gradients: &Gradients, learning_rate: f64) -> M {
        self.steps += 1;
        module.map(&mut Update { optimizer: self, gradients, learning_rate })
    }
}

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: &'a Gradients,
    learning_rate: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad(self.gradients) else { return param };
        let AdamW { betas: [beta1, beta2], eps, weight_decay, steps, .. } = *self.optimizer;
        let (id, shape) = (param.id, param.val().dims());
        let g = gradient.reshape([-1]);
        let previous = self.optimizer.moments.remove(&id);
        let [m, v] = previous.unwrap_or_else(|| [g.zeros_like(), g.zeros_like()]);
        let m = m * beta1 + g.clone() * (1.0 - beta1);
        let v = v * beta2 + g.square() * (1.0 - beta2);
        let scale = self.learning_rate / (1.0 - beta1.powi(steps));
        let denominator = v.clone().sqrt() / (1.0 - beta2.powi(steps)).sqrt() + eps;
        let update = (m.clone() / denominator * scale).reshape(shape);
        self.optimizer.moments.insert(id, [m, v]);
        let decay = if D > 1 { 1.0 - self.learning_rate * weight_decay } else { 1.0 };
        param.map(|value| Tensor::from_inner(value.inner() * decay - update).require_grad())
    }
}
