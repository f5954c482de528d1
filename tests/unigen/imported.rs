//! Models that come from elsewhere: imported, found by name, trained on.

use super::*;
use serde_json::json;

/// A folder with published parts, tiny: `qwen2` as Hugging Face has one, `vision` and `tokenizer` as stages export them.
fn published() -> TempDir {
    let folder = exports();
    let path = folder.path();
    let steps: &[&str] = &["training.steps=1"];
    train(path, "vision", "runs/vision", &[VISION, steps]).succeeds();
    fs::rename(path.join("runs/vision/export"), path.join("vision")).expect("moves");
    let qwen2 = path.join("qwen2");
    fs::create_dir(&qwen2).expect("makes a folder");
    fs::copy(path.join("model/tokenizer.json"), qwen2.join("tokenizer.json")).expect("copies");
    let config: Value =
        serde_json::from_slice(&fs::read(path.join("model/config.json")).expect("reads")).expect("JSON");
    fs::write(qwen2.join("config.json"), config["decoder"].to_string()).expect("writes");
    fs::copy(path.join("model/model.safetensors"), qwen2.join("model.safetensors")).expect("copies");
    edit_weights(&qwen2.join("model.safetensors"), |header, _| {
        let tensors = std::mem::take(header.as_object_mut().expect("an object"));
        let renamed =
            tensors.into_iter().map(|(name, info)| (name.trim_start_matches("llm.").to_owned(), info));
        *header = json!(renamed.collect::<serde_json::Map<_, _>>());
    });
    folder
}

const PARTS: [&str; 10] = [
    "import",
    "parts",
    "--decoder",
    "qwen2",
    "--vision",
    "vision",
    "--image-tokenizer",
    "tokenizer/export",
    "--image-size",
    "16",
];

fn import(folder: &Path, more: &[&str]) -> Ended {
    let mut command = command(folder, &[&PARTS, more].concat());
    command.env("UNIGEN_MODELS", folder.join("models"));
    run(command)
}

