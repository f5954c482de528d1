//! From a model folder to images, and what is said about folders that are not right.

use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;
use unigen_core::config::{Config, DecoderConfig, GenerationConfig, ModelConfig, TokenizerConfig};
use unigen_core::engine::{Engine, GenerateRequest, ModelFolder, ModelParts};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::sampling::{Flow, StepReport};
use unigen_core::text::train_bpe;
use unigen_core::weights::{Precision, keys, save, tensors, write_tensors};
use unigen_core::{Error, ErrorKind, Result};

/// Images of 8 x 8 pixels in 4 x 4 codes of 6 bits.
fn config() -> ModelConfig {
    let nano = ModelConfig::preset("nano").expect("a preset");
    ModelConfig {
        decoder: DecoderConfig {
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 2,
            vocab_size: 300,
            ..nano.decoder
        },
        vision: None,
        image_tokenizer: TokenizerConfig {
            ch: 4,
            encoder_ch_mult: vec![1, 2],
            encoder_num_res_blocks: vec![1, 1],
            decoder_ch_mult: vec![1, 2],
            decoder_num_res_blocks: vec![1, 1],
            z_channels: 6,
            norm_groups: 2,
            ..nano.image_tokenizer
        },
        text_vocab: 300,
        image_size: 8,
        code_groups: vec![3, 3],
        ..nano
    }
}

fn bpe() -> Vec<u8> {
    train_bpe(["a photo of a red apple".to_owned(), "a photo of a dog".to_owned()], 300).expect("trains")
}

/// More tokens than the model has.
fn large_bpe() -> Vec<u8> {
    let text = "purple elephants wander beneath enormous umbrellas near quiet harbours ".repeat(2);
    train_bpe([text], 320).expect("trains")
}

fn model() -> UniGen {
    UniGen::new(&config(), &Device::flex())
}

fn image_tokenizer() -> ImageTokenizer {
    ImageTokenizer::new(&config().image_tokenizer, &Device::flex()).expect("valid sizes")
}

static GOOD: LazyLock<TempDir> = LazyLock::new(|| {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    ModelFolder::create(&temporary.path().join("nested/model"))
        .and_then(|folder| {
            let generation =
                GenerationConfig { guidance_scale: 2.0, steps: 5, ..GenerationConfig::default() };
            folder.write(&bpe(), &model(), &image_tokenizer(), None, &generation, Precision::F32)
        })
        .expect("writes");
    temporary
});

/// The good folder, whose files may not be changed.
fn good() -> std::path::PathBuf {
    GOOD.path().join("nested/model")
}

fn open(folder: &Path) -> Result<Engine> {
    Engine::open(folder, &Device::flex())
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| open(&good()).expect("opens"));

fn request(prompt: &str, seed: u64) -> GenerateRequest {
    GenerateRequest { prompt: prompt.into(), seed }
}

fn draw(prompt: &str, seed: u64, settings: &GenerationConfig) -> Result<RgbImage> {
    ENGINE.generate(&request(prompt, seed), settings, async |_| Flow::Continue).block_on()
}

/// The error of a copy of the good folder that `change` has changed.
fn error_after(change: impl FnOnce(&Path)) -> Error {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for file in fs::read_dir(good()).expect("reads").flatten() {
        fs::copy(file.path(), copy.path().join(file.file_name())).expect("copies");
    }
    change(copy.path());
    match open(copy.path()) {
        Ok(_) => panic!("the folder should be refused"),
        Err(error) => error,
    }
}

fn assert_says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(!error.fix.is_empty(), "{text}");
}

#[test]
fn a_negative_prompt_leads_away_where_there_is_guidance() {
    let with = |negative: &str, guidance_scale, seed| {
        let negative_prompt = negative.to_owned();
        let settings = GenerationConfig { negative_prompt, guidance_scale, ..ENGINE.generation().clone() };
        draw("a red apple", seed, &settings)
    };
    // A picture of random weights has few codes, which may be the same by chance.
    let differs = |seed| with("a dog", 3.0, seed).expect("draws") != with("", 3.0, seed).expect("draws");
    assert!((0..16).any(differs));
    assert_eq!(with(" ", 3.0, 1).expect("draws"), with("", 3.0, 1).expect("draws"));
    assert_eq!(with("a dog", 1.0, 1).expect("draws"), with("", 1.0, 1).expect("draws"));
    let error = with(&"a dog ".repeat(400), 3.0, 1).expect_err("is too long");
    assert_says(&error, &["negative prompt"]);
}

