//! Sizes of the understanding encoder.

use super::Config;
use super::bounds::{MAX_LAYERS, MAX_SIZE, divides, parameters, positive, size, wrong};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Sizes of a SigLIP or SigLIP2 vision tower, in the names of its published config.json.
///
/// Reads the file of the tower, that of the whole published model with its `vision_config`, or ours with its `vision`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Published")]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Inner width of the feed-forward network.
    pub intermediate_size: usize,
    /// Layers of the checkpoint; UniGen reads the output of the last but one.
    pub num_hidden_layers: usize,
    /// Attention heads; a divisor of `hidden_size`.
    pub num_attention_heads: usize,
    /// Channels of the pixels.
    pub num_channels: usize,
    /// Side of the square input in pixels, for a tower with a fixed resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Entries of the position table, a square number, for a tower that takes any resolution (NaFlex).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_patches: Option<usize>,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Added to the variance in every normalisation.
    pub layer_norm_eps: f64,
    /// `gelu_pytorch_tanh`, `gelu` or `quick_gelu`.
    pub hidden_act: String,
    /// Whether the checkpoint has the attention pooling head.
    #[serde(skip_serializing_if = "is_true")]
    pub vision_use_head: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

/// The non-linearity of the feed-forward blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`
    Gelu,
    /// `x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`
    GeluTanh,
    /// `x σ(1.702 x)`
    QuickGelu,
}

impl Default for VisionConfig {
    /// SigLIP base, the defaults of transformers.
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: Some(224),
            num_patches: None,
            patch_size: 16,
            layer_norm_eps: 1e-6,
            hidden_act: "gelu_pytorch_tanh".into(),
            vision_use_head: true,
        }
    }
}

/// What a published config.json says. Keys that it leaves out have the defaults of [`VisionConfig`].
#[derive(Deserialize)]
struct Published {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_channels: Option<usize>,
    image_size: Option<usize>,
    num_patches: Option<usize>,
    patch_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    vision_use_head: Option<bool>,
}

impl From<Published> for VisionConfig {
    fn from(p: Published) -> Self {
        // Ours have no `model_type`.
        let naflex = p.model_type.map_or(p.num_patches.is_some(), |kind| kind.starts_with("siglip2"));
        let usual = Self::default();
        Self {
            hidden_size: p.hidden_size.unwrap_or(usual.hidden_size),
            intermediate_size: p.intermediate_size.unwrap_or(usual.intermediate_size),
            num_hidden_layers: p.num_hidden_layers.unwrap_or(usual.num_hidden_layers),
            num_attention_heads: p.num_attention_heads.unwrap_or(usual.num_attention_heads),
            num_channels: p.num_channels.unwrap_or(usual.num_channels),
            image_size: if naflex { None } else { p.image_size.or(usual.image_size) },
            num_patches: naflex.then(|| p.num_patches.unwrap_or(256)),
            patch_size: p.patch_size.unwrap_or(usual.patch_size),
            layer_norm_eps: p.layer_norm_eps.unwrap_or(usual.layer_norm_eps),
            hidden_act: p.hidden_act.unwrap_or(usual.hidden_act),
            vision_use_head: p.vision_use_head.unwrap_or(usual.vision_use_head),
        }
    }
}

impl VisionConfig {
    /// Whether the tower takes images of any resolution and aspect ratio.
    pub fn naflex(&self) -> bool {
        self.num_patches.is_some()
    }

