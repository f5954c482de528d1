//! Sizes of the language model.

use super::Config;
use super::bounds::{MAX_LAYERS, MAX_SIZE, divides, parameters, positive, size, wrong};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// The architecture of a decoder, `model_type` in its config.json.
///
/// What an architecture has beyond the sizes of [`DecoderConfig`] belongs to its variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// Qwen2 and Qwen2.5 (arXiv 2407.10671): RMSNorm, RoPE over whole heads, grouped-query attention with biases on
    /// queries, keys and values, SwiGLU.
    #[default]
    Qwen2,
    /// Llama (arXiv 2302.13971) with grouped-query attention: Qwen2 without biases.
    Llama,
    /// Phi-1.5 (arXiv 2309.05463) as Show-o has it: LayerNorm, attention and feed-forward network side by side, RoPE over
    /// a part of each head, GELU, biases everywhere, and normalised queries and keys.
    Phi,
}

/// Sizes of a decoder, in the names of its published config.json.
///
/// Reads published files with `rope_theta` at the top or in `rope_parameters`. A decoder with what we do not compute
/// (another architecture, scaled positions, sliding windows, another activation) is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Published")]
pub struct DecoderConfig {
    /// The architecture; [`DecoderKind::Qwen2`] where a file does not say.
    #[serde(rename = "model_type")]
    pub kind: DecoderKind,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of the feed-forward network.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; a divisor of `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head, where it is not `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Added to the mean square (or the variance) in every normalisation.
    #[serde(rename = "rms_norm_eps")]
    pub norm_eps: f64,
    /// Base of the rotations' wavelengths.
    pub rope_theta: f64,
    /// The share of each head that is rotated.
    #[serde(skip_serializing_if = "is_one")]
    pub partial_rotary_factor: f64,
    /// Whether the output head shares its weights with the token table.
    pub tie_word_embeddings: bool,
}

