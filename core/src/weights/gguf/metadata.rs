//! What a GGUF file says about its model: sizes of the decoder, and the text tokenizer.

use super::values::{Reader, Value};
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;

/// The key-value pairs of a GGUF file.
#[derive(Clone, Default)]
pub struct Gguf {
    pub(super) place: String,
    pub(super) values: BTreeMap<String, Value>,
    /// `[rows, columns]` of the token table.
    pub(super) table: Vec<usize>,
    /// Whether the head is the token table.
    pub(in crate::weights) tied: bool,
    /// Whether positions are scaled by a tensor of factors.
    pub(super) scaled: bool,
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with the keys {:?}", self.place, self.values.keys())
    }
}

impl Gguf {
    /// `general.architecture`: `qwen2`, `llama`, ..
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// The whole number `key`, where there is one.
    pub fn int(&self, key: &str) -> Option<i128> {
        match self.values.get(key)? {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number `key`, where there is one.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// The text `key`, where there is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of the array `key`, where there is one.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        let Value::Array(8, count, bytes) = self.values.get(key)? else { return None };
        let mut reader = Reader { place: &self.place, bytes, at: 0 };
        (0..*count).map(|_| reader.text().ok()).collect()
    }

    /// The numbers of the array `key`, of 32 bits each, where there is one.
    pub fn ints(&self, key: &str) -> Option<Vec<i64>> {
        let Value::Array(kind @ (4 | 5), _, bytes) = self.values.get(key)? else { return None };
        let words = bytes.as_chunks().0.iter();
        Some(match kind {
            4 => words.map(|&word| u32::from_le_bytes(word).into()).collect(),
            _ => words.map(|&word| i32::from_le_bytes(word).into()).collect(),
        })
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Weights, &self.place, what)
    }

    /// Sizes of the decoder, as Hugging Face's config.json of a Qwen2 or Llama has them.
    ///
    /// # Errors
    /// Another architecture, a missing size, scaled positions.
    pub fn decoder_config(&self) -> Result<Json> {
        let architecture = self.architecture();
        if !["qwen2", "llama"].contains(&architecture) {
            let what = format!("holds a model of the architecture {architecture:?}");
            return Err(self.error(what).fix("take a Qwen2 or a Llama"));
        }
        let key = |key: &str| format!("{architecture}.{key}");
        let size = |name: &str| {
            let name = key(name);
            self.int(&name).ok_or_else(|| self.error(format!("does not say its {name}")))
        };
        let scaling = self.text(&key("rope.scaling.type")).filter(|&kind| kind != "none");
        if scaling.is_some() || self.scaled {
            let what = format!("scales its positions ({})", scaling.unwrap_or("rope_freqs.weight"));
            return Err(self.error(what).fix("take a model without scaled positions"));
        }
        let heads = size("attention.head_count")?;
        let &[vocabulary, _] = self.table.as_slice() else {
            return Err(self.error("has no token table, token_embd.weight"));
        };
        let head = self.int(&key("attention.key_length"));
        let mut config = json!({
            "model_type": architecture,
            "hidden_size": number(size("embedding_length")?),
            "intermediate_size": number(size("feed_forward_length")?),
            "num_hidden_layers": number(size("block_count")?),
            "num_attention_heads": number(heads),
            "num_key_value_heads": number(self.int(&key("attention.head_count_kv")).unwrap_or(heads)),
            "vocab_size": vocabulary,
            "max_position_embeddings": number(size("context_length")?),
            "rms_norm_eps": self.float(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-6),
            "rope_theta": self.float(&key("rope.freq_base")).unwrap_or(1e4),
            "tie_word_embeddings": self.tied,
            "hidden_act": "silu",
        });
        if let (Some(head), Some(config)) = (head, config.as_object_mut()) {
            config.insert("head_dim".into(), number(head));
        }
        Ok(config)
    }

    /// The tokenizer, as Hugging Face's tokenizer.json has it.
    ///
    /// # Errors
    /// No tokenizer, one that is not byte-level BPE, or one whose way of splitting text into words is not known.
    pub fn tokenizer_json(&self) -> Result<Json> {
        let own = "take the tokenizer.json of the model that it was made from";
        let missing = |what: &str| self.error(format!("has no {what} of a tokenizer")).fix(own);
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => {}
            Some(other) => {
                let what = format!("has a tokenizer of the kind {other:?}, which is not byte-level BPE");
                return Err(self.error(what).fix(own));
            }
            None => return Err(missing("kind")),
        }
        let tokens = self.texts("tokenizer.ggml.tokens").ok_or_else(|| missing("tokens"))?;
        let merges = self.texts("tokenizer.ggml.merges").ok_or_else(|| missing("merges"))?;
        let types = self.ints("tokenizer.ggml.token_type").unwrap_or_default();
        let words = self.text("tokenizer.ggml.pre").unwrap_or("default");
        let (normalizer, pre_tokenizer, ignore_merges) = words_of(words).ok_or_else(|| {
            self.error(format!("its tokenizer splits text in the way {words:?}, which is not known")).fix(own)
        })?;
        let added: Vec<Json> = (tokens.iter().zip(&types).enumerate())
            .filter(|(_, (_, kind))| [CONTROL, USER_DEFINED].contains(kind))
            .map(|(id, (token, &kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": kind == CONTROL,
                })
            })
            .collect();
        // Rows of the token table that no token has are listed, too.
        let unused = |id: usize| types.get(id) == Some(&UNUSED);
        let tokens = tokens.into_iter().enumerate().filter(|(id, _)| !unused(*id));
        let tokens: Vec<_> = tokens.map(|(id, token)| (token, Json::from(id))).collect();
        let count = tokens.len();
        let vocabulary: serde_json::Map<String, Json> = tokens.into_iter().collect();
        if vocabulary.len() != count {
            return Err(self.error("its tokenizer has one token twice").fix(own));
        }
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        });
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": ignore_merges, "vocab": vocabulary, "merges": merges,
            },
        }))
    }
}

/// A size for JSON.
fn number(value: i128) -> Json {
    i64::try_from(value).map_or(Json::Null, Json::from)
}

/// Token types of llama.cpp (`llama_token_type`) that are not text.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
/// The token type of a row without a token.
const UNUSED: i64 = 5;

/// Normalizer, pre-tokenizer and whether whole words skip the merges, by the name that llama.cpp has for them.
fn words_of(name: &str) -> Option<(Json, Json, bool)> {
    let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let split = |pattern: &str| {
        let split = json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
        });
        json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
    };
    let contractions = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    let rest = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    Some(match name {
        "default" | "gpt-2" => (Json::Null, byte_level(true), false),
        "qwen2" => {
            let pattern = format!(r"{contractions}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{rest}");
            (json!({"type": "NFC"}), split(&pattern), false)
        }
        "llama-bpe" | "llama3" => {
            let pattern = format!(r"{contractions}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{rest}");
            (Json::Null, split(&pattern), true)
        }
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            (Json::Null, json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]}), false)
        }
        _ => return None,
    })
}
