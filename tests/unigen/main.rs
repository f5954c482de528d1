//! Tests the binary `unigen` as a user runs it, with real files and tiny models. `cargo xtask test` builds it first.

mod bad_input;
mod broken_models;
mod examples;
mod imported;
#[cfg(unix)]
mod interrupted;
mod own;
mod pipeline;
#[path = "../tiny.rs"]
mod tiny;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;
use tiny::{PRETRAIN, SFT, TOKENIZER, VISION};

/// Settings of a tiny model for the stages that `tiny` omits.
const DETECTOR: &[&str] =
    &["size=32", "model.widths=[8,8,8]", "model.head=8", "model.groups=2", "training.batch=2"];
const ALIGN: &[&str] = &["model=sft/export", "training.batch=4"];

/// The binary, which lies two folders above this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = folder.join(format!("unigen{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing. Build it first: cargo build --release --workspace --bins (cargo xtask test does)",
        program.display()
    );
    program
}

/// A command `unigen ARGS` in `folder`.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command
}

/// The arguments of `unigen train STAGE --out OUT`, with the precision that makes runs equal to the bit.
fn train_args<'a>(stage: &'a str, out: &'a str, settings: &[&[&'a str]]) -> Vec<&'a str> {
    let set = settings.concat().into_iter().flat_map(|setting| ["--set", setting]);
    ["train", stage, "--precision", "f32", "--out", out].into_iter().chain(set).collect()
}

/// The exit code of a run and all of its output.
struct Ended {
    code: Option<i32>,
    text: String,
}

fn run(mut command: Command) -> Ended {
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    Ended { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}

fn unigen(folder: &Path, args: &[&str]) -> Ended {
    run(command(folder, args))
}

fn train(folder: &Path, stage: &str, out: &str, settings: &[&[&str]]) -> Ended {
    unigen(folder, &train_args(stage, out, settings))
}

impl Ended {
    /// The output of a run, which must succeed.
    #[track_caller]
    fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }

    /// Checks that the run failed with one message that contains all of `words`, and without a panic.
    #[track_caller]
    fn fails(self, words: &[&str]) {
        let Self { code, text } = self;
        assert_eq!(code, Some(1), "{text}");
        assert!(!text.contains("panicked") && text.matches("error: ").count() == 1, "{text}");
        for word in words {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    }
}

/// A folder with finished runs: `detector`, `tokenizer` and `model`, each with its `export`. Tests must not change it.
static RUNS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let steps: &[&str] = &["training.steps=3"];
    train(folder.path(), "detector", "detector", &[DETECTOR, steps]).succeeds();
    train(folder.path(), "tokenizer", "tokenizer", &[TOKENIZER, steps, &["adversarial_start=0"]]).succeeds();
    train(folder.path(), "pretrain", "model", &[PRETRAIN, steps]).succeeds();
    folder
});

/// A folder for one test with copies of the exports: `detector`, `tokenizer/export` and `model`.
fn exports() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (from, to) in [("detector", "detector"), ("tokenizer", "tokenizer/export"), ("model", "model")] {
        let to = folder.path().join(to);
        fs::create_dir_all(&to).expect("makes a folder");
        for file in fs::read_dir(RUNS.path().join(from).join("export")).expect("an export").flatten() {
            fs::copy(file.path(), to.join(file.file_name())).expect("copies");
        }
    }
    folder
}

fn size(path: &Path) -> (u32, u32) {
    image::image_dimensions(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Changes the header and the data of a safetensors file.
fn edit_weights(path: &Path, edit: impl FnOnce(&mut Value, &mut Vec<u8>)) {
    let bytes = fs::read(path).expect("weights");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let mut header = serde_json::from_slice(&bytes[8..8 + length]).expect("a JSON header");
    let mut data = bytes[8 + length..].to_vec();
    edit(&mut header, &mut data);
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length, header.as_bytes(), &data].concat()).expect("writes");
}