/// What a published config.json says. Keys that it leaves out have the defaults of transformers.
#[derive(Deserialize)]
struct Published {
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: Option<f64>,
    layer_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    qk_layernorm: Option<bool>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl TryFrom<Published> for DecoderConfig {
    type Error = String;

    fn try_from(p: Published) -> std::result::Result<Self, String> {
        let only = |key: &str, found: Option<&str>, known: &[&str]| match found {
            Some(found) if !known.contains(&found) => {
                Err(format!("{key} \"{found}\" is not supported, only \"{}\"", known.join("\" or \"")))
            }
            _ => Ok(()),
        };
        let never = |key: &str, found: Option<bool>, unsupported: bool| match found {
            Some(found) if found == unsupported => Err(format!("{key} {found} is not supported")),
            _ => Ok(()),
        };
        let kind = match p.model_type.as_deref() {
            None | Some("qwen2") => DecoderKind::Qwen2,
            Some("llama") => DecoderKind::Llama,
            Some("phi") => DecoderKind::Phi,
            other => return only("model_type", other, &["qwen2", "llama", "phi"]).and(Err(String::new())),
        };
        let (activation, eps, rotated): (&[&str], _, _) = match kind {
            DecoderKind::Qwen2 | DecoderKind::Llama => (&["silu"], 1e-6, 1.0),
            DecoderKind::Phi => (&["gelu_new", "gelu_pytorch_tanh"], 1e-5, 0.5),
        };
        only("hidden_act", p.hidden_act.as_deref(), activation)?;
        let ropes = || [&p.rope_parameters, &p.rope_scaling].into_iter().flatten();
        for rope in ropes() {
            only("rope_type", rope.rope_type.as_deref(), &["default"])?;
        }
        never("use_sliding_window", p.use_sliding_window, true)?;
        never("attention_bias", p.attention_bias, true)?;
        never("mlp_bias", p.mlp_bias, true)?;
        if kind == DecoderKind::Phi {
            // Show-o's code sets it whatever the file says; a Phi without it is another network.
            never("qk_layernorm", p.qk_layernorm, false)?;
            never("tie_word_embeddings", p.tie_word_embeddings, true)?;
        }
        let theta = p.rope_theta.or_else(|| ropes().find_map(|rope| rope.rope_theta));
        let factor = p.partial_rotary_factor.or_else(|| ropes().find_map(|rope| rope.partial_rotary_factor));
        Ok(Self {
            kind,
            hidden_size: p.hidden_size,
            intermediate_size: p.intermediate_size,
            num_hidden_layers: p.num_hidden_layers,
            num_attention_heads: p.num_attention_heads,
            num_key_value_heads: p.num_key_value_heads.unwrap_or(p.num_attention_heads),
            head_dim: p.head_dim,
            vocab_size: p.vocab_size,
            norm_eps: p.layer_norm_eps.or(p.rms_norm_eps).unwrap_or(eps),
            rope_theta: theta.unwrap_or(1e4),
            partial_rotary_factor: factor.unwrap_or(rotated),
            tie_word_embeddings: p.tie_word_embeddings.unwrap_or(false),
        })
    }
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl DecoderConfig {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// How many values of a head are rotated, its first ones.
    pub fn rotary_dim(&self) -> usize {
        (self.head_dim() as f64 * self.partial_rotary_factor) as usize
    }
}

impl Config for DecoderConfig {
    fn validate(&self) -> Result<()> {
        size("hidden_size", self.hidden_size, MAX_SIZE)?;
        size("intermediate_size", self.intermediate_size, MAX_SIZE)?;
        size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        size("vocab_size", self.vocab_size, MAX_SIZE)?;
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        size("num_attention_heads", heads, self.hidden_size)?;
        size("num_key_value_heads", kv_heads, heads)?;
        if self.head_dim.is_none() {
            divides("num_attention_heads", heads, "hidden_size", self.hidden_size)?;
        }
        divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)?;
        size("head_dim", self.head_dim(), MAX_SIZE)?;
        let (factor, rotated) = (self.partial_rotary_factor, self.rotary_dim());
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(wrong("partial_rotary_factor", format!("is {factor}"))
                .fix("choose a share of a head, at most 1"));
        }
        if rotated == 0 || !rotated.is_multiple_of(2) {
            let what = format!("is {}, of which {rotated} values are rotated", self.head_dim());
            return Err(wrong("head_dim", what).fix("rotary positions turn pairs: choose an even number"));
        }
        positive("rms_norm_eps", self.norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        let [width, hidden, layers, vocabulary] =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.vocab_size]
                .map(|x| x as u128);
        let attention = 2 * (heads + kv_heads) as u128 * self.head_dim() as u128;
        parameters(layers * width * (attention + 3 * hidden) + 2 * vocabulary * width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn published_files_are_read() {
        let json = r#"{"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 168, "num_hidden_layers": 3,
            "num_attention_heads": 4, "vocab_size": 500, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}"#;
        let config = DecoderConfig::from_json(json, "config.json").unwrap();
        assert_eq!((config.kind, config.rope_theta, config.norm_eps), (DecoderKind::Qwen2, 1e6, 1e-6));
        assert_eq!((config.num_key_value_heads, config.head_dim()), (4, 16));
        assert!(!config.tie_word_embeddings);
    }

    #[test]
    fn other_architectures_are_read() {
        let read = |model: &str, more: &str| {
            let json = format!(
                r#"{{"model_type": "{model}", "hidden_size": 64, "intermediate_size": 152, "num_hidden_layers": 3,
                "num_attention_heads": 4, "vocab_size": 195{more}}}"#
            );
            DecoderConfig::from_json(&json, "config.json")
        };
        let llama = read("llama", r#", "num_key_value_heads": 2, "rms_norm_eps": 1e-5"#).unwrap();
        assert_eq!((llama.kind, llama.norm_eps, llama.rotary_dim()), (DecoderKind::Llama, 1e-5, 16));
        // As transformers writes it today, and as it did before.
        let rope = r#", "layer_norm_eps": 1e-4, "qk_layernorm": true, "hidden_act": "gelu_new",
            "rope_parameters": {"partial_rotary_factor": 0.25, "rope_theta": 5000.0, "rope_type": "default"}"#;
        let phi = read("phi", rope).unwrap();
        assert_eq!(
            (phi.kind, phi.norm_eps, phi.rotary_dim(), phi.rope_theta),
            (DecoderKind::Phi, 1e-4, 4, 5e3)
        );
        let phi = read("phi", r#", "partial_rotary_factor": 0.5, "rope_theta": 10000.0"#).unwrap();
        assert_eq!((phi.norm_eps, phi.rotary_dim(), phi.rope_theta), (1e-5, 8, 1e4));
        let again = serde_json::to_string(&phi).unwrap();
        assert_eq!(DecoderConfig::from_json(&again, "config.json").unwrap(), phi);
        for (more, words) in [
            (r#", "qk_layernorm": false"#, "qk_layernorm false is not supported"),
            (r#", "hidden_act": "silu""#, "hidden_act \"silu\" is not supported"),
            (r#", "tie_word_embeddings": true"#, "tie_word_embeddings true"),
            (r#", "partial_rotary_factor": 0.01"#, "of which 0 values are rotated"),
            (r#", "partial_rotary_factor": 1.5"#, "partial_rotary_factor: is 1.5"),
        ] {
            let error = read("phi", more).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    /// Files of ours from before they named the architecture.
    #[test]
    fn the_architecture_may_be_missing() {
        let nano = ModelConfig::preset("nano").unwrap().decoder;
        let mut json = serde_json::to_value(&nano).unwrap();
        assert_eq!(json["model_type"], "qwen2");
        json.as_object_mut().unwrap().remove("model_type");
        assert_eq!(DecoderConfig::from_json(&json.to_string(), "config.json").unwrap(), nano);
    }

    #[test]
    fn what_is_not_computed_is_an_error() {
        for (key, value) in [
            ("model_type", "\"gemma\""),
            ("hidden_act", "\"gelu\""),
            ("attention_bias", "true"),
            ("mlp_bias", "true"),
            ("use_sliding_window", "true"),
            ("rope_scaling", r#"{"type": "yarn"}"#),
            ("rope_parameters", r#"{"rope_type": "llama3"}"#),
        ] {
            let sizes = r#""hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1"#;
            let json = format!(r#"{{{sizes}, "num_attention_heads": 1, "vocab_size": 8, "{key}": {value}}}"#);
            let error = DecoderConfig::from_json(&json, "config.json").unwrap_err().to_string();
            assert!(error.contains("not supported"), "{key}: {error}");
        }
    }
}