#[test]
fn parts_are_imported_found_by_name_and_trained_on() {
    let folder = published();
    let path = folder.path();
    assert!(import(path, &["--out", "models/own"]).succeeds().contains("16 x 16 pixels"));
    import(path, &["--out", "models/small", "--quantize", "q4"]).succeeds();
    import(path, &[]).succeeds();
    assert_eq!(names(&path.join("models")), ["own", "qwen2", "small"]);
    let of_user = |args: &[&str]| {
        let elsewhere = path.join("runs");
        let mut command = command(&elsewhere, args);
        command.env("UNIGEN_MODELS", path.join("models"));
        run(command)
    };
    let list = of_user(&["models"]).succeeds();
    for words in
        [&["nano", "Apache-2.0"][..], &["own", "parts", "f16", "draws, edits, answers"], &["small", "q4_0"]]
    {
        let line = list.lines().find(|line| line.starts_with(words[0]));
        let line = line.unwrap_or_else(|| panic!("no {words:?} in: {list}"));
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    for model in ["own", "small"] {
        let steps = ["--steps", "2", "-o", "a.png"];
        of_user(&[&["generate", "a red apple", "--model", model], &steps[..]].concat()).succeeds();
        assert_eq!(size(&path.join("runs/a.png")), (16, 16));
        of_user(&["describe", "a.png", "--model", model, "--max-tokens", "3"]).succeeds();
        of_user(&["info", model]).succeeds();
    }
    let set: &[&str] = &["model=models/own", "vision=models/own", "training.steps=1", "training.batch=8"];
    let data: &[&str] = &["codes=codes", "pictures=8", "edit_codes=edit-codes", "edits=8"];
    train(path, "sft", "runs/sft", &[set, data]).succeeds();
    let drawn = ["--model", "runs/sft/export", "--steps", "2", "-o", "b.png"];
    unigen(path, &[&["generate", "a red apple"], &drawn[..]].concat()).succeeds();
}

#[test]
fn nano_is_found_wherever_the_program_is_called() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    unigen(folder.path(), &["generate", "a red apple", "--steps", "2", "-o", "a.png"]).succeeds();
    assert_eq!(size(&folder.path().join("a.png")), (96, 96));
    unigen(folder.path(), &["generate", "x", "--model", "absent"]).fails(&[
        "absent",
        "no such folder",
        "nano",
    ]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_no_model() {
    let folder = published();
    let path = folder.path();
    // A limit on the size of a process's files simulates a disk that fills up.
    let whole = fs::metadata(path.join("qwen2/model.safetensors")).expect("a file").len();
    let blocks = (whole / 2 / 512).to_string();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#, "sh", &blocks])
        .arg(program())
        .args(PARTS)
        .args(["--out", "models/own"])
        .current_dir(path);
    run(shell).fails(&["model.safetensors", "File too large", "try again"]);
    assert!(names(&path.join("models")).is_empty());
}

#[test]
fn pulls_of_what_is_not_there_are_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pull = |args: &[&str]| unigen(folder.path(), &[&["pull"], args].concat());
    assert!(pull(&[]).succeeds().contains("show-o-turbo-512"));
    pull(&["show-o-1024"]).fails(&["show-o-1024", "show-o-512", "owner/name"]);
    pull(&["owner/name"]).fails(&["owner/name", "--kind"]);
    pull(&["own/er/name", "--kind", "parts", "--vision", "a/b"]).fails(&["own/er/name", "owner/name"]);
    pull(&["owner/name", "--kind", "parts"]).fails(&["--vision"]);
}

/// Adapters beside weights of 4 bits go through the stages, from a model that settings and `--init` call by its name.
#[test]
fn adapters_are_trained_beside_quantised_weights() {
    let folder = published();
    let path = folder.path();
    import(path, &["--out", "models/own"]).succeeds();
    import(path, &["--out", "models/small", "--quantize", "q4"]).succeeds();
    let of_user = |args: &[&str]| {
        let mut command = command(path, args);
        command.env("UNIGEN_MODELS", path.join("models"));
        run(command)
    };
    let train = |stage: &str, out: &str, set: &[&[&str]]| of_user(&train_args(stage, out, set));
    let steps: &[&str] = &["training.steps=2", "training.batch=8"];
    let data: &[&str] = &["codes=codes", "pictures=8", "edit_codes=edit-codes", "edits=8"];
    let from: &[&str] = &["model=small", "vision=small"];
    let lora: &[&str] = &["lora.rank=2"];
    let refused = ["small", "Q4_0", "lora.rank=8", "--quantize none"];
    train("sft", "runs/full", &[from, data, steps]).fails(&refused);
    train("pretrain", "runs/a", &[&["start=small", "codes=codes", "pictures=8"], steps, lora]).succeeds();
    train("sft", "runs/b", &[from, data, steps, lora]).succeeds();
    train("align", "runs/c", &[&["model=small"], steps, lora]).succeeds();
    for export in ["runs/a/export", "runs/b/export", "runs/c/export"] {
        unigen(path, &["generate", "x", "--model", export, "--steps", "2", "-o", "a.png"]).succeeds();
    }
    // What was learned is in the export, and the adapters can be merged again from the checkpoint.
    let again = of_user(&["train", "sft", "--precision", "f32", "--out", "runs/b", "--export", "again"]);
    again.succeeds();
    let read = |export: &str| fs::read(path.join(export).join("model.safetensors")).expect("weights");
    assert_eq!(read("again"), read("runs/b/export"));
    assert_ne!(read("runs/a/export"), read("runs/b/export"));

    // Weights to start from have names, too.
    let own: &[&str] = &["model=own", "vision=own", "training.steps=1", "training.batch=8"];
    let started = |init: &str, out: &str| {
        of_user(&[train_args("sft", out, &[own, data]), vec!["--init", init]].concat())
    };
    started("own", "runs/e").succeeds();
    fs::write(
        path.join("all.toml"),
        "[[run]]\nname = \"sft\"\nsettings = { model = \"own\", vision = \"own\" }\n",
    )
    .expect("writes");
    let check = ["train", "check", "--config", "all.toml", "--card", "24GB,20TFLOPS"];
    assert!(of_user(&check).succeeds().contains("on the card"));
    unigen(path, &train_args("sft", "runs/g", &[&["model=nano", "vision=nano"]]))
        .fails(&["nano", "models/nano"]);
}

/// Pictures are filled and continued by the nano model, and by a Show-o where its files are beside the repository.
#[test]
fn pictures_are_filled_and_continued() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures-2/hub-a");
    // Models, and the sides of the pictures that they draw.
    let mut models = vec![("nano", 96)];
    if hub.is_dir() {
        let part = |name: &str| hub.join(name).display().to_string();
        let [checkpoint, images, text] = ["show-o", "magvitv2", "phi"].map(part);
        let parts = ["--image-tokenizer", &images, "--tokenizer", &text, "--out", "show-o"];
        unigen(path, &[&["import", "show-o", &checkpoint], &parts[..]].concat()).succeeds();
        models.push(("./show-o", 16));
    }
    let picture = image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8 * 9, 90]));
    picture.save(path.join("a.png")).expect("writes");
    // White on the left.
    let mask = image::RgbImage::from_fn(40, 24, |x, _| image::Rgb([if x < 16 { 255 } else { 0 }; 3]));
    mask.save(path.join("mask.png")).expect("writes");
    let read = |name: &str| image::open(path.join(name)).expect("a picture").to_rgb8();
    for (model, side) in models {
        let draw = |args: &[&str]| unigen(path, &[args, &["--model", model, "--steps", "2"]].concat());
        let fill = ["inpaint", "a.png", "a red apple", "--mask", "mask.png", "-o", "filled.png"];
        assert_eq!(draw(&fill).succeeds().lines().last(), Some("filled.png"));
        let filled = read("filled.png");
        assert_eq!(filled.dimensions(), (40, 24));
        let changed = |x: std::ops::Range<u32>| {
            x.flat_map(|x| (0..24).map(move |y| (x, y)))
                .filter(|&(x, y)| filled.get_pixel(x, y) != picture.get_pixel(x, y))
                .count()
        };
        assert!(changed(0..12) > 100, "{model} draws");
        assert_eq!(changed(28..40), 0, "{model} keeps");
        let first = fs::read(path.join("filled.png")).expect("a picture");
        draw(&fill).succeeds();
        assert_eq!(
            first,
            fs::read(path.join("filled.png")).expect("a picture"),
            "{model}: one seed, one picture"
        );

        let grow = |side: &str| {
            draw(&["extend", "a.png", "a red apple", "--side", side, "-o", "grown.png"]).succeeds();
            size(&path.join("grown.png"))
        };
        let (wide, high) = (grow("right"), grow("top"));
        // What is there is made as high, or as wide, as what the model draws.
        assert!(wide.0 > side * 40 / 24 && wide.1 == side, "{model}: {wide:?}");
        assert!(high.1 > side * 24 / 40 && high.0 == side, "{model}: {high:?}");
        draw(&["extend", "a.png", "x", "--times", "0", "-o", "b.png"]).fails(&["times"]);
        draw(&["inpaint", "a.png", "x", "--mask", "absent.png"]).fails(&["absent.png"]);
    }
}

