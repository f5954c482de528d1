//! In which type a tensor is stored.

use unigen_core::weights::{BlockFormat, ElementType, Precision};

/// How the values of a model are stored. By default they stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Quantise the linear layers of the decoder and of the understanding encoder. What else is in `f32` becomes `f16` then:
    /// norms, biases, the token table and the head, convolutions, and layers whose rows are not whole blocks.
    pub quantize: Option<BlockFormat>,
    /// Store everything that is not quantised in this precision.
    pub precision: Option<Precision>,
}

impl Storage {
    /// The type of the tensor `name`, which is `found` in its source.
    pub fn of(self, name: &str, shape: &[usize], found: &ElementType) -> ElementType {
        use ElementType::{Bf16, Blocks, F16, F32};
        if let (Some(format), F32 | F16 | Bf16 | Blocks(_)) = (self.quantize, found)
            && is_linear(name)
            && let &[_, columns] = shape
            && format.row_bytes(columns).is_some_and(|bytes| bytes > 0)
        {
            return Blocks(format);
        }
        match (found, self.precision, self.quantize) {
            (F32 | F16 | Bf16, Some(precision), _) => precision.into(),
            (F32, None, Some(_)) => F16,
            _ => found.clone(),
        }
    }
}

/// Whether `name` is the weight of a layer between the first and the last.
fn is_linear(name: &str) -> bool {
    name.contains(".layers.") && name.ends_with(".weight")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ElementType::{Bf16, Blocks, F16, F32};

    #[test]
    fn layers_are_quantised_and_the_rest_is_in_half() {
        let q4 = Storage { quantize: Some(BlockFormat::Q4_0), precision: None };
        let layer = "llm.model.layers.3.mlp.down_proj.weight";
        assert_eq!(q4.of(layer, &[64, 96], &Bf16), Blocks(BlockFormat::Q4_0));
        assert_eq!(q4.of(layer, &[64, 96], &Blocks(BlockFormat::Q6K)), Blocks(BlockFormat::Q4_0));
        assert_eq!(q4.of(layer, &[64, 95], &Bf16), Bf16);
        assert_eq!(q4.of(layer, &[64, 95], &F32), F16);
        assert_eq!(q4.of("llm.model.layers.3.input_layernorm.weight", &[64], &F32), F16);
        assert_eq!(q4.of("llm.model.embed_tokens.weight", &[64, 96], &F32), F16);
        assert_eq!(q4.of("decoder.conv_in.weight", &[64, 32, 3, 3], &F32), F16);
        let both = Storage { precision: Some(Precision::Bf16), ..q4 };
        assert_eq!(both.of("llm.lm_head.weight", &[64, 96], &F32), Bf16);
    }

    #[test]
    fn by_default_nothing_changes() {
        let layer = "llm.model.layers.0.self_attn.q_proj.weight";
        for found in [F32, F16, Bf16, Blocks(BlockFormat::Q4K)] {
            assert_eq!(Storage::default().of(layer, &[32, 256], &found), found);
        }
    }
}
