//! Show-o's published config.json (arXiv 2408.12528).

use super::bounds::{MAX_SIZE, size, within, wrong};
use super::{Config, DecoderConfig, ModelConfig, SpecialTokens, TokenizerConfig};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// A published config.json of Show-o: it says what the vocabulary holds, but not the decoder's sizes, which
/// [`showo_decoder`](crate::weights::showo_decoder) finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowoConfig {
    /// Text, special tokens, image codes and the mask.
    pub vocab_size: usize,
    /// Tokens of the text tokenizer. The special tokens start here.
    pub llm_vocab_size: usize,
    /// Number of different image codes.
    pub codebook_size: usize,
    /// Codes of an image, a square.
    pub num_vq_tokens: usize,
    /// Whether the model sees pictures through CLIP. Otherwise it sees their codes.
    #[serde(default)]
    pub w_clip_vit: bool,
}

impl ShowoConfig {
    /// Text and special tokens.
    pub fn text_vocab(&self) -> usize {
        self.vocab_size.saturating_sub(self.codebook_size + 1)
    }

    /// The whole model. `endoftext` is the id of `<|endoftext|>` in its text tokenizer.
    ///
    /// # Errors
    /// `Config` where the parts do not fit one another.
    pub fn model(
        &self,
        decoder: DecoderConfig,
        image_tokenizer: TokenizerConfig,
        endoftext: u32,
    ) -> Result<ModelConfig> {
        self.validate()?;
        if decoder.vocab_size != self.vocab_size {
            let what = format!("is {}, but the weights have {} rows", self.vocab_size, decoder.vocab_size);
            return Err(wrong("vocab_size", what).fix("take config.json and weights from the same model"));
        }
        let config = ModelConfig {
            text_vocab: self.text_vocab(),
            image_size: self.num_vq_tokens.isqrt() * image_tokenizer.downsampling(),
            code_groups: vec![self.codebook_size.ilog2() as usize],
            special_tokens: SpecialTokens::showo(self.llm_vocab_size as u32, endoftext),
            sees_codes: !self.w_clip_vit,
            vision: None,
            decoder,
            image_tokenizer,
        };
        config.validate().map_err(within("model"))?;
        Ok(config)
    }
}

impl Config for ShowoConfig {
    fn validate(&self) -> Result<()> {
        size("llm_vocab_size", self.llm_vocab_size, MAX_SIZE)?;
        size("codebook_size", self.codebook_size, MAX_SIZE)?;
        size("num_vq_tokens", self.num_vq_tokens, MAX_SIZE)?;
        size("vocab_size", self.vocab_size, MAX_SIZE)?;
        if self.codebook_size < 2 || !self.codebook_size.is_power_of_two() {
            return Err(wrong("codebook_size", format!("is {}", self.codebook_size))
                .fix("codes have whole bits: choose a power of two"));
        }
        if self.num_vq_tokens.isqrt().pow(2) != self.num_vq_tokens {
            return Err(wrong("num_vq_tokens", format!("is {}, no square", self.num_vq_tokens))
                .fix("take the config.json that belongs to the weights"));
        }
        let least = self.llm_vocab_size + SpecialTokens::SHOWO + self.codebook_size + 1;
        if self.vocab_size < least {
            let what = format!(
                "is {}, too few for {} words, {} special tokens, {} codes and a mask",
                self.vocab_size,
                self.llm_vocab_size,
                SpecialTokens::SHOWO,
                self.codebook_size
            );
            return Err(wrong("vocab_size", what).fix("take the config.json that belongs to the weights"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// showlab/show-o-512x512, as its configuration has it.
    const PUBLISHED: &str = r#"{"_class_name": "Showo", "w_clip_vit": false, "vocab_size": 58498, "llm_vocab_size": 50295,
        "llm_model_path": "microsoft/phi-1_5", "codebook_size": 8192, "num_vq_tokens": 1024}"#;

    #[test]
    fn the_published_vocabulary() {
        let showo = ShowoConfig::from_json(PUBLISHED, "config.json").unwrap();
        let decoder = ModelConfig::preset("show-o-512").unwrap().decoder;
        let model = showo.model(decoder.clone(), TokenizerConfig::default(), 50_256).unwrap();
        let SpecialTokens { endoftext, soi, eoi, t2i, mmu, chat } = model.special_tokens;
        assert_eq!([endoftext, soi, eoi, t2i, mmu], [50_256, 50_296, 50_297, 50_300, 50_301]);
        assert!(chat.is_none() && model.sees_codes);
        assert_eq!((model.text_vocab, model.mask_token_id(), model.image_size), (50_305, 58_497, 512));
        assert_eq!(model, ModelConfig::preset("show-o-512").unwrap());
        let json = serde_json::to_string(&model).unwrap();
        assert_eq!(ModelConfig::from_json(&json, "config.json").unwrap(), model);

        let other = DecoderConfig { vocab_size: 58_499, ..decoder.clone() };
        let error = showo.model(other, TokenizerConfig::default(), 50_256).unwrap_err();
        assert!(error.to_string().contains("58499 rows"), "{error}");
        let thin = TokenizerConfig { z_channels: 12, ..TokenizerConfig::default() };
        assert!(showo.model(decoder, thin, 50_256).is_err());
    }

    #[test]
    fn wrong_sizes_are_named() {
        for (key, value) in
            [("codebook_size", 8000), ("num_vq_tokens", 1000), ("vocab_size", 58_400), ("llm_vocab_size", 0)]
        {
            let mut json: serde_json::Value = serde_json::from_str(PUBLISHED).unwrap();
            json[key] = value.into();
            let error = ShowoConfig::from_json(&json.to_string(), "config.json").unwrap_err();
            assert!(error.place.ends_with(key) && !error.fix.is_empty(), "{error}");
        }
    }
}