    /// The non-linearity that `hidden_act` names.
    ///
    /// # Errors
    /// `Config` where it names none that is known.
    pub fn activation(&self) -> Result<Activation> {
        match self.hidden_act.as_str() {
            "gelu" => Ok(Activation::Gelu),
            "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "quick_gelu" => Ok(Activation::QuickGelu),
            name => Err(wrong("hidden_act", format!("is \"{name}\""))
                .fix("use gelu_pytorch_tanh, gelu or quick_gelu")),
        }
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Entries along a side of the square position table.
    pub fn position_grid(&self) -> usize {
        match (self.num_patches, self.image_size) {
            (Some(entries), _) => entries.isqrt(),
            (None, Some(image)) => image / self.patch_size.max(1),
            (None, None) => 0,
        }
    }

    /// The most features of a picture: one for each entry of the position table. Published NaFlex towers take 256.
    pub fn max_tokens(&self) -> usize {
        self.position_grid().pow(2)
    }

    /// Features of a square image of `image_size` pixels a side; a tower with a fixed resolution resizes it.
    pub fn tokens(&self, image_size: usize) -> usize {
        let side =
            if self.naflex() { image_size.div_ceil(self.patch_size.max(1)) } else { self.position_grid() };
        side * side
    }
}

impl Config for VisionConfig {
    fn validate(&self) -> Result<()> {
        size("hidden_size", self.hidden_size, MAX_SIZE)?;
        size("intermediate_size", self.intermediate_size, MAX_SIZE)?;
        size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        size("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        size("num_channels", self.num_channels, 1 << 10)?;
        size("patch_size", self.patch_size, 1 << 12)?;
        positive("layer_norm_eps", self.layer_norm_eps)?;
        match (self.image_size, self.num_patches) {
            (Some(image), None) => {
                size("image_size", image, 1 << 14)?;
                if image < self.patch_size {
                    let what = format!("is {image}, less than one patch of {}", self.patch_size);
                    return Err(wrong("image_size", what).fix("make it a multiple of patch_size"));
                }
            }
            (None, Some(entries)) => {
                size("num_patches", entries, MAX_SIZE)?;
                if entries.isqrt().pow(2) != entries {
                    return Err(wrong("num_patches", format!("is {entries}, which is not a square number"))
                        .fix("the position table is square: choose 256, for example"));
                }
            }
            _ => {
                return Err(wrong("image_size", "and num_patches exclude each other, and one is needed")
                    .fix("give image_size for a fixed resolution, num_patches for any (NaFlex)"));
            }
        }
        self.activation()?;
        let [width, hidden, layers] =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers].map(|x| x as u128);
        let patch = self.num_channels as u128 * (self.patch_size as u128).pow(2);
        parameters(
            layers * width * (4 * width + 2 * hidden)
                + width * (patch + (self.position_grid() as u128).pow(2)),
        )
    }

    fn part(mut document: Value) -> Value {
        let key = ["vision_config", "vision"].into_iter().find(|key| document.get(key).is_some());
        match key.and_then(|key| document.get_mut(key)) {
            Some(vision) => vision.take(),
            None => document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use serde_json::json;

    fn read(json: Value) -> Result<VisionConfig> {
        VisionConfig::from_json(&json.to_string(), "config.json")
    }

    #[test]
    fn the_model_type_decides_about_the_resolution() {
        let both = |kind: &str| json!({ "model_type": kind, "image_size": 224, "num_patches": 196 });
        assert!(read(both("siglip2_vision_model")).unwrap().naflex());
        assert!(!read(both("siglip_vision_model")).unwrap().naflex());
        assert!(read(json!({ "num_patches": 196 })).unwrap().naflex());
        assert_eq!(read(json!({})).unwrap(), VisionConfig::default());
        let ours = read(json!({ "vision_config": { "patch_size": 14, "vision_use_head": false } })).unwrap();
        assert_eq!((ours.position_grid(), ours.vision_use_head), (16, false));
        assert_eq!(read(serde_json::to_value(&ours).unwrap()).unwrap(), ours);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for wrong in [
            json!({ "hidden_size": 10, "num_attention_heads": 3 }),
            json!({ "hidden_size": 0 }),
            json!({ "hidden_size": 9_000_000_000_000u64 }),
            json!({ "hidden_size": -1 }),
            json!({ "num_patches": 15 }),
            json!({ "patch_size": 0 }),
            json!({ "image_size": 5 }),
            json!({ "num_hidden_layers": 0 }),
            json!({ "hidden_act": "relu6" }),
        ] {
            let error = read(wrong.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{wrong}");
            assert!(!error.fix.is_empty(), "{error}");
        }
    }
}
