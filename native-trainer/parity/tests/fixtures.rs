//! The folders in tests/parity: all pass as they are, and none does with an error in it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use anyhow::Result;
use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use unigen_core::weights::Checkpoint;
use unigen_parity::{Comparison, kinds, verify};

/// Every kind's own folder.
const FOLDERS: [&str; 12] = [
    "clip", "gguf", "grpo", "llama", "magvitv2", "openclip", "qwen2", "showo", "siglip", "siglip2", "train",
    "unigen",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures").join(name)
}

/// The comparisons and how the folder ended.
fn outcome(folder: &Path) -> (Vec<Comparison>, Result<()>) {
    let mut found = Vec::new();
    let ended = verify(folder, &Device::flex(), &mut |comparison| found.push(comparison));
    (found, ended)
}

fn error(folder: &Path) -> String {
    format!("{:#}", outcome(folder).1.unwrap_err())
}

/// Shape, type and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn f32s(shape: &[usize], values: &[f32]) -> Stored {
    (Dtype::F32, shape.to_vec(), values.iter().flat_map(|x| x.to_le_bytes()).collect())
}

fn i64s(shape: &[usize], values: &[i64]) -> Stored {
    (Dtype::I64, shape.to_vec(), values.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// A copy of a fixture that a test may damage.
struct Copy(TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors", "io.safetensors"] {
            fs::copy(fixture(name).join(file), folder.path().join(file)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, file: &str) -> BTreeMap<String, Stored> {
        let bytes = fs::read(self.path().join(file)).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
        let stored =
            tensors.into_iter().map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec())));
        stored.collect()
    }

    fn write(&self, file: &str, tensors: &BTreeMap<String, Stored>) {
        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        fs::write(self.path().join(file), serialize(views, None).unwrap()).unwrap();
    }

    fn configure(&self, changes: Value) {
        let path = self.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        fs::write(path, config.to_string()).unwrap();
    }
}

#[test]
fn every_folder_passes() {
    for name in FOLDERS {
        let (found, ended) = outcome(&fixture(name));
        ended.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(!found.is_empty(), "{name}: nothing was compared");
        for Comparison { tensor, difference, ok } in found {
            assert!(ok, "{name}: {tensor} differs by {difference}");
        }
    }
    assert_eq!(kinds().count(), FOLDERS.len());
}

/// Weights that no output depends on.
fn unused(name: &str, tensor: &str) -> bool {
    match name {
        // UniGen takes the tower without its pooling head.
        "siglip" | "siglip2" if tensor.starts_with("head.") => true,
        // A key's bias adds the same to all scores of a row, unless keys are rotated by their position.
        "siglip" | "siglip2" | "clip" => tensor.ends_with("k_proj.bias"),
        "magvitv2" => tensor.ends_with("attn_1.k.bias") || tensor.starts_with("quantize."),
        // Tied to the reference's table of tokens, whatever the file says.
        "grpo" => tensor == "reference.llm.lm_head.weight",
        _ => false,
    }
}

/// Blocks have no weights to negate, so every byte of a tensor is changed.
#[test]
fn a_wrong_block_fails() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("gguf").join("io.safetensors"), folder.path().join("io.safetensors")).unwrap();
    let good = fs::read(fixture("gguf").join("model.gguf")).unwrap();
    let checkpoint = Checkpoint::from_bytes("model.gguf", good.clone()).unwrap();
    let names: Vec<&str> = checkpoint.names().collect();
    assert_eq!(names.len(), 20);
    for name in names {
        let bytes = checkpoint.stored(name).unwrap().bytes().to_vec();
        let at = good.windows(bytes.len()).position(|window| window == bytes).unwrap();
        let mut changed = good.clone();
        changed[at..at + bytes.len()].iter_mut().for_each(|byte| *byte ^= 0x81);
        fs::write(folder.path().join("model.gguf"), changed).unwrap();
        let (found, ended) = outcome(folder.path());
        assert!(ended.is_err() || found.iter().any(|comparison| !comparison.ok), "a wrong {name} passes");
    }
    fs::write(folder.path().join("model.gguf"), &good[..good.len() / 2]).unwrap();
    assert!(outcome(folder.path()).1.is_err());
}

/// The tensor with the largest of its weights negated. Not every token and not every bias shows, so of a table of tokens and
/// of a vector all are.
fn spoilt(tensor: &str, (dtype, shape, bytes): &Stored) -> Stored {
    assert_eq!(*dtype, Dtype::F32, "{tensor}");
    let mut values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let table = tensor.ends_with("embed_tokens.weight") || tensor.ends_with("token_embedding.weight");
    let largest = values.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    for value in &mut values {
        if shape.len() < 2 || table || value.abs() == largest {
            *value = -*value;
        }
    }
    f32s(shape, &values)
}

