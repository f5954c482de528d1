//! A small Show-o with random weights, from its published names to pictures and answers.

#![cfg(feature = "cpu")]

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use image::{Rgb, RgbImage};
use pollster::FutureExt;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use unigen_core::ErrorKind;
use unigen_core::config::{
    Ability, Config, DecoderConfig, DecoderKind, GenerationConfig, ModelConfig, ShowoConfig, TokenizerConfig,
};
use unigen_core::engine::{
    AnswerSettings, EditRequest, Engine, ExtendRequest, GenerateRequest, InpaintRequest, ModelFolder, Side,
};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::sampling::{
    Flow, MaskedDecoding, Order, Path as Way, Prefix, Seeds, StepReport, text_guidance,
};
use unigen_core::text::{end_of_text, train_bpe};
use unigen_core::weights::{Checkpoint, Precision, save, showo_decoder};

/// Pictures of 16 x 16 pixels in 4 x 4 codes of 6 bits; a vocabulary of `text` words.
fn config(text: usize, end_of_text: u32) -> ModelConfig {
    let image_tokenizer = TokenizerConfig {
        ch: 4,
        encoder_ch_mult: vec![1, 1, 2],
        encoder_num_res_blocks: vec![1; 3],
        decoder_ch_mult: vec![1, 1, 2],
        decoder_num_res_blocks: vec![1; 3],
        z_channels: 6,
        norm_groups: 2,
        ..TokenizerConfig::default()
    };
    let published = ShowoConfig {
        vocab_size: text + 10 + 64 + 1,
        llm_vocab_size: text,
        codebook_size: 64,
        num_vq_tokens: 16,
        w_clip_vit: false,
    };
    let decoder = DecoderConfig {
        hidden_size: 32,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        vocab_size: published.vocab_size,
        ..ModelConfig::preset("show-o-256").expect("a preset").decoder
    };
    published.model(decoder, image_tokenizer, end_of_text).expect("sizes that fit")
}

/// Larger weights than a new model's, so that what differs shows.
struct Larger;

impl ModuleMapper for Larger {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| if D == 2 { weight * 3.0 } else { weight })
    }
}

/// A model folder whose weights have Show-o's published names.
fn folder() -> TempDir {
    let (device, temporary) = (Device::flex(), tempfile::tempdir().expect("a temporary folder"));
    let (folder, path) = (ModelFolder::at(temporary.path()), temporary.path());
    let mut json: serde_json::Value =
        serde_json::from_slice(&train_bpe(["a photo of a red apple".into()], 290).expect("trains"))
            .expect("JSON");
    let added = json["added_tokens"].as_array_mut().expect("tokens");
    added.retain(|token| token["content"] == "<|endoftext|>");
    let json = json.to_string();
    let words = end_of_text(json.as_bytes()).expect("a token");
    let text =
        json.parse::<serde_json::Value>().expect("JSON")["model"]["vocab"].as_object().map_or(0, |v| v.len());
    let config = config(text, words);
    let model = UniGen::new(&config, &device).map(&mut Larger);
    let tokenizer = ImageTokenizer::new(&config.image_tokenizer, &device).expect("valid sizes");
    let generation = GenerationConfig { steps: 5, ..GenerationConfig::showo(16) };
    folder.write(json.as_bytes(), &model, &tokenizer, None, &generation, Precision::F32).expect("writes");
    let published = |path: &str| {
        let path = path.strip_prefix("llm.")?;
        Some(match path.strip_prefix("norm.") {
            Some(parameter) => format!("showo.model.final_layernorm.{parameter}"),
            None if path.starts_with("lm_head.") => format!("showo.{path}"),
            None => format!("showo.model.{path}"),
        })
    };
    let own = path.join("own.safetensors");
    fs::rename(path.join(ModelFolder::MODEL), &own).expect("moves");
    save(&model, &path.join(ModelFolder::MODEL), Precision::F32, published, HashMap::new()).expect("writes");
    temporary
}

fn open(folder: &Path) -> Engine {
    Engine::open(folder, &Device::flex()).expect("opens")
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 9) as u8, (y * 11) as u8, 80]))
}

#[test]
fn published_names_and_ours_are_the_same_model() {
    let folder = folder();
    let path = folder.path();
    let config = ModelConfig::read(path).expect("reads");
    let published = Checkpoint::open(&path.join(ModelFolder::MODEL)).expect("opens");
    assert!(published.contains("showo.model.layers.1.self_attn.q_layernorm.bias"));
    assert!(
        published.contains("showo.model.final_layernorm.weight") && published.contains("showo.lm_head.bias")
    );
    assert_eq!(showo_decoder(&published).expect("a Show-o"), config.decoder);

    let request = [GenerateRequest { prompt: "a red apple".into(), seed: 3 }];
    let draw = |engine: &Engine| {
        engine.draw_codes(&request, engine.generation(), async |_| Flow::Continue).block_on().expect("draws")
    };
    let theirs = draw(&open(path));
    let own = path.join("own.safetensors");
    let names = Checkpoint::open(&own).expect("opens");
    assert!(names.contains("llm.model.layers.0.mlp.fc1.weight") && names.contains("llm.lm_head.bias"));
    fs::rename(own, path.join(ModelFolder::MODEL)).expect("moves");
    assert_eq!(draw(&open(path)), theirs);
    // Without a head the parts do not fit, and the error names what is missing.
    let error = showo_decoder(&Checkpoint::open(&path.join(ModelFolder::IMAGE_TOKENIZER)).expect("opens"));
    assert!(error.expect_err("no decoder").to_string().contains("embed_tokens.weight"));
}

