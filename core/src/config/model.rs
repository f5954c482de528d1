//! Sizes of a whole model.

use super::bounds::{MAX_IMAGE_CODES, MAX_IMAGE_SIZE, MAX_SIZE, size, within, wrong};
use super::{Config, DecoderConfig, SpecialTokens, TokenizerConfig, VisionConfig};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// A whole model: the config.json of a model folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The language model.
    pub decoder: DecoderConfig,
    /// The understanding encoder, where the model has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionConfig>,
    /// The image tokenizer.
    pub image_tokenizer: TokenizerConfig,
    /// Number of text and special tokens.
    pub text_vocab: usize,
    /// Side of the images that the model draws, in pixels: a multiple of the image tokenizer's
    /// [`downsampling`](TokenizerConfig::downsampling), at most 1024.
    pub image_size: usize,
    /// Bits of each group of a code, most significant first. With one group, codes are rows of the decoder's own
    /// vocabulary, after the text and before the mask. With several (token factorisation, MAGVIT-v2, arXiv 2310.05737,
    /// section 3.2), the vocabulary is text only, and codes go in and out as bits.
    pub code_groups: Vec<usize>,
    /// Ids of the tokens that mark turns, tasks and images.
    pub special_tokens: SpecialTokens,
    /// Whether the model answers questions from a picture's codes, as Show-o does. Others see through `vision`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sees_codes: bool,
}

/// What a model may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Pictures from prompts; also new insides for a mask, and more of a picture at its edges.
    Draw,
    /// Other pictures from pictures and instructions.
    Edit,
    /// Answers to questions about pictures.
    Answer,
}

impl ModelConfig {
    /// Bits of a code.
    pub fn code_bits(&self) -> usize {
        self.code_groups.iter().sum()
    }

    /// Number of different codes, `2^code_bits`.
    pub fn codebook_size(&self) -> usize {
        1 << self.code_bits()
    }

    /// Classes of the code head, over all groups.
    pub fn code_classes(&self) -> usize {
        self.code_groups.iter().map(|bits| 1 << bits).sum()
    }

    /// Whether codes go in and out as bits, apart from the decoder's vocabulary.
    pub fn bit_groups(&self) -> bool {
        self.code_groups.len() > 1
    }

    /// The token that stands for a masked code, the last of the vocabulary (with one group of bits).
    pub fn mask_token_id(&self) -> usize {
        self.decoder.vocab_size.saturating_sub(1)
    }

    /// Codes along each side of an image.
    pub fn grid(&self) -> usize {
        self.image_size / self.image_tokenizer.downsampling()
    }

    /// Codes of an image.
    pub fn image_codes(&self) -> usize {
        self.grid().saturating_pow(2)
    }

    /// Whether the model can do this.
    pub fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Draw => true,
            Ability::Edit => self.vision.is_some() && self.special_tokens.chat.is_some(),
            Ability::Answer => self.vision.is_some() || self.sees_codes,
        }
    }

    /// The factor of classifier-free guidance, `uncond + factor (cond - uncond)`, for a `scale` as the model's authors count
    /// it. Show-o's logits are `(1 + scale) cond - scale uncond`.
    pub fn guidance_factor(&self, scale: f32) -> f32 {
        if self.special_tokens.chat.is_some() { scale } else { 1.0 + scale }
    }

    fn validate_image_size(&self) -> Result<()> {
        let (side, codes, f) = (self.image_size, self.image_codes(), self.image_tokenizer.downsampling());
        if side == 0 {
            return size("image_size", side, MAX_IMAGE_SIZE);
        }
        if !side.is_multiple_of(f) {
            return Err(wrong("image_size", format!("is {side}, not a multiple of {f}"))
                .fix("the image tokenizer halves images once a level after the first"));
        }
        if side > MAX_IMAGE_SIZE || codes > MAX_IMAGE_CODES {
            return Err(wrong("image_size", format!("is {side}, which makes {codes} codes an image"))
                .fix(format!("choose at most {MAX_IMAGE_SIZE} pixels and {MAX_IMAGE_CODES} codes")));
        }
        Ok(())
    }

    fn validate_codes(&self) -> Result<()> {
        size("code_groups", self.code_groups.len(), 64)?;
        for &bits in &self.code_groups {
            size("code_groups", bits, 20)?;
        }
        let (bits, z) = (self.code_bits(), self.image_tokenizer.z_channels);
        if bits != z {
            let what = format!(
                "is {:?}, {bits} bits, but the image tokenizer's z_channels is {z}",
                self.code_groups
            );
            return Err(wrong("code_groups", what).fix("the groups share out the bits of a code"));
        }
        let codes = if self.bit_groups() { 0 } else { self.codebook_size() + 1 };
        let found = self.decoder.vocab_size;
        if found != self.text_vocab + codes {
            let what = format!("is {found}, wanted {} text + {codes} image", self.text_vocab);
            return Err(wrong("decoder.vocab_size", what)
                .fix("one group of bits adds its codes and a mask to the vocabulary, several add nothing"));
        }
        Ok(())
    }

    fn validate_special_tokens(&self) -> Result<()> {
        let special = self.special_tokens.named();
        for (i, (name, id)) in special.iter().copied().enumerate() {
            let fails = |what: String| {
                Err(wrong(format!("special_tokens.{name}"), what).fix("take the ids from tokenizer.json"))
            };
            if id as usize >= self.text_vocab {
                return fails(format!("is {id}, past the {} text tokens", self.text_vocab));
            }
            if let Some((other, _)) = special[..i].iter().find(|(_, other)| *other == id) {
                return fails(format!("is {id}, as {other} is"));
            }
        }
        Ok(())
    }
}

impl Config for ModelConfig {
    fn validate(&self) -> Result<()> {
        self.decoder.validate().map_err(within("decoder"))?;
        if let Some(vision) = &self.vision {
            vision.validate().map_err(within("vision"))?;
        }
        self.image_tokenizer.validate().map_err(within("image_tokenizer"))?;
        size("text_vocab", self.text_vocab, MAX_SIZE)?;
        self.validate_image_size()?;
        self.validate_codes()?;
        self.validate_special_tokens()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_may_have_16_to_1024_pixels() {
        let mut nano = ModelConfig::preset("nano").unwrap();
        for (side, codes) in [(16, 4), (96, 144), (384, 2304), (512, 4096), (1024, 16_384)] {
            nano.image_size = side;
            assert!(nano.validate().is_ok() && nano.image_codes() == codes, "{side}");
        }
        for side in [0, 12, 1032, 1 << 40] {
            nano.image_size = side;
            let error = nano.validate().unwrap_err();
            assert!(error.place == "image_size" && !error.fix.is_empty(), "{error}");
        }
    }

    #[test]
    fn groups_must_share_out_the_bits() {
        let mut nano = ModelConfig::preset("nano").unwrap();
        for groups in [vec![], vec![3, 3], vec![usize::MAX, 6], vec![16, 0]] {
            nano.code_groups = groups;
            assert_eq!(nano.validate().unwrap_err().place, "code_groups");
        }
    }

    /// Files from before the model alone cut codes into groups.
    #[test]
    fn groups_of_the_image_tokenizer_are_passed_over() {
        let nano = ModelConfig::preset("nano").unwrap();
        let mut json = serde_json::to_value(&nano).unwrap();
        json["image_tokenizer"]["code_groups"] = [8, 8].into();
        assert_eq!(ModelConfig::from_json(&json.to_string(), "config.json").unwrap(), nano);
    }
}
