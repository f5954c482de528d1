//! Vision towers: fixed-resolution SigLIP (arXiv 2303.15343) and SigLIP2 NaFlex (arXiv 2502.14786), their
//! preprocessing, and the projector into the decoder.
//!
//! The fields of the modules spell the keys of published checkpoints, without the leading `vision_model.`.

pub mod encoder;
pub mod positions;
pub mod preprocess;
pub mod projector;
pub mod siglip;
pub mod siglip2;

pub use projector::Projector;
pub use siglip::Siglip;
pub use siglip2::{Patches, Siglip2};

use crate::config;
use crate::error::{Error, ErrorKind, Result};
use crate::precision::{MatmulPrecision, WithPrecision};
use crate::weights::{Checkpoint, Precision, keys, load, save};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Sizes of a tower, as in the config.json of Hugging Face (whose defaults stand in for absent keys).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Inner width of the feed-forward block.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Channels of the image.
    pub num_channels: usize,
    /// SigLIP: side of the square input in pixels; 224 where absent.
    pub image_size: Option<usize>,
    /// SigLIP2: entries of the position table, a square number; 256 where absent.
    pub num_patches: Option<usize>,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// `gelu_pytorch_tanh` or `gelu`.
    pub hidden_act: String,
    /// `siglip_vision_model` or `siglip2_vision_model`.
    pub model_type: String,
    /// Whether the checkpoint has the attention pooling head.
    pub vision_use_head: bool,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: None,
            num_patches: None,
            patch_size: 16,
            layer_norm_eps: 1e-6,
            hidden_act: "gelu_pytorch_tanh".into(),
            model_type: "siglip_vision_model".into(),
            vision_use_head: true,
        }
    }
}

impl From<&config::VisionConfig> for VisionConfig {
    fn from(config: &config::VisionConfig) -> Self {
        let kind = if config.naflex() { "siglip2_vision_model" } else { "siglip_vision_model" };
        Self {
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            num_channels: config.num_channels,
            image_size: config.image_size,
            num_patches: config.num_patches,
            patch_size: config.patch_size,
            layer_norm_eps: config.layer_norm_eps,
            hidden_act: config.hidden_act.clone(),
            model_type: kind.into(),
            vision_use_head: true,
        }
    }
}

