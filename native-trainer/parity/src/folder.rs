//! The files of a parity folder, read with checks.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use unigen_core::weights::Checkpoint;

/// The largest size in a config.json.
const MAX_SIZE: u64 = 1 << 24;

/// The file of a model that needs no config.json.
const GGUF: &str = "model.gguf";

/// A parity folder.
pub struct Folder {
    pub config: Config,
    /// model.safetensors, with the published names, or model.gguf.
    pub model: Checkpoint,
    pub io: Io,
    /// Where the core computes.
    pub device: Device,
}

impl Folder {
    /// The folder at `path`, whose config.json has been read.
    ///
    /// # Errors
    /// Where a file is missing or damaged.
    pub fn open(path: &Path, config: Config, device: &Device) -> Result<Self> {
        let model = if config.is_gguf() { GGUF } else { "model.safetensors" };
        Ok(Self {
            config,
            model: Checkpoint::open(&path.join(model))?,
            io: Io(Checkpoint::open(&path.join("io.safetensors"))?),
            device: device.clone(),
        })
    }
}

/// config.json.
pub struct Config(pub Value);

impl Config {
    /// Reads the file in `folder`. Where there is a GGUF file, that is the configuration.
    ///
    /// # Errors
    /// Where there is none, and where it is not JSON.
    pub fn read(folder: &Path) -> Result<Self> {
        if folder.join(GGUF).is_file() {
            return Ok(Self(json!({ "format": GGUF })));
        }
        let path = folder.join("config.json");
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self(serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?))
    }

    /// `model_type`, by which Hugging Face tells architectures apart.
    pub fn model_type(&self) -> Option<&str> {
        self.0.get("model_type").and_then(Value::as_str)
    }

    /// Whether the model is a GGUF file, which says all that a config.json would.
    pub fn is_gguf(&self) -> bool {
        self.0["format"] == GGUF
    }

    /// Whether there is a `key`.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// The number under `key`.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.0.get(key).and_then(Value::as_f64).with_context(|| format!("config.json: no number {key}"))
    }

    /// A number of things, at least one.
    pub fn size(&self, key: &str) -> Result<usize> {
        let size = self.0.get(key).and_then(Value::as_u64).filter(|size| (1..=MAX_SIZE).contains(size));
        let size =
            size.with_context(|| format!("config.json: {key} is no whole number from 1 to {MAX_SIZE}"))?;
        Ok(size as usize)
    }

    /// The token under `key`, one of `vocabulary`.
    pub fn token(&self, key: &str, vocabulary: usize) -> Result<u32> {
        let token = self.0.get(key).and_then(Value::as_u64).filter(|&token| token < vocabulary as u64);
        Ok(token.with_context(|| format!("config.json: {key} is no token below {vocabulary}"))? as u32)
    }
}

/// io.safetensors: inputs, and what the reference computed from them.
pub struct Io(pub Checkpoint);

impl Io {
    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// All tensors' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// The shape of a tensor of `D` dimensions, none of which is 0.
    pub fn shape<const D: usize>(&self, name: &str) -> Result<[usize; D]> {
        let shape = self.0.shape(name).with_context(|| format!("io.safetensors: {name}: no such tensor"))?;
        match <[usize; D]>::try_from(shape) {
            Ok(sizes) if !sizes.contains(&0) => Ok(sizes),
            _ => bail!("io.safetensors: {name}: shape {shape:?}, wanted {D} dimensions that are not 0"),
        }
    }

    /// A tensor of any shape of `D` dimensions, on `device`.
    pub fn input<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let shape = self.shape::<D>(name)?;
        Ok(Tensor::from_data(TensorData::new(self.values(name, &shape)?, shape), device))
    }

    /// The values of a tensor that has this shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (values, found) = self.0.tensor(name)?;
        ensure!(found == shape, "io.safetensors: {name}: shape {found:?}, wanted {shape:?}");
        Ok(values)
    }

    /// The whole numbers of a tensor that has this shape; all are in `range`.
    pub fn ints(&self, name: &str, shape: &[usize], range: Range<i64>) -> Result<Vec<i64>> {
        let (values, found) = self.0.ints(name)?;
        ensure!(found == shape, "io.safetensors: {name}: shape {found:?}, wanted {shape:?}");
        match values.iter().find(|value| !range.contains(value)) {
            Some(value) => {
                bail!("io.safetensors: {name}: {value} is not from {} to {}", range.start, range.end - 1)
            }
            None => Ok(values),
        }
    }

    /// A tensor of one value.
    pub fn value(&self, name: &str) -> Result<f64> {
        let (values, shape) = self.0.tensor(name)?;
        match values[..] {
            [value] => Ok(f64::from(value)),
            _ => bail!("io.safetensors: {name}: shape {shape:?}, wanted one value"),
        }
    }
}
