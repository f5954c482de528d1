//! Sizes of models: presets, published Hugging Face config.json in, ours out.

use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomic;
pub use crate::image_tokenizer::TokenizerConfig;
pub use crate::text::SpecialTokens;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The largest size of anything: a width, a vocabulary.
const MAX_SIZE: usize = 1 << 24;
/// The largest number of layers.
const MAX_LAYERS: usize = 1 << 12;
/// The most parameters that a part may have: 2^40, a thousand billion.
const MAX_PARAMETERS: u128 = 1 << 40;

/// The most codes of an image: 1024 x 1024 pixels at 16 pixels a code.
const MAX_IMAGE_TOKENS: usize = 4096;

/// A configuration that lives in a JSON file and knows whether it can work.
pub trait Config: Serialize + DeserializeOwned {
    /// Fails, naming the key, where no model has these sizes.
    fn validate(&self) -> Result<()>;

    /// Parses and validates; `place` names the source in errors.
    fn from_json(json: &str, place: &str) -> Result<Self> {
        let error = |e| {
            Error::new(ErrorKind::Config, place, format!("not a configuration: {e}"))
                .fix("take the file that belongs to the weights")
        };
        let value: Value = serde_json::from_str(json).map_err(error)?;
        let config: Self = serde_json::from_value(Self::part(value)).map_err(error)?;
        config.validate().map_err(|e| Error { place: format!("{place}: {}", e.place), ..e })?;
        Ok(config)
    }

    /// The part of a JSON document that is about `Self`.
    fn part(document: Value) -> Value {
        document
    }

    /// Reads and validates the file at `path`, or `config.json` in the folder at `path`.
    fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join("config.json") } else { path.to_owned() };
        let place = path.display().to_string();
        let json = std::fs::read_to_string(&path).map_err(|e| {
            Error::new(ErrorKind::Io, &place, format!("cannot read it: {e}")).fix("check the path")
        })?;
        Self::from_json(&json, &place)
    }

    /// Writes the file at `path`, whole or not at all.
    fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(ErrorKind::Config, path.display(), e))?;
        write_atomic(path, |out| writeln!(out, "{json}"))
    }
}

/// Sizes of a Qwen2 decoder, in the names of its published config.
///
/// Reads the published config.json, with `rope_theta` at the top or in `rope_parameters`; a decoder that is not
/// plain Qwen2 (scaled positions, sliding windows, another activation) is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PublishedDecoder")]
pub struct DecoderConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward network.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; a divisor of `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head, where it is not `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Added to the mean square in every normalisation.
    pub rms_norm_eps: f64,
    /// Base of the rotations' wavelengths.
    pub rope_theta: f64,
    /// Whether the head is the token table.
    pub tie_word_embeddings: bool,
}

/// What a published Qwen2 config.json says; what it leaves out has transformers' defaults.
#[derive(Deserialize)]
struct PublishedDecoder {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl TryFrom<PublishedDecoder> for DecoderConfig {
    type Error = String;

