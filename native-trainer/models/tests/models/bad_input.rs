//! What cannot be imported is refused with words that help, and leaves nothing behind.

use super::*;
use hub::TOKENS;
use std::fs;
use unigen_core::{Error, ErrorKind};

/// Imports parts after `change` to the hub, which must fail with all of `words`, and leave nothing.
#[track_caller]
fn fails(change: impl FnOnce(&Path, &mut Parts), words: &[&str]) {
    let hub = Hub::new();
    let mut parts = parts(hub.path());
    change(hub.path(), &mut parts);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let result = parts.read().and_then(|import| import.write(&out, Storage::default(), &|_, _| Ok(())));
    let error = result.expect_err("must fail");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!error.fix.is_empty(), "{text}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

const SHARD: &str = "qwen2/model-00002-of-00002.safetensors";

#[test]
fn the_wrong_folder_is_named_as_what_it_is() {
    fails(|hub, parts| parts.decoder = hub.join("siglip2"), &["siglip2", "vision tower", "language model"]);
    fails(|hub, parts| parts.vision = hub.join("qwen2"), &["qwen2", "holds a language model"]);
    fails(
        |hub, parts| parts.image_tokenizer = hub.join("unigen"),
        &["holds a UniGen checkpoint", "MAGVITv2"],
    );
    fails(|hub, parts| parts.decoder = hub.join("unigen"), &["holds a UniGen checkpoint"]);
    fails(|_, parts| parts.decoder = "absent".into(), &["absent", "cannot open"]);
    fails(|hub, parts| parts.decoder = hub.to_owned(), &["a folder without weights"]);
    let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/nano");
    fails(|_, parts| parts.decoder = nano, &["nano", "model folder already", "--model"]);
}

#[test]
fn broken_files_are_named() {
    fails(|hub, _| fs::remove_file(hub.join(SHARD)).unwrap(), &[SHARD, "missing"]);
    fails(
        |hub, _| _ = fs::copy(hub.join("siglip2/model.safetensors"), hub.join(SHARD)).unwrap(),
        &["model.safetensors.index.json", "another model"],
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n";
    for file in [SHARD, "qwen2/tokenizer.json", "magvitv2/pytorch_model.safetensors"] {
        fails(
            |hub, _| fs::write(hub.join(file), pointer).unwrap(),
            &[file, "Git LFS pointer", "git lfs pull"],
        );
    }
    fails(
        |hub, _| {
            let bytes = fs::read(hub.join(SHARD)).unwrap();
            fs::write(hub.join(SHARD), &bytes[..bytes.len() - 3]).unwrap();
        },
        &[SHARD, "truncated"],
    );
    fails(|hub, _| fs::remove_file(hub.join("qwen2/config.json")).unwrap(), &["qwen2/config.json"]);
    if let Some(shared) = shared() {
        let bytes = fs::read(shared.join("../gguf-a/model.gguf")).unwrap();
        for length in [bytes.len() - 1, 300, 5] {
            fails(
                |hub, parts| {
                    parts.decoder = hub.join("cut.gguf");
                    fs::write(&parts.decoder, &bytes[..length]).unwrap();
                },
                &["cut.gguf"],
            );
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |hub: &Path, _: &mut Parts| {
            let text = fs::read_to_string(hub.join(file)).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(hub.join(file), text.replace(from, to)).unwrap();
        }
    };
    fails(
        edit("qwen2/config.json", "\"num_hidden_layers\":2", "\"num_hidden_layers\":3"),
        &["model.layers.2.", "is missing", "same model"],
    );
    fails(
        edit("qwen2/config.json", "\"intermediate_size\":96", "\"intermediate_size\":100"),
        &["has shape [96, 64]", "wanted [100, 64]", "-of-00002"],
    );
    fails(edit("qwen2/config.json", "\"qwen2\"", "\"mamba\""), &["qwen2/config.json", "mamba"]);
    fails(edit("magvitv2/config.json", "\"ch\":4", "\"ch\":8"), &["magvitv2", "wanted"]);
    fails(|_, parts| parts.image_size = 17, &["image_size", "multiple of 4"]);
    fails(
        |hub, _| {
            let path = hub.join("qwen2/tokenizer.json");
            let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
            for id in TOKENS..320 {
                vocabulary.insert(format!("\u{1}more {id}"), id.into());
            }
            fs::write(path, json.to_string()).unwrap();
        },
        &["320 tokens", "310 rows"],
    );
    let hub = Hub::new();
    let model = Whole { tokenizer: hub.path().join("absent.json"), ..whole(hub.path()) };
    assert!(model.read().err().unwrap().to_string().contains("absent.json"));
}

#[test]
fn the_wrong_tokenizer_of_show_o_is_named() {
    let hub = Hub::new();
    let path = hub.path().join("phi/tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["model"]["vocab"]["\u{1}more"] = 330.into();
    fs::write(&path, json.to_string()).unwrap();
    let error = showo(hub.path()).read().err().unwrap().to_string();
    assert!(error.contains("331 tokens") && error.contains("same model"), "{error}");
    json["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(290));
    json["model"]["merges"] = serde_json::json!([]);
    fs::write(&path, json.to_string()).unwrap();
    let import = showo(hub.path()).read().unwrap();
    assert!(import.warnings[0].contains("290 tokens"), "{:?}", import.warnings);
    let other = ShowO { checkpoint: hub.path().join("qwen2"), ..showo(hub.path()) };
    assert!(other.read().err().unwrap().to_string().contains("not a Show-o checkpoint"));
}

#[test]
fn values_that_are_no_numbers_are_named() {
    fails(
        |hub, _| {
            let mut bytes = fs::read(hub.join(SHARD)).unwrap();
            let end = bytes.len();
            // The last value of the shard, in bf16.
            bytes[end - 2..].copy_from_slice(&[0xC0, 0x7F]);
            fs::write(hub.join(SHARD), bytes).unwrap();
        },
        &[SHARD, "NaN", "nothing was written"],
    );
}

#[test]
fn what_exists_is_not_touched() {
    let hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    fs::write(&out, "mine").unwrap();
    let write = || parts(hub.path()).read().unwrap().write(&out, Storage::default(), &|_, _| Ok(()));
    assert!(write().unwrap_err().to_string().contains("exists already"));
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
}

#[test]
fn an_import_that_is_stopped_leaves_nothing() {
    let hub = Hub::new();
    let folder = tempfile::tempdir().unwrap();
    let stop = |written: u64, all: u64| match written * 2 > all {
        true => Err(Error::new(ErrorKind::Cancelled, "import", "stopped")),
        false => Ok(()),
    };
    let import = parts(hub.path()).read().unwrap();
    let error = import.write(&folder.path().join("models/model"), Storage::default(), &stop).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(names(&folder.path().join("models")).is_empty());
}
