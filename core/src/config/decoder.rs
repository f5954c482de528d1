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
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl TryFrom<Published> for DecoderConfig {
    type Error = String;

    fn try_from(p: Published) -> std::result::Result<Self, String> {
        let only = |key: &str, found: Option<&String>, known: &str| match found {
            Some(found) if found != known => {
                Err(format!("{key} \"{found}\" is not supported, only \"{known}\""))
            }
            _ => Ok(()),
        };
        only("model_type", p.model_type.as_ref(), "qwen2")?;
        only("hidden_act", p.hidden_act.as_ref(), "silu")?;
        for rope in [&p.rope_parameters, &p.rope_scaling].into_iter().flatten() {
            only("rope_type", rope.rope_type.as_ref(), "default")?;
        }
        if p.use_sliding_window == Some(true) {
            return Err("use_sliding_window is not supported".into());
        }
        Ok(Self {
            kind: DecoderKind::Qwen2,
            hidden_size: p.hidden_size,
            intermediate_size: p.intermediate_size,
            num_hidden_layers: p.num_hidden_layers,
            num_attention_heads: p.num_attention_heads,
            num_key_value_heads: p.num_key_value_heads.unwrap_or(p.num_attention_heads),
            head_dim: p.head_dim,
            vocab_size: p.vocab_size,
            norm_eps: p.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: p.rope_theta.or(p.rope_parameters.and_then(|r| r.rope_theta)).unwrap_or(1e4),
            tie_word_embeddings: p.tie_word_embeddings.unwrap_or(false),
        })
    }
}

impl DecoderConfig {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
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
        if !self.head_dim().is_multiple_of(2) {
            return Err(wrong("head_dim", format!("is {}, which is odd", self.head_dim()))
                .fix("rotary positions turn pairs: choose an even head width"));
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
            ("model_type", "\"phi\""),
            ("hidden_act", "\"gelu\""),
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