    fn try_from(p: PublishedDecoder) -> std::result::Result<Self, String> {
        let ropes = [&p.rope_parameters, &p.rope_scaling];
        if let Some(kind) =
            ropes.into_iter().flatten().filter_map(|r| r.rope_type.as_ref()).find(|k| *k != "default")
        {
            return Err(format!("rope type {kind:?} is not supported, only \"default\""));
        }
        if p.use_sliding_window == Some(true) {
            return Err("use_sliding_window is not supported".into());
        }
        if let Some(act) = p.hidden_act.filter(|act| act != "silu") {
            return Err(format!("hidden_act {act:?} is not supported, only \"silu\""));
        }
        Ok(Self {
            hidden_size: p.hidden_size,
            intermediate_size: p.intermediate_size,
            num_hidden_layers: p.num_hidden_layers,
            num_attention_heads: p.num_attention_heads,
            num_key_value_heads: p.num_key_value_heads.unwrap_or(p.num_attention_heads),
            head_dim: p.head_dim,
            vocab_size: p.vocab_size,
            rms_norm_eps: p.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: p.rope_theta.or(p.rope_parameters.and_then(|r| r.rope_theta)).unwrap_or(1e4),
            tie_word_embeddings: p.tie_word_embeddings.unwrap_or(false),
        })
    }
}

impl DecoderConfig {
    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

impl Config for DecoderConfig {
    fn validate(&self) -> Result<()> {
        size("hidden_size", self.hidden_size, MAX_SIZE)?;
        size("intermediate_size", self.intermediate_size, MAX_SIZE)?;
        size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        size("vocab_size", self.vocab_size, MAX_SIZE)?;
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        size("num_attention_heads", heads, self.hidden_size)?;
        size("num_key_value_heads", kv_heads, heads)?;
        if self.head_dim.is_none() {
            divides("num_attention_heads", heads, "hidden_size", self.hidden_size)?;
        }
        divides("num_key_value_heads", kv_heads, "num_attention_heads", heads)?;
        size("head_dim", self.head_dim(), MAX_SIZE)?;
        if !self.head_dim().is_multiple_of(2) {
            return Err(wrong("head_dim", format!("is {}, which is odd", self.head_dim()))
                .fix("rotary positions turn pairs: choose an even head width"));
        }
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        let [width, hidden, layers, vocabulary] =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers, self.vocab_size]
                .map(|x| x as u128);
        let attention = 2 * (heads + kv_heads) as u128 * self.head_dim() as u128;
        fits(layers * width * (attention + 3 * hidden) + 2 * vocabulary * width)
    }
}

/// Sizes of a SigLIP or SigLIP2 vision tower, in the names of its published config.
///
/// Reads the published config.json of the tower, of the whole model with its `vision_config`, or ours with its `vision`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "PublishedVision")]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward network.
    pub intermediate_size: usize,
    /// Layers of the checkpoint; UniGen reads the output of the last but one.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Channels of the pixels.
    pub num_channels: usize,
    /// Pixels a side, of a tower with a fixed resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Entries of the position table, a square number, of a tower for any resolution (NaFlex).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_patches: Option<usize>,
    /// Pixels a patch, along each side.
    pub patch_size: usize,
    /// Added to the variance in every normalisation.
    pub layer_norm_eps: f64,
    /// `gelu_pytorch_tanh` or `gelu`.
    pub hidden_act: String,
}

/// What a published SigLIP config.json says.
#[derive(Deserialize)]
struct PublishedVision {
    model_type: Option<String>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_channels: Option<usize>,
    image_size: Option<usize>,
    num_patches: Option<usize>,
    patch_size: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
}

impl From<PublishedVision> for VisionConfig {
    /// What is left out has transformers' defaults (SigLIP base).
    fn from(p: PublishedVision) -> Self {
        let naflex = p.num_patches.is_some() || p.model_type.is_some_and(|kind| kind.starts_with("siglip2"));
        Self {
            hidden_size: p.hidden_size.unwrap_or(768),
            intermediate_size: p.intermediate_size.unwrap_or(3072),
            num_hidden_layers: p.num_hidden_layers.unwrap_or(12),
            num_attention_heads: p.num_attention_heads.unwrap_or(12),
            num_channels: p.num_channels.unwrap_or(3),
            image_size: (!naflex).then(|| p.image_size.unwrap_or(224)),
            num_patches: naflex.then(|| p.num_patches.unwrap_or(256)),
            patch_size: p.patch_size.unwrap_or(16),
            layer_norm_eps: p.layer_norm_eps.unwrap_or(1e-6),
            hidden_act: p.hidden_act.unwrap_or_else(|| "gelu_pytorch_tanh".into()),
        }
    }
}

