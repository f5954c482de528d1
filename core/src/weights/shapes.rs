//! What a module needs from a weight file.

use super::ParameterPath;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Path and shape of every floating-point parameter of `module`, in its order. No parameter is made for it.
pub fn shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Shapes::default();
    module.visit(&mut shapes);
    shapes.found
}

#[derive(Default)]
struct Shapes {
    path: ParameterPath,
    found: Vec<(String, Vec<usize>)>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.joined(), param.lazy_shape().as_slice().to_vec()));
    }
}
