//! The pipeline from data to pictures and scores.

use super::*;
use std::fs::File;

#[test]
fn stages_build_on_each_other_up_to_pictures() {
    let folder = exports();
    let draw = |more: &[&str]| unigen(folder.path(), &[&["generate", "--model", "model"], more].concat());
    assert_eq!(draw(&["a red apple", "-o", "a.png"]).succeeds().trim(), "a.png");
    assert_eq!(size(&folder.path().join("a.png")), (16, 16));
    let read = |name: &str| fs::read(folder.path().join(name)).expect("a picture");
    draw(&["a red apple", "-o", "again.png"]).succeeds();
    assert_eq!(read("a.png"), read("again.png"));
    draw(&["a red apple", "a blue dog", "--count", "2", "-o", "b.png"]).succeeds();
    for name in ["b-1.png", "b-2.png", "b-3.png", "b-4.png"] {
        assert_eq!(size(&folder.path().join(name)), (16, 16));
    }
    assert_ne!(read("b-1.png"), read("b-2.png"));
    draw(&["a red apple", "--count", "4", "--sheet", "-o", "sheet.jpg"]).succeeds();
    assert!(size(&folder.path().join("sheet.jpg")).0 > 16);
    assert!(unigen(folder.path(), &["info", "model"]).succeeds().contains("token table"));

    let run = RUNS.path().join("model");
    assert_eq!(names(&run.join("checkpoints")), ["last.safetensors"]);
    assert_eq!(names(&run.join("sheets")), ["samples-0000003.png"]);
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let last = lines.rfind(|line| line.get("loss").is_some()).expect("a line with a loss");
    assert!(last["loss"].as_f64().is_some_and(f64::is_finite), "{last}");
}

/// A folder with all runs of [`RUNS`] and of the supervised stages after them: `vision`, `sft` and `align`.
pub static SEEING: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let steps: &[&str] = &["training.steps=2"];
    let model = RUNS.path().join("model/export").display().to_string();
    let model = format!("model={model}");
    train(folder.path(), "vision", "vision", &[VISION, steps]).succeeds();
    train(folder.path(), "sft", "sft", &[SFT, steps, &[&model]]).succeeds();
    train(folder.path(), "align", "align", &[ALIGN, steps]).succeeds();
    folder
});

#[test]
fn supervised_stages_build_on_each_other_up_to_edits_and_answers() {
    let folder = SEEING.path();
    assert_eq!(names(&folder.join("vision/export")), ["config.json", "vision.safetensors"]);
    let whole = [
        "config.json",
        "generation.json",
        "image_tokenizer.safetensors",
        "model.safetensors",
        "tokenizer.json",
        "vision.safetensors",
    ];
    for (stage, numbers) in [
        ("sft", &["answers right", "held-out generate", "held-out edit", "held-out describe"][..]),
        ("align", &["answers right", "held-out description"]),
    ] {
        assert_eq!(names(&folder.join(stage).join("export")), whole);
        let sheets = ["answers-0000002.png", "edits-0000002.png"];
        assert_eq!(names(&folder.join(stage).join("sheets")), sheets);
        let log = fs::read_to_string(folder.join(stage).join("log.jsonl")).expect("a log");
        for number in numbers {
            assert!(log.contains(number), "no {number} in {log}");
        }
    }
    // Parts that the stages do not train stay unchanged.
    let read = |file: &str| fs::read(folder.join(file)).expect("a file");
    for file in ["vision.safetensors", "image_tokenizer.safetensors", "tokenizer.json"] {
        assert_eq!(read(&format!("sft/export/{file}")), read(&format!("align/export/{file}")), "{file}");
    }
    assert_eq!(read("vision/export/vision.safetensors"), read("sft/export/vision.safetensors"));
    assert_ne!(read("sft/export/model.safetensors"), read("align/export/model.safetensors"));
}

