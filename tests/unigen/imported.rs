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