#[test]
fn a_show_o_draws_fills_extends_and_answers() {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(
        [Ability::Draw, Ability::Edit, Ability::Answer].map(|ability| engine.can(ability)),
        [true, false, true]
    );
    let settings = engine.generation().clone();
    let goes_on = async |_: StepReport<'_>| Flow::Continue;
    let request = |seed| GenerateRequest { prompt: "a red apple".into(), seed };
    let draw = |seed, settings: &GenerationConfig| {
        engine.generate(&request(seed), settings, goes_on).block_on().expect("draws")
    };
    assert_eq!(draw(1, &settings).dimensions(), (16, 16));
    assert_ne!(draw(1, &settings), draw(2, &settings));
    // Guidance, and draws from few codes, change what is drawn; as many as there are change nothing.
    let few = |top_k| GenerationConfig { top_k: Some(top_k), ..settings.clone() };
    assert_eq!(draw(1, &few(64)), draw(1, &settings));
    assert_ne!(draw(1, &few(2)), draw(1, &settings));
    assert_ne!(draw(1, &GenerationConfig { guidance_scale: 0.0, ..settings.clone() }), draw(1, &settings));
    let turbo = GenerationConfig::showo_turbo(16);
    assert_eq!((turbo.guidance_scale, turbo.steps, turbo.top_k), (0.0, 4, Some(200)));
    assert_eq!(draw(1, &turbo).dimensions(), (16, 16));

    let mask = RgbImage::from_fn(40, 24, |x, _| Rgb([if (8..16).contains(&x) { 255 } else { 0 }; 3]));
    let fill = InpaintRequest { image: picture(40, 24), mask, prompt: "a red apple".into(), seed: 1 };
    let codes = engine.inpaint_codes(&fill, &settings, goes_on).block_on().expect("fills");
    let filled = engine.inpaint_image(&fill, &codes).block_on().expect("fills");
    assert_eq!((filled.dimensions(), filled.get_pixel(30, 9)), ((40, 24), fill.image.get_pixel(30, 9)));

    let more = ExtendRequest {
        image: picture(16, 16),
        side: Side::Right,
        times: 2,
        prompt: "a red apple".into(),
        seed: 1,
    };
    let extended = engine.extend(&more, &settings, goes_on).block_on().expect("extends");
    assert_eq!(extended.dimensions(), (32, 16));

    let few = AnswerSettings { max_tokens: 5, ..AnswerSettings::default() };
    let ask = |image: &RgbImage, question: &str| {
        engine.ask(image, question, &few, async |_| Flow::Continue).block_on().expect("answers")
    };
    let answer = ask(&picture(30, 20), "what is it?");
    assert_eq!(answer, ask(&picture(30, 20), "what is it?"));
    assert!(answer.mean_log_probability < 0.0);
    assert_ne!(answer, ask(&RgbImage::new(30, 20), "what is it?"));
    assert_ne!(answer, ask(&picture(30, 20), "what colour is it?"));

    let edit = EditRequest { image: picture(16, 16), instruction: "make it red".into(), seed: 0, mask: None };
    let error = engine.edit(&edit, &settings, goes_on).block_on().expect_err("takes no instructions");
    let text = error.to_string();
    assert_eq!(error.kind, ErrorKind::Weights);
    for words in
        ["draws pictures", "fills", "past its edges", "answers questions", "has not learned", "UniGen model"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Every architecture gives the same picture whether its prefix is cached, whatever else is packed beside it.
#[test]
fn every_architecture_caches_and_packs() {
    let nano = ModelConfig::preset("nano").expect("a preset");
    for kind in [DecoderKind::Qwen2, DecoderKind::Llama, DecoderKind::Phi] {
        let config = ModelConfig {
            decoder: DecoderConfig {
                kind,
                num_hidden_layers: 2,
                partial_rotary_factor: if kind == DecoderKind::Phi { 0.5 } else { 1.0 },
                tie_word_embeddings: kind != DecoderKind::Phi,
                ..nano.decoder.clone()
            },
            image_size: 32,
            ..nano.clone()
        };
        let device = Device::flex();
        let model = UniGen::new(&config, &device).map(&mut Larger);
        let prefix = |ids: &[i32]| Prefix::causal(model.llm.embed(Tensor::from_ints(ids, &device)));
        let texts = [prefix(&[5, 9, 30, 31, 7]), prefix(&[5, 40])];
        let draw = |way, which: &[usize]| {
            let cond = which.iter().map(|&i| texts[i].clone()).collect();
            let branches = text_guidance(2.0, cond, vec![prefix(&[5])]);
            let seeds = Seeds(which.iter().map(|&i| 10 + i as u64).collect());
            let targets = vec![vec![None; 16]; which.len()];
            let decoding = MaskedDecoding {
                path: way,
                ..MaskedDecoding::new(4, Order::Confidence { temperature: 1.0 })
            };
            let drawn = decoding.decode(&model, &branches, targets, [3, 4], &seeds, async |_| Flow::Continue);
            drawn.block_on().expect("draws")
        };
        let both = draw(Way::Cached, &[0, 1]);
        assert_eq!(both, draw(Way::Naive, &[0, 1]), "{kind:?}");
        assert_eq!(both, [draw(Way::Cached, &[0]), draw(Way::Naive, &[1])].concat(), "{kind:?}");
        assert_ne!(both[0], both[1], "{kind:?}");
    }
}