#[test]
fn a_seed_gives_an_image() {
    let settings = ENGINE.generation();
    assert_eq!((settings.guidance_scale, settings.steps, settings.temperature), (2.0, 5, 3.0));
    let image = draw("a red apple", 1, settings).expect("draws");
    assert_eq!(image.dimensions(), (8, 8));
    assert_eq!(image, draw(" a red apple\n", 1, settings).expect("draws"));
    assert_ne!(image, draw("a red apple", 2, settings).expect("draws"));
    let mut steps = 0;
    ENGINE
        .generate(&request("a dog", 1), settings, async |report: StepReport<'_>| {
            steps += 1;
            assert_eq!((report.step, report.steps), (steps, 5));
            let preview = report.preview().await.expect("codes");
            assert_eq!(ENGINE.images(&preview.codes).await.expect("a preview").len(), 1);
            Flow::Continue
        })
        .block_on()
        .expect("draws");
    assert_eq!(steps, 5);
}

#[test]
fn a_batch_draws_what_single_calls_draw() {
    let requests = [request("a red apple", 7), request("a dog", 3), request("a photo of a red dog", 7)];
    for guidance_scale in [2.0, 1.0, 0.0] {
        let settings = GenerationConfig { guidance_scale, ..ENGINE.generation().clone() };
        let together =
            ENGINE.draw_codes(&requests, &settings, async |_| Flow::Continue).block_on().expect("draws");
        for (request, codes) in requests.iter().zip(together) {
            let alone = ENGINE
                .draw_codes(std::slice::from_ref(request), &settings, async |_| Flow::Continue)
                .block_on();
            assert_eq!(alone.expect("draws"), [codes]);
        }
    }
    let none = ENGINE
        .generate_batch(&[], ENGINE.generation(), async |_| Flow::Continue)
        .block_on()
        .expect("nothing to do");
    assert!(none.is_empty());
}

#[test]
fn files_in_memory_are_as_good_as_a_folder() {
    let files = || |name: &str| fs::read(good().join(name)).ok();
    let parts = ModelParts::from_files(files()).expect("all files");
    let engine = Engine::new(parts, &Device::flex()).expect("a model");
    let draw = |engine: &Engine| {
        let request = request("a dog", 4);
        engine.generate(&request, engine.generation(), async |_| Flow::Continue).block_on().expect("draws")
    };
    assert_eq!(draw(&engine), draw(&ENGINE));
    assert!(!engine.sees());
    for file in ["config.json", "tokenizer.json", "model.safetensors", "image_tokenizer.safetensors"] {
        let parts = ModelParts::from_files(|name| files()(name).filter(|_| name != file));
        assert_says(&parts.err().expect("a file is missing"), &[file, "missing"]);
        let parts = ModelParts::from_files(|name| {
            files()(name).map(|bytes| if name == file { bytes[..bytes.len() / 2].into() } else { bytes })
        });
        assert_says(&parts.err().expect("half a file"), &[file]);
    }
}

