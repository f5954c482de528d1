//! Sizes of models, the list of published ones, and recipes of training.

use crate::{Target, repository, text};
use serde_json::to_vec;
use unigen_core::config::{
    Config, DecoderConfig, GenerationConfig, ModelConfig, ShowoConfig, TokenizerConfig, VisionConfig,
};
use unigen_core::cost::{Cost, Task};
use unigen_models::Origin;
use unigen_models::pull::Published;
use unigen_training::stages::{align, pretrain, rl, sft, tokenizer, vision};
use unigen_training::train::{runs_in, settings};

pub const CONFIG: Target = Target {
    name: "config",
    memory: [1 << 20, 512],
    most: 8192,
    load: |input| {
        let Ok(json) = std::str::from_utf8(input) else { return };
        let _ = DecoderConfig::from_json(json, "config.json");
        let _ = VisionConfig::from_json(json, "config.json");
        let _ = TokenizerConfig::from_json(json, "config.json");
        let _ = Origin::from_json(json, "origin.json");
        if let Ok(config) = GenerationConfig::from_json(json, "generation.json") {
            let _ = config.check(144);
            config.vocabulary.unknown("a red dragon");
            config.vocabulary.nearest("aple");
        }
        if let (Ok(showo), Ok(model)) =
            (ShowoConfig::from_json(json, "config.json"), ModelConfig::preset("show-o-512"))
        {
            let same = DecoderConfig { vocab_size: showo.vocab_size, ..model.decoder.clone() };
            for decoder in [model.decoder, same] {
                let _ = showo.model(decoder, TokenizerConfig::default(), 0);
            }
        }
        if let Ok(config) = ModelConfig::from_json(json, "config.json") {
            for task in [Task::Generate, Task::Edit { branches: 3 }, Task::Describe] {
                if let Ok(cost) = Cost::of(&config, task, 12, 77) {
                    let _ = (cost.report(), cost.sizes(), cost.work());
                }
            }
        }
    },
    seeds: || {
        let mut seeds = vec![repository("models/nano/config.json")];
        let (name, generation) = repository("models/nano/generation.json");
        seeds.extend((generation.len() <= CONFIG.most).then_some((name, generation)));
        for preset in ["nano", "unigen-1.5b", "unigen15-7b", "show-o-512"] {
            let model = ModelConfig::preset(preset).expect("a preset");
            let parts = [
                to_vec(&model),
                to_vec(&model.decoder),
                to_vec(&model.vision),
                to_vec(&model.image_tokenizer),
            ];
            let names = ["model", "decoder", "vision", "tokens"].map(|part| format!("{preset}-{part}"));
            seeds.extend(names.into_iter().zip(parts.map(|json| json.expect("JSON"))));
        }
        seeds.extend([
            text("generation", r#"{"guidance_scale":5.0,"steps":8,"temperature":1.5,"top_k":200,"negative_prompt":"blur","vocabulary":["apple","red"]}"#),
            text("show-o", r#"{"_class_name":"Showo","w_clip_vit":false,"vocab_size":58498,"llm_vocab_size":50295,"codebook_size":8192,"num_vq_tokens":1024}"#),
            text("llava", r#"{"model_type":"qwen2","text_config":{"hidden_size":64},"vision_config":{"hidden_size":64,"image_size":32,"patch_size":16,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":64}}"#),
            text("origin", r#"{"kind":"parts","licence":"apache-2.0","parts":{"decoder":{"repository":"a/b","commit":"0"},"vision":{"path":"c"}}}"#),
        ]);
        seeds
    },
};

pub const PUBLISHED: Target = Target {
    name: "published",
    memory: [1 << 20, 512],
    most: 4096,
    load: |input| {
        if let Ok(list) = std::str::from_utf8(input) {
            let _ = Published::read(list);
        }
    },
    seeds: || {
        let (_, list) = repository("models/published.toml");
        let list = String::from_utf8(list).expect("text");
        list.split_inclusive("\n\n").enumerate().map(|(i, part)| text(&i.to_string(), part)).collect()
    },
};

pub const RECIPE: Target = Target {
    name: "recipe",
    memory: [2 << 20, 4096],
    most: 4096,
    load: |input| {
        let Ok(recipe) = std::str::from_utf8(input) else { return };
        for (_, set) in runs_in(recipe).unwrap_or_default() {
            let _ = settings::<tokenizer::Settings>(None, &set);
            let _ = settings::<vision::Settings>(None, &set);
            let _ = settings::<pretrain::Settings>(None, &set);
            let _ = settings::<sft::Settings>(None, &set);
            let _ = settings::<align::Settings>(None, &set);
            let _ = settings::<rl::Settings>(None, &set);
        }
    },
    seeds: || {
        let mut seeds = vec![repository("recipes/nano/all.toml")];
        // The settings of each run, in the place of a recipe's.
        for name in ["tokenizer", "vision", "pretrain", "sft", "align", "rl"] {
            let (_, settings) = repository(&format!("recipes/nano/{name}.toml"));
            let settings = String::from_utf8(settings).expect("text");
            let (mut plain, mut sections) = (String::new(), String::new());
            let mut in_section = false;
            for line in settings.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
                in_section |= line.starts_with('[');
                let line = line.replacen("[", if line.starts_with('[') { "[run.settings." } else { "[" }, 1);
                *(if in_section { &mut sections } else { &mut plain }) += &format!("{line}\n");
            }
            seeds.push(text(name, format!("[[run]]\nname = \"{name}\"\n[run.settings]\n{plain}{sections}")));
        }
        seeds
    },
};
