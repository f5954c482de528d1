//! Checks the package's TypeScript and compiles it to modules, types and the element's description. TypeScript and the
//! other tools are npm packages that `web/npm/package-lock.json` pins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::copy_files;
use crate::Workspace;
use crate::steps::checked;
use crate::system::{install, quiet};

const TSC: &str = "typescript/bin/tsc";
const ANALYZER: &str = "@custom-elements-manifest/analyzer/cem.js";
const LINTER: &str = "oxlint/bin/oxlint";
/// The folders to lint, from the repository root.
const LINTED: [&str; 5] = ["web/npm", "web/site", "web/app", "tests/web", "tests/stacks"];

/// Checks the types and style of all scripts.
pub fn lint(workspace: &Workspace) -> Result<()> {
    let tools = Tools::new(workspace)?;
    checked(tools.node(TSC).arg("--noEmit"))?;
    let mut linter = tools.node(LINTER);
    linter.args(["--deny-warnings", "--config"]).arg(tools.package.join(".oxlintrc.json"));
    checked(linter.args(LINTED.map(|folder| workspace.root.join(folder))))
}

/// Compiles the package's sources into the folder `out`, with types beside the modules. Describes the element in
/// `web/npm/custom-elements.json`.
pub fn compile(workspace: &Workspace, out: &Path) -> Result<()> {
    let tools = Tools::new(workspace)?;
    // Modules go out without comments, which visitors would download. Types keep theirs, which developers read.
    for emit in [&["--declaration", "false", "--removeComments"][..], &["--emitDeclarationOnly"]] {
        checked(tools.node(TSC).arg("--outDir").arg(out).args(emit))?;
    }
    // These types have no module.
    copy_files(&tools.package.join("src"), out, |name| name.ends_with(".d.ts"))?;
    checked(tools.node(ANALYZER).args(["analyze", "--quiet"]))
}

/// Installs the packages that `package-lock.json` in `folder` pins, unless that is done already.
pub fn install_packages(folder: &Path) -> Result<()> {
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        if !quiet(Command::new(program).arg("--version")) {
            install(package)?;
        }
    }
    let changed = |file: PathBuf| std::fs::metadata(file).and_then(|metadata| metadata.modified());
    let lock = folder.join("package-lock.json");
    let wanted = changed(lock.clone()).with_context(|| format!("cannot read {}", lock.display()))?;
    if changed(folder.join("node_modules/.package-lock.json")).is_ok_and(|installed| installed >= wanted) {
        return Ok(());
    }
    // No install script of a package runs.
    let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    checked(Command::new("npm").args(args).current_dir(folder))
}

/// The npm packages that the package is built with.
struct Tools {
    package: PathBuf,
}

impl Tools {
    fn new(workspace: &Workspace) -> Result<Self> {
        let package = workspace.root.join("web/npm");
        install_packages(&package)?;
        Ok(Self { package })
    }

    /// A command for a tool that runs in the package's folder.
    fn node(&self, tool: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(Path::new("node_modules").join(tool)).current_dir(&self.package);
        command
    }
}
