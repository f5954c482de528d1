//! Every stage on a second world, one after another, as in a recipe.

use super::*;
use crate::shapes::{Shapes, quantize, token_folder};
use crate::train::{Stage, Start, run, settings};
use burn::tensor::Device;
use std::path::Path;
use unigen_core::engine::{Engine, ModelFolder};
use unigen_core::weights::Checkpoint;
use unigen_runs::RunFolder;

/// A tiny image tokenizer.
const TOKENIZER: [&str; 12] = [
    "size=16",
    "model.ch=4",
    "model.encoder_ch_mult=[1,2]",
    "model.encoder_num_res_blocks=[1,1]",
    "model.decoder_ch_mult=[1,2]",
    "model.decoder_num_res_blocks=[1,1]",
    "model.norm_groups=2",
    "model.z_channels=6",
    "discriminator_width=4",
    "adversarial_start=0.0",
    "teacher=\"any\"",
    "training.batch=4",
];

/// Takes two steps of a stage with these settings and returns its log.
fn trained<S: Stage>(folder: &Path, name: &str, set: &[&str]) -> Vec<unigen_runs::Record> {
    let at = |text: &str| text.replace("RUNS", &folder.display().to_string());
    let set: Vec<String> = ["training.steps=2", "training.evaluate_every=1", "training.warmup_steps=0"]
        .iter()
        .chain(set)
        .map(|text| at(text))
        .collect();
    let out = folder.join(name);
    let settings = settings::<S::Settings>(None, &set).unwrap();
    run::<S>(settings, &out, Start::New, &[Device::flex().into()]).unwrap();
    assert!(out.join("export").is_dir(), "{name}");
    RunFolder::open(&out).unwrap().records().unwrap()
}

/// Whether the log has a finite number of this name.
fn logged(log: &[unigen_runs::Record], name: &str) -> bool {
    let mut values = log.iter().filter_map(|record| record.scalars.get(name)?.as_f64());
    values.next().is_some_and(f64::is_finite)
}

#[test]
fn every_stage_trains_on_another_world() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    let log = trained::<TokenizerStage<Shapes>>(runs, "tokenizer", &TOKENIZER);
    for name in ["l1", "feature", "adversarial", "discriminator"] {
        assert!(logged(&log, name), "{name}");
    }
    // An exported tokenizer is trained further from what it has learned, beside a new discriminator.
    let still = ["training.steps=1", "training.evaluate_every=0", "training.learning_rate=1e-12"];
    let set: Vec<String> = TOKENIZER.into_iter().chain(still).map(str::to_owned).collect();
    let (exported, again) = (runs.join("tokenizer/export"), runs.join("again"));
    let start = Start::From(&exported);
    run::<TokenizerStage<Shapes>>(settings(None, &set).unwrap(), &again, start, &[Device::flex().into()])
        .unwrap();
    let weights = |folder: &Path| std::fs::read(folder.join(ModelFolder::IMAGE_TOKENIZER)).unwrap();
    assert!(weights(&again.join("export")) == weights(&exported), "it begins where the other ended");
    let log = trained::<VisionStage<Shapes>>(
        runs,
        "vision",
        &[
            "size=16",
            "vision.hidden_size=16",
            "vision.intermediate_size=24",
            "vision.num_hidden_layers=2",
            "vision.num_attention_heads=2",
            "vision.num_patches=16",
            "vision.patch_size=4",
            "text.hidden_size=16",
            "text.intermediate_size=24",
            "text.num_hidden_layers=1",
            "text.num_attention_heads=2",
            "text.num_key_value_heads=2",
            "text.vocab_size=300",
            "training.batch=4",
        ],
    );
    assert!(logged(&log, "patches") && logged(&log, "patches named"));
    // The other stages go on with the first.
    for (name, kind) in [("pretrain", "qwen2"), ("llama", "llama"), ("phi", "phi")] {
        let kind = format!("model.decoder.model_type=\"{kind}\"");
        let tied = format!("model.decoder.tie_word_embeddings={}", name != "phi");
        let log = trained::<PretrainStage<Shapes>>(
            runs,
            name,
            &[
                &tied,
                &kind,
                "image_tokenizer=\"RUNS/tokenizer/export\"",
                "codes=\"RUNS/codes\"",
                "pictures=8",
                "model.image_size=16",
                "model.code_groups=[3,3]",
                "model.text_vocab=300",
                "model.decoder.vocab_size=300",
                "model.decoder.hidden_size=32",
                "model.decoder.intermediate_size=48",
                "model.decoder.num_hidden_layers=2",
                "mix=[1,1,1]",
                "judge=\"any\"",
                "training.batch=6",
            ],
        );
        for part in ["generate", "describe", "text", "color"] {
            assert!(logged(&log, part), "{name}: {part}");
        }
        let weights = Checkpoint::open(&runs.join(name).join("export/model.safetensors")).unwrap();
        assert!(weights.contains("llm.model.layers.1.self_attn.q_proj.weight"), "{name}");
        Engine::open(&runs.join(name).join("export"), &Device::flex()).unwrap();
    }
    let log = trained::<SftStage<Shapes>>(
        runs,
        "sft",
        &[
            "model=\"RUNS/pretrain/export\"",
            "vision=\"RUNS/vision/export\"",
            "codes=\"RUNS/codes\"",
            "pictures=8",
            "edit_codes=\"RUNS/edit-codes\"",
            "edits=8",
            "mix=[1,1,1,1]",
            "training.batch=8",
        ],
    );
    for name in ["generate", "edit", "describe", "text", "held-out edit"] {
        assert!(logged(&log, name), "{name}");
    }
    let log =
        trained::<AlignStage<Shapes>>(runs, "align", &["model=\"RUNS/sft/export\"", "training.batch=8"]);
    assert!(logged(&log, "description") && logged(&log, "held-out description"));
    let log = trained::<RlStage<Shapes>>(
        runs,
        "rl",
        &[
            "model=\"RUNS/align/export\"",
            "rollout.samples=4",
            "rollout.steps=4",
            "judge=\"any\"",
            "training.batch=2",
        ],
    );
    for name in ["reward/color/generate", "reward/color/edit", "judge"] {
        assert!(logged(&log, name), "{name}");
    }
}

