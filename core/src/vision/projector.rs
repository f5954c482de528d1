//! The two-layer projector from vision features to the decoder's width.

use super::encoder;
use crate::nn::Linear;
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};

/// `x Φ(x)`, without parameters: it takes index 1 between the projector's layers.
#[derive(Module, Debug, Default)]
pub struct Gelu;

/// Linear, exact GELU, linear; keys `mm_projector.0` and `mm_projector.2`.
#[derive(Module, Debug)]
pub struct Projector {
    /// `[width, features]` and `[width, width]`
    pub mm_projector: (Linear, Gelu, Linear),
}

impl Projector {
    /// A projector with random weights from `features` to the decoder's `width`.
    pub fn new(features: usize, width: usize, device: &Device) -> Self {
        let (first, second) =
            (encoder::linear(features, width, device), encoder::linear(width, width, device));
        Self { mm_projector: (first, Gelu, second) }
    }

    /// `[.., features]` → `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (first, _, second) = &self.mm_projector;
        second.forward(activation::gelu(first.forward(x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::{ModuleVisitor, Param};

    #[derive(Default)]
    struct Keys(Vec<String>, Vec<String>);

    impl ModuleVisitor for Keys {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.1.push(self.0.join("."));
        }
    }

    #[test]
    fn has_the_published_keys() {
        let device = Device::flex();
        let projector = Projector::new(3, 5, &device);
        let mut keys = Keys::default();
        projector.visit(&mut keys);
        let wanted =
            ["mm_projector.0.weight", "mm_projector.0.bias", "mm_projector.2.weight", "mm_projector.2.bias"];
        assert_eq!(keys.1, wanted);
        assert_eq!(projector.forward(Tensor::<3>::zeros([2, 4, 3], &device)).dims(), [2, 4, 5]);
    }
}