impl VisionConfig {
    /// Whether it takes images of any resolution and aspect ratio.
    pub fn naflex(&self) -> bool {
        self.num_patches.is_some()
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Entries along a side of the square position table.
    pub fn position_grid(&self) -> usize {
        match (self.num_patches, self.image_size) {
            (Some(entries), _) => entries.isqrt(),
            (None, Some(image)) => image / self.patch_size.max(1),
            (None, None) => 0,
        }
    }

    /// The most features of a picture: as many as there are positions. Published NaFlex towers take 256.
    pub fn max_tokens(&self) -> usize {
        self.position_grid().pow(2)
    }

    /// Features of a square image of `image_size` pixels a side; a tower with a fixed resolution scales it.
    pub fn tokens(&self, image_size: usize) -> usize {
        let side =
            if self.naflex() { image_size.div_ceil(self.patch_size.max(1)) } else { self.position_grid() };
        side * side
    }
}

impl Config for VisionConfig {
    fn validate(&self) -> Result<()> {
        size("hidden_size", self.hidden_size, MAX_SIZE)?;
        size("intermediate_size", self.intermediate_size, MAX_SIZE)?;
        size("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        size("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        divides("num_attention_heads", self.num_attention_heads, "hidden_size", self.hidden_size)?;
        size("num_channels", self.num_channels, 1 << 10)?;
        size("patch_size", self.patch_size, 1 << 12)?;
        positive("layer_norm_eps", self.layer_norm_eps)?;
        match (self.image_size, self.num_patches) {
            (Some(image), None) => {
                size("image_size", image, 1 << 14)?;
                if image < self.patch_size {
                    return Err(wrong(
                        "image_size",
                        format!("is {image}, less than one patch of {}", self.patch_size),
                    )
                    .fix("make it a multiple of patch_size"));
                }
            }
            (None, Some(entries)) => {
                size("num_patches", entries, MAX_SIZE)?;
                if entries.isqrt().pow(2) != entries {
                    return Err(wrong("num_patches", format!("is {entries}, which is not a square number"))
                        .fix("the position table is square: choose 256, say"));
                }
            }
            _ => {
                return Err(wrong("image_size", "needs either image_size or num_patches")
                    .fix("give image_size for a fixed resolution, num_patches for any (NaFlex)"));
            }
        }
        if !["gelu_pytorch_tanh", "gelu"].contains(&self.hidden_act.as_str()) {
            return Err(
                wrong("hidden_act", format!("is {:?}", self.hidden_act)).fix("use gelu_pytorch_tanh or gelu")
            );
        }
        let [width, hidden, layers] =
            [self.hidden_size, self.intermediate_size, self.num_hidden_layers].map(|x| x as u128);
        let patch = self.num_channels as u128 * (self.patch_size as u128).pow(2);
        fits(
            layers * width * (4 * width + 2 * hidden)
                + width * (patch + (self.position_grid() as u128).pow(2)),
        )
    }

    fn part(mut document: Value) -> Value {
        let key = ["vision_config", "vision"].into_iter().find(|key| document.get(key).is_some());
        match key.and_then(|key| document.get_mut(key)) {
            Some(vision) => vision.take(),
            None => document,
        }
    }
}

impl Config for TokenizerConfig {
    fn validate(&self) -> Result<()> {
        TokenizerConfig::validate(self)
    }

    fn part(mut document: Value) -> Value {
        match document.get_mut("image_tokenizer") {
            Some(tokenizer) => tokenizer.take(),
            None => document,
        }
    }
}

impl SpecialTokens {
    /// What UniGen adds to Qwen2.5's vocabulary (reference code, `add_tokens`).
    pub const UNIGEN: Self = Self {
        endoftext: 151_643,
        im_start: 151_644,
        im_end: 151_645,
        soi: 151_665,
        eoi: 151_666,
        t2i: 151_669,
        ti2i: 151_672,
        mmu: 151_670,
    };

    /// The first ids of a vocabulary of our own, in this struct's order.
    pub const FIRST: Self =
        Self { endoftext: 0, im_start: 1, im_end: 2, soi: 3, eoi: 4, t2i: 5, ti2i: 6, mmu: 7 };

    /// Keys and ids.
    pub fn named(&self) -> [(&'static str, u32); 8] {
        [
            ("endoftext", self.endoftext),
            ("im_start", self.im_start),
            ("im_end", self.im_end),
            ("soi", self.soi),
            ("eoi", self.eoi),
            ("t2i", self.t2i),
            ("ti2i", self.ti2i),
            ("mmu", self.mmu),
        ]
    }
}

/// A whole model: our own config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The language model.
    pub decoder: DecoderConfig,
    /// The understanding encoder, where the model has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionConfig>,
    /// The image tokenizer.
    pub image_tokenizer: TokenizerConfig,
    /// Text and special tokens.
    pub text_vocab: usize,
    /// Pixels a side of the images it makes.
    pub image_size: usize,
    /// Bits of each group of a code. One group: codes are rows of the decoder's own vocabulary, after the text
    /// and before the mask. Several: the vocabulary is text only, and codes go in and out as bits.
    pub code_groups: Vec<usize>,
    /// Tokens that give a sequence its shape.
    pub special_tokens: SpecialTokens,
}

impl ModelConfig {
    /// Names of the presets.
    pub const PRESETS: [&str; 3] = ["nano", "unigen-1.5b", "unigen15-7b"];

    /// The preset `name`.
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "nano" => Ok(Self::nano()),
            "unigen-1.5b" => Ok(Self::unigen()),
            "unigen15-7b" => Ok(Self::unigen15()),
            _ => Err(Error::new(ErrorKind::Config, "preset", format!("no model is called {name:?}"))
                .fix(format!("use one of {}", Self::PRESETS.join(", ")))),
        }
    }