/// The recipes for a model of 1.5 billion parameters fit the cards that they are for.
#[test]
fn recipes_of_full_size_fit_their_cards() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = folder.path().join("models/start");
    fs::create_dir_all(&start).expect("makes a folder");
    // As `unigen import parts` writes it for Qwen2.5-1.5B and SigLIP2 at 384 pixels.
    let config = json!({
        "decoder": {
            "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
            "num_key_value_heads": 2, "vocab_size": 159_867, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "tie_word_embeddings": true,
        },
        "vision": {
            "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
            "num_channels": 3, "num_patches": 256, "patch_size": 16, "layer_norm_eps": 1e-6,
        },
        "image_tokenizer": {}, "text_vocab": 151_674, "image_size": 384, "code_groups": [13],
        "special_tokens": {
            "endoftext": 151_643, "im_start": 151_644, "im_end": 151_645, "soi": 151_665, "eoi": 151_666,
            "t2i": 151_669, "mmu": 151_670, "ti2i": 151_672,
        },
    });
    fs::write(start.join("config.json"), config.to_string()).expect("writes");
    // Of the weights, the size alone counts.
    let weights = fs::File::create(start.join("model.safetensors")).expect("a file");
    weights.set_len(3_120_000_000).expect("a sparse file");
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/1.5b");
    for (recipe, card) in [("24gb.toml", "24GB,10TFLOPS"), ("8x80gb.toml", "80GB,10TFLOPS")] {
        let recipe = recipes.join(recipe).display().to_string();
        let text = unigen(folder.path(), &["train", "check", "--config", &recipe, "--card", card]).succeeds();
        for run in ["pretrain", "sft", "align", "rl"] {
            assert!(
                text.lines().any(|line| line.starts_with(run) && line.contains(" on the card, ")),
                "{text}"
            );
        }
    }
}
