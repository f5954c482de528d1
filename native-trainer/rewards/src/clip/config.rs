//! Sizes of a CLIP model, from either kind of published config.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use unigen_core::config::{Config, VisionConfig};

/// Sizes of both towers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    pub text: TextConfig,
    pub vision: VisionConfig,
    /// Width of the space that texts and pictures share.
    pub projection_dim: usize,
}

/// Sizes of the text tower, as in Hugging Face's config.json. Its defaults replace absent keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Number of tokens of the longest text.
    pub max_position_embeddings: usize,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
    /// The token whose feature stands for the text. `None` means the token with the highest id, as in OpenCLIP.
    pub eos_token_id: Option<u32>,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: Some(49407),
        }
    }
}

impl TextConfig {
    /// The same sizes as a [`VisionConfig`], since the two encoders have the same structure.
    pub(super) fn encoder(&self) -> VisionConfig {
        VisionConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: self.hidden_act.clone(),
            ..VisionConfig::default()
        }
    }
}

/// `model_cfg` of OpenCLIP.
#[derive(Deserialize)]
struct Open {
    embed_dim: usize,
    vision_cfg: OpenVision,
    text_cfg: OpenText,
    #[serde(default)]
    quick_gelu: bool,
}

#[derive(Deserialize)]
#[serde(default)]
struct OpenVision {
    image_size: usize,
    layers: usize,
    width: usize,
    head_width: usize,
    patch_size: usize,
    mlp_ratio: f64,
}

