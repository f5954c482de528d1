//! The understanding encoder: SigLIP at its fixed resolution (arXiv 2303.15343) and SigLIP2 NaFlex at any (arXiv 2502.14786,
//! section 2.4), their preprocessing, and the projector into the decoder.
//!
//! The fields of the modules spell the keys of published checkpoints, without the leading `vision_model.`.

pub mod encoder;
mod positions;
pub mod preprocess;
mod projector;
pub mod resample;
pub mod siglip;
mod siglip2;

pub use projector::Projector;
pub use siglip::Siglip;
pub use siglip2::{Patches, Siglip2};

use crate::config::VisionConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::precision::{MatmulPrecision, WithPrecision};
use crate::weights::{Checkpoint, Precision, keys, load, save};
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use std::collections::HashMap;
use std::path::Path;

/// Either tower, as the configuration says.
///
/// This is no burn module, because the name of its variant would enter the keys of the weights.
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
        Ok(match config.naflex() {
            true => Self::Siglip2(Siglip2::new(config, device)?),
            false => Self::Siglip(Siglip::new(config, device)?),
        })
    }

    /// The tower in a checkpoint under one of the names of [`keys::siglip`], with its pooling head where there is one.
    ///
    /// Errors name every tensor that is missing or of another shape.
    pub fn open(config: &VisionConfig, checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let key = keys::siglip(checkpoint);
        let head = key("head.probe").is_some_and(|name| checkpoint.contains(&name));
        let sizes = VisionConfig { vision_use_head: head, ..config.clone() };
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

    /// How many features [`features`](Self::features) gives for a picture of `width` x `height` pixels. Errors as there.
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

    /// Features of pictures for the projector, from the last layer but one: one `[tokens, width]` each, without padding.
    ///
    /// `max_num_patches` bounds the tokens of a NaFlex picture (published: 256); the tower with a fixed resolution ignores
    /// it.
    ///
    /// # Errors
    /// `Image` for a picture without pixels; `Config` for a bound of zero.
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
    use crate::config::{Config, VisionConfig};
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
        /// The folder `name` of `tests/parity`.
        pub fn open(name: &str) -> Self {
            let folder = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parity/fixtures/{}"), name);
            let config = std::fs::read_to_string(format!("{folder}/config.json")).unwrap();
            let config = VisionConfig::from_json(&config, name).unwrap();
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
            Self { config, model: read("model"), io: read("io") }
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
            println!("{name} {difference:e}");
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
    use crate::config::Config;
    use serde_json::json;

    fn small(kind: &str) -> VisionConfig {
        let json = json!({ "vision_config": {
            "model_type": kind, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "patch_size": 4, "image_size": 18, "num_patches": 9,
        }});
        VisionConfig::from_json(&json.to_string(), "config.json").unwrap()
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
}
