//! Weight files: what is saved comes back, and damaged files give errors.

mod files;
mod formats;
mod hostile;
mod memory;
mod names;
mod pytorch;
mod written;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;
use unigen_core::nn::Linear;
use unigen_core::weights::{Checkpoint, NamedTensor, Precision, keys, load, save, tensors, write_tensors};

fn layer() -> Linear {
    Linear::new(3, 5, true, 1.0, &Device::flex())
}

fn saved(layer: &Linear, precision: Precision) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    save(layer, &path, precision, keys::same, HashMap::new()).expect("saves");
    std::fs::read(path).expect("reads")
}

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| saved(&layer(), Precision::F32));

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

#[test]
fn weights_come_back() {
    let layer = layer();
    for (precision, bound) in [(Precision::F32, 0.0), (Precision::F16, 2e-3), (Precision::Bf16, 2e-2)] {
        let checkpoint = Checkpoint::from_bytes("bytes", saved(&layer, precision)).expect("opens");
        let back = load(self::layer(), &checkpoint, keys::same).expect("loads");
        let pairs = values(layer.weight.values()).into_iter().zip(values(back.weight.values()));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= bound * a.abs().max(1e-2)));
    }
}

#[test]
fn a_wrong_shape_names_the_tensor() {
    let checkpoint = Checkpoint::from_bytes("bytes", FILE.clone()).expect("opens");
    let wrong = Linear::new(4, 5, true, 1.0, &Device::flex());
    let error = load(wrong, &checkpoint, keys::same).expect_err("a wrong shape").to_string();
    assert!(error.contains("weight") && error.contains("[5, 3]") && error.contains("[5, 4]"), "{error}");
}

#[test]
fn not_a_number_names_the_tensor() {
    let broken = layer();
    let broken = Linear { bias: broken.bias.map(|b| b.map(|b| b * f32::NAN)), ..broken };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, &*FILE).expect("writes");
    let error =
        save(&broken, &path, Precision::F32, keys::same, HashMap::new()).expect_err("NaN").to_string();
    assert!(error.contains("bias"), "{error}");
    assert_eq!(std::fs::read(&path).expect("reads"), *FILE, "the old file is as it was");
}

/// 1500 tensors of one value, whose names alone take more than 65,535 bytes.
#[test]
fn long_headers_are_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let name = |i: usize| format!("layers.{i}.a_long_name_of_some_module.weight");
    let tensors = (0..1500).map(|i| NamedTensor {
        name: name(i),
        shape: vec![1],
        values: Box::new(move || Ok(vec![i as f32].into())),
    });
    write_tensors(&path, Precision::F32, tensors.collect(), HashMap::new()).expect("writes");
    let bytes = std::fs::read(&path).expect("reads");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    assert!(header > 65_535 && header.is_multiple_of(8), "{header}");
    let checkpoint = Checkpoint::open(&path).expect("opens");
    assert_eq!(checkpoint.names().count(), 1500);
    for i in [0, 1, 777, 1499] {
        assert_eq!(checkpoint.tensor(&name(i)).expect("there"), (vec![i as f32], vec![1]));
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (layer, path) = (layer(), folder.path().join("model.safetensors"));
    let metadata = || (0..20).map(|i| (format!("key {i}"), format!("value {i}"))).collect();
    let written = || {
        save(&layer, &path, Precision::F32, keys::same, metadata()).expect("saves");
        std::fs::read(&path).expect("reads")
    };
    let first = written();
    assert!((0..5).all(|_| written() == first));
    assert_eq!(Checkpoint::open(&path).expect("opens").metadata(), &metadata());
}

/// A folder of two shards, `a` with the weight and `b` with the bias of a layer, and an index that says `weight_map`.
fn sharded(layer: &Linear, weight_map: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (shard, name) in [("a", "weight"), ("b", "bias")] {
        let part = tensors(layer, |path| (path == name).then(|| path.to_owned()));
        let path = folder.path().join(format!("{shard}.safetensors"));
        write_tensors(&path, Precision::F32, part, HashMap::new()).expect("writes");
    }
    write_index(folder.path(), weight_map);
    folder
}

fn write_index(folder: &Path, weight_map: &[(&str, &str)]) {
    let weight_map: HashMap<_, _> = weight_map.iter().copied().collect();
    let index = serde_json::json!({ "metadata": { "total_size": 80 }, "weight_map": weight_map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("writes");
}

const WHOLE: [(&str, &str); 2] = [("weight", "a.safetensors"), ("bias", "b.safetensors")];

#[test]
fn shards_are_one_checkpoint() {
    let layer = layer();
    let folder = sharded(&layer, &WHOLE);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["bias", "weight"]);
    let back = load(self::layer(), &checkpoint, keys::same).expect("loads");
    assert_eq!(values(back.weight.values()), values(layer.weight.values()));
    let bias = |layer: Linear| values(layer.bias.expect("a bias").val());
    assert_eq!(bias(back), bias(layer));
}

#[test]
fn a_shard_of_another_model_is_named() {
    let folder = sharded(&layer(), &WHOLE);
    let other = tensors(&Linear::new(3, 7, true, 1.0, &Device::flex()), |path| {
        (path == "bias").then(|| path.to_owned())
    });
    let shard = folder.path().join("b.safetensors");
    write_tensors(&shard, Precision::F32, other, HashMap::new()).expect("writes");
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let error = load(layer(), &checkpoint, keys::same).expect_err("a wrong shape").to_string();
    let place = shard.display().to_string();
    assert!(error.contains(&format!("bias has shape [7] in {place}, wanted [5]")), "{error}");
}

#[test]
fn what_is_wrong_with_shards_is_named() {
    let folder = sharded(&layer(), &WHOLE);
    let error = || Checkpoint::open(folder.path()).expect_err("bad shards").to_string();
    for (name, shard, words) in [
        ("bias", "c.safetensors", ["c.safetensors", "this shard is missing"]),
        ("bias", "../b.safetensors", ["../b.safetensors", "not a plain file name"]),
        ("scale", "b.safetensors", ["index.json", "scale should be in b.safetensors"]),
    ] {
        write_index(folder.path(), &[WHOLE[0], (name, shard)]);
        let text = error();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    write_index(folder.path(), &WHOLE);
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(path("a.safetensors"), path("b.safetensors")).expect("copies");
    let text = error();
    assert!(text.contains("weight is also in") && text.contains("a.safetensors"), "{text}");
    std::fs::remove_file(path("b.safetensors")).expect("removes");
    let text = error();
    assert!(text.contains("b.safetensors") && text.contains("download the folder again"), "{text}");
    std::fs::write(path("model.safetensors.index.json"), "{}").expect("writes");
    let text = error();
    assert!(text.contains("index.json") && text.contains("not an index of shards"), "{text}");
}

/// Reads everything there is to read; only errors may come of it.
fn read_all(bytes: Vec<u8>) {
    if let Ok(checkpoint) = Checkpoint::from_bytes("bytes", bytes) {
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        for name in names {
            let _ = checkpoint.tensor(&name);
            let _ = checkpoint.ints(&name);
        }
        let _ = load(layer(), &checkpoint, keys::same).map(Module::no_grad);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(bytes);
    }

    #[test]
    fn truncated_files_are_errors(length in 0..FILE.len()) {
        prop_assert!(Checkpoint::from_bytes("bytes", FILE[..length].to_vec()).is_err());
    }

    #[test]
    fn flipped_bits_are_no_panic(at in 0..FILE.len(), bit in 0_u32..8) {
        let mut bytes = FILE.clone();
        bytes[at] ^= 1_u8 << bit;
        read_all(bytes);
    }
}
