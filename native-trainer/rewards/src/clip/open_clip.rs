//! OpenCLIP's state dict under Hugging Face's names.

use unigen_core::weights::{StoredTensor, Tensors};
use unigen_core::{Error, ErrorKind, Result};

/// A state dict of OpenCLIP, seen as a checkpoint of Hugging Face: names are translated, queries, keys and values are
/// split, and projections are transposed.
pub struct OpenClip<T> {
    weights: T,
    /// Prefix of every name, such as `state_dict.` or `module.`.
    prefix: String,
}

/// Where a tensor is found in the state dict.
enum Place {
    Whole(String),
    /// One of three equal parts along the first dimension.
    Third(String, usize),
    Transposed(String),
}

const ANCHOR: &str = "visual.class_embedding";

impl<T: Tensors> OpenClip<T> {
    /// `names`: all names in `weights`.
    ///
    /// # Errors
    /// If the tensors do not contain an OpenCLIP model.
    pub fn new<'a>(weights: T, mut names: impl Iterator<Item = &'a str>) -> Result<Self> {
        match names.find_map(|name| name.strip_suffix(ANCHOR)) {
            Some(prefix) => Ok(Self { prefix: prefix.into(), weights }),
            None => Err(Error::new(
                ErrorKind::Weights,
                weights.place(),
                format!("this is not an OpenCLIP model: {ANCHOR} is missing"),
            )
            .fix("take the state dict of an OpenCLIP vision transformer, such as HPS_v2.1_compressed.pt")),
        }
    }

    fn find(&self, name: &str) -> Option<Place> {
        let named = |theirs: String| format!("{}{theirs}", self.prefix);
        let (tower, rest) = match name.split_once('.')? {
            ("text_model", rest) => ("", rest),
            ("vision_model", rest) => ("visual.", rest),
            ("text_projection", _) => return Some(Place::Transposed(named("text_projection".into()))),
            ("visual_projection", _) => return Some(Place::Transposed(named("visual.proj".into()))),
            _ => return None,
        };
        let Some(layer) = rest.strip_prefix("encoder.layers.") else {
            let theirs = match rest {
                "embeddings.token_embedding.weight" => "token_embedding.weight",
                "embeddings.position_embedding.weight" => "positional_embedding",
                "embeddings.class_embedding" => "class_embedding",
                "embeddings.patch_embedding.weight" => "conv1.weight",
                "final_layer_norm.weight" => "ln_final.weight",
                "final_layer_norm.bias" => "ln_final.bias",
                "pre_layrnorm.weight" => "ln_pre.weight",
                "pre_layrnorm.bias" => "ln_pre.bias",
                "post_layernorm.weight" => "ln_post.weight",
                "post_layernorm.bias" => "ln_post.bias",
                _ => return None,
            };
            return Some(Place::Whole(named(format!("{tower}{theirs}"))));
        };
        let (number, rest) = layer.split_once('.')?;
        let (part, parameter) = rest.rsplit_once('.')?;
        let block = named(format!("{tower}transformer.resblocks.{number}."));
        let theirs = match part {
            "layer_norm1" => "ln_1",
            "layer_norm2" => "ln_2",
            "mlp.fc1" => "mlp.c_fc",
            "mlp.fc2" => "mlp.c_proj",
            "self_attn.out_proj" => "attn.out_proj",
            _ => {
                let which = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
                let which = which.iter().position(|name| *name == part)?;
                return Some(Place::Third(format!("{block}attn.in_proj_{parameter}"), which));
            }
        };
        Some(Place::Whole(format!("{block}{theirs}.{parameter}")))
    }
}

impl<T: Tensors> Tensors for OpenClip<T> {
    fn place(&self) -> &str {
        self.weights.place()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.find(name)? {
            Place::Whole(name) => self.weights.shape(&name),
            Place::Third(name, _) => {
                let mut shape = self.weights.shape(&name)?;
                *shape.first_mut()? /= 3;
                Some(shape)
            }
            Place::Transposed(name) => {
                self.weights.shape(&name).map(|shape| shape.into_iter().rev().collect())
            }
        }
    }

    fn stored(&self, name: &str) -> Result<StoredTensor> {
        match self.find(name) {
            None => self.weights.stored(&format!("{}{name}", self.prefix)),
            Some(Place::Whole(name)) => self.weights.stored(&name),
            Some(Place::Third(name, which)) => {
                let tensor = self.weights.stored(&name)?;
                let part = tensor.shape().first().map_or(0, |rows| rows / 3);
                tensor.rows(which * part..(which + 1) * part)
            }
            Some(Place::Transposed(name)) => self.weights.stored(&name)?.transposed(),
        }
    }

    fn shard(&self, name: &str) -> Option<&str> {
        match self.find(name)? {
            Place::Whole(name) | Place::Third(name, _) | Place::Transposed(name) => self.weights.shard(&name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use unigen_core::weights::{Checkpoint, NamedTensor, Precision, write_tensors};

    #[test]
    fn published_names_find_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let values: Vec<f32> = (0..6).map(|x| x as f32).collect();
        let tensor = |name: &str, shape: &[usize]| {
            let values = values[..shape.iter().product()].to_vec();
            NamedTensor {
                name: format!("state_dict.{name}"),
                shape: shape.to_vec(),
                values: Box::new(move || Ok(values.clone().into())),
            }
        };
        let tensors = vec![
            tensor("visual.class_embedding", &[2]),
            tensor("visual.proj", &[2, 3]),
            tensor("visual.transformer.resblocks.0.attn.in_proj_weight", &[3, 1]),
        ];
        write_tensors(&path, Precision::F32, tensors, HashMap::new()).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let clip = OpenClip::new(&file, file.names()).unwrap();
        let turned = (vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0], vec![3, 2]);
        assert_eq!(clip.shape("visual_projection.weight"), Some(vec![3, 2]));
        assert_eq!(clip.tensor("visual_projection.weight").unwrap(), turned);
        for (part, value) in [("q", 0.0), ("k", 1.0), ("v", 2.0)] {
            let name = format!("vision_model.encoder.layers.0.self_attn.{part}_proj.weight");
            assert_eq!(clip.tensor(&name).unwrap(), (vec![value], vec![1, 1]));
            assert_eq!(clip.shape(&name), Some(vec![1, 1]));
        }
        let embedding = "vision_model.embeddings.class_embedding";
        assert_eq!(clip.tensor(embedding).unwrap(), (vec![0.0, 1.0], vec![2]));
        assert!(OpenClip::new(&file, ["a.b"].into_iter()).is_err());
    }
}
