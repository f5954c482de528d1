//! Sizes of known models.

use super::{DecoderConfig, DecoderKind, ModelConfig, SpecialTokens, TokenizerConfig, VisionConfig};
use crate::error::{Error, ErrorKind, Result};

impl ModelConfig {
    /// Names of the presets.
    pub const PRESETS: [&str; 5] = ["nano", "unigen-1.5b", "unigen15-7b", "show-o-256", "show-o-512"];

    /// The preset `name`.
    ///
    /// # Errors
    /// `Config` for a name that is not in [`PRESETS`](Self::PRESETS).
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "nano" => Ok(Self::nano()),
            "unigen-1.5b" => Ok(Self::unigen()),
            "unigen15-7b" => Ok(Self::unigen15()),
            "show-o-256" => Ok(Self::showo(256)),
            "show-o-512" => Ok(Self::showo(512)),
            _ => Err(Error::new(ErrorKind::Config, "preset", format!("no model is called \"{name}\""))
                .fix(format!("use one of {}", Self::PRESETS.join(", ")))),
        }
    }

    /// A small model of our own: 96 x 96 pixels in 12 x 12 codes of 16 bits.
    fn nano() -> Self {
        Self {
            decoder: DecoderConfig {
                kind: DecoderKind::Qwen2,
                hidden_size: 256,
                intermediate_size: 704,
                num_hidden_layers: 8,
                num_attention_heads: 4,
                num_key_value_heads: 2,
                head_dim: None,
                vocab_size: 1024,
                norm_eps: 1e-6,
                rope_theta: 1e4,
                partial_rotary_factor: 1.0,
                tie_word_embeddings: true,
            },
            vision: Some(VisionConfig {
                hidden_size: 192,
                intermediate_size: 512,
                num_hidden_layers: 6,
                num_attention_heads: 3,
                image_size: None,
                num_patches: Some(144),
                patch_size: 8,
                ..VisionConfig::default()
            }),
            image_tokenizer: TokenizerConfig {
                ch: 16,
                encoder_ch_mult: vec![1, 4, 8, 8],
                encoder_num_res_blocks: vec![1, 1, 2, 2],
                decoder_ch_mult: vec![2, 4, 8, 8],
                decoder_num_res_blocks: vec![1, 2, 2, 2],
                norm_groups: 8,
                encode_cells: true,
                z_channels: 16,
                ..TokenizerConfig::default()
            },
            text_vocab: 1024,
            image_size: 96,
            code_groups: vec![8, 8],
            special_tokens: SpecialTokens::FIRST,
            sees_codes: false,
        }
    }

    /// UniGen (arXiv 2505.14682): Qwen2.5-1.5B, SigLIP so400m patch14, 256 x 256 pixels.
    fn unigen() -> Self {
        Self {
            decoder: DecoderConfig {
                kind: DecoderKind::Qwen2,
                hidden_size: 1536,
                intermediate_size: 8960,
                num_hidden_layers: 28,
                num_attention_heads: 12,
                num_key_value_heads: 2,
                head_dim: None,
                vocab_size: 159_867,
                norm_eps: 1e-6,
                rope_theta: 1e6,
                partial_rotary_factor: 1.0,
                tie_word_embeddings: true,
            },
            vision: Some(VisionConfig {
                hidden_size: 1152,
                intermediate_size: 4304,
                num_hidden_layers: 27,
                num_attention_heads: 16,
                image_size: Some(384),
                patch_size: 14,
                ..VisionConfig::default()
            }),
            image_tokenizer: TokenizerConfig::default(),
            text_vocab: 151_674,
            image_size: 256,
            code_groups: vec![13],
            special_tokens: SpecialTokens::UNIGEN,
            sees_codes: false,
        }
    }

    /// UniGen-1.5 (arXiv 2511.14760): Qwen2.5-7B, SigLIP2 so400m patch16 NaFlex, 384 x 384 pixels.
    fn unigen15() -> Self {
        let small = Self::unigen();
        Self {
            decoder: DecoderConfig {
                hidden_size: 3584,
                intermediate_size: 18_944,
                num_attention_heads: 28,
                num_key_value_heads: 4,
                tie_word_embeddings: false,
                ..small.decoder
            },
            vision: small.vision.map(|vision| VisionConfig {
                image_size: None,
                num_patches: Some(256),
                patch_size: 16,
                ..vision
            }),
            image_size: 384,
            ..small
        }
    }

    /// Show-o (arXiv 2408.12528): Phi-1.5, the image tokenizer of UniGen, no tower.
    fn showo(image_size: usize) -> Self {
        let unigen = Self::unigen();
        Self {
            decoder: DecoderConfig {
                kind: DecoderKind::Phi,
                hidden_size: 2048,
                intermediate_size: 8192,
                num_hidden_layers: 24,
                num_attention_heads: 32,
                num_key_value_heads: 32,
                head_dim: None,
                vocab_size: 58_498,
                norm_eps: 1e-5,
                rope_theta: 1e4,
                partial_rotary_factor: 0.5,
                tie_word_embeddings: false,
            },
            vision: None,
            text_vocab: 50_305,
            image_size,
            special_tokens: SpecialTokens::showo(50_295, 50_256),
            sees_codes: true,
            ..unigen
        }
    }
}
