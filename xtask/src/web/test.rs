//! Tests kernels, engine, element and app in a real browser. Builds them, makes a small model, draws with it natively,
//! and runs `tests/web`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::build::Module;
use super::scripts::install_packages;
use super::toolchain::Toolchain;
use super::{Output, build, export};
use crate::Workspace;
use crate::steps::checked;
use crate::system::{install, quiet};

#[path = "../../../tests/tiny.rs"]
mod tiny;

use tiny::{PRETRAIN, SFT, TOKENIZER, VISION};

/// The prompts, and the number of seeds from 0 for each. `tests/web/one_image.test.js` draws the same.
const PROMPTS: &str = include_str!("../../../tests/web/prompts.json");
const SEEDS: &str = "4";

/// This module is optimised little, for a fast build. It runs once, and most of its time goes into the shaders.
const KERNELS: Module = Module {
    package: "unigen-kernel-tests",
    library: true,
    name: "unigen_kernel_tests",
    flags: &["-C", "lto=thin", "-C", "opt-level=0"],
};

/// The training runs of two steps each that make a small, untrained model: stage, folder of the run, settings.
const STAGES: [(&str, &str, &[&str]); 4] = [
    ("tokenizer", "tokenizer", TOKENIZER),
    ("vision", "vision", VISION),
    ("pretrain", "model", PRETRAIN),
    ("sft", "sft", SFT),
];

/// Runs the tests. `unigen` must have been built.
pub fn run(workspace: &Workspace) -> Result<()> {
    need_browser()?;
    let toolchain = Toolchain::find(workspace)?;
    let site = build(workspace, &toolchain)?;
    KERNELS.build(workspace, &toolchain, &site.kernels())?;
    let native = model(workspace, &site)?;
    let shots = workspace.target.join("web-test/shots");
    std::fs::create_dir_all(&shots)?;
    let mut node = node(workspace, &site)?;
    // The tests run one after another, since each uses all cores.
    node.args(["--test", "--test-concurrency=1"]);
    checked(node.env("UNIGEN_NATIVE", native).env("UNIGEN_SHOTS", format!("{}/", shots.display())))
}

/// Prints how long a visitor of the site waits. A model must have been exported into it.
pub fn measure(workspace: &Workspace, site: &Output) -> Result<()> {
    need_browser()?;
    checked(node(workspace, site)?.arg("measure.js"))
}

/// Uses the engine of the site under random faults for so many `minutes`. A model must have been exported into it.
pub fn faults(workspace: &Workspace, site: &Output, minutes: u32) -> Result<()> {
    need_browser()?;
    checked(node(workspace, site)?.arg("faults.js").arg(minutes.to_string()))
}

/// Builds the package into projects of several bundlers and frameworks, and draws in a page of each.
pub fn stacks(workspace: &Workspace, site: &Output) -> Result<()> {
    need_browser()?;
    install_packages(&workspace.root.join("tests/web"))?;
    let tests = workspace.root.join("tests/stacks");
    install_packages(&tests)?;
    checked(Command::new("node").arg("--test").current_dir(&tests).env("UNIGEN_SITE", site.site()))
}

/// A command for Node in `tests/web`, with its packages installed and the site in its environment.
fn node(workspace: &Workspace, site: &Output) -> Result<Command> {
    let tests = workspace.root.join("tests/web");
    install_packages(&tests)?;
    let mut node = Command::new("node");
    node.current_dir(&tests).env("UNIGEN_SITE", site.site());
    Ok(node)
}

/// Checks that Chromium is there, and installs it if possible.
fn need_browser() -> Result<()> {
    if quiet(Command::new("chromium").arg("--version")) { Ok(()) } else { install("chromium") }
}

/// Makes the model `tiny`, exports it into the site and draws with it. Returns the folder of the drawings.
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
    let prompts: Vec<String> = serde_json::from_str(PROMPTS).context("prompts.json")?;
    for device in ["cpu", "wgpu"] {
        let mut generate = unigen();
        generate
            .arg("generate")
            .args(&prompts)
            .args(["--model", "tiny", "--count", SEEDS, "--device", device]);
        generate
            .arg("--out")
            .arg(Path::new("native").join(device).with_extension("png"))
            .stdout(Stdio::null());
        checked(&mut generate)?;
    }
    export(&folder.join("tiny"), &site.site().join("model"))?;
    Ok(folder.join("native"))
}