/// Published models may have such a head even where their config.json ties it.
#[test]
fn a_head_that_differs_from_the_token_table_draws() {
    let (base, temporary) = (config(), tempfile::tempdir().expect("a temporary folder"));
    // One group of bits, so that codes are rows of the vocabulary.
    let config = ModelConfig {
        decoder: DecoderConfig { vocab_size: 300 + 64 + 1, tie_word_embeddings: false, ..base.decoder },
        code_groups: vec![6],
        ..base
    };
    let model = UniGen::new(&config, &Device::flex());
    let generation = GenerationConfig { steps: 5, edit_steps: 5, ..GenerationConfig::default() };
    let folder = ModelFolder::at(temporary.path());
    folder.write(&bpe(), &model, &image_tokenizer(), None, &generation, Precision::F32).expect("writes");
    let codes = |engine: &Engine| {
        let requests = [request("a dog", 4)];
        engine.draw_codes(&requests, &generation, async |_| Flow::Continue).block_on().expect("draws")
    };
    let wanted = codes(&open(temporary.path()).expect("opens"));
    ModelConfig { decoder: DecoderConfig { tie_word_embeddings: true, ..config.decoder }, ..config }
        .write(&temporary.path().join("config.json"))
        .expect("writes");
    let engine = open(temporary.path()).expect("opens");
    assert!(!engine.config().decoder.tie_word_embeddings);
    assert_eq!(codes(&engine), wanted);
    let files = |name: &str| fs::read(temporary.path().join(name)).ok();
    let engine = Engine::new(ModelParts::from_files(files).expect("all files"), &Device::flex());
    assert_eq!(codes(&engine.expect("a model")), wanted);

    // A copy of the token table is no head of its own.
    let mut weights = tensors(&model, keys::unigen);
    let named = |name: &str| weights.iter().position(|tensor| tensor.name == name).expect("is there");
    let (table, head) = (named("llm.model.embed_tokens.weight"), named("llm.lm_head.weight"));
    let table = (weights[table].values)().expect("values").into_owned();
    weights[head].values = Box::new(move || Ok(table.clone().into()));
    let path = temporary.path().join("model.safetensors");
    write_tensors(&path, Precision::F32, weights, HashMap::new()).expect("writes");
    assert!(open(temporary.path()).expect("opens").config().decoder.tie_word_embeddings);
}

#[test]
fn any_language_can_be_read() {
    for prompt in ["ein roter Apfel, größer", "一只红苹果", "🍎\u{0}\r\n<|im_end|>", "\u{feff}x"] {
        draw(prompt, 1, ENGINE.generation()).expect("draws");
    }
}

#[test]
fn bad_requests() {
    let good = ENGINE.generation().clone();
    let long = "apple ".repeat(200);
    let huge = "x".repeat(1 << 20);
    for (prompt, words) in [
        ("", ["prompt", "empty", "describe"]),
        (" \n\t", ["prompt", "empty", "describe"]),
        (long.as_str(), ["prompt", "at most 128", "shorten"]),
        (huge.as_str(), ["prompt", "1048576 bytes", "shorten"]),
    ] {
        let error = draw(prompt, 1, &good).expect_err("a bad prompt");
        assert_says(&error, &words);
        assert_eq!(error.kind, ErrorKind::Text);
    }
    for (settings, words) in [
        (GenerationConfig { steps: 0, ..good.clone() }, ["steps", "is 0", "1 to 16"]),
        (GenerationConfig { steps: 17, ..good.clone() }, ["steps", "is 17", "1 to 16"]),
        (GenerationConfig { edit_steps: 17, ..good.clone() }, ["edit_steps", "is 17", "1 to 16"]),
        (
            GenerationConfig { guidance_scale: f32::NAN, ..good.clone() },
            ["guidance_scale", "NaN", "0 to 100"],
        ),
        (
            GenerationConfig { guidance_scale: f32::INFINITY, ..good.clone() },
            ["guidance_scale", "inf", "100"],
        ),
        (GenerationConfig { guidance_scale: -1.0, ..good.clone() }, ["guidance_scale", "-1", "0 to 100"]),
        (GenerationConfig { temperature: f32::NAN, ..good.clone() }, ["temperature", "NaN", "0 to 100"]),
    ] {
        let error = draw("a dog", 1, &settings).expect_err("bad settings");
        assert_says(&error, &words);
        assert_eq!(error.kind, ErrorKind::Config);
    }
    let mut steps = 0;
    let cancel = async |_: StepReport<'_>| {
        steps += 1;
        Flow::Cancel
    };
    let cancelled = ENGINE.generate(&request("a dog", 1), &good, cancel).block_on();
    assert_eq!((cancelled.expect_err("cancelled").kind, steps), (ErrorKind::Cancelled, 1));
    for codes in [vec![0; 15], vec![64; 16], vec![]] {
        assert!(ENGINE.images(&[codes]).block_on().is_err());
    }
}

