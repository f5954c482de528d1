//! The precision of matrix products: a value that every layer holds, so that two views of one model can differ in it.
//!
//! ```
//! use unigen_core::config::ModelConfig;
//! use unigen_core::model::UniGen;
//! use unigen_core::precision::{MatmulPrecision, WithPrecision};
//!
//! # fn main() -> unigen_core::Result<()> {
//! let config = ModelConfig::preset("nano")?;
//! let exact = UniGen::new(&config, &burn::tensor::Device::flex());
//! let fast = exact.clone().with_precision(MatmulPrecision::Bf16);
//! # drop(fast);
//! # Ok(())
//! # }
//! ```

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::Device;

/// How matrix products and convolutions round their operands on the CPU device, forward and backward. Sums are always
/// `f32`. Other devices do not round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// Operands as they are.
    #[default]
    F32,
    /// Operands rounded to `bf16` where the processor multiplies those faster (AMX, AVX-512 BF16), elsewhere as they are:
    /// see [`multiplies_bf16`](crate::ops::multiplies_bf16).
    Bf16,
}

/// Modules whose layers hold a [`MatmulPrecision`].
pub trait WithPrecision: Module {
    /// The same module with this precision in all of its layers. Parameters stay the same, identity included, so that
    /// gradients of this view are gradients of the module.
    fn with_precision(self, precision: MatmulPrecision) -> Self {
        self.map(&mut SetPrecision(precision))
    }
}

impl<M: Module> WithPrecision for M {}

/// Identities of the flag that a precision shows to mappers, and of the flag with which [`SetPrecision`] answers. Burn's own
/// mappers, which freeze the flags of training, keep the first and so change nothing.
const ASKED: u64 = u64::MAX;
const ANSWERED: u64 = u64::MAX - 1;

struct SetPrecision(MatmulPrecision);

impl ModuleMapper for SetPrecision {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        if flag.id != ParamId::from(ASKED) {
            return flag;
        }
        Param::initialized(ParamId::from(ANSWERED), Flag::new(self.0 == MatmulPrecision::Bf16))
    }
}

/// A part of a module without parameters. Mappers of burn see parameters and flags alone, so it appears to them as a flag.
impl Module for MatmulPrecision {
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let flag = mapper.map_flag(Param::initialized(ParamId::from(ASKED), Flag::new(self == Self::Bf16)));
        match flag.val().is_enabled() {
            _ if flag.id == ParamId::from(ASKED) => self,
            true => Self::Bf16,
            false => Self::F32,
        }
    }

    fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        self
    }

    fn to_device(self, _: &Device) -> Self {
        self
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        *self
    }

    fn materialize(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for MatmulPrecision {
    fn content(&self, content: Content) -> Option<Content> {
        let name = match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        };
        content.add_formatted(&name).optional()
    }
}

impl ModuleDisplay for MatmulPrecision {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Linear, WeightParam};

    #[test]
    fn all_layers_take_it_and_keep_it() {
        let device = Device::flex();
        let layer = || Linear::new(3, 2, true, 1.0, &device);
        let of = |layers: &[Linear; 2]| layers.each_ref().map(|layer| layer.precision);
        let exact = [layer(), layer().adapted(1, 1.0)];
        assert_eq!(of(&exact), [MatmulPrecision::F32; 2]);
        let fast = exact.clone().with_precision(MatmulPrecision::Bf16);
        assert_eq!(of(&fast), [MatmulPrecision::Bf16; 2]);
        let identity = |layer: &Linear| match &layer.weight {
            WeightParam::Values(values) => values.id,
            other => panic!("a new layer on the CPU has values, not {other:?}"),
        };
        assert_eq!(identity(&fast[0]), identity(&exact[0]));
        // What burn does to modules changes nothing.
        let moved = fast.clone().no_grad().valid().fork(&device);
        assert_eq!(of(&moved), [MatmulPrecision::Bf16; 2]);
        assert_eq!(of(&fast.clone().freeze()), [MatmulPrecision::Bf16; 2]);
        assert_eq!(of(&exact.unfreeze()), [MatmulPrecision::F32; 2]);
        assert_eq!(of(&fast.with_precision(MatmulPrecision::F32)), [MatmulPrecision::F32; 2]);
    }
}
