//! GGUF, the files of llama.cpp (`docs/gguf.md` in ggml): key-value pairs, then names, shapes and places of tensors, then
//! the tensors.

use super::checkpoint::{Contents, Listed};
use super::quantized::BlockFormat;
use super::{Checkpoint, ElementType, StoredTensor, Tensors};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// The most dimensions that GGML knows.
const MAX_DIMENSIONS: u32 = 4;
/// The largest alignment of tensors that is believed.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// The fewest bytes of a key with its value, and of a tensor's description: what bounds their number in a file.
const LEAST_PAIR: usize = 13;
const LEAST_INFO: usize = 24;

/// The key-value pairs of a GGUF file.
#[derive(Clone, Default)]
pub struct Gguf {
    place: String,
    values: BTreeMap<String, Value>,
    /// `[rows, columns]` of the token table.
    table: Vec<usize>,
    /// Whether the head is the token table.
    tied: bool,
    /// Whether positions are scaled by a tensor of factors.
    scaled: bool,
}

#[derive(Clone)]
enum Value {
    /// A whole number, or 0 or 1 for a truth value.
    Int(i128),
    Float(f64),
    Text(String),
    /// Elements of the type, as many, and their bytes in the file.
    Array(u32, usize, Bytes),
}

/// What the GGUF file with these bytes lists.
pub(super) fn contents(place: &str, bytes: &Bytes) -> Result<Contents> {
    let mut reader = Reader { place, bytes, at: 4 };
    let version = reader.u32()?;
    if version.swap_bytes() < 16 {
        return Err(reader.broken("a big-endian GGUF file").fix("take the little-endian one"));
    }
    if !(2..=3).contains(&version) {
        let what = format!("a GGUF file of version {version}, but 2 and 3 are known");
        return Err(reader.broken(what).fix("convert it with the llama.cpp of today"));
    }
    let tensors = reader.count(LEAST_INFO)?;
    let pairs = reader.count(LEAST_PAIR)?;
    let mut values = BTreeMap::new();
    for _ in 0..pairs {
        let key = reader.text()?;
        let kind = reader.u32()?;
        let value = reader.value(kind)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(reader.broken(format!("the key {key} is there twice")));
        }
    }
    let mut gguf = Gguf { place: place.into(), values, ..Gguf::default() };
    if let Some(parts) = gguf.int("split.count").filter(|&parts| parts > 1) {
        let what = format!("one of {parts} parts of a model");
        return Err(reader.broken(what).fix("merge them with `llama-gguf-split --merge`"));
    }
    let mut infos = Vec::with_capacity(tensors);
    for _ in 0..tensors {
        infos.push(reader.info()?);
    }
    let alignment = gguf.int("general.alignment").unwrap_or(32);
    let alignment = u64::try_from(alignment).ok().filter(|n| n.is_power_of_two() && *n <= MAX_ALIGNMENT);
    let alignment = alignment.ok_or_else(|| reader.broken("general.alignment is no power of two"))?;
    let data = (reader.at as u64).next_multiple_of(alignment);
    let tensors =
        infos.into_iter().map(|info| info.listed(&reader, data, alignment)).collect::<Result<Vec<_>>>()?;
    apart(&reader, &tensors)?;
    let has = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    gguf.table = has("token_embd.weight").map(|table| table.shape.clone()).unwrap_or_default();
    gguf.tied = has("output.weight").is_none();
    gguf.scaled = has("rope_freqs.weight").is_some();
    Ok(Contents { tensors, metadata: HashMap::new(), gguf: Some(gguf) })
}

/// Fails where two tensors share bytes or a name.
fn apart(reader: &Reader<'_>, tensors: &[Listed]) -> Result<()> {
    let mut ranges: Vec<_> =
        tensors.iter().filter_map(|tensor| Some((tensor.data.as_ref().ok()?, &tensor.name))).collect();
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(reader.broken(format!("{} and {} share bytes", pair[0].1, pair[1].1)));
    }
    let mut names = HashSet::new();
    match tensors.iter().find(|tensor| !names.insert(&tensor.name)) {
        Some(twice) => Err(reader.broken(format!("{} is there twice", twice.name))),
        None => Ok(()),
    }
}

