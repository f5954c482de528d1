//! Engine, element and app in a real browser: builds the site, makes a small model, draws with it natively, and runs `tests/web`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Output, build, export};
use crate::Workspace;
use crate::steps::checked;
use crate::system::{install, quiet};

#[path = "../../../tests/tiny.rs"]
mod tiny;

use tiny::{PRETRAIN, SFT, TOKENIZER, VISION};

/// The prompt and the seeds that `tests/web/engine.test.js` draws, too.
const PROMPT: &str = "a photo of a red apple";
const SEEDS: [&str; 3] = ["0", "7", "12345"];

/// Two steps of training each, from which comes a model that is small and knows nothing: stage, folder of the run, settings.
const STAGES: [(&str, &str, &[&str]); 4] = [
    ("tokenizer", "tokenizer", TOKENIZER),
    ("vision", "vision", VISION),
    ("pretrain", "model", PRETRAIN),
    ("sft", "sft", SFT),
];

/// Runs the tests; `unigen` must have been built.
pub fn run(workspace: &Workspace) -> Result<()> {
    need_browser()?;
    let site = build(workspace)?;
    let tests = workspace.root.join("tests/web");
    checked(Command::new("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(&tests))?;
    let native = model(workspace, &site)?;
    let shots = workspace.target.join("web-test/shots");
    std::fs::create_dir_all(&shots)?;
    checked(
        Command::new("node")
            .arg("--test")
            .current_dir(&tests)
            .env("UNIGEN_SITE", site.site())
            .env("UNIGEN_NATIVE", native)
            .env("UNIGEN_SHOTS", format!("{}/", shots.display())),
    )
}

/// Chromium and node, installed where that is possible.
fn need_browser() -> Result<()> {
    if !quiet(Command::new("chromium").arg("--version")) {
        install("chromium")?;
    }
    if !quiet(Command::new("node").arg("--version")) || !quiet(Command::new("npm").arg("--version")) {
        bail!(
            "the tests in a browser need node 20 or newer with npm: install it from nodejs.org or your system"
        );
    }
    Ok(())
}

/// Makes the model `tiny`, exports it into the site and draws with it; gives the folder of the drawings.
fn model(workspace: &Workspace, site: &Output) -> Result<std::path::PathBuf> {
    let folder = workspace.target.join("web-test");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(folder.join("native"))?;
    let unigen = || {
        let mut unigen = workspace.unigen();
        unigen.current_dir(&folder);
        unigen
    };
    for (stage, out, settings) in STAGES {
        let mut train = unigen();
        train.args(["train", stage, "--precision", "f32", "--out", out, "--set", "training.steps=2"]);
        checked(train.args(settings.iter().flat_map(|setting| ["--set", setting])))?;
    }
    std::fs::rename(folder.join("sft/export"), folder.join("tiny"))?;
    for seed in SEEDS {
        let out = Path::new("native").join(format!("{seed}.png"));
        let mut generate = unigen();
        generate.args(["generate", PROMPT, "--model", "tiny", "--device", "cpu", "--seed", seed, "-o"]);
        checked(generate.arg(out))?;
    }
    export(&folder.join("tiny"), &site.site().join("model"))?;
    Ok(folder.join("native"))
}