#[test]
fn missing_and_truncated_files_are_named() {
    let nothing = open(&good().join("absent")).err().expect("no such folder");
    assert_says(&nothing, &["absent", "no such folder"]);
    for file in ["config.json", "tokenizer.json", "model.safetensors", "image_tokenizer.safetensors"] {
        let missing = error_after(|folder| fs::remove_file(folder.join(file)).expect("removes"));
        assert_says(&missing, &[file]);
        let bytes = fs::read(good().join(file)).expect("reads");
        for length in [0, 1, 9, bytes.len() / 2, bytes.len() - 2] {
            let cut = error_after(|folder| fs::write(folder.join(file), &bytes[..length]).expect("writes"));
            assert_says(&cut, &[file]);
        }
        let folder = error_after(|folder| {
            fs::remove_file(folder.join(file)).expect("removes");
            fs::create_dir(folder.join(file)).expect("makes a folder");
        });
        assert_says(&folder, &[file.split('.').next().expect("a stem")]);
    }
}

#[test]
fn generation_json_is_optional_but_sound() {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for file in fs::read_dir(good()).expect("reads").flatten() {
        fs::copy(file.path(), copy.path().join(file.file_name())).expect("copies");
    }
    fs::remove_file(copy.path().join("generation.json")).expect("removes");
    assert_eq!(open(copy.path()).expect("opens").generation(), &GenerationConfig::default());
    for (json, word) in [
        ("", "EOF"),
        (r#"{"step": 4}"#, "unknown field `step`"),
        (r#"{"steps": 0}"#, "steps"),
        (r#"{"steps": 17}"#, "steps"),
        (r#"{"guidance_scale": 1e99}"#, "guidance_scale"),
        (r#"{"temperature": -1}"#, "temperature"),
    ] {
        let error = error_after(|folder| fs::write(folder.join("generation.json"), json).expect("writes"));
        assert_says(&error, &["generation.json", word]);
    }
}

#[test]
fn mislabelled_files_are_named() {
    let swapped = error_after(|folder| {
        fs::copy(folder.join("image_tokenizer.safetensors"), folder.join("model.safetensors"))
            .expect("copies");
    });
    assert_says(&swapped, &["model.safetensors", "embed_tokens.weight is missing"]);
    let swapped = error_after(|folder| {
        fs::copy(folder.join("model.safetensors"), folder.join("image_tokenizer.safetensors"))
            .expect("copies");
    });
    assert_says(&swapped, &["image_tokenizer.safetensors", "conv_in.weight is missing"]);
    let swapped = error_after(|folder| {
        fs::copy(folder.join("config.json"), folder.join("tokenizer.json")).expect("copies");
    });
    assert_says(&swapped, &["tokenizer.json"]);
    let swapped = error_after(|folder| {
        fs::copy(folder.join("tokenizer.json"), folder.join("config.json")).expect("copies");
    });
    assert_says(&swapped, &["config.json", "not a configuration"]);
    let larger = error_after(|folder| {
        fs::write(folder.join("tokenizer.json"), large_bpe()).expect("writes");
    });
    assert_says(&larger, &["tokenizer.json", "the model 300"]);
}

/// config.json after `change`.
fn with_config(change: impl Fn(&mut serde_json::Value)) -> Error {
    error_after(|folder| {
        let path = folder.join("config.json");
        let mut json = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
        change(&mut json);
        fs::write(path, json.to_string()).expect("writes");
    })
}

#[test]
fn wrong_sizes_are_named_and_cost_nothing() {
    for (pointer, value, words) in [
        ("/decoder/intermediate_size", 50, ["model.safetensors", "mlp", "[48, 32], wanted [50, 32]"]),
        // Weights of terabytes, were they ever made.
        ("/decoder/intermediate_size", 1 << 24, ["model.safetensors", "mlp", "[16777216, 32]"]),
        ("/decoder/num_hidden_layers", 4000, ["model.safetensors", "layers.2.", "is missing"]),
        ("/image_tokenizer/ch", 8, ["image_tokenizer.safetensors", "conv_in", "wanted"]),
        ("/image_tokenizer/ch", 1 << 15, ["image_tokenizer.safetensors", "conv_in", "wanted"]),
        ("/image_tokenizer/ch", 1 << 16, ["config.json", "image_tokenizer", "131072 channels"]),
        ("/decoder/num_attention_heads", 5, ["config.json", "num_attention_heads", "divisor"]),
        ("/decoder/hidden_size", 0, ["config.json", "hidden_size", "choose"]),
        ("/image_size", 1 << 14, ["config.json", "image_size", "codes"]),
        ("/image_size", 9, ["config.json", "image_size", "multiple of 2"]),
        ("/special_tokens/soi", 4, ["config.json", "special_tokens", "as soi is"]),
        ("/special_tokens/soi", 40, ["tokenizer.json", "soi is token 3", "config.json 40"]),
        ("/image_tokenizer/out_ch", 1, ["config.json", "out_ch", "is 1"]),
    ] {
        let error = with_config(|json| *json.pointer_mut(pointer).expect("the key") = value.into());
        assert_says(&error, &words);
    }
}

#[test]
fn not_a_number_names_the_tensor() {
    let error = error_after(|folder| {
        let path = folder.join("model.safetensors");
        let mut bytes = fs::read(&path).expect("reads");
        // The last tensor of the file.
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, bytes).expect("writes");
    });
    assert_says(&error, &["model.safetensors", "weight", "NaN", "earlier checkpoint"]);
}

#[test]
fn stages_write_their_own_files() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = ModelFolder::create(temporary.path()).expect("there");
    let (config, tokenizer) = (config().image_tokenizer, image_tokenizer());
    folder.write_image_tokenizer(&tokenizer, &config, Precision::Bf16).expect("writes");
    let (read, _) = folder.image_tokenizer(&Device::flex()).expect("opens");
    assert_eq!(read, config);
    let (whole, _) = ModelFolder::at(&good()).image_tokenizer(&Device::flex()).expect("opens");
    assert_eq!(whole, config);
    // It is no whole model.
    assert_says(&open(temporary.path()).err().expect("no model"), &["config.json"]);
    folder.write_model(&model(), Precision::F16).expect("writes");
    // A text tokenizer that does not fit is refused before anything is written.
    let generation = GenerationConfig::default();
    let written = folder.write(&large_bpe(), &model(), &tokenizer, None, &generation, Precision::F32);
    assert_says(&written.expect_err("too many tokens"), &["tokenizer.json"]);
    assert!(!temporary.path().join("tokenizer.json").exists());
    let blocked = ModelFolder::create(&temporary.path().join("config.json/x"));
    assert_says(&blocked.expect_err("a file is in the way"), &["cannot make the folder"]);
}

#[test]
fn half_precision_is_enough() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = ModelFolder::create(temporary.path()).expect("there");
    for precision in [Precision::F16, Precision::Bf16] {
        let generation = GenerationConfig::of(16);
        folder.write(&bpe(), &model(), &image_tokenizer(), None, &generation, precision).expect("writes");
        let engine = open(temporary.path()).expect("opens");
        engine
            .generate(&request("a dog", 1), &generation, async |_| Flow::Continue)
            .block_on()
            .expect("draws");
    }
    let sizes = save(&model(), &temporary.path().join("f32"), Precision::F32, keys::same, Default::default());
    sizes.expect("writes");
    let bytes = |file| fs::metadata(temporary.path().join(file)).expect("there").len();
    assert!(2 * bytes("model.safetensors") < bytes("f32") + 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn damaged_folders_are_no_panic(file in 0_usize..5, at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let names =
            ["config.json", "tokenizer.json", "generation.json", "model.safetensors", "image_tokenizer.safetensors"];
        let copy = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            fs::copy(good().join(name), copy.path().join(name)).expect("copies");
        }
        let path = copy.path().join(names[file]);
        let mut bytes = fs::read(&path).expect("reads");
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        fs::write(&path, bytes).expect("writes");
        if let Ok(engine) = open(copy.path()) {
            let _ = engine.generate(&request("a dog", 1), engine.generation(), async |_| Flow::Continue).block_on();
        }
    }
}
