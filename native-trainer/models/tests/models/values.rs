//! Every value arrives, and what arrives can be used.

use super::*;
use hub::{ROWS, TOKENS, values};
use pollster::FutureExt;
use std::collections::BTreeSet;
use unigen_core::Device;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{AnswerSettings, EditRequest, Engine, GenerateRequest, ModelFolder};
use unigen_core::image::RgbImage;
use unigen_core::sampling::Flow;
use unigen_core::text::TextTokenizer;
use unigen_core::weights::{BlockFormat, Checkpoint, ElementType, Precision};
use unigen_models::Origin;

/// Compares every tensor of the model in `folder` with the parts in `hub`. `rename` gives a name of the model from one of the
/// decoder, `bound` is the error that a tensor may have beside its values, both as root mean squares.
fn compare(folder: &Path, hub: &Path, decoder: &str, rename: impl Fn(&str) -> String, bound: f64) {
    let near = |name: &str, found: &[f32], wanted: &[f32]| {
        assert_eq!(found.len(), wanted.len(), "{name}");
        let power = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
        let error = power(&mut found.iter().zip(wanted).map(|(a, b)| a - b));
        let relative = (error / power(&mut wanted.iter().copied()).max(1e-30)).sqrt();
        assert!(relative <= bound, "{name}: differs by {relative}");
    };
    let model = values(&folder.join("model.safetensors"));
    let mut seen = BTreeSet::new();
    for (name, (wanted, shape)) in values(&hub.join(decoder)) {
        let name = rename(&name);
        let (found, found_shape) = &model[&name];
        assert_eq!(found_shape[1..], shape[1..], "{name}");
        near(&name, &found[..wanted.len().min(found.len())], &wanted);
        seen.insert(name);
    }
    let new: Vec<_> = model.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(new.iter().all(|name| name.starts_with("mm_projector.")), "{new:?}");

    let tokenizer = values(&folder.join("image_tokenizer.safetensors"));
    for (name, (wanted, _)) in values(&hub.join("magvitv2")) {
        // The signs of all codes, which follow from their number.
        if name != "quantize.embedding" {
            near(&name, &tokenizer[&name].0, &wanted);
        }
    }
    if !folder.join("vision.safetensors").exists() {
        return;
    }
    let vision = values(&folder.join("vision.safetensors"));
    let published = values(&hub.join("siglip2"));
    let tower: Vec<_> = published.iter().filter(|(name, _)| name.starts_with("vision_model.")).collect();
    assert_eq!(vision.len(), tower.len());
    for (name, (wanted, _)) in tower {
        near(name, &vision[name].0, wanted);
    }
}

/// Draws, edits and asks once.
fn works(folder: &Path) {
    let (engine, picture, settings) = draws_and_answers(folder);
    let edit = EditRequest { image: picture, instruction: "make it green".into(), seed: 1, mask: None };
    engine.edit(&edit, &settings, async |_| Flow::Continue).block_on().unwrap();
}

/// Draws and asks once.
fn draws_and_answers(folder: &Path) -> (Engine, RgbImage, GenerationConfig) {
    let engine = Engine::open(folder, &Device::flex()).unwrap();
    let side = engine.config().image_size as u32;
    let settings = GenerationConfig { steps: 2, edit_steps: 2, ..engine.generation().clone() };
    let request = GenerateRequest { prompt: "a red apple".into(), seed: 1 };
    let image =
        engine.generate_batch(&[request], &settings, async |_| Flow::Continue).block_on().unwrap().remove(0);
    assert_eq!(image.dimensions(), (side, side));
    let picture = RgbImage::from_fn(side, side, |x, y| [x as u8 * 9, y as u8 * 7, 90].into());
    let short = AnswerSettings { max_tokens: 3, ..AnswerSettings::default() };
    engine.ask(&picture, "what is this?", &short, async |_| Flow::Continue).block_on().unwrap();
    (engine, picture, settings)
}

#[test]
fn parts_become_a_model() {
    let hub = Hub::new();
    let folder = written(parts(hub.path()).read(), Storage::default());
    assert_eq!(names(folder.path()), ["model"]);
    let model = folder.path().join("model");
    compare(&model, hub.path(), "qwen2", |name| format!("llm.{name}"), 0.0);
    works(&model);

    // The published rows, then new ones near their mean, no two alike.
    let (table, shape) =
        values(&model.join("model.safetensors")).remove("llm.model.embed_tokens.weight").unwrap();
    let vocabulary = TOKENS + 9 + 64 + 1;
    assert_eq!(shape, [vocabulary, 64]);
    let (old, new) = table.split_at(ROWS * 64);
    for column in 0..64 {
        let of = |rows: &[f32]| rows.iter().skip(column).step_by(64).copied().collect::<Vec<f32>>();
        let (old, new) = (of(old), of(new));
        let mean = old.iter().sum::<f32>() / old.len() as f32;
        let deviation = (old.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / old.len() as f32).sqrt();
        assert!(new.iter().all(|x| (x - mean).abs() < 0.03 * deviation), "column {column}");
    }
    let different: BTreeSet<Vec<u32>> =
        new.chunks(64).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
    assert_eq!(different.len(), vocabulary - ROWS);

    let parts = ModelFolder::at(&model).parts().unwrap();
    let special = parts.config.special_tokens;
    assert_eq!((special.soi, special.eoi, special.t2i), (300, 301, 304));
    assert_eq!((special.mmu, special.chat.unwrap().ti2i), (305, 307));
    assert_eq!((parts.config.text_vocab, parts.config.mask_token_id()), (309, vocabulary - 1));
    let json = std::fs::read(model.join("tokenizer.json")).unwrap();
    assert_eq!(TextTokenizer::with_image_tokens(&json).unwrap().1, 309);
    assert_eq!(Origin::of(&model).unwrap().kind, "parts");
}