    /// Stickers of 96 x 96 pixels in 12 x 12 codes of 16 bits.
    fn nano() -> Self {
        Self {
            decoder: DecoderConfig {
                hidden_size: 256,
                intermediate_size: 704,
                num_hidden_layers: 8,
                num_attention_heads: 4,
                num_key_value_heads: 2,
                head_dim: None,
                vocab_size: 1024,
                rms_norm_eps: 1e-6,
                rope_theta: 1e4,
                tie_word_embeddings: true,
            },
            vision: Some(VisionConfig {
                hidden_size: 192,
                intermediate_size: 512,
                num_hidden_layers: 6,
                num_attention_heads: 3,
                num_channels: 3,
                image_size: None,
                num_patches: Some(144),
                patch_size: 8,
                layer_norm_eps: 1e-6,
                hidden_act: "gelu_pytorch_tanh".into(),
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
                code_groups: vec![8, 8],
                ..TokenizerConfig::default()
            },
            text_vocab: 1024,
            image_size: 96,
            code_groups: vec![8, 8],
            special_tokens: SpecialTokens::FIRST,
        }
    }

    /// UniGen (arXiv 2505.14682): Qwen2.5-1.5B, SigLIP so400m patch14, 256 x 256 pixels.
    fn unigen() -> Self {
        Self {
            decoder: DecoderConfig {
                hidden_size: 1536,
                intermediate_size: 8960,
                num_hidden_layers: 28,
                num_attention_heads: 12,
                num_key_value_heads: 2,
                head_dim: None,
                vocab_size: 159_867,
                rms_norm_eps: 1e-6,
                rope_theta: 1e6,
                tie_word_embeddings: true,
            },
            vision: Some(VisionConfig {
                hidden_size: 1152,
                intermediate_size: 4304,
                num_hidden_layers: 27,
                num_attention_heads: 16,
                num_channels: 3,
                image_size: Some(384),
                num_patches: None,
                patch_size: 14,
                layer_norm_eps: 1e-6,
                hidden_act: "gelu_pytorch_tanh".into(),
            }),
            image_tokenizer: TokenizerConfig::default(),
            text_vocab: 151_674,
            image_size: 256,
            code_groups: vec![13],
            special_tokens: SpecialTokens::UNIGEN,
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

    /// Bits of a code.
    pub fn code_bits(&self) -> usize {
        self.code_groups.iter().sum()
    }

    /// Codes: 2 to the number of their bits.
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

    /// The token that stands for a masked code: the vocabulary's last (with one group of bits).
    pub fn mask_token_id(&self) -> usize {
        self.decoder.vocab_size.saturating_sub(1)
    }

    /// Codes along a side of an image.
    pub fn grid(&self) -> usize {
        self.image_size >> self.image_tokenizer.encoder_ch_mult.len().saturating_sub(1)
    }

    /// Codes of an image.
    pub fn image_tokens(&self) -> usize {
        self.grid().pow(2)
    }
}

impl Config for ModelConfig {
    fn validate(&self) -> Result<()> {
        let within = |part: &'static str| move |e: Error| Error { place: format!("{part}.{}", e.place), ..e };
        self.decoder.validate().map_err(within("decoder"))?;
        if let Some(vision) = &self.vision {
            vision.validate().map_err(within("vision"))?;
        }
        self.image_tokenizer.validate().map_err(within("image_tokenizer"))?;
        size("text_vocab", self.text_vocab, MAX_SIZE)?;
        size("image_size", self.image_size, 1 << 14)?;
        let pixels = 1 << (self.image_tokenizer.encoder_ch_mult.len() - 1);
        if !self.image_size.is_multiple_of(pixels) {
            return Err(wrong("image_size", format!("is {}, not a multiple of {pixels}", self.image_size))
                .fix("the image tokenizer halves images once a level after the first"));
        }
        if self.image_tokens() > MAX_IMAGE_TOKENS {
            let what = format!("is {}, which makes {} codes an image", self.image_size, self.image_tokens());
            return Err(
                wrong("image_size", what).fix(format!("choose a size that makes at most {MAX_IMAGE_TOKENS}"))
            );
        }
        size("code_groups", self.code_groups.len(), 64)?;
        for &bits in &self.code_groups {
            size("code_groups", bits, 20)?;
        }
        if self.code_bits() != self.image_tokenizer.z_channels {
            return Err(wrong(
                "code_groups",
                format!(
                    "is {:?}, {} bits, but the image tokenizer's z_channels is {}",
                    self.code_groups,
                    self.code_bits(),
                    self.image_tokenizer.z_channels
                ),
            )
            .fix("the groups share out the bits of a code"));
        }
        let codes = if self.bit_groups() { 0 } else { self.codebook_size() + 1 };
        if self.decoder.vocab_size != self.text_vocab + codes {
            return Err(wrong(
                "decoder.vocab_size",
                format!("is {}, wanted {} text + {codes} image", self.decoder.vocab_size, self.text_vocab),
            )
            .fix("one group of bits adds its codes and a mask to the vocabulary, several add nothing"));
        }
        let special = self.special_tokens.named();
        for (i, &(name, id)) in special.iter().enumerate() {
            let place = format!("special_tokens.{name}");
            if id as usize >= self.text_vocab {
                let what = format!("is {id}, past the {} text tokens", self.text_vocab);
                return Err(wrong(place, what).fix("take the ids from tokenizer.json"));
            }
            if let Some((other, _)) = special[..i].iter().find(|(_, other)| *other == id) {
                return Err(
                    wrong(place, format!("is {id}, as {other} is")).fix("take the ids from tokenizer.json")
                );
            }
        }
        Ok(())
    }
}

/// How images are drawn unless the user says otherwise: a model's generation.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// Classifier-free guidance: `uncond + guidance_scale (cond - uncond)`, 0 to 100; 1 is none.
    pub guidance_scale: f32,
    /// `s_T` of editing, 0 to 100: `none + s_I (image - none) + s_T (full - image)`. UniGen-1.5 edits with 3.
    pub edit_guidance_scale: f32,
    /// `s_I` of editing, 0 to 100. UniGen-1.5 edits with 1.5.
    pub image_guidance_scale: f32,
    /// Decoding steps, 1 to the codes of an image.
    pub steps: usize,
    /// Decoding steps of an edit, which takes most codes from the picture before: fewer do.
    pub edit_steps: usize,
    /// Noise on the choice of codes that are kept at first, 0 to 100; it decays to none.
    pub temperature: f32,
    /// The longest prompt, in tokens; UniGen trains with 128.
    pub max_prompt_tokens: usize,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            guidance_scale: 4.0,
            edit_guidance_scale: 3.0,
            image_guidance_scale: 1.5,
            steps: 12,
            edit_steps: 12,
            temperature: 3.0,
            max_prompt_tokens: 128,
        }
    }
}