#[test]
fn pictures_are_edited_and_described() {
    let (runs, folder) = (SEEING.path(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path();
    let model = runs.join("align/export").display().to_string();
    let save = |name: &str, width, height, level: u8| {
        let image = image::RgbImage::from_fn(width, height, |x, _| image::Rgb([x as u8 * 9, 80, level]));
        image.save(path.join(name)).expect("writes");
    };
    save("wide.jpg", 40, 20, 200);
    save("small.png", 3, 5, 10);
    let edit = |image: &str, more: &[&str]| {
        unigen(path, &[&["edit", image, "make it red", "--model", &model, "-o", "a.png"], more].concat())
    };
    for image in ["wide.jpg", "small.png"] {
        assert_eq!(edit(image, &[]).succeeds().trim(), "a.png");
        assert_eq!(size(&path.join("a.png")), (16, 16));
    }
    let read = || fs::read(path.join("a.png")).expect("a picture");
    let first = read();
    edit("small.png", &["--seed", "0"]).succeeds();
    assert_eq!(read(), first);
    edit("small.png", &["--guidance-scale", "1", "--image-guidance-scale", "1", "--steps", "3"]).succeeds();
    // White over all of a picture that is no square: all of it is drawn.
    image::RgbImage::from_pixel(3, 5, image::Rgb([255; 3])).save(path.join("mask.png")).expect("writes");
    edit("small.png", &["--mask", "mask.png"]).succeeds();
    assert_eq!(size(&path.join("a.png")), (3, 5));
    let mask =
        image::RgbaImage::from_fn(3, 5, |_, y| image::Rgba([255, 255, 255, if y < 3 { 255 } else { 0 }]));
    mask.save(path.join("mask.png")).expect("writes");
    edit("small.png", &["--mask", "mask.png"]).succeeds();
    assert_eq!(size(&path.join("a.png")), (3, 5));
    edit("wide.jpg", &["--mask", "mask.png"]).fails(&["mask", "3 x 5", "40 x 20", "over the picture"]);
    edit("absent.png", &[]).fails(&["absent.png: cannot read it", "check its name"]);
    edit("small.png", &["--image-guidance-scale", "nan"]).fails(&["image_guidance_scale", "0 to 100"]);
    fs::write(path.join("text.png"), "no picture").expect("writes");
    edit("text.png", &[]).fails(&["text.png", "plain text, not an image", "give a PNG"]);
    unigen(path, &["edit", "small.png", " ", "--model", &model]).fails(&[
        "instruction",
        "is empty",
        "say what",
    ]);

    let ask = |more: &[&str]| unigen(path, &[&["describe", "wide.jpg", "--model", &model], more].concat());
    let answer = ask(&["--max-tokens", "5"]).succeeds();
    assert_eq!(ask(&["describe the picture.", "--max-tokens", "5"]).succeeds(), answer);
    ask(&[""]).fails(&["question", "is empty", "ask about"]);
    ask(&["--max-tokens", "0"]).fails(&["max_tokens", "choose 1 to 4096"]);

    // A model from before the supervised stages draws, but cannot see.
    let blind = RUNS.path().join("model/export").display().to_string();
    for command in [&["edit", "small.png", "x"][..], &["describe", "small.png"]] {
        unigen(path, &[command, &["--model", &blind]].concat())
            .fails(&["vision.safetensors", "unigen train sft"]);
    }
    // A model that can see still draws.
    unigen(path, &["generate", "a dog", "--model", &model, "-o", "b.png"]).succeeds();
}

#[test]
fn supervised_stages_refuse_what_cannot_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = format!("model={}", RUNS.path().join("model/export").display());
    let encoder = format!("vision={}", SEEING.path().join("vision/export").display());
    let steps = "training.steps=1";
    for (stage, settings, words) in [
        ("sft", &["model=absent"][..], ["absent", "no such folder"]),
        ("sft", &[&model, "vision=absent"], ["absent", "no such folder"]),
        ("sft", &[&model, &encoder, "mix=[0,0,0,0]"], ["mix", "must be above 0"]),
        ("sft", &[&model, &encoder, "drop_both=0.99"], ["drop_instruction + drop_both", "not 0 to 1"]),
        ("sft", &[&model, &encoder, "edits=0"], ["pictures to encode is 0", "1 at least"]),
        ("align", &[&model], ["vision.safetensors", ""]),
        ("vision", &["vision.num_patches=15"], ["num_patches", "not a square number"]),
        ("vision", &["vision.num_channels=4"], ["num_channels", "pictures have 3"]),
        ("vision", &["size=0"], ["size is 0", "1 to 1024"]),
        ("vision", &["text.vocab_size=100"], ["vocab_size", "must be 264"]),
    ] {
        let base = match stage {
            "sft" => SFT,
            "align" => ALIGN,
            _ => VISION,
        };
        train(folder.path(), stage, "run", &[base, settings, &[steps]]).fails(&words);
    }
    assert!(!folder.path().join("run").exists());
}

/// A copy of the detector of [`RUNS`] in `folder`, with an accuracy that allows it to judge.
fn able_judge(folder: &Path) {
    let file = folder.join("judge.safetensors");
    fs::copy(RUNS.path().join("detector/export/detector.safetensors"), &file).expect("copies");
    edit_weights(&file, |header, _| header["__metadata__"]["accuracy"] = "0.99".into());
}

#[test]
fn a_model_that_sees_is_evaluated() {
    let (runs, folder) = (SEEING.path(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path();
    able_judge(path);
    let model = runs.join("align/export").display().to_string();
    let evaluate =
        |name: &str, more: &[&str]| unigen(path, &[&["eval", name, "--model", &model], more].concat());
    let judge = ["--detector", "judge.safetensors"];
    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(path.join(name)).expect("a report")).expect("JSON")
    };
    let more = [&judge[..], &["--each", "1", "--json", "edits.json", "--sheet", "edits.png"]].concat();
    let text = evaluate("imgedit", &more).succeeds();
    assert!(["compose", "oracle", "copy", "overall"].iter().all(|word| text.contains(word)), "{text}");
    let found = json("edits.json");
    assert_eq!(found["images"].as_array().map(Vec::len), Some(9));
    let between = |value: &Value| value.as_f64().is_some_and(|score| (1.0..=5.0).contains(&score));
    assert!(between(&found["overall"]) && between(&found["copy"]["overall"]), "{found}");
    assert!(between(&found["oracle"]["kinds"]["add"]["score"]), "{found}");
    assert!(size(&path.join("edits.png")).0 > 48);

    // A user's own edits of a picture.
    image::RgbImage::from_pixel(20, 16, image::Rgb([200, 40, 40])).save(path.join("a.png")).expect("writes");
    let dog = r#"{"objects": [{"class": "dog", "center": [0.5, 0.5], "size": 0.6}], "background": {"plain": "white"}, "style": "plain"}"#;
    let case =
        format!(r#"{{"type": "add", "before": "a.png", "instruction": "add a dog", "wanted": {dog}}}"#);
    fs::write(path.join("cases.jsonl"), &case).expect("writes");
    let more = [&judge[..], &["--cases", "cases.jsonl"]].concat();
    assert!(evaluate("imgedit", &more).succeeds().contains("add"));
    fs::write(path.join("cases.jsonl"), case.replace("a.png", "b.png")).expect("writes");
    evaluate("imgedit", &more).fails(&["cases.jsonl, line 1", "cannot read", "b.png"]);

    let text = evaluate("understanding", &["--each", "2", "--json", "answers.json"]).succeeds();
    assert!(["how_many", "majority", "overall"].iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(json("answers.json")["answers"].as_array().map(Vec::len), Some(10));
    let more = [&judge[..], &["--count", "3", "--size", "16", "--json", "codes.json"]].concat();
    assert!(evaluate("tokenizer", &more).succeeds().contains("class and color"));
    assert!(json("codes.json")["psnr"].as_f64().is_some_and(|psnr| psnr > 0.0));
    evaluate("tokenizer", &[&judge[..], &["--size", "17"]].concat()).fails(&["17 pixels", "multiples of 2"]);
    unigen(
        path,
        &["eval", "imgedit", "--model", &model, "--detector", &runs.join("absent").display().to_string()],
    )
    .fails(&["absent"]);
}

#[test]
fn a_recipe_is_checked_trained_and_gone_on_with() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let mut recipe = String::new();
    for (name, stage, base) in [
        ("judge", "detector", DETECTOR),
        ("tokenizer", "tokenizer", TOKENIZER),
        ("model", "pretrain", PRETRAIN),
        ("vision", "vision", VISION),
        ("sft", "sft", SFT),
        ("align", "align", ALIGN),
    ] {
        recipe += &format!("[[run]]\nname = \"{name}\"\nstage = \"{stage}\"\n");
        for setting in base.iter().chain(&["training.steps=2"]) {
            let (key, value) = setting.split_once('=').expect("key=value");
            let value = match key {
                "image_tokenizer" | "model" | "vision" | "codes" | "edit_codes" => {
                    format!("\"runs/{value}\"")
                }
                _ => value.to_owned(),
            };
            recipe += &format!("settings.{key} = {value}\n");
        }
    }
    fs::write(path.join("all.toml"), &recipe).expect("writes");
    let all = |what: &str| unigen(path, &["train", what, "--config", "all.toml", "--precision", "f32"]);
    let text = all("check").succeeds();
    for word in ["judge", "tokenizer", "sft", "align", "hours", " s "] {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!path.join("runs").exists());

    // A run that fails stops the recipe. The runs before it stay done.
    fs::write(path.join("all.toml"), recipe.replace("pictures = 8", "pictures = 0")).expect("writes");
    all("all").fails(&["the run model", "pictures to encode is 0", "train all --config all.toml"]);
    let log = |run: &str| fs::read_to_string(path.join("runs").join(run).join("log.jsonl")).expect("a log");
    let tokenizer = log("tokenizer");
    fs::write(path.join("all.toml"), &recipe).expect("writes");
    let text = all("all").succeeds();
    assert!(text.contains("tokenizer: done") && text.contains("sft: begins"), "{text}");
    assert_eq!(log("tokenizer"), tokenizer);
    assert!(path.join("runs/align/export/vision.safetensors").exists());
    assert_eq!(all("all").succeeds().matches(": done").count(), 6);

    // One page shows all runs.
    assert_eq!(unigen(path, &["runs", "runs"]).succeeds().trim(), "runs.html: 6 runs");
    let page = fs::read_to_string(path.join("runs.html")).expect("a page");
    assert!(page.contains("held-out edit") && page.contains("data:image/png;base64,"));
    unigen(path, &["runs", "absent"]).fails(&["absent holds no run"]);
    fs::write(path.join("all.toml"), "[[run]]\nname = \"sftt\"\n").expect("writes");
    all("all").fails(&["all.toml", "sftt", "the stages are detector, tokenizer"]);
}

#[test]
fn questions_and_edits_of_ones_own_with_small_matrices() {
    let (runs, folder) = (SEEING.path(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path();
    for (name, level) in [("a.png", 30), ("b.png", 220)] {
        image::RgbImage::from_pixel(20, 16, image::Rgb([level, 40, 40]))
            .save(path.join(name))
            .expect("writes");
    }
    let lines = |name: &str, text: &str| fs::write(path.join(name), text).expect("writes");
    lines("captions.jsonl", r#"{"image": "a.png", "caption": "my dark wall"}"#);
    lines("questions.jsonl", r#"{"image": "b.png", "question": "whose wall?", "answer": "mine"}"#);
    let triple =
        r#"{"before": "a.png", "instruction": "lighten it", "after": "b.png", "description": "a wall"}"#;
    lines("triples.jsonl", &format!("{triple}\n{}", triple.replace("b.png", "c.png")));
    let from = |part: &str| runs.join("align/export").display().to_string().replace("\\", "/") + part;
    let (model, vision) = (format!("model={}", from("")), format!("vision={}", from("")));
    let own = [
        &model,
        &vision,
        "training.steps=2",
        "training.accumulate=2",
        "lora.rank=2",
        r#"data.shards=["captions.jsonl"]"#,
        r#"questions=["questions.jsonl"]"#,
        r#"triples=["triples.jsonl"]"#,
    ];
    let text = train(path, "sft", "run", &[SFT, &own]).succeeds();
    assert!(text.contains("skipped: triples.jsonl, line 2") && text.contains("c.png"), "{text}");
    // The model has the same parts. All linear maps have changed, and nothing else.
    let read = |folder: PathBuf| {
        let bytes = fs::read(folder.join("model.safetensors")).expect("weights");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a JSON header");
        let of = |tensor: &Value| {
            let at = |i: usize| 8 + length + tensor["data_offsets"][i].as_u64().expect("an offset") as usize;
            bytes[at(0)..at(1)].to_vec()
        };
        let tensors = header.as_object().expect("an object").iter();
        tensors.filter(|(name, _)| *name != "__metadata__").map(|(name, t)| (name.clone(), of(t))).collect()
    };
    let before: std::collections::BTreeMap<String, Vec<u8>> = read(runs.join("align/export"));
    let after: std::collections::BTreeMap<String, Vec<u8>> = read(path.join("run/export"));
    assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
    let changed: Vec<_> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert!(!changed.is_empty() && changed.iter().all(|name| name.contains("_proj.")), "{changed:?}");
    unigen(path, &["generate", "my wall", "--model", "run/export", "-o", "a.png"]).succeeds();

    let own = [&model, "training.steps=1", "lora.rank=0"];
    train(path, "align", "bad", &[ALIGN, &own]).fails(&["lora.rank is 0", "1 to 1024"]);
    let own = [&model, "training.steps=1", r#"triples=["captions.jsonl"]"#];
    train(path, "align", "bad", &[ALIGN, &own]).fails(&["captions.jsonl, line 1", "no picture", "before"]);
    let own = [&model, "training.steps=1", r#"triples=["triples.jsonl"]"#];
    train(path, "align", "aligned", &[ALIGN, &own]).succeeds();
}

#[test]
fn an_export_can_be_made_again_from_the_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let to = folder.path().join("made").display().to_string();
    let run = RUNS.path().join("detector").display().to_string();
    unigen(folder.path(), &["train", "detector", "--precision", "f32", "--out", &run, "--export", &to])
        .succeeds();
    let [made, first] = [Path::new(&to), &RUNS.path().join("detector/export")]
        .map(|export| fs::read(export.join("detector.safetensors")).expect("a detector"));
    assert_eq!(made, first);
}

/// Two prompts in GenEval's format.
const PROMPTS: &str = r#"{"tag": "single_object", "include": [{"class": "apple", "count": 1}], "prompt": "a photo of an apple"}
{"tag": "colors", "include": [{"class": "dog", "count": 1, "color": "blue"}], "prompt": "a photo of a blue dog"}
"#;

fn geneval(folder: &Path, more: &[&str]) -> Ended {
    let start = [
        "eval",
        "geneval",
        "--model",
        "model",
        "--detector",
        "detector",
        "--prompts",
        "p.jsonl",
        "--samples",
        "2",
    ];
    unigen(folder, &[&start, more].concat())
}

/// Sets the detector's stated accuracy.
fn claim(folder: &Path, accuracy: &str) {
    edit_weights(&folder.join("detector/detector.safetensors"), |header, _| {
        header["__metadata__"]["accuracy"] = accuracy.into();
    });
}

#[test]
fn a_detector_that_is_often_wrong_may_not_judge() {
    let folder = exports();
    fs::write(folder.path().join("p.jsonl"), PROMPTS).expect("writes");
    geneval(folder.path(), &["--json", "scores.json"]).fails(&["detector", "0.98", "train it longer"]);
    for accuracy in ["0.9799", "NaN"] {
        claim(folder.path(), accuracy);
        geneval(folder.path(), &["--json", "scores.json"]).fails(&["detector", accuracy, "0.98"]);
    }
    assert!(!folder.path().join("scores.json").exists());
    claim(folder.path(), "very");
    geneval(folder.path(), &[]).fails(&["detector.safetensors", "accuracy"]);
    let judge = &["judge=detector", "training.steps=1"];
    claim(folder.path(), "0.5");
    train(folder.path(), "pretrain", "run", &[PRETRAIN, judge]).fails(&["judge", "0.5", "0.98"]);
}

#[test]
fn prompts_become_scores() {
    let folder = exports();
    claim(folder.path(), "0.99");
    fs::write(folder.path().join("p.jsonl"), PROMPTS).expect("writes");
    let text = geneval(folder.path(), &["--json", "scores.json", "--sheet", "sheet.png"]).succeeds();
    assert!(text.contains("0.9900") && text.contains("single_object") && text.contains("colors"), "{text}");
    let scores = fs::read(folder.path().join("scores.json")).expect("scores");
    let scores: Value = serde_json::from_slice(&scores).expect("JSON");
    assert_eq!(scores["samples"], 2);
    assert!(size(&folder.path().join("sheet.png")).0 > 16);

    // A prompt of a megabyte, which is more than a command line holds.
    let huge = PROMPTS.replace("a photo of an apple", &"apple ".repeat(1 << 18));
    fs::write(folder.path().join("p.jsonl"), huge).expect("writes");
    geneval(folder.path(), &[]).fails(&["prompt", "bytes", "at most 16384", "shorten"]);
}

/// Writes a shard of pictures. `None` stands for a broken one.
fn shard(path: &Path, pictures: &[Option<u8>]) {
    let mut tar = tar::Builder::new(File::create(path).expect("a file"));
    for (number, picture) in pictures.iter().enumerate() {
        let mut png = std::io::Cursor::new(Vec::new());
        let color = image::Rgb([picture.unwrap_or(0), 100, 200]);
        let image = image::RgbImage::from_pixel(40, 30, color);
        image.write_to(&mut png, image::ImageFormat::Png).expect("encodes");
        let mut png = png.into_inner();
        png.truncate(if picture.is_some() { png.len() } else { 30 });
        let caption = format!("my picture number {number}");
        for (ending, bytes) in [("png", &png[..]), ("txt", caption.as_bytes())] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{number:03}.{ending}"), bytes).expect("writes");
        }
    }
    tar.finish().expect("writes");
}

#[test]
fn shards_of_ones_own_are_data_too() {
    let folder = exports();
    let path = folder.path();
    unigen(path, &["data", "stickers", "--out", "stickers", "--count", "5", "--size", "16"]).succeeds();
    assert_eq!(names(&path.join("stickers")), ["preview.png", "stickers-000000.tar"]);
    shard(&path.join("own.tar"), &[Some(10), None, Some(90)]);
    let shards = r#"data.shards=["stickers/stickers-000000.tar", "own.tar"]"#;
    // Every sample is seen.
    let settings = &[shards, "training.steps=4"];
    train(path, "tokenizer", "run-tokenizer", &[TOKENIZER, settings]).succeeds();
    train(path, "pretrain", "run", &[PRETRAIN, settings, &["image_tokenizer=run-tokenizer/export"]])
        .succeeds();
    unigen(path, &["generate", "my picture", "--model", "run/export", "-o", "a.png"]).succeeds();
    assert_eq!(size(&path.join("a.png")), (16, 16));

    shard(&path.join("broken.tar"), &[None, None]);
    let broken = &[r#"data.shards=["broken.tar"]"#, "training.steps=1"];
    let words = ["samples in a row", "broken.tar", "cannot be decoded"];
    train(path, "tokenizer", "run-broken", &[TOKENIZER, broken]).fails(&words);
    fs::write(path.join("cut.tar"), &fs::read(path.join("own.tar")).expect("a shard")[..1124])
        .expect("writes");
    for (name, words) in
        [("cut.tar", ["cut.tar", "complete tar file"]), ("absent.tar", ["absent.tar", "cannot be read"])]
    {
        let shards = format!("data.shards=[\"{name}\"]");
        train(path, "tokenizer", "run-cut", &[TOKENIZER, &[&shards]]).fails(&words);
    }
}

/// Tiny nano rewards.
const REWARDS: &[&str] = &[
    "model.size=32",
    "model.tower.widths=[8,8,16]",
    "model.tower.blocks=[1,1]",
    "model.tower.groups=4",
    "model.verifier.widths=[8,8,16]",
    "model.verifier.blocks=[1,1]",
    "model.verifier.head=8",
    "model.verifier.groups=4",
    "model.decoder.hidden_size=16",
    "model.decoder.intermediate_size=32",
    "model.decoder.num_hidden_layers=1",
    "model.decoder.num_attention_heads=2",
    "model.decoder.num_key_value_heads=2",
    "model.decoder.vocab_size=300",
    "training.batch=4",
    "training.steps=2",
];

#[test]
fn rewards_lead_a_model_and_ablations_compare_ways_to_do_so() {
    let (runs, folder) = (SEEING.path(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path();
    able_judge(path);
    train(path, "rewards", "rewards", &[REWARDS]).succeeds();
    let text =
        unigen(path, &["eval", "rewards", "--rewards", "matcher=rewards/export", "--pairs", "4"]).succeeds();
    assert!(text.contains("matcher"), "{text}");

    let model = |stage: &str| runs.join(stage).join("export").display().to_string();
    let rl = |section: &str| {
        let member =
            |kind: &str| format!("[[{section}rewards]]\nkind = \"{kind}\"\nat = \"rewards/export\"\n");
        format!(
            "[{section}rollout]\nsamples = 2\nsteps = 2\n{}{}[{section}training]\nsteps = 2\nbatch = 2\n",
            member("matcher"),
            member("contrastive"),
        )
    };
    let head = format!("model = {:?}\njudge = \"judge.safetensors\"\n", model("align"));
    fs::write(path.join("rl.toml"), head + &rl("")).expect("writes");
    // With the default precision, the ratios of the first update must be 1.
    let train = ["train", "rl", "--config", "rl.toml", "--out", "rl"];
    // On one core, where nothing may wait for another thread.
    let mut on_one_core = command(path, &train);
    on_one_core.env("RAYON_NUM_THREADS", "1");
    assert!(run(on_one_core).succeeds().contains("trained 2 steps"));
    let log = fs::read_to_string(path.join("rl/log.jsonl")).expect("a log");
    for number in ["reward/matcher/generate", "reward/contrastive/edit", "flat_groups", "kl", "judge"] {
        assert!(log.contains(&format!("\"{number}\"")), "no {number} in {log}");
    }
    assert!(path.join("rl/export/vision.safetensors").exists());

    let head = format!(
        "unaligned = {:?}\naligned = {:?}\njudge = \"judge.safetensors\"\nseeds = [0]\nedits = 1\n",
        model("sft"),
        model("align")
    );
    fs::write(path.join("ablate.toml"), head + &rl("rl.")).expect("writes");
    let ablate = |arms: &str| {
        let arms = format!("arms={arms}");
        unigen(path, &["ablate", "--config", "ablate.toml", "--out", "ablate", "--set", &arms])
    };
    let text = ablate(r#"["aligned"]"#).succeeds();
    assert!(text.contains("RL on both lifts GenEval | +0.04 | - | not run yet"), "{text}");
    // With one more arm, the results that are there stay unchanged.
    let text = ablate(r#"["aligned", "aligned-both"]"#).succeeds();
    assert!(!text.contains("RL on both lifts GenEval | +0.04 | - |"), "{text}");
    let table = fs::read_to_string(path.join("ablate/table.md")).expect("a table");
    assert!(text.contains(&table) && table.lines().count() > 20, "{table}");
    ablate(r#"["sideways"]"#).fails(&["no arm sideways", "aligned-both-consistency"]);
    let other = ["ablate", "--config", "ablate.toml", "--out", "ablate", "--set", "edits=2"];
    unigen(path, &other).fails(&["other settings", "another folder"]);
}