impl Default for OpenVision {
    fn default() -> Self {
        Self { image_size: 224, layers: 12, width: 768, head_width: 64, patch_size: 16, mlp_ratio: 4.0 }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct OpenText {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
}

impl Default for OpenText {
    fn default() -> Self {
        Self { context_length: 77, vocab_size: 49408, width: 512, heads: 8, layers: 12, mlp_ratio: 4.0 }
    }
}

/// Added to the variance in every layer normalisation, in both kinds of config.
const LAYER_NORM_EPS: f64 = 1e-5;
/// `eos_token_id` in configs older than the key. The tower then takes the highest id.
const OLD_EOS: u32 = 2;

impl ClipConfig {
    /// Reads a config.json of Hugging Face (`text_config`, `vision_config`) or of OpenCLIP (`text_cfg`, `vision_cfg`,
    /// alone or under `model_cfg`).
    ///
    /// # Errors
    /// If it is neither, or if no CLIP model can have these sizes.
    pub fn from_json(json: &Value) -> Result<Self> {
        let open = json.get("model_cfg").unwrap_or(json);
        let config = match open.get("vision_cfg") {
            Some(_) => Self::open_clip(open)?,
            None => Self::hugging_face(json)?,
        };
        config.validate()?;
        Ok(config)
    }

    /// OpenCLIP's ViT-H-14, the architecture of HPSv2.
    pub fn vit_h_14() -> Self {
        let text = OpenText { width: 1024, heads: 16, layers: 24, ..OpenText::default() };
        let vision =
            OpenVision { layers: 32, width: 1280, head_width: 80, patch_size: 14, ..OpenVision::default() };
        Self::of(Open { embed_dim: 1024, vision_cfg: vision, text_cfg: text, quick_gelu: false })
    }

    fn open_clip(json: &Value) -> Result<Self> {
        let open = Open::deserialize(json).context("config.json: this is not an OpenCLIP model")?;
        ensure!(open.vision_cfg.head_width > 0, "config.json: vision_cfg.head_width is 0");
        Ok(Self::of(open))
    }

    fn of(Open { embed_dim, vision_cfg: vision, text_cfg: text, quick_gelu }: Open) -> Self {
        let hidden_act = if quick_gelu { "quick_gelu" } else { "gelu" };
        let inner = |width: usize, ratio: f64| (width as f64 * ratio) as usize;
        Self {
            text: TextConfig {
                vocab_size: text.vocab_size,
                hidden_size: text.width,
                intermediate_size: inner(text.width, text.mlp_ratio),
                num_hidden_layers: text.layers,
                num_attention_heads: text.heads,
                max_position_embeddings: text.context_length,
                hidden_act: hidden_act.into(),
                layer_norm_eps: LAYER_NORM_EPS,
                eos_token_id: None,
            },
            vision: VisionConfig {
                hidden_size: vision.width,
                intermediate_size: inner(vision.width, vision.mlp_ratio),
                num_hidden_layers: vision.layers,
                num_attention_heads: vision.width / vision.head_width,
                image_size: Some(vision.image_size),
                patch_size: vision.patch_size,
                layer_norm_eps: LAYER_NORM_EPS,
                hidden_act: hidden_act.into(),
                ..VisionConfig::default()
            },
            projection_dim: embed_dim,
        }
    }

    fn hugging_face(json: &Value) -> Result<Self> {
        // Early files repeat a tower's sizes in `.._config_dict`, which then take precedence.
        let tower = |name: &str| -> Result<Map<String, Value>> {
            let tower = json.get(name).and_then(Value::as_object);
            let mut tower = tower
                .with_context(|| format!("config.json: this is not a CLIP model: {name} is missing"))?
                .clone();
            if let Some(early) = json.get(format!("{name}_dict")).and_then(Value::as_object) {
                tower.extend(early.clone());
            }
            Ok(tower)
        };
        let mut text: TextConfig =
            serde_json::from_value(tower("text_config")?.into()).context("config.json: text_config")?;
        text.eos_token_id = text.eos_token_id.filter(|&id| id != OLD_EOS);
        let mut vision = tower("vision_config")?;
        for (key, value) in [
            ("hidden_act", "quick_gelu".into()),
            ("layer_norm_eps", LAYER_NORM_EPS.into()),
            ("patch_size", 32.into()),
        ] {
            vision.entry(key).or_insert(value);
        }
        let vision = serde_json::from_value(vision.into()).context("config.json: vision_config")?;
        let width = json.get("projection_dim").map_or(Some(512), Value::as_u64);
        let width = width.context("config.json: projection_dim is not a number")?;
        Ok(Self { text, vision, projection_dim: width as usize })
    }

    /// Side of the pictures that the vision tower reads, in pixels.
    pub fn image_size(&self) -> usize {
        self.vision.image_size.unwrap_or_default()
    }

    fn validate(&self) -> Result<()> {
        let Self { text, vision, projection_dim } = self;
        vision.validate()?;
        ensure!(vision.image_size.is_some(), "config.json: vision_config: no image_size");
        text.encoder().validate().context("config.json: the text tower")?;
        ensure!(vision.num_channels == 3, "config.json: {} channels; pictures have 3", vision.num_channels);
        for (key, value, most) in [
            ("vocab_size", text.vocab_size, 1 << 24),
            ("max_position_embeddings", text.max_position_embeddings, 1 << 16),
            ("projection_dim", *projection_dim, 1 << 16),
        ] {
            ensure!((1..=most).contains(&value), "config.json: {key} is {value}, not 1 to {most}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_those_of_the_libraries() {
        let base = ClipConfig::from_json(&json!({ "text_config": {}, "vision_config": {} })).unwrap();
        assert_eq!((base.vision.patch_size, base.vision.hidden_act.as_str()), (32, "quick_gelu"));
        assert_eq!((base.text.eos_token_id, base.projection_dim), (Some(49407), 512));
        let early = json!({
            "text_config": { "eos_token_id": 2 },
            "text_config_dict": { "hidden_size": 1024, "num_attention_heads": 16 },
            "vision_config": {},
        });
        let early = ClipConfig::from_json(&early).unwrap();
        assert_eq!((early.text.hidden_size, early.text.eos_token_id), (1024, None));
    }

    #[test]
    fn vit_h_14_is_what_its_file_says() {
        let file = json!({ "model_cfg": {
            "embed_dim": 1024,
            "vision_cfg": { "image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14 },
            "text_cfg":
                { "context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24 },
        }});
        assert_eq!(ClipConfig::from_json(&file).unwrap(), ClipConfig::vit_h_14());
        assert_eq!(ClipConfig::vit_h_14().vision.num_attention_heads, 16);
    }

    #[test]
    fn sizes_that_cannot_work_are_named() {
        for (config, part) in [
            (json!({}), "text_config"),
            (json!({ "text_config": { "hidden_size": 30 }, "vision_config": {} }), "text tower"),
            (json!({ "text_config": { "vocab_size": 0 }, "vision_config": {} }), "vocab_size"),
            (json!({ "embed_dim": 8, "vision_cfg": { "head_width": 0 }, "text_cfg": {} }), "head_width"),
            (json!({ "embed_dim": 8, "vision_cfg": { "width": 32 }, "text_cfg": {} }), "num_attention_heads"),
        ] {
            let error = format!("{:#}", ClipConfig::from_json(&config).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
