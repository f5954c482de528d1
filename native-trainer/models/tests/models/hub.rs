//! Tiny parts with random weights, laid out as the Hub has them.

use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use unigen_core::Device;
use unigen_core::config::{Config, DecoderConfig, SpecialTokens, TokenizerConfig, VisionConfig};
use unigen_core::decoder::Decoder;
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::text::train_bpe;
use unigen_core::vision::{Projector, Tower};
use unigen_core::weights::{Checkpoint, NamedTensor, Precision, keys, tensors, write_tensors};

/// Rows of the published token table: more than the tokenizer has tokens.
pub const ROWS: usize = 310;
/// Tokens of the tokenizer.
pub const TOKENS: usize = 300;
/// Bits of a code.
const BITS: usize = 6;

/// A folder with `qwen2` (bf16 in two shards), `siglip2` (two towers), `magvitv2`, `unigen` and their tokenizer.
pub struct Hub(TempDir);

impl Hub {
    pub fn new() -> Self {
        let hub = Self(tempfile::tempdir().unwrap());
        hub.qwen2();
        hub.siglip2();
        hub.magvitv2();
        hub.unigen();
        hub.showo();
        hub
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The folder `name`, made, with this `config.json`.
    fn folder(&self, name: &str, config: &Value) -> std::path::PathBuf {
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        folder
    }

    fn qwen2(&self) {
        let config = qwen2(ROWS);
        let folder = self.folder("qwen2", &config);
        let all = decoder(&config, keys::qwen2);
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let (mut parts, mut places) = ([vec![], vec![]], serde_json::Map::new());
        for (i, tensor) in all.into_iter().enumerate() {
            places.insert(tensor.name.clone(), shards[i % 2].into());
            parts[i % 2].push(tensor);
        }
        for (shard, tensors) in shards.iter().zip(parts) {
            write_tensors(&folder.join(shard), Precision::Bf16, tensors, HashMap::new()).unwrap();
        }
        let index = json!({ "metadata": {}, "weight_map": places });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
        fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    }

    fn siglip2(&self) {
        let tower = json!({
            "model_type": "siglip2_vision_model", "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_patches": 16, "patch_size": 4,
        });
        let folder = self.folder("siglip2", &json!({ "model_type": "siglip2", "vision_config": tower }));
        let config: VisionConfig = Config::read(&folder).unwrap();
        let Tower::Siglip2(tower) = Tower::new(&config, &Device::flex()).unwrap() else { panic!("NaFlex") };
        let mut all = tensors(&tower, keys::vision_model);
        all.push(filled("text_model.head.weight", vec![4, 4], 0.5));
        write_tensors(&folder.join("model.safetensors"), Precision::F32, all, HashMap::new()).unwrap();
    }

    fn magvitv2(&self) {
        let config = json!({
            "ch": 4, "encoder_ch_mult": [1, 2, 2], "encoder_num_res_blocks": [1, 1, 1], "decoder_ch_mult": [1, 1, 2],
            "decoder_num_res_blocks": [1, 1, 1], "z_channels": BITS, "norm_groups": 2,
        });
        let folder = self.folder("magvitv2", &config);
        let config: TokenizerConfig = Config::read(&folder).unwrap();
        let module = ImageTokenizer::new(&config, &Device::flex()).unwrap();
        let mut all = tensors(&module, keys::same);
        all.push(filled("quantize.embedding", vec![1 << BITS, BITS], 1.0));
        write_tensors(&folder.join("pytorch_model.safetensors"), Precision::F32, all, HashMap::new())
            .unwrap();
    }

    fn unigen(&self) {
        let config = qwen2(TOKENS + 9 + (1 << BITS) + 1);
        let folder = self.folder("unigen", &config);
        let mut all = decoder(&config, |path| keys::unigen(&format!("llm.{path}")));
        all.extend(tensors(&Projector::new(48, 64, &Device::flex()), keys::projector));
        write_tensors(&folder.join("model.safetensors"), Precision::Bf16, all, HashMap::new()).unwrap();
    }

    fn showo(&self) {
        let vocabulary = TOKENS + SpecialTokens::SHOWO + (1 << BITS) + 1;
        let config = json!({
            "_class_name": "Showo", "w_clip_vit": false, "vocab_size": vocabulary, "llm_vocab_size": TOKENS,
            "llm_model_path": "microsoft/phi-1_5", "codebook_size": 1 << BITS, "num_vq_tokens": 16,
        });
        let folder = self.folder("show-o", &config);
        let phi = json!({
            "model_type": "phi", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "vocab_size": vocabulary,
        });
        let key = |path: &str| {
            let name = keys::qwen2(path)?;
            Some(format!("showo.{}", name.replace("model.norm.", "model.final_layernorm.")))
        };
        let file = folder.join("pytorch_model.safetensors");
        write_tensors(&file, Precision::F32, decoder(&phi, key), HashMap::new()).unwrap();
        fs::create_dir(self.path().join("phi")).unwrap();
        fs::write(self.path().join("phi/tokenizer.json"), tokenizer()).unwrap();
    }
}

/// The `config.json` of a tiny Qwen2 with a table of `rows` rows.
fn qwen2(rows: usize) -> Value {
    json!({
        "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": rows, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": true,
    })
}

fn decoder(config: &Value, key: impl Fn(&str) -> Option<String>) -> Vec<NamedTensor<'static>> {
    let config = DecoderConfig::from_json(&config.to_string(), "config.json").unwrap();
    tensors(&Decoder::new(&config, &Device::flex()), key)
}

/// A tensor of one value.
fn filled(name: &str, shape: Vec<usize>, value: f32) -> NamedTensor<'static> {
    let count = shape.iter().product();
    NamedTensor { name: name.into(), shape, values: Box::new(move || Ok(Cow::Owned(vec![value; count]))) }
}

/// A tokenizer like Qwen2.5's: byte-level BPE with its own special tokens, and none of UniGen's.
fn tokenizer() -> String {
    let caption = "a photo of a red apple on a blue background, left of a green umbrella and a yellow car";
    let mut json: Value =
        serde_json::from_slice(&train_bpe(vec![caption.to_owned(); 3], TOKENS).unwrap()).unwrap();
    let own = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.retain(|token| own.map(Some).contains(&token["content"].as_str()));
    let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
    // Their ids stay, as words that no text has.
    for (old, new) in
        [("<|soi|>", "0"), ("<|eoi|>", "1"), ("<|t2i|>", "2"), ("<|ti2i|>", "3"), ("<|mmu|>", "4")]
    {
        let id = vocabulary.remove(old).unwrap();
        vocabulary.insert(format!("\u{1}unused {new}"), id);
    }
    json.to_string()
}

/// All floating-point tensors of the weights at `path`, as `f32`.
pub fn values(path: &Path) -> HashMap<String, (Vec<f32>, Vec<usize>)> {
    let checkpoint = Checkpoint::open(path).unwrap();
    let names = checkpoint.names().filter(|name| *name != "quantize.power_vals");
    names.map(|name| (name.to_owned(), checkpoint.tensor(name).unwrap())).collect()
}
