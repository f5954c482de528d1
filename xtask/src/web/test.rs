//! Engine, element and app in a real browser: builds the site, makes a small model, draws with it natively, and runs `tests/web`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Output, build, export};
use crate::Workspace;
use crate::steps::checked;
use crate::system::{install, quiet};

/// The prompt and the seeds that `tests/web/engine.test.js` draws, too.
const PROMPT: &str = "a photo of a red apple";
const SEEDS: [&str; 3] = ["0", "7", "12345"];

/// Two steps of training each, from which comes a model that is small and knows nothing.
const STAGES: [(&str, &[&str]); 4] = [
    (
        "tokenizer",
        &[
            "size=16",
            "model.ch=4",
            "model.encoder_ch_mult=[1,2]",
            "model.encoder_num_res_blocks=[1,1]",
            "model.decoder_ch_mult=[1,2]",
            "model.decoder_num_res_blocks=[1,1]",
            "model.norm_groups=2",
            "model.z_channels=6",
            "model.code_groups=[3,3]",
            "discriminator_width=4",
            "training.batch=4",
        ],
    ),
    (
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
    ),
    (
        "pretrain",
        &[
            "image_tokenizer=tokenizer/export",
            "codes=codes",
            "pictures=8",
            "model.image_size=16",
            "model.code_groups=[3,3]",
            "model.text_vocab=300",
            "model.decoder.vocab_size=300",
            "model.decoder.hidden_size=32",
            "model.decoder.intermediate_size=48",
            "model.decoder.num_hidden_layers=2",
            "training.batch=6",
        ],
    ),
    (
        "sft",
        &[
            "model=pretrain/export",
            "vision=vision/export",
            "codes=codes",
            "pictures=8",
            "edit_codes=edit-codes",
            "edits=8",
            "training.batch=8",
        ],
    ),
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
    for (stage, settings) in STAGES {
        let mut train = unigen();
        train.args(["train", stage, "--precision", "f32", "--out", stage, "--set", "training.steps=2"]);
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
