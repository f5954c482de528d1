//! A Show-o checkpoint (arXiv 2408.12528), and those of RecA and Turbo, which have the same keys.

use super::Import;
use super::front_ends::image_tokenizer;
use super::published::{Kind, Published};
use super::tensors::Weights;
use crate::{Origin, Source};
use std::path::PathBuf;
use unigen_core::config::{GenerationConfig, ShowoConfig};
use unigen_core::model::UniGen;
use unigen_core::text::{TextTokenizer, end_of_text};
use unigen_core::weights::{keys, shapes, showo_decoder};
use unigen_core::{Device, Result};

/// Where a Show-o checkpoint and its parts are.
#[derive(Clone, Debug)]
pub struct ShowO {
    /// The checkpoint's folder.
    pub checkpoint: PathBuf,
    /// A MAGVITv2 folder.
    pub image_tokenizer: PathBuf,
    /// Phi-1.5's `tokenizer.json`, or the folder that it is in.
    pub tokenizer: PathBuf,
    /// Whether it draws as Show-o-Turbo does: in 4 steps without guidance.
    pub turbo: bool,
}

impl ShowO {
    /// Reads the headers of all parts and plans the model. The decoder's sizes are those of its tensors.
    ///
    /// # Errors
    /// They name the file, and what is missing, of another shape or of another kind.
    pub fn read(&self) -> Result<Import> {
        let published = Published::open(&self.checkpoint, Kind::ShowO)?;
        let checkpoint = &published.checkpoint;
        let showo: ShowoConfig = published.config()?;
        let (image, image_tokenizer) = image_tokenizer(&self.image_tokenizer)?;
        let tokenizer_json = published.tokenizer(Some(&self.tokenizer))?;
        let config = showo.model(showo_decoder(checkpoint)?, image, end_of_text(&tokenizer_json)?)?;
        TextTokenizer::of_model(&tokenizer_json, &config.special_tokens)?;
        let tokens = TextTokenizer::tokens_in(&tokenizer_json)?;
        let mut warnings = vec![];
        if tokens < showo.llm_vocab_size {
            let wanted = showo.llm_vocab_size;
            warnings.push(format!(
                "the tokenizer has {tokens} tokens, but the model was trained with {wanted}: it may read prompts wrongly"
            ));
        }
        if showo.w_clip_vit {
            warnings.push(
                "this model sees through CLIP, which is not read: it draws, but it cannot answer".into(),
            );
        }
        let codes = config.image_codes();
        let weights = Weights::new(checkpoint.clone(), keys::model(checkpoint));
        let module = UniGen::new(&config, &Device::flex());
        let parts = [
            ("decoder", &self.checkpoint),
            ("image_tokenizer", &self.image_tokenizer),
            ("tokenizer", &self.tokenizer),
        ];
        let parts = parts.map(|(part, path)| (part.to_owned(), Source::path(path)));
        Ok(Import {
            generation: match self.turbo {
                true => GenerationConfig::showo_turbo(codes),
                false => GenerationConfig::showo(codes),
            },
            model: weights.tensors(shapes(&module), keys::unigen)?,
            config,
            tokenizer_json,
            image_tokenizer,
            vision: None,
            origin: Origin { kind: "show-o".into(), licence: None, parts: parts.into() },
            warnings,
        })
    }
}
