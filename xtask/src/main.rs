//! The build tool: `cargo xtask test [web | parity] | lint | scripts | stacks | web | measure | demo | export | help`. Plain cargo; nothing to install first.

mod steps;
mod system;
mod verify;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use steps::Steps;

const HELP: &str = "\
cargo xtask COMMAND

  test   every check in order: format, clippy, documentation, scripts, build, tests, parity with the reference models, and kernels,
         engine, element and app in Chromium
  test web
         only the last of these
  test parity
         only the comparison with the reference models
  lint   format, clippy, documentation, and types and habits of the web's scripts only
  scripts
         the scripts of the site and the npm package anew, around the wasm that is there: after a change to web/npm or web/site
  web    the site and the npm package, with the sizes of what a visitor downloads
  stacks the npm package in projects of React, Vue, Svelte, webpack and Next, each built and drawn in, and its types in theirs
  measure
         the same, and how long a visitor waits in Chromium: first paint, model ready, first and second image, by backend
  demo   the site with the shipped model, served on this machine and opened
  export MODEL OUT
         a model's folder as a site serves it
  help   this text

Environment:
  CARGO_TARGET_DIR  build folder; ~/.cache/unigen/target if unset
  UNIGEN_FIXTURES   folder of parity folders that are compared beside those in tests/parity; ../shared/fixtures if unset
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => Workspace::find().and_then(|w| test(&w)),
        ["test", "web"] => Workspace::find().and_then(|w| test_web(&w)),
        ["test", "parity"] => Workspace::find().and_then(|w| test_parity(&w)),
        ["lint"] => Workspace::find().and_then(|w| lint(&w)),
        ["scripts"] => Workspace::find().and_then(|w| web::scripts(&w)),
        ["stacks"] => Workspace::find().and_then(|w| web::stacks(&w)),
        ["web"] => Workspace::find().and_then(|w| web::run(&w)),
        ["measure"] => Workspace::find().and_then(|w| web::measure(&w)),
        ["demo"] => Workspace::find().and_then(|w| web::demo(&w)),
        ["export", model, out] => web::export(Path::new(model), Path::new(out)),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("xtask: unknown command `{}`\n\n{HELP}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where the sources are and where builds go.
pub struct Workspace {
    /// The repository root.
    pub root: PathBuf,
    /// The build folder of every cargo call that the build tool makes.
    pub target: PathBuf,
}

impl Workspace {
    /// The workspace that this build tool was compiled in.
    fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not in a workspace")?;
        // A relative CARGO_TARGET_DIR counts from where the user called cargo.
        let target = match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(dir)?,
            None => match std::env::home_dir() {
                Some(home) => home.join(".cache/unigen/target"),
                None => root.join("target"),
            },
        };
        Ok(Self { root: root.to_owned(), target })
    }

    /// `cargo args`, run in the repository root, building into [`Workspace::target`].
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// The binary `unigen` as [`BUILD`] leaves it.
    pub fn unigen(&self) -> Command {
        let name = format!("unigen{}", std::env::consts::EXE_SUFFIX);
        let mut command = Command::new(self.target.join("release").join(name));
        command.current_dir(&self.root);
        command
    }
}

// Burn with wgpu takes most of the time, so everything runs in the release profile with one set of features. The
// dependencies are compiled once (build, tests, parity and `cargo run --release` share that) and, as clippy needs their
// metadata without code, checked once (clippy and documentation share that). On two cores the check pass takes about
// 80 s from cold, documentation after it 3 s; the summary of `cargo xtask test` prints every time. Always the whole
// workspace: `-p unigen-core` alone lacks the feature `train` and would compile burn again.
const FORMAT: &[&str] = &["fmt", "--all", "--check"];
const CLIPPY: &[&str] = &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
const DOC: &[&str] = &["doc", "--release", "--workspace", "--no-deps"];
const BUILD: &[&str] = &["build", "--release", "--workspace", "--bins", "--tests"];
const BUILD_BINS: &[&str] = &["build", "--release", "--workspace", "--bins"];
const TEST: &[&str] = &["test", "--release", "--workspace", "--no-fail-fast"];

fn lint(workspace: &Workspace) -> Result<()> {
    system::check_toolchain(workspace)?;
    system::check_compiler()?;
    let mut steps = Steps::default();
    lint_steps(workspace, &mut steps);
    steps.finish()
}

fn lint_steps(workspace: &Workspace, steps: &mut Steps) {
    steps.command("format", workspace.cargo(FORMAT));
    steps.command("clippy", workspace.cargo(CLIPPY));
    let mut doc = workspace.cargo(DOC);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    steps.command("documentation", doc);
    steps.run("scripts", || web::lint(workspace));
}

fn test(workspace: &Workspace) -> Result<()> {
    system::check_toolchain(workspace)?;
    system::check_compiler()?;
    system::check_vulkan();
    let mut steps = Steps::default();
    lint_steps(workspace, &mut steps);
    if steps.command("build", workspace.cargo(BUILD)) {
        let mut tests = workspace.cargo(TEST);
        system::set_runtime_dir(workspace, &mut tests)?;
        steps.run("tokenizer", || {
            tests.env("QWEN_TOKENIZER", system::qwen_tokenizer(workspace)?);
            Ok(())
        });
        steps.command("tests", tests);
        steps.run("parity", || verify::run(workspace));
        steps.run("browser", || web::test(workspace));
    } else {
        for step in ["tokenizer", "tests", "parity", "browser"] {
            steps.skip(step, "the build failed");
        }
    }
    steps.finish()
}

fn test_parity(workspace: &Workspace) -> Result<()> {
    system::check_toolchain(workspace)?;
    system::check_compiler()?;
    let mut steps = Steps::default();
    if steps.command("build", workspace.cargo(BUILD_BINS)) {
        steps.run("parity", || verify::run(workspace));
    } else {
        steps.skip("parity", "the build failed");
    }
    steps.finish()
}

fn test_web(workspace: &Workspace) -> Result<()> {
    system::check_toolchain(workspace)?;
    system::check_compiler()?;
    let mut steps = Steps::default();
    if steps.command("build", workspace.cargo(BUILD)) {
        steps.run("browser", || web::test(workspace));
    } else {
        steps.skip("browser", "the build failed");
    }
    steps.finish()
}