/// Name, dimensions, type and place of a tensor, as the file has them.
struct Info {
    name: String,
    /// Slowest first.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Info {
    fn listed(self, reader: &Reader<'_>, data: u64, alignment: u64) -> Result<Listed> {
        let Self { name, shape, kind, offset } = self;
        let element_type = element_type(kind);
        let broken = |what: String| reader.broken(format!("{name}: {what}"));
        let data = if let ElementType::Other(kind) = &element_type {
            let place = format!("{}: {name}", reader.place);
            Err(Error::new(ErrorKind::Weights, place, format!("has type {kind}, which is not read"))
                .fix("take a file in F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K"))
        } else {
            let length = element_type
                .bytes(&shape)
                .ok_or_else(|| broken(format!("{shape:?} is no shape in {element_type}")))?;
            if !offset.is_multiple_of(alignment) {
                return Err(broken(format!("begins at {offset}, which is no multiple of {alignment}")));
            }
            let start = data.checked_add(offset).and_then(|start| usize::try_from(start).ok());
            let range = start.and_then(|start| Some(start..start.checked_add(length)?));
            let size = reader.bytes.len();
            Ok(range.filter(|range| range.end <= size).ok_or_else(|| {
                reader
                    .broken(format!("truncated: {size} bytes, but {name} lies beyond them"))
                    .fix("download the file again")
            })?)
        };
        Ok(Listed { name, element_type, shape, data })
    }
}

/// GGML's types by their number (`ggml.h`, `ggml_type`).
fn element_type(kind: u32) -> ElementType {
    let other = |name: &str| ElementType::Other(name.into());
    match kind {
        0 => ElementType::F32,
        1 => ElementType::F16,
        2 => ElementType::Blocks(BlockFormat::Q4_0),
        3 => ElementType::Blocks(BlockFormat::Q4_1),
        8 => ElementType::Blocks(BlockFormat::Q8_0),
        12 => ElementType::Blocks(BlockFormat::Q4K),
        14 => ElementType::Blocks(BlockFormat::Q6K),
        26 => ElementType::I32,
        27 => ElementType::I64,
        30 => ElementType::Bf16,
        6 => other("Q5_0"),
        7 => other("Q5_1"),
        9 => other("Q8_1"),
        10 => other("Q2_K"),
        11 => other("Q3_K"),
        13 => other("Q5_K"),
        15 => other("Q8_K"),
        16 => other("IQ2_XXS"),
        17 => other("IQ2_XS"),
        18 => other("IQ3_XXS"),
        19 => other("IQ1_S"),
        20 => other("IQ4_NL"),
        21 => other("IQ3_S"),
        22 => other("IQ2_S"),
        23 => other("IQ4_XS"),
        24 => other("I8"),
        25 => other("I16"),
        28 => other("F64"),
        29 => other("IQ1_M"),
        34 => other("TQ1_0"),
        35 => other("TQ2_0"),
        39 => other("MXFP4"),
        kind => ElementType::Other(format!("number {kind} of GGML")),
    }
}

/// Little-endian fields, one after the other.
struct Reader<'a> {
    place: &'a str,
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn broken(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Weights, self.place, what).fix("download or convert the file again")
    }

    fn take(&mut self, count: usize) -> Result<Bytes> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            self.broken(format!("truncated: {} bytes end within the header", self.bytes.len()))
        })?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&taken);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `least` bytes each, which the rest of the file must have.
    fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u64()?;
        let fits = usize::try_from(count).ok().filter(|&n| n <= (self.bytes.len() - self.at) / least);
        fits.ok_or_else(|| {
            self.broken(format!("truncated or damaged: {count} things cannot follow in the header"))
        })
    }

    fn text(&mut self) -> Result<String> {
        let length = self.count(1)?;
        let text = self.take(length)?;
        String::from_utf8(text.to_vec()).map_err(|_| self.broken("a text in the header is not UTF-8"))
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Int(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(shortest(f32::from_le_bytes(self.array()?))),
            7 => Value::Int((self.array::<1>()? != [0]).into()),
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, start) = (self.u32()?, self.at + 8);
                let width = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    8 | 10..=12 => 8,
                    9 => return Err(self.broken("an array of arrays in the header")),
                    kind => {
                        return Err(self.broken(format!("a value of the unknown type {kind} in the header")));
                    }
                };
                let count = self.count(width)?;
                if kind == 8 {
                    for _ in 0..count {
                        let length = self.count(1)?;
                        self.take(length)?;
                    }
                } else {
                    self.take(count * width)?;
                }
                Value::Array(kind, count, self.bytes.slice(start..self.at))
            }
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            kind => return Err(self.broken(format!("a value of the unknown type {kind} in the header"))),
        })
    }

    fn info(&mut self) -> Result<Info> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(self.broken(format!("{name} has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64()?;
            let size = usize::try_from(size);
            shape.push(size.map_err(|_| self.broken(format!("{name} has a dimension that is too large")))?);
        }
        shape.reverse();
        Ok(Info { name, shape, kind: self.u32()?, offset: self.u64()? })
    }
}

