//! The build tool: `cargo xtask test [web | parity] | lint | scripts | stacks | web | measure | full-size | fuzz | sanitize | kill |
//! faults | demo | export | assets | help`. It is a plain cargo program, so nothing has to be installed first.

mod assets;
mod full_size;
mod fuzz;
mod kill;
mod sanitize;
mod steps;
mod system;
mod verify;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use steps::Steps;

const HELP: &str = "\
cargo xtask COMMAND

  test   run every check in order: format, clippy, documentation, scripts, build, tests, parity with the reference models, and the
         kernels, engine, element and app in Chromium
  test web
         run only the checks in Chromium
  test parity
         run only the comparison with the reference models
  lint   check format, clippy, documentation, and the types and style of the web's scripts
  scripts
         compile the scripts of the site and the npm package again, around the wasm that is there; enough after a change to
         web/npm or web/site
  web    build the site and the npm package, and print the sizes of what a visitor downloads
  stacks build the npm package in projects of React, Vue, Svelte, webpack and Next, draw in each, and check its types there
  measure
         build the site with the shipped model, and print how long a visitor waits in Chromium: first paint, model ready, first
         and second image, by backend
  full-size [NAME]
         make models of full size with random weights, import them in 4 bits, draw in two steps, and print memory and seconds
  fuzz [TARGET] [--inputs N] [--keep]
         give every loader a million inputs that libFuzzer makes, or N; --keep puts what reaches new code into the corpus
  sanitize
         run the tests of the CPU operations under AddressSanitizer
  kill [--times N]
         kill a training of six stages at random moments, 1000 times or N, resume it, and compare its end bit for bit
  faults [--minutes N]
         use the engine in Chromium under random faults for an hour or N minutes; needs the site, see web
  demo   build the site with the shipped model, serve it on this machine and open it
  export MODEL OUT
         write a model's folder to OUT as a site serves it
  assets fetch the drawings in three dimensions of the sticker world, which training of the shipped model needs (30 MB)
  help   print this text

Environment:
  CARGO_TARGET_DIR  build folder; ~/.cache/unigen/target if unset
  UNIGEN_FIXTURES   folder of parity folders to compare beside those in tests/parity; ../shared/fixtures and fixtures-2 if unset
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
        ["full-size"] => Workspace::find().and_then(|w| full_size::run(&w, None)),
        ["full-size", name] => Workspace::find().and_then(|w| full_size::run(&w, Some(name))),
        ["fuzz", ref rest @ ..] => Workspace::find().and_then(|w| fuzz::run(&w, rest)),
        ["sanitize"] => Workspace::find().and_then(|w| sanitize::run(&w)),
        ["kill", ref rest @ ..] => {
            option("--times", rest, 1000).and_then(|times| kill::run(&Workspace::find()?, times))
        }
        ["faults", ref rest @ ..] => {
            option("--minutes", rest, 60).and_then(|minutes| web::faults(&Workspace::find()?, minutes))
        }
        ["demo"] => Workspace::find().and_then(|w| web::demo(&w)),
        ["assets"] => Workspace::find().and_then(|w| assets::fetch(&w)),
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

/// The number of the option `name`, the only one that a command has, or its `usual` value.
fn option<T: std::str::FromStr>(name: &str, args: &[&str], usual: T) -> Result<T> {
    match *args {
        [] => Ok(usual),
        [given, number] if given == name => number_of(name, Some(number)),
        _ => bail!("this command takes {name} N, not {}", args.join(" ")),
    }
}

/// The number after the option `name`.
fn number_of<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Result<T> {
    let text = text.with_context(|| format!("{name} takes a number"))?;
    text.parse().ok().with_context(|| format!("{name} takes a number, not {text}"))
}

/// The folders of the sources and of the builds.
pub struct Workspace {
    /// The repository root.
    pub root: PathBuf,
    /// The build folder of every cargo call.
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

    /// A command `cargo args` that runs in the repository root and builds into [`Workspace::target`].
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// A command for the binary `unigen` that [`BUILD`] makes.
    pub fn unigen(&self) -> Command {
        let name = format!("unigen{}", std::env::consts::EXE_SUFFIX);
        let mut command = Command::new(self.target.join("release").join(name));
        command.current_dir(&self.root);
        command
    }
}

// Burn with wgpu takes most of the time, so everything runs in the release profile with one set of features. The
// dependencies are compiled once, for build, tests, parity and `cargo run --release`. They are also checked once, for
// clippy and documentation, since clippy needs their metadata without code. On two cores the check takes about 80 s
// from cold, and documentation after it 3 s. The summary of `cargo xtask test` prints each time. Commands always cover
// the whole workspace: `-p unigen-core` alone lacks the feature `train` and would compile burn again.
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
