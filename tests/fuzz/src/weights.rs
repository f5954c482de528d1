//! Files of weights: all that they list is read.

use crate::files::{Gguf, archive, floats, gguf_text, gguf_texts, pickle, safetensors};
use crate::{Seed, Target, text};
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use unigen_core::weights::{Checkpoint, GgufDecoder};

const fn weights(name: &'static str, load: fn(&[u8]), seeds: fn() -> Vec<Seed>) -> Target {
    Target { name, memory: [1 << 20, 256], most: 4096, load, seeds }
}

pub const SAFETENSORS: Target = weights(
    "safetensors",
    |input| read("a.safetensors", input),
    || {
        let one = |dtype: &str, shape: &str, bytes: usize| {
            let header = format!(
                r#"{{"__metadata__":{{"format":"pt"}},"a.weight":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#
            );
            (format!("{dtype}-{bytes}"), safetensors(&header, &vec![1; bytes]))
        };
        vec![
            one("F32", "[2,3]", 24),
            one("F16", "[4]", 8),
            one("BF16", "[1,4]", 8),
            one("I64", "[]", 8),
            one("BOOL", "[5]", 5),
            one("F8_E4M3", "[8]", 8),
            (
                "blocks".into(),
                safetensors(r#"{"a.q8_0":{"dtype":"U8","shape":[1,34],"data_offsets":[0,34]}}"#, &[3; 34]),
            ),
            ("empty".into(), safetensors("{}", &[])),
        ]
    },
);

pub const GGUF: Target = weights(
    "gguf",
    |input| read("a.gguf", input),
    || {
        let text = |key, text: &str| (key, 8, gguf_text(text));
        let int = |key, value: u32| (key, 4, value.to_le_bytes().to_vec());
        let tokens = Gguf {
            pairs: vec![
                text("general.architecture", "qwen2"),
                text("tokenizer.ggml.model", "gpt2"),
                text("tokenizer.ggml.pre", "qwen2"),
                ("tokenizer.ggml.tokens", 9, gguf_texts(&["a", "b", "ab", "<|endoftext|>"])),
                ("tokenizer.ggml.merges", 9, gguf_texts(&["a b"])),
                (
                    "tokenizer.ggml.token_type",
                    9,
                    [&5_u32.to_le_bytes()[..], &4_u64.to_le_bytes(), &[1, 0, 0, 0].repeat(4)].concat(),
                ),
                int("qwen2.block_count", 1),
                int("qwen2.embedding_length", 8),
                int("qwen2.attention.head_count", 2),
                int("qwen2.attention.head_count_kv", 1),
                int("qwen2.feed_forward_length", 16),
                int("qwen2.context_length", 64),
                ("qwen2.rope.freq_base", 6, 1e6_f32.to_le_bytes().to_vec()),
                ("qwen2.attention.layer_norm_rms_epsilon", 6, 1e-6_f32.to_le_bytes().to_vec()),
            ],
            ..Gguf::small()
        };
        let tensor = |dimensions: &[u64], kind, bytes| {
            Gguf {
                tensors: vec![("token_embd.weight", dimensions.to_vec(), kind, vec![1; bytes])],
                ..Gguf::small()
            }
            .bytes()
        };
        vec![
            ("small".into(), Gguf::small().bytes()),
            ("tokens".into(), tokens.bytes()),
            ("q4_0".into(), tensor(&[32, 2], 2, 36)),
            ("q8_0".into(), tensor(&[32], 8, 34)),
            ("q4_k".into(), tensor(&[256], 12, 144)),
            ("q6_k".into(), tensor(&[256], 14, 210)),
            ("f16".into(), tensor(&[4], 1, 8)),
            ("bf16".into(), tensor(&[4], 30, 8)),
        ]
    },
);

pub const PYTORCH: Target = weights(
    "pytorch",
    |input| read("a.pt", input),
    || {
        let tensor = pickle::tensor;
        let state = pickle::dict(&[
            ("whole", tensor("0", "FloatStorage", 0, &[2, 3], &[3, 1])),
            ("part", tensor("0", "FloatStorage", 1, &[2], &[1])),
            ("turned", tensor("0", "FloatStorage", 0, &[2, 3], &[1, 2])),
            ("half", tensor("1", "HalfStorage", 0, &[3, 1], &[1, 1])),
            ("steps", tensor("2", "LongStorage", 0, &[1], &[1])),
            ("absent", tensor("9", "BFloat16Storage", 0, &[2], &[1])),
        ]);
        let nested =
            [b"}q\0(", &pickle::text("epoch")[..], b"K\x03", &pickle::text("state_dict"), &state, b"u"]
                .concat();
        let saved = |object: &[u8]| {
            archive(&[
                ("x/data.pkl", pickle::whole(object)),
                ("x/byteorder", b"little".to_vec()),
                ("x/data/0", floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
                ("x/data/1", vec![0, 60, 0, 61, 0, 62]),
                ("x/data/2", 5_i64.to_le_bytes().to_vec()),
            ])
        };
        vec![
            ("state".into(), saved(&state)),
            ("nested".into(), saved(&nested)),
            ("nothing".into(), saved(b"N")),
        ]
    },
);

/// Reads everything there is to read.
fn read(name: &str, input: &[u8]) {
    let Ok(checkpoint) = Checkpoint::from_bytes(name, input.to_vec()) else { return };
    for name in checkpoint.names().map(str::to_owned).collect::<Vec<_>>() {
        let _ = (checkpoint.tensor(&name).is_err(), checkpoint.ints(&name).is_err());
    }
    if let Some(gguf) = checkpoint.gguf() {
        let _ = (gguf.tokenizer_json(), gguf.decoder_config());
        let _ = GgufDecoder::new(&checkpoint);
    }
}

/// A folder with two shards, to which each input is the index.
static SHARDS: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, tensor) in [("1.safetensors", "a"), ("2.safetensors", "b.weight")] {
        let header = format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        std::fs::write(folder.path().join(name), safetensors(&header, &floats(&[2.0])))
            .expect("room on the disk");
    }
    let index = folder.path().join("model.safetensors.index.json");
    (folder, index)
});

pub const INDEX: Target = weights(
    "index",
    |input| {
        let (_, index) = &*SHARDS;
        std::fs::write(index, input).expect("room on the disk");
        if let Ok(checkpoint) = Checkpoint::open(index) {
            let _ = (checkpoint.tensor("a").is_err(), checkpoint.tensor("b.weight").is_err());
        }
    },
    || {
        vec![
            text(
                "two",
                r#"{"metadata":{"total_size":8},"weight_map":{"a":"1.safetensors","b.weight":"2.safetensors"}}"#,
            ),
            text("one", r#"{"weight_map":{"a":"1.safetensors"}}"#),
            text("above", r#"{"weight_map":{"a":"../1.safetensors"}}"#),
            text("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        ]
    },
);