#[test]
fn a_wrong_weight_fails() {
    for name in FOLDERS.into_iter().filter(|&name| name != "gguf") {
        let folder = Copy::of(name);
        let good = folder.read("model.safetensors");
        for (tensor, stored) in good.iter().filter(|(tensor, _)| !unused(name, tensor)) {
            let mut changed = good.clone();
            changed.insert(tensor.clone(), spoilt(tensor, stored));
            folder.write("model.safetensors", &changed);
            let (found, ended) = outcome(folder.path());
            ended.unwrap_or_else(|error| panic!("{name}: {tensor}: {error:#}"));
            assert!(found.iter().any(|comparison| !comparison.ok), "{name}: a wrong {tensor} passes");
        }
    }
}

#[test]
fn unknown_kinds_are_told_the_known_ones() {
    let folder = Copy::of("qwen2");
    folder.configure(json!({ "model_type": "phi" }));
    let text = error(folder.path());
    assert!(text.contains("model_type \"phi\""), "{text}");
    for kind in kinds() {
        assert!(text.contains(kind), "no {kind} in: {text}");
    }
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(error(folder.path()).contains("the keys are those of no kind"));
}

#[test]
fn a_folder_that_breaks_off_keeps_what_was_compared() {
    let folder = Copy::of("qwen2");
    let mut io = folder.read("io.safetensors");
    io.remove("logits_omni");
    folder.write("io.safetensors", &io);
    let (found, ended) = outcome(folder.path());
    let names: Vec<&str> = found.iter().map(|comparison| comparison.tensor.as_str()).collect();
    assert_eq!(names, ["logits_causal", "hidden_omni"]);
    assert!(found.iter().all(|comparison| comparison.ok));
    assert!(ended.unwrap_err().to_string().contains("logits_omni: no such tensor"));
}

#[test]
fn bad_tensors_are_named() {
    let folder = Copy::of("qwen2");
    let good = folder.read("io.safetensors");
    let mut high = [1; 22];
    high[21] = 61;
    let mut negative = [1; 22];
    negative[21] = -1;
    for (name, tensor, words) in [
        ("input_ids", i64s(&[22], &[1; 22]), "input_ids: shape [22], wanted 2 dimensions"),
        ("input_ids", i64s(&[0, 2], &[]), "input_ids: shape [0, 2]"),
        ("input_ids", i64s(&[2, 11], &high), "input_ids: 61 is not from 0 to 60"),
        ("input_ids", i64s(&[2, 11], &negative), "input_ids: -1 is not"),
        ("omni_allow", i64s(&[2, 2], &[1; 4]), "omni_allow: shape [2, 2], wanted [2, 11, 11]"),
        ("omni_allow", i64s(&[2, 11, 11], &[0; 242]), "omni_allow: attention mask: row 0 sees nothing"),
        ("hidden_omni", f32s(&[22, 24], &[0.0; 528]), "hidden_omni: shape [22, 24], wanted [2, 11, 24]"),
    ] {
        let mut io = good.clone();
        io.insert(name.into(), tensor);
        folder.write("io.safetensors", &io);
        let text = error(folder.path());
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
}

#[test]
fn sizes_that_no_model_has_are_named() {
    let folder = Copy::of("qwen2");
    folder.configure(json!({ "num_attention_heads": 0 }));
    assert!(error(folder.path()).contains("config.json: num_attention_heads: is 0"));
    for name in ["unigen", "train", "grpo"] {
        let folder = Copy::of(name);
        for (codes, words) in [
            (0, "codebook_size is no whole number from 1"),
            (1, "codebook_size is 1, no power of two above 1"),
            (6, "codebook_size is 6, no power of two"),
            (4, "decoder.vocab_size: is 73, wanted 40 text + 5 image"),
        ] {
            folder.configure(json!({ "codebook_size": codes }));
            let text = error(folder.path());
            assert!(text.contains(words), "{name}: no {words:?} in: {text}");
        }
    }
}

#[test]
fn recorded_noise_is_as_long_as_the_decoding() {
    let folder = Copy::of("unigen");
    folder.configure(json!({ "steps": 7 }));
    let text = error(folder.path());
    assert!(text.contains("gumbel_tokens: shape [6, 2, 14, 32], wanted [7, 2, 14, 32]"), "{text}");
    let mut io = folder.read("io.safetensors");
    io.insert("cond_ids".into(), i64s(&[3], &[1, 2, 3]));
    folder.write("io.safetensors", &io);
    assert!(error(folder.path()).contains("cond_ids: shape [3], wanted 2 dimensions"));
}
