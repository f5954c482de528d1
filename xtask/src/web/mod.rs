//! The web part: builds the wasm, assembles the site, exports models for it, and serves it.

mod build;
mod export;
mod scripts;
mod serve;
mod site;
mod test;
mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Workspace;
use build::Module;
use toolchain::Toolchain;

pub use export::export;
pub use scripts::{install_packages, lint};
pub use serve::Server;
pub use test::run as test;

/// Builds the site and the npm package into `web-dist` in the build folder, and prints the sizes of what a visitor
/// downloads.
pub fn run(workspace: &Workspace) -> Result<()> {
    let out = build(workspace, &Toolchain::find(workspace)?)?;
    print!("{}", site::sizes(&out)?);
    println!("The site is in {}, the npm package in {}", out.site().display(), out.package().display());
    Ok(())
}

/// Compiles the scripts of the site and the package again. The wasm stays as it is and may be missing.
pub fn scripts(workspace: &Workspace) -> Result<()> {
    let out = with_scripts(workspace)?;
    println!("The site is in {}, the npm package in {}", out.site().display(), out.package().display());
    Ok(())
}

/// Tests the package in bundlers and frameworks. This does not need the wasm.
pub fn stacks(workspace: &Workspace) -> Result<()> {
    test::stacks(workspace, &with_scripts(workspace)?)
}

/// The site and the package with newly compiled scripts.
fn with_scripts(workspace: &Workspace) -> Result<Output> {
    let out = Output::of(workspace);
    site::clear_scripts(&out)?;
    site::assemble(workspace, &out)?;
    Ok(out)
}

/// Builds the site with the shipped model. Prints the sizes of what a visitor downloads, and how long a visitor waits.
pub fn measure(workspace: &Workspace) -> Result<()> {
    let out = with_model(workspace)?;
    print!("{}", site::sizes(&out)?);
    test::measure(workspace, &out)
}

/// Uses the engine under random faults for so many `minutes`, with the shipped model. The site is built where there is none.
pub fn faults(workspace: &Workspace, minutes: u32) -> Result<()> {
    let mut out = Output::of(workspace);
    if !out.site().join("unigen/unigen_web_bg.wasm").is_file() {
        out = build(workspace, &Toolchain::find(workspace)?)?;
    }
    export(&workspace.root.join("models/nano"), &out.site().join("model"))?;
    test::faults(workspace, &out, minutes)
}

/// Builds the site with the shipped model, serves it on this machine and opens it.
pub fn demo(workspace: &Workspace) -> Result<()> {
    let out = with_model(workspace)?;
    let server = Server::start(&out.site(), 8000)?;
    println!("{} (Ctrl-C ends it)", server.url());
    if let Err(error) = open::that(server.url()) {
        println!("No browser could be opened ({error}). Open the address yourself.");
    }
    server.run()
}

/// Builds the site with the shipped model.
fn with_model(workspace: &Workspace) -> Result<Output> {
    let model = workspace.root.join("models/nano");
    if !model.join("config.json").is_file() {
        bail!(
            "no model is shipped yet: models/nano is not there, so there is nothing to show.\n\
             Put a trained model there (recipes/nano says how one is trained), or build the site without one: cargo xtask web"
        );
    }
    let out = build(workspace, &Toolchain::find(workspace)?)?;
    export(&model, &out.site().join("model"))?;
    Ok(out)
}

/// The built site and package.
pub struct Output {
    folder: PathBuf,
}

impl Output {
    fn of(workspace: &Workspace) -> Self {
        Self { folder: workspace.target.join("web-dist") }
    }

    /// The folder that a server serves.
    pub fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// The folder for `npm publish`.
    pub fn package(&self) -> PathBuf {
        self.folder.join("npm")
    }

    /// The kernels' tests for a browser, which lie beside the site and not in it.
    fn kernels(&self) -> PathBuf {
        self.folder.join("kernels")
    }
}

/// Builds the site, without a model, and the npm package.
fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<Output> {
    let out = Output::of(workspace);
    site::clear(&out)?;
    let engine = Module { package: "unigen-web", library: true, name: "unigen_web", flags: &[] };
    engine.build(workspace, toolchain, &out.site().join("unigen"))?;
    if workspace.root.join("web/app/Cargo.toml").is_file() {
        let app = Module { package: "unigen-app", library: false, name: "unigen_app", flags: &[] };
        app.build(workspace, toolchain, &out.site().join("app"))?;
    }
    site::assemble(workspace, &out)?;
    Ok(out)
}

/// Copies the files of `from` whose names `wanted` accepts into `to`. Skips folders.
fn copy_files(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && wanted(&name.to_string_lossy()) {
            std::fs::copy(entry.path(), to.join(&name))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
