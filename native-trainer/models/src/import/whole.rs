//! A UniGen checkpoint as its authors save it: `llm.*` and `mm_projector.*` in one.

use super::Import;
use super::front_ends::{image_tokenizer, vision};
use super::published::{Kind, Published};
use super::tensors::Weights;
use crate::{Origin, Source};
use std::path::PathBuf;
use unigen_core::config::{Config, DecoderConfig, GenerationConfig, ModelConfig};
use unigen_core::model::UniGen;
use unigen_core::text::TextTokenizer;
use unigen_core::weights::{keys, shapes};
use unigen_core::{Device, Error, ErrorKind, Result};

/// Where a UniGen checkpoint and its frozen parts are.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// A MAGVITv2 folder.
    pub image_tokenizer: PathBuf,
    /// A SigLIP or SigLIP2 folder. Without it the model draws, but it cannot see pictures.
    pub vision: Option<PathBuf>,
    /// Qwen2.5's `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Side of the pictures that the model draws, in pixels: UniGen has 256, UniGen-1.5 has 384.
    pub image_size: usize,
}

impl Whole {
    /// Reads the headers of all parts and plans the model.
    ///
    /// # Errors
    /// They name the file, and what is missing, of another shape or of another kind.
    pub fn read(&self) -> Result<Import> {
        let published = Published::open(&self.checkpoint, Kind::UniGen)?;
        let checkpoint = &published.checkpoint;
        let mut decoder: DecoderConfig = published.config()?;
        keys::untie_own_head(&mut decoder, checkpoint)?;
        let weights = Weights::new(checkpoint.clone(), keys::model(checkpoint));
        decoder.vocab_size = weights.stored("llm.embed_tokens.weight")?.shape().first().copied().unwrap_or(0);
        let (image, image_tokenizer) = image_tokenizer(&self.image_tokenizer)?;
        let (seen, vision) = self.vision.as_deref().map(vision).transpose()?.unzip();

        let codes = (1 << image.z_channels) + 1;
        let text_vocab = decoder.vocab_size.checked_sub(codes).ok_or_else(|| {
            let what =
                format!("has {} tokens, fewer than the {codes} image codes and mask", decoder.vocab_size);
            Error::new(ErrorKind::Weights, checkpoint.place(), what)
                .fix("give the image tokenizer that the model was trained with")
        })?;
        let (tokenizer_json, before) =
            TextTokenizer::with_image_tokens(&published.tokenizer(Some(&self.tokenizer))?)?;
        let text = TextTokenizer::from_bytes(&tokenizer_json)?;
        let warnings = match text.vocab_size() {
            found if found == text_vocab => vec![],
            // Tokens that are in the file have their ids from it; appended ones must follow the text.
            found if found < text_vocab && found == before => {
                vec![format!("the tokenizer has {found} tokens, the model has rows for {text_vocab}")]
            }
            found => {
                let what = format!(
                    "has {found} tokens with those of images, but the model has rows for {text_vocab}"
                );
                return Err(Error::new(ErrorKind::Text, self.tokenizer.display(), what)
                    .fix("give the tokenizer.json that the model was trained with"));
            }
        };
        let config = ModelConfig {
            text_vocab,
            image_size: self.image_size,
            code_groups: vec![image.z_channels],
            special_tokens: *text.special(),
            sees_codes: false,
            vision: seen,
            image_tokenizer: image,
            decoder,
        };
        config.validate()?;
        let module = UniGen::new(&config, &Device::flex());
        let parts = [
            ("decoder", Some(&self.checkpoint)),
            ("vision", self.vision.as_ref()),
            ("image_tokenizer", Some(&self.image_tokenizer)),
            ("tokenizer", Some(&self.tokenizer)),
        ];
        let parts = parts.into_iter().filter_map(|(part, path)| Some((part.to_owned(), Source::path(path?))));
        Ok(Import {
            generation: generation(config.image_codes()),
            model: weights.tensors(shapes(&module), keys::unigen)?,
            config,
            tokenizer_json,
            image_tokenizer,
            vision,
            origin: Origin { kind: "unigen".into(), licence: None, parts: parts.collect() },
            warnings,
        })
    }
}

/// How UniGen is evaluated (its `scripts/run_evaluation.sh`): 50 steps, guidance 6, temperature 1.
fn generation(codes: usize) -> GenerationConfig {
    let steps = codes.min(50);
    GenerationConfig {
        guidance_scale: 6.0,
        steps,
        edit_steps: steps,
        temperature: 1.0,
        ..GenerationConfig::default()
    }
}