/// Every stage on files of the user's own holds some of them out, measures them, keeps its best checkpoint by them, and
/// says nothing of the world.
#[test]
fn validation_is_of_ones_own_samples() {
    use std::fs;
    let model = crate::shapes::model_folder();
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    let mut lines = [String::new(), String::new(), String::new(), String::new()];
    for number in 0..20 {
        let (before, after) = (format!("{number}.png"), format!("{number}-after.png"));
        for (name, level) in [(&before, 10 * number), (&after, 255 - 10 * number)] {
            image::RgbImage::from_pixel(32, 32, image::Rgb([200, level, 40])).save(runs.join(name)).unwrap();
        }
        let samples = [
            serde_json::json!({"image": before, "caption": format!("number {number}")}),
            serde_json::json!({"image": before, "question": "which number?", "answer": number.to_string()}),
            serde_json::json!({"before": before, "after": after, "instruction": "turn it", "description": "turned"}),
            serde_json::json!({"prompt": format!("draw number {number}")}),
        ];
        lines.iter_mut().zip(samples).for_each(|(lines, sample)| *lines += &format!("{sample}\n"));
    }
    for (name, lines) in ["captions", "questions", "edits", "prompts"].iter().zip(&lines) {
        fs::write(runs.join(name).with_extension("jsonl"), lines).unwrap();
    }
    let base = format!("model=\"{}\"", model.path().display());
    let (vision, images) =
        (base.replacen("model", "vision", 1), base.replacen("model", "image_tokenizer", 1));
    let captions = "data.shards=[\"RUNS/captions.jsonl\"]";
    let (edits, share) = ("triples=[\"RUNS/edits.jsonl\"]", "data.validation=0.1");
    let questions = "questions=[\"RUNS/questions.jsonl\"]";
    let checked = |log: &[unigen_runs::Record], name: &str, wanted: &[&str], sheets: &[&str]| {
        for number in wanted {
            assert!(logged(log, number), "{name}: {number}");
        }
        for absent in ["color", "patches named", "l1", "judge"] {
            let held_out = log.iter().filter(|record| !record.scalars.contains_key("loss"));
            assert!(
                held_out.filter_map(|record| record.scalars.get(absent)).count() == 0,
                "{name}: {absent}"
            );
        }
        for sheet in sheets {
            assert!(runs.join(name).join(format!("sheets/{sheet}-0000002.png")).exists(), "{name}: {sheet}");
        }
        assert!(runs.join(name).join("checkpoints/best.safetensors").exists(), "{name}");
    };
    let log = trained::<SftStage<Shapes>>(
        runs,
        "sft",
        &[
            &base,
            &vision,
            captions,
            edits,
            questions,
            share,
            "codes=\"RUNS/codes\"",
            "edit_codes=\"RUNS/edit-codes\"",
            "mix=[1,1,1,1]",
            "training.batch=8",
            "data.max_text=3",
        ],
    );
    let wanted = [
        "held-out generate",
        "held-out edit",
        "held-out describe",
        "held-out text",
        "held-out loss",
        "answers right",
        "data_share",
        "texts_cut",
    ];
    checked(&log, "sft", &wanted, &["samples", "edits", "answers"]);
    let log =
        trained::<AlignStage<Shapes>>(runs, "align", &[&base, captions, edits, share, "training.batch=8"]);
    checked(&log, "align", &["held-out description", "held-out rehearsal", "held-out loss"], &["edits"]);
    let log = trained::<PretrainStage<Shapes>>(
        runs,
        "pretrain",
        &[
            &images,
            captions,
            "data.validation=[\"RUNS/captions.jsonl\"]",
            "codes=\"RUNS/codes-2\"",
            "model.image_size=32",
            "model.code_groups=[4,4]",
            "model.text_vocab=300",
            "model.decoder.vocab_size=300",
            "model.decoder.hidden_size=32",
            "model.decoder.intermediate_size=48",
            "model.decoder.num_hidden_layers=2",
            "mix=[1,1,1]",
            "training.batch=6",
        ],
    );
    checked(&log, "pretrain", &["held-out generate", "held-out loss"], &["samples"]);
    let rollout = ["rollout.samples=4", "rollout.steps=4", "training.batch=2"];
    let prompts = "prompts=[\"RUNS/prompts.jsonl\"]";
    let log =
        trained::<RlStage<Shapes>>(runs, "rl", &[&[&base, prompts, edits, share], &rollout[..]].concat());
    checked(&log, "rl", &["held-out reward"], &["samples", "edits"]);
    // What is held out is not trained on, and nothing is held out where that is wished.
    let settings: sft::Settings =
        settings(None, &[captions, share].map(|text| text.replace("RUNS", &runs.display().to_string())))
            .unwrap();
    let pictures = sources::pictures(&Shapes, &settings.data, 0, sources::Origin::Own).unwrap();
    assert_eq!((pictures.training.count(), pictures.held_out.unwrap().count()), (Some(18), Some(2)));
    // A judge knows only its world, and files without a usable sample validate nothing.
    for (set, words) in [
        ("judge=\"any\"", "leave judge out"),
        ("data.validation=[\"RUNS/prompts.jsonl\"]", "has no sample of the kinds"),
        ("data.validation=0.9", "choose 0 to 0.5"),
    ] {
        let set =
            [captions, &base, &vision, set].map(|text| text.replace("RUNS", &runs.display().to_string()));
        let settings: sft::Settings = crate::train::settings(None, &set).unwrap();
        let error = SftStage::<Shapes>::open(&settings, &Device::flex().autodiff().into()).err().unwrap();
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
}

#[test]
fn reinforcement_learning_takes_prompts_and_edits_of_ones_own() {
    use std::fs;
    let model = crate::shapes::model_folder();
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    image::RgbImage::from_pixel(32, 32, image::Rgb([200, 40, 40])).save(runs.join("a.png")).unwrap();
    fs::write(
        runs.join("prompts.jsonl"),
        "{\"prompt\": \"a red apple\"}\n{\"prompt\": \"it\", \"description\": \"a blue apple\"}\n",
    )
    .unwrap();
    fs::write(
        runs.join("edits.jsonl"),
        "{\"before\": \"a.png\", \"after\": \"a.png\", \"instruction\": \"make it blue\", \"description\": \"a blue box\"}\n",
    )
    .unwrap();
    let at = format!("model=\"{}\"", model.path().display());
    let log = trained::<RlStage<Shapes>>(
        runs,
        "rl",
        &[
            &at,
            "prompts=[\"RUNS/prompts.jsonl\"]",
            "triples=[\"RUNS/edits.jsonl\"]",
            "rollout.samples=4",
            "rollout.steps=4",
            "training.batch=2",
        ],
    );
    assert!(logged(&log, "reward/color/generate") && logged(&log, "reward/color/edit"));
    let settings = rl::Settings {
        model: model.path().into(),
        prompts: vec![runs.join("edits.jsonl")],
        training: crate::train::Training { batch: 1, ..Default::default() },
        mix: [1, 0],
        ..Default::default()
    };
    let (stage, model) = RlStage::<Shapes>::open(&settings, &Device::flex().autodiff().into()).unwrap();
    let error = format!("{:#}", stage.update(&model, 0).err().unwrap());
    assert!(error.contains("edits.jsonl, line 1") && error.contains("no text \"prompt\""), "{error}");
}

/// Sixteen pictures, each with a caption of its own, as a user's file.
fn sixteen(folder: &Path) {
    let lines = (0..16_u8).map(|index| {
        let picture = image::RgbImage::from_fn(32, 32, |x, y| {
            let (x, y, index) = (x as u8, y as u8, u32::from(index));
            let hash = (u32::from(x / 8 + 4 * (y / 8)) + 1).wrapping_mul(0x9E37 + 2 * index).wrapping_mul(77);
            image::Rgb([(hash >> 8) as u8, (hash >> 4) as u8, hash as u8])
        });
        picture.save(folder.join(format!("{index}.png"))).unwrap();
        let name = ["red", "apple", "blue", "photo"].map(String::from);
        let caption = [index / 4, index % 4].map(|word| name[usize::from(word)].clone()).join(" ");
        serde_json::json!({ "image": format!("{index}.png"), "caption": caption }).to_string()
    });
    std::fs::write(folder.join("captions.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
}

/// Adapters beside a base in 4 bits learn sixteen pictures by heart. The checkpoint holds nothing else.
#[test]
fn adapters_beside_weights_of_4_bits_learn_pictures_by_heart() {
    let (folder, model) = (tempfile::tempdir().unwrap(), token_folder());
    quantize(model.path());
    sixteen(folder.path());
    let at = |text: &str| {
        let text = text.replace("RUNS", &folder.path().display().to_string());
        text.replace("MODEL", &model.path().display().to_string())
    };
    let set: Vec<String> = [
        "start=\"MODEL\"",
        "codes=\"RUNS/codes\"",
        "data.shards=[\"RUNS/captions.jsonl\"]",
        "mix=[1,0,0]",
        "drop_text=0.0",
        "lora.rank=32",
        "lora.alpha=64.0",
        "training.steps=700",
        "training.batch=16",
        "training.learning_rate=3e-3",
        "training.weight_decay=0.0",
        "training.warmup_steps=20",
        "training.gradient_checkpointing=true",
        "training.evaluate_every=0",
        "training.save_every=350",
    ]
    .map(at)
    .to_vec();
    let settings = settings::<pretrain::Settings>(None, &set).unwrap();
    let out = folder.path().join("run");
    run::<PretrainStage<Shapes>>(settings.clone(), &out, Start::New, &[Device::flex().into()]).unwrap();
    let log = RunFolder::open(&out).unwrap().records().unwrap();
    let losses: Vec<f64> = log.iter().filter_map(|record| record.scalars.get("generate")?.as_f64()).collect();
    let (first, last) = (losses[0], losses[losses.len() - 5..].iter().sum::<f64>() / 5.0);
    assert!(first > 4.0 && last < 0.1, "{first} {last}: {losses:?}");
    let names =
        |path: &Path| -> Vec<String> { Checkpoint::open(path).unwrap().names().map(String::from).collect() };
    let kept = names(&out.join("checkpoints/last.safetensors"));
    assert!(!kept.is_empty() && kept.iter().all(|name| name.contains(".adapter.")), "{kept:?}");
    // The export has the adapters in its weights, in f16.
    let export = Checkpoint::open(&out.join("export/model.safetensors")).unwrap();
    let layer = export.element_type("llm.model.layers.1.mlp.up_proj.weight").unwrap();
    assert_eq!(layer.to_string(), "F16");
    Engine::open(&out.join("export"), &Device::flex()).unwrap();
    // All weights of such a model cannot be trained.
    let full = pretrain::Settings { lora: None, ..settings };
    let error =
        run::<PretrainStage<Shapes>>(full, &folder.path().join("full"), Start::New, &[Device::flex().into()]);
    let error = format!("{:#}", error.unwrap_err());
    assert!(
        error.contains("Q4_0") && error.contains("lora.rank") && error.contains("--quantize none"),
        "{error}"
    );
}