impl GenerationConfig {
    /// The defaults for images of `tokens` codes, which may be fewer than the usual steps.
    pub fn of(tokens: usize) -> Self {
        let usual = Self::default();
        Self { steps: usual.steps.min(tokens), edit_steps: usual.edit_steps.min(tokens), ..usual }
    }

    /// [`validate`](Config::validate), and fails where there are more steps than the `tokens` codes of an image.
    pub fn check(&self, tokens: usize) -> Result<()> {
        self.validate()?;
        size("steps", self.steps, tokens)?;
        size("edit_steps", self.edit_steps, tokens)
    }
}

impl Config for GenerationConfig {
    fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("guidance_scale", self.guidance_scale),
            ("edit_guidance_scale", self.edit_guidance_scale),
            ("image_guidance_scale", self.image_guidance_scale),
            ("temperature", self.temperature),
        ] {
            if !(0.0..=100.0).contains(&value) {
                return Err(wrong(key, format!("is {value}")).fix("choose 0 to 100"));
            }
        }
        size("steps", self.steps, MAX_SIZE)?;
        size("edit_steps", self.edit_steps, MAX_SIZE)?;
        size("max_prompt_tokens", self.max_prompt_tokens, 1 << 12)
    }
}

fn wrong(key: impl std::fmt::Display, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Config, key, what)
}

/// A size from 1 to `max`.
fn size(key: &str, value: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(wrong(key, format!("is {value}")).fix(format!("choose 1 to {max}")))
}

/// `divisor` (not zero) divides `value`.
fn divides(key: &str, divisor: usize, of: &str, value: usize) -> Result<()> {
    if value.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(wrong(key, format!("is {divisor}, which does not divide {of} {value}"))
        .fix(format!("choose a divisor of {of}")))
}

fn positive(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(wrong(key, format!("is {value}")).fix("choose a positive number"))
}

fn fits(parameters: u128) -> Result<()> {
    if parameters <= MAX_PARAMETERS {
        return Ok(());
    }
    Err(wrong("sizes", format!("make {parameters} parameters")).fix("choose smaller sizes"))
}
