//! Published names under any prefix.

use super::files::safetensors;
use unigen_core::weights::{Checkpoint, keys};

/// A checkpoint of empty tensors with these names.
fn named(names: &[&str]) -> Checkpoint {
    let entry = |name: &&str| format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let entries: Vec<String> = names.iter().map(entry).collect();
    Checkpoint::from_bytes("x", safetensors(&format!("{{{}}}", entries.join(",")), &[])).expect("opens")
}

#[test]
fn a_decoder_is_found_under_any_prefix() {
    for (names, layer, head) in [
        (&["llm.model.embed_tokens.weight", "llm.lm_head.weight"][..], "llm.model.", "llm.lm_head.weight"),
        (&["llm.model.embed_tokens.weight"], "llm.model.", "llm.model.embed_tokens.weight"),
        (&["model.embed_tokens.weight", "lm_head.weight"], "model.", "lm_head.weight"),
        (&["model.embed_tokens.weight"], "model.", "model.embed_tokens.weight"),
        (&["embed_tokens.weight"], "", "embed_tokens.weight"),
        (&["embed_tokens.weight", "lm_head.weight"], "", "lm_head.weight"),
        (
            &["showo.model.embed_tokens.weight", "showo.lm_head.weight"],
            "showo.model.",
            "showo.lm_head.weight",
        ),
        (
            &["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"],
            "language_model.model.",
            "language_model.lm_head.weight",
        ),
        (
            &["lm_head.weight", "model.language_model.embed_tokens.weight"],
            "model.language_model.",
            "lm_head.weight",
        ),
        (
            &["state_dict.model.embed_tokens.weight"],
            "state_dict.model.",
            "state_dict.model.embed_tokens.weight",
        ),
        (&["not_embed_tokens.weight"], "model.", "model.embed_tokens.weight"),
    ] {
        let key = keys::decoder(&named(names));
        assert_eq!(key("layers.0.mlp.up_proj.weight"), Some(format!("{layer}layers.0.mlp.up_proj.weight")));
        assert_eq!(key("lm_head.weight").as_deref(), Some(head), "{names:?}");
    }
    let key = keys::decoder(&named(&["showo.model.embed_tokens.weight", "showo.lm_head.weight"]));
    assert_eq!(key("lm_head.bias").as_deref(), Some("showo.lm_head.bias"));
}

#[test]
fn a_vision_tower_is_found_under_any_prefix() {
    let patch = "embeddings.patch_embedding.weight";
    for prefix in [
        "",
        "vision_model.",
        "vision_tower.vision_tower.vision_model.",
        "vision_tower.",
        "model.vision_tower.",
    ] {
        let text = "text_model.embeddings.token_embedding.weight";
        let key = keys::siglip(&named(&[text, &format!("{prefix}{patch}")]));
        assert_eq!(key("post_layernorm.bias"), Some(format!("{prefix}post_layernorm.bias")));
    }
}
