//! Model folders that are broken.

use super::*;

/// Runs `unigen generate` with a copy of the model that `change` has modified.
fn generate_after(change: impl FnOnce(&Path)) -> Ended {
    let folder = exports();
    change(&folder.path().join("model"));
    let ended = unigen(folder.path(), &["generate", "a red apple", "--model", "model", "-o", "a.png"]);
    assert!(!folder.path().join("a.png").exists(), "{}", ended.text);
    ended
}

/// Runs `unigen generate` with weights that `edit` has modified.
fn weights_after(edit: impl FnOnce(&mut Value, &mut Vec<u8>)) -> Ended {
    generate_after(|model| edit_weights(&model.join("model.safetensors"), edit))
}

const NORM: &str = "llm.model.norm.weight";

#[test]
fn a_part_is_not_a_whole_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config.json");
    let qwen2 = r#"{"model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28}"#;
    for (text, words) in [(qwen2, ["whole model", "\"decoder\""]), ("{", ["is not JSON", "EOF"])] {
        fs::write(&path, text).expect("writes");
        for model in [".", "config.json"] {
            unigen(folder.path(), &["info", model]).fails(&[&["config.json"], &words[..]].concat());
        }
    }
}

#[test]
fn missing_and_truncated_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors", "image_tokenizer.safetensors"] {
        generate_after(|model| fs::remove_file(model.join(file)).expect("removes")).fails(&[file]);
        generate_after(|model| {
            let bytes = fs::read(model.join(file)).expect("reads");
            fs::write(model.join(file), &bytes[..bytes.len() / 2]).expect("writes");
        })
        .fails(&[file]);
    }
    let folder = exports();
    unigen(folder.path(), &["generate", "x", "--model", "absent"]).fails(&["absent", "no such folder"]);
}

#[test]
fn weights_of_something_else_are_named() {
    generate_after(|model| {
        fs::write(model.join("model.safetensors"), b"PK\x03\x04 this is a zip file").expect("writes");
    })
    .fails(&["model.safetensors", "not a safetensors file", "download"]);
    generate_after(|model| {
        fs::copy(model.join("image_tokenizer.safetensors"), model.join("model.safetensors")).expect("copies");
    })
    .fails(&["model.safetensors", "is missing", "belong to the same model"]);
    weights_after(|header, _| {
        let header = header.as_object_mut().expect("an object");
        let norm = header.remove(NORM).unwrap_or_else(|| panic!("no {NORM} in {:?}", header.keys()));
        header.insert("llm.model.norms.weight".into(), norm);
    })
    .fails(&["model.safetensors", NORM, "is missing", "[32]"]);
    weights_after(|header, _| header[NORM]["shape"] = serde_json::json!([4, 8])).fails(&[
        "model.safetensors",
        NORM,
        "[4, 8]",
        "wanted [32]",
    ]);
    weights_after(|header, _| header[NORM]["dtype"] = "I16".into()).fails(&[
        "model.safetensors",
        NORM,
        "I16",
    ]);
}

#[test]
fn not_a_number_is_named() {
    weights_after(|header, data| {
        let start = header[NORM]["data_offsets"][0].as_u64().expect("an offset") as usize;
        // The third value, in half precision.
        data[start + 4..start + 6].copy_from_slice(&0x7E00_u16.to_le_bytes());
    })
    .fails(&["model.safetensors", NORM, "NaN", "index 2", "earlier checkpoint"]);
}

#[test]
fn impossible_sizes_are_named_and_cost_no_memory() {
    for (pointer, value, words) in [
        ("/text_vocab", "30000000000", ["text_vocab", "choose 1 to"]),
        ("/image_size", "8192", ["image_size", "codes an image"]),
        ("/image_size", "0", ["image_size", "choose 1 to"]),
        ("/decoder/hidden_size", "16777216", ["decoder", "parameters"]),
        ("/decoder/num_hidden_layers", "1000000000000", ["num_hidden_layers", "choose 1 to"]),
        ("/decoder/num_hidden_layers", "-2", ["not a configuration", "invalid value"]),
        ("/decoder/num_attention_heads", "0", ["num_attention_heads", "choose 1 to"]),
        ("/decoder/num_key_value_heads", "3", ["num_key_value_heads", "divisor"]),
        ("/image_tokenizer/ch", "1e30", ["not a configuration", "invalid type"]),
        ("/image_tokenizer/in_ch", "4", ["in_ch", "red, green and blue"]),
        ("/image_tokenizer/encoder_ch_mult", "[1000000, 1]", ["encoder_ch_mult", "1024"]),
        ("/special_tokens/soi", "5000", ["special_tokens.soi", "5000"]),
    ] {
        let change = |model: &Path| {
            let path = model.join("config.json");
            let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
            let value = serde_json::from_str(value).expect("JSON");
            *config.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
            fs::write(path, config.to_string()).expect("writes");
        };
        generate_after(change).fails(&[&["config.json"], &words[..]].concat());
        let folder = exports();
        change(&folder.path().join("model"));
        unigen(folder.path(), &["info", "model/config.json"]).fails(&words[1..]);
    }
}
