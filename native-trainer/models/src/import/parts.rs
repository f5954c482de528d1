//! A language model, an understanding encoder and an image tokenizer become one model: what training starts from.

use super::front_ends::{image_tokenizer, vision};
use super::published::{Kind, Published};
use super::tensors::NewTensor;
use super::{Import, table};
use crate::{Origin, Source};
use std::path::PathBuf;
use unigen_core::config::{Config, DecoderConfig, GenerationConfig, ModelConfig};
use unigen_core::model::UniGen;
use unigen_core::text::TextTokenizer;
use unigen_core::weights::{ElementType, keys, shapes};
use unigen_core::{Device, Error, ErrorKind, Result};

/// The token table, in the module.
const TABLE: &str = "llm.embed_tokens.weight";
/// The head, in the module.
const HEAD: &str = "llm.lm_head.weight";
/// The projector, in a checkpoint.
const PROJECTOR: &str = "mm_projector";

/// Where the parts of a new model are.
#[derive(Clone, Debug)]
pub struct Parts {
    /// A Hugging Face folder or a GGUF file.
    pub decoder: PathBuf,
    /// A SigLIP or SigLIP2 folder.
    pub vision: PathBuf,
    /// A MAGVITv2 folder.
    pub image_tokenizer: PathBuf,
    /// A `tokenizer.json`, where it is not the decoder's own.
    pub tokenizer: Option<PathBuf>,
    /// Side of the pictures that the model is to draw, in pixels.
    pub image_size: usize,
    /// Seed of the new rows and of the projector.
    pub seed: u64,
}

impl Parts {
    /// Reads the headers of all parts and plans the model.
    ///
    /// The vocabulary grows as UniGen's does (arXiv 2505.14682, section 3): the tokens of images and tasks after the
    /// tokenizer's last, then the image codes, then the mask. Rows that a published table has beyond its tokenizer become
    /// the first of them.
    ///
    /// # Errors
    /// They name the file, and what is missing, of another shape or of another kind.
    pub fn read(&self) -> Result<Import> {
        let decoder = Published::open(&self.decoder, Kind::Decoder)?;
        let mut sizes: DecoderConfig = match decoder.checkpoint.gguf() {
            Some(gguf) => {
                DecoderConfig::from_json(&gguf.decoder_config()?.to_string(), decoder.checkpoint.place())?
            }
            None => decoder.config()?,
        };
        if !decoder.is_gguf() {
            keys::untie_own_head(&mut sizes, &decoder.checkpoint)?;
        }
        let weights = decoder.decoder();
        let json = decoder.tokenizer(self.tokenizer.as_deref())?;
        let (tokenizer_json, tokens) = TextTokenizer::with_image_tokens(&json)?;
        let text = TextTokenizer::from_bytes(&tokenizer_json)?;
        let old = weights.stored("embed_tokens.weight")?;
        let rows = old.shape().first().copied().unwrap_or(0);
        if tokens > rows {
            let what = format!("the tokenizer has {tokens} tokens, but the token table only {rows} rows");
            return Err(Error::new(ErrorKind::Text, decoder.checkpoint.place(), what)
                .fix("give the tokenizer.json that belongs to this language model"));
        }
        let (image, image_tokenizer) = image_tokenizer(&self.image_tokenizer)?;
        let (seen, vision) = vision(&self.vision)?;
        sizes.vocab_size = text.vocab_size() + (1 << image.z_channels) + 1;
        let config = ModelConfig {
            text_vocab: text.vocab_size(),
            image_size: self.image_size,
            code_groups: vec![image.z_channels],
            special_tokens: *text.special(),
            sees_codes: false,
            vision: Some(seen),
            image_tokenizer: image,
            decoder: sizes,
        };
        config.validate()?;

        let module = UniGen::new(&config, &Device::flex());
        let (mut model, mut old_rows) = (vec![], vec![]);
        for (path, shape) in shapes(&module) {
            match (path.as_str(), shape.as_slice()) {
                (TABLE | HEAD, &[rows, columns]) => {
                    let name = keys::unigen(&path).unwrap_or_else(|| path.clone());
                    let of_decoder = path.trim_start_matches("llm.");
                    model.push(table::extended(&weights, of_decoder, name, [rows, columns], self.seed)?);
                }
                (path, _) if path.starts_with(PROJECTOR) => {}
                _ => old_rows.push((path.trim_start_matches("llm.").to_owned(), shape)),
            }
        }
        model.extend(weights.tensors(old_rows, |path| keys::unigen(&format!("llm.{path}")))?);
        model.extend(projector(&config, &new_type(old.element_type()), self.seed));
        let parts = [
            ("decoder", Some(&self.decoder)),
            ("vision", Some(&self.vision)),
            ("image_tokenizer", Some(&self.image_tokenizer)),
            ("tokenizer", self.tokenizer.as_ref()),
        ];
        let parts = parts.into_iter().filter_map(|(part, path)| Some((part.to_owned(), Source::path(path?))));
        Ok(Import {
            generation: GenerationConfig::of(config.image_codes()),
            config,
            tokenizer_json,
            model,
            image_tokenizer,
            vision: Some(vision),
            origin: Origin { kind: "parts".into(), licence: None, parts: parts.collect() },
            warnings: vec![],
        })
    }
}

/// A projector with random weights from the understanding encoder's features to the decoder's width.
fn projector(config: &ModelConfig, found: &ElementType, seed: u64) -> impl Iterator<Item = NewTensor> {
    let (features, width) = (config.vision.as_ref().map_or(0, |v| v.hidden_size), config.decoder.hidden_size);
    let layers = [("mm_projector.0", [width, features], seed), ("mm_projector.2", [width, width], seed ^ 2)];
    layers.map(|(name, shape, seed)| table::linear(name, shape, found, seed)).into_iter().flatten()
}

/// The type of new weights beside others: half precision where those are quantised.
fn new_type(old: &ElementType) -> ElementType {
    match old {
        ElementType::F32 | ElementType::Bf16 => old.clone(),
        _ => ElementType::F16,
    }
}