#[test]
fn a_seed_gives_the_same_model() {
    let hub = Hub::new();
    let bytes = |seed| {
        let folder = written(Parts { seed, ..parts(hub.path()) }.read(), Storage::default());
        std::fs::read(folder.path().join("model/model.safetensors")).unwrap()
    };
    let first = bytes(0);
    assert!(first == bytes(0) && first != bytes(1));
}

#[test]
fn a_unigen_checkpoint_becomes_a_model() {
    let hub = Hub::new();
    let folder = written(whole(hub.path()).read(), Storage::default());
    let model = folder.path().join("model");
    compare(&model, hub.path(), "unigen", str::to_owned, 0.0);
    works(&model);
    let drawing = Whole { vision: None, ..whole(hub.path()) };
    let folder = written(drawing.read(), Storage::default());
    assert!(!Engine::open(&folder.path().join("model"), &Device::flex()).unwrap().sees());
}

/// The name in the model of a tensor of Show-o.
fn of_showo(name: &str) -> String {
    name.replace("showo.", "llm.").replace("final_layernorm", "norm")
}

#[test]
fn a_show_o_checkpoint_becomes_a_model() {
    let own = Hub::new();
    for hub in [Some(own.path().to_owned()), shared()].into_iter().flatten() {
        let folder = written(showo(&hub).read(), Storage::default());
        let model = folder.path().join("model");
        compare(&model, &hub, "show-o", of_showo, 0.0);
        draws_and_answers(&model);
        let generation = ModelFolder::at(&model).parts().unwrap().generation;
        assert_eq!((generation.steps, generation.guidance_scale, generation.top_k), (16, 5.0, None));
        let turbo = ShowO { turbo: true, ..showo(&hub) };
        let q4 = Storage { quantize: Some(BlockFormat::Q4_0), precision: None };
        let folder = written(turbo.read(), q4);
        let model = folder.path().join("model");
        compare(&model, &hub, "show-o", of_showo, 0.12);
        draws_and_answers(&model);
        let generation = ModelFolder::at(&model).parts().unwrap().generation;
        assert_eq!((generation.steps, generation.guidance_scale, generation.top_k), (4, 0.0, Some(200)));
    }
}

#[test]
fn layers_are_quantised_and_precisions_kept_to() {
    let hub = Hub::new();
    for (format, bound) in [(BlockFormat::Q4_0, 0.12), (BlockFormat::Q8_0, 0.006)] {
        let storage = Storage { quantize: Some(format), precision: None };
        let folder = written(whole(hub.path()).read(), storage);
        let model = folder.path().join("model");
        compare(&model, hub.path(), "unigen", str::to_owned, bound);
        let weights = Checkpoint::open(&model.join("model.safetensors")).unwrap();
        let found = |name: &str| weights.element_type(name).unwrap().clone();
        let layer = "llm.model.layers.0.";
        assert_eq!(found(&format!("{layer}mlp.up_proj.weight")), ElementType::Blocks(format));
        assert_eq!(found(&format!("{layer}input_layernorm.weight")), ElementType::Bf16);
        assert_eq!(found("llm.model.embed_tokens.weight"), ElementType::Bf16);
        let vision = Checkpoint::open(&model.join("vision.safetensors")).unwrap();
        let found = |name: &str| vision.element_type(name).unwrap().clone();
        // 48 columns are not whole blocks.
        assert_eq!(found("vision_model.encoder.layers.0.self_attn.q_proj.weight"), ElementType::F16);
        works(&model);
    }
    for precision in [Precision::F16, Precision::Bf16] {
        let folder =
            written(parts(hub.path()).read(), Storage { quantize: None, precision: Some(precision) });
        let model = folder.path().join("model");
        compare(&model, hub.path(), "qwen2", |name| format!("llm.{name}"), 0.005);
        let weights = Checkpoint::open(&model.join("image_tokenizer.safetensors")).unwrap();
        assert!(weights.names().all(|name| *weights.element_type(name).unwrap() == precision.into()));
    }
}

/// Parts as other programs wrote them, PyTorch's `.bin` among them.
#[test]
fn shared_parts_become_a_model() {
    let Some(hub) = shared() else { return };
    let folder = written(parts(&hub).read(), Storage::default());
    compare(&folder.path().join("model"), &hub, "qwen2", |name| format!("llm.{name}"), 0.0);
    works(&folder.path().join("model"));
    let q4 = Storage { quantize: Some(BlockFormat::Q4_0), precision: None };
    let folder = written(parts(&hub).read(), q4);
    compare(&folder.path().join("model"), &hub, "qwen2", |name| format!("llm.{name}"), 0.12);
    works(&folder.path().join("model"));
}

/// A GGUF file brings its sizes; this one has no tokenizer.
#[test]
fn a_gguf_file_becomes_a_decoder() {
    let Some(hub) = shared() else { return };
    let file = hub.join("../gguf-a/model.gguf");
    let own = Hub::new();
    let gguf =
        Parts { decoder: file.clone(), tokenizer: Some(own.path().join("qwen2")), ..parts(own.path()) };
    let rows = Checkpoint::open(&file).unwrap().shape("token_embd.weight").unwrap()[0];
    if rows < TOKENS {
        let error = gguf.read().err().unwrap().to_string();
        assert!(error.contains(&format!("{rows} rows")), "{error}");
        return;
    }
    let folder = written(gguf.read(), Storage::default());
    works(&folder.path().join("model"));
}