/// The number that someone wrote to get this `f32`: 1e-6, not 9.999999974752427e-7.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
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
        let count = tokens.len();
        let vocabulary: serde_json::Map<String, Json> =
            tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
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

/// Where a layer's tensors are: llama.cpp's name in `blk.N.`, and Hugging Face's in `model.layers.N.`.
const LAYER: [(&str, &str); 9] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
/// The same for what is in no layer.
const OUTSIDE: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// The decoder in a GGUF file as Hugging Face has it: its names (`model.layers.0.self_attn.q_proj.weight`, `lm_head.weight`),
/// and its order of rows.
///
/// llama.cpp turns neighbouring values of a Llama's head, so files of that architecture have the two halves of every
/// head of queries and keys interleaved; here they are apart. A head that is tied to the token table is that table.
#[derive(Debug)]
pub struct GgufDecoder<'a> {
    checkpoint: &'a Checkpoint,
    /// Heads of queries and of keys, where their rows are interleaved.
    interleaved: Option<[usize; 2]>,
    tied: bool,
}

impl<'a> GgufDecoder<'a> {
    /// # Errors
    /// Where `checkpoint` is no GGUF file of a Qwen2 or a Llama; those of [`Gguf::decoder_config`].
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let gguf = checkpoint
            .gguf()
            .ok_or_else(|| Error::new(ErrorKind::Weights, checkpoint.place(), "not a GGUF file"))?;
        let config = gguf.decoder_config()?;
        let heads = |key: &str| config[key].as_u64().and_then(|heads| heads.try_into().ok()).unwrap_or(0);
        let heads = [heads("num_attention_heads"), heads("num_key_value_heads")];
        let interleaved = (gguf.architecture() == "llama").then_some(heads);
        Ok(Self { checkpoint, interleaved, tied: gguf.tied })
    }

    /// Hugging Face's names of all tensors that belong to the decoder.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.checkpoint.names().filter_map(|name| {
            let (module, parameter) = name.rsplit_once('.')?;
            let named = |known: &[(&str, &str)], module| {
                known.iter().find(|(theirs, _)| *theirs == module).map(|(_, published)| published.to_string())
            };
            let module = match module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
                Some((layer, module)) => format!("model.layers.{layer}.{}", named(&LAYER, module)?),
                None => named(&OUTSIDE, module)?,
            };
            Some(format!("{module}.{parameter}"))
        })
    }

    /// llama.cpp's name of the tensor `name`.
    fn find(&self, name: &str) -> Option<String> {
        let (module, parameter) = name.rsplit_once('.')?;
        let named = |known: &[(&str, &str)], module| {
            known.iter().find(|(_, published)| *published == module).map(|(theirs, _)| theirs.to_string())
        };
        let module = match module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
            Some((layer, module)) => format!("blk.{layer}.{}", named(&LAYER, module)?),
            None if module == "lm_head" && self.tied => OUTSIDE[0].0.into(),
            None => named(&OUTSIDE, module)?,
        };
        Some(format!("{module}.{parameter}"))
    }
}

impl Tensors for GgufDecoder<'_> {
    fn place(&self) -> &str {
        self.checkpoint.place()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.checkpoint.shape(&self.find(name)?).map(<[usize]>::to_vec)
    }

    fn stored(&self, name: &str) -> Result<StoredTensor> {
        let theirs = self.find(name).unwrap_or_else(|| name.into());
        let tensor = self.checkpoint.stored(&theirs)?;
        let Some([queries, keys]) = self.interleaved else { return Ok(tensor) };
        match name {
            _ if name.contains(".q_proj.") => halves_apart(&tensor, queries),
            _ if name.contains(".k_proj.") => halves_apart(&tensor, keys),
            _ => Ok(tensor),
        }
    }
}

/// The rows of `heads` heads, whose halves are interleaved, with the halves apart.
///
/// # Errors
/// Where the rows are not those of as many heads of even width.
fn halves_apart(tensor: &StoredTensor, heads: usize) -> Result<StoredTensor> {
    let rows = tensor.shape().first().copied().unwrap_or(0);
    if heads == 0 || !rows.is_multiple_of(2 * heads) {
        let what = format!("has {rows} rows, which are not {heads} heads of even width");
        return Err(Error::new(ErrorKind::Weights, &tensor.place, what));
    }
    let (head, half) = (rows / heads, rows / heads / 2);
    tensor.reordered((0..rows).map(|row| row / head * head + row % half * 2 + row % head / half))
}