impl VisionConfig {
    /// Reads a config.json, of a tower or of a whole model with a `vision_config`.
    ///
    /// Errors where a value has the wrong type or the sizes cannot work.
    pub fn from_json(json: &serde_json::Value) -> Result<Self> {
        let config: Self = Self::deserialize(json.get("vision_config").unwrap_or(json)).map_err(|e| {
            Error::new(ErrorKind::Config, "vision config", e).fix("take config.json from the checkpoint")
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Errors where the sizes cannot work together.
    pub fn validate(&self) -> Result<()> {
        let fail = |key: &str, what: String, fix: &str| {
            Err(Error::new(ErrorKind::Config, format!("vision config: {key}"), what).fix(fix))
        };
        for (key, value, most) in [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("num_channels", self.num_channels, 1 << 6),
            ("patch_size", self.patch_size, 1 << 10),
            ("image_size", self.image_size(), 1 << 14),
            ("num_patches", self.num_patches(), 1 << 20),
        ] {
            if !(1..=most).contains(&value) {
                return fail(key, format!("is {value}"), &format!("must be 1 to {most}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let what = format!("{} heads do not divide width {}", self.num_attention_heads, self.hidden_size);
            return fail("num_attention_heads", what, "choose a divisor of hidden_size");
        }
        if self.image_size() < self.patch_size {
            let what = format!("{} pixels are less than one patch of {}", self.image_size(), self.patch_size);
            return fail("image_size", what, "make it a multiple of patch_size");
        }
        if self.num_patches().isqrt().pow(2) != self.num_patches() {
            let what = format!("{} is not a square number", self.num_patches());
            return fail("num_patches", what, "the position table is square");
        }
        if !self.layer_norm_eps.is_finite() || self.layer_norm_eps < 0.0 {
            return fail("layer_norm_eps", format!("is {}", self.layer_norm_eps), "must be 0 or more");
        }
        encoder::Activation::from_name(&self.hidden_act).map(|_| ())
    }

    /// Whether the tower is SigLIP2 NaFlex.
    pub fn is_naflex(&self) -> bool {
        self.model_type.starts_with("siglip2")
    }

    /// Side of SigLIP's input in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size.unwrap_or(224.max(self.patch_size))
    }

    /// Entries of SigLIP2's position table.
    pub fn num_patches(&self) -> usize {
        self.num_patches.unwrap_or(256)
    }
}

/// Either tower, by configuration.
///
/// No burn module itself, since a variant's name would enter the keys: load into the tower inside.
#[derive(Clone, Debug)]
pub enum Tower {
    /// Fixed resolution.
    Siglip(Siglip),
    /// Any resolution and aspect ratio.
    Siglip2(Siglip2),
}

impl Tower {
    /// The same tower with this precision in all of its layers.
    pub fn with_precision(self, precision: MatmulPrecision) -> Self {
        match self {
            Self::Siglip(tower) => Self::Siglip(tower.with_precision(precision)),
            Self::Siglip2(tower) => Self::Siglip2(tower.with_precision(precision)),
        }
    }

    /// A tower with random weights. Errors where the sizes cannot work.
    pub fn new(config: &VisionConfig, device: &Device) -> Result<Self> {
        Ok(match config.is_naflex() {
            true => Self::Siglip2(Siglip2::new(config, device)?),
            false => Self::Siglip(Siglip::new(config, device)?),
        })
    }

    /// The tower in a checkpoint under one of the names of [`keys::siglip`], with its pooling head where there is one.
    ///
    /// Errors name every tensor that is missing or of another shape.
    pub fn open(config: &config::VisionConfig, checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let key = keys::siglip(checkpoint);
        let head = key("head.probe").is_some_and(|name| checkpoint.contains(&name));
        let sizes = VisionConfig { vision_use_head: head, ..config.into() };
        Ok(match Self::new(&sizes, device)? {
            Self::Siglip(tower) => Self::Siglip(load(tower, checkpoint, key)?),
            Self::Siglip2(tower) => Self::Siglip2(load(tower, checkpoint, key)?),
        })
    }

    /// Writes the weights to the safetensors file `path` under the published names; errors as [`save`].
    pub fn save(&self, path: &Path, precision: Precision) -> Result<()> {
        match self {
            Self::Siglip(tower) => save(tower, path, precision, keys::vision_model, HashMap::new()),
            Self::Siglip2(tower) => save(tower, path, precision, keys::vision_model, HashMap::new()),
        }
    }

    /// How many features [`features`](Self::features) gives for a picture of `width` x `height` pixels; errors as there.
    pub fn tokens(&self, width: u32, height: u32, max_num_patches: usize) -> Result<usize> {
        match self {
            Self::Siglip(tower) => Ok(tower.embeddings.position_embedding.weight.dims()[0]),
            Self::Siglip2(tower) => {
                let (width, height) = (width as usize, height as usize);
                let [rows, columns] =
                    preprocess::naflex_grid(height, width, tower.patch_size(), max_num_patches)?;
                Ok(rows * columns)
            }
        }
    }

    /// Features of pictures for the projector: one `[tokens, width]` each, without padding, from the last layer
    /// but one.
    ///
    /// `max_num_patches` bounds the tokens of a NaFlex picture (published: 256); the fixed tower ignores it.
    /// Errors on an empty picture and on a bound of zero.
    pub fn features(
        &self,
        pictures: &[RgbImage],
        max_num_patches: usize,
        device: &Device,
    ) -> Result<Vec<Tensor<2>>> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let (features, lengths) = match self {
            Self::Siglip(tower) => {
                let pixels = preprocess::siglip(pictures, tower.image_size(), device)?;
                let features = tower.penultimate(pixels)?;
                let tokens = features.dims()[1];
                (features, vec![tokens; pictures.len()])
            }
            Self::Siglip2(tower) => {
                let patches = preprocess::naflex(pictures, tower.patch_size(), max_num_patches, device)?;
                let lengths = patches.shapes.iter().map(|[height, width]| height * width).collect();
                (tower.penultimate(&patches)?, lengths)
            }
        };
        let rows = features.split(1, 0).into_iter().zip(lengths);
        Ok(rows.map(|(row, tokens)| row.squeeze_dim::<2>(0).narrow(0, 0, tokens)).collect())
    }
}

/// An input tensor of the wrong shape.
fn shape_error(place: &str, found: &[usize], wanted: &str) -> Error {
    Error::new(ErrorKind::Image, place, format!("has shape {found:?}")).fix(format!("must be {wanted}"))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::VisionConfig;
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Device, Int, Tensor, TensorData};
    use std::collections::HashMap;

    type Arrays = HashMap<String, (Vec<f32>, Vec<usize>)>;

    /// A parity folder: configuration, weights, inputs and outputs.
    pub struct Fixture {
        pub config: VisionConfig,
        pub model: Arrays,
        pub io: Arrays,
    }

    impl Fixture {
        /// None, with a note, where the folder is absent.
        pub fn open(name: &str) -> Option<Self> {
            let folder = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures/{}"), name);
            let Ok(config) = std::fs::read(format!("{folder}/config.json")) else {
                println!("skipped: no fixture {name}");
                return None;
            };
            let config = VisionConfig::from_json(&serde_json::from_slice(&config).unwrap()).unwrap();
            let read = |file: &str| {
                let bytes = std::fs::read(format!("{folder}/{file}.safetensors")).unwrap();
                let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                let arrays = file.tensors().into_iter().map(|(name, view)| {
                    let values = match view.dtype() {
                        safetensors::Dtype::I64 => view
                            .data()
                            .chunks_exact(8)
                            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32)
                            .collect(),
                        _ => bytemuck::pod_collect_to_vec(view.data()),
                    };
                    (name, (values, view.shape().to_vec()))
                });
                arrays.collect()
            };
            Some(Self { config, model: read("model"), io: read("io") })
        }

        pub fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
            let (values, shape) = self.io[name].clone();
            Tensor::from_data(TensorData::new(values, shape), device)
        }

        /// The module with the fixture's weights; panics unless both have the same keys.
        pub fn load<M: Module>(&self, module: M) -> M {
            let mut loader = Loader { path: Vec::new(), model: self.model.clone() };
            let module = module.map(&mut loader);
            assert!(loader.model.is_empty(), "unused: {:?}", loader.model.keys());
            module
        }

        /// Largest difference to an output, over the tokens of each row.
        pub fn difference(&self, name: &str, found: Tensor<3>, lengths: &[usize]) -> f32 {
            let [_, tokens, width] = found.dims();
            let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
            let wanted = &self.io[name].0;
            assert_eq!(found.len(), wanted.len());
            let rows = found.chunks(tokens * width).zip(wanted.chunks(tokens * width)).zip(lengths);
            let pairs = rows.flat_map(|((a, b), length)| a.iter().zip(b).take(length * width));
            let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{} {name} {difference:e}", self.config.model_type);
            difference
        }
    }

    struct Loader {
        path: Vec<String>,
        model: Arrays,
    }

    impl ModuleMapper for Loader {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let key = self.path.join(".");
            let (values, shape) = self.model.remove(&key).unwrap_or_else(|| panic!("missing {key}"));
            param.map(|old| {
                assert_eq!(old.dims().to_vec(), shape, "{key}");
                Tensor::from_data(TensorData::new(values, shape), &old.device())
            })
        }

        fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
            param
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn small(kind: &str) -> VisionConfig {
        VisionConfig::from_json(&json!({ "vision_config": {
            "model_type": kind, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "patch_size": 4, "image_size": 18, "num_patches": 9,
        }}))
        .unwrap()
    }

    #[test]
    fn features_have_one_row_a_patch() {
        let device = Device::flex();
        let pictures = [RgbImage::new(40, 1), RgbImage::new(7, 300), RgbImage::new(1, 1)];
        let tower = Tower::new(&small("siglip_vision_model"), &device).unwrap();
        for features in tower.features(&pictures, 0, &device).unwrap() {
            assert_eq!(features.dims(), [16, 16]);
        }
        assert_eq!(tower.tokens(40, 1, 0).unwrap(), 16);
        let tower = Tower::new(&small("siglip2_vision_model"), &device).unwrap();
        let together = tower.features(&pictures, 20, &device).unwrap();
        for (picture, features) in pictures.iter().zip(together) {
            let (width, height) = picture.dimensions();
            let [h, w] = preprocess::naflex_grid(height as usize, width as usize, 4, 20).unwrap();
            assert_eq!(features.dims(), [h * w, 16]);
            assert_eq!(tower.tokens(width, height, 20).unwrap(), h * w);
            let alone = tower.features(std::slice::from_ref(picture), 20, &device).unwrap().remove(0);
            let difference = (alone - features).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "padding changes features by {difference}");
        }
        assert!(tower.features(&[], 20, &device).unwrap().is_empty());
        assert!(tower.features(&pictures, 0, &device).is_err());
        assert!(tower.features(&[RgbImage::new(0, 3)], 20, &device).is_err());
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
            let error = VisionConfig::from_json(&wrong).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{wrong}");
            assert!(!error.fix.is_empty(), "{error}");
        }
    }
}
