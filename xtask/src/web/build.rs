//! Builds a crate as a module for browsers with cargo and wasm-bindgen. It does not use wasm-opt: Debian's version
//! (108) breaks modules that have reference types, and a newer one saves only a tenth.

use std::path::Path;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;

use super::toolchain::{TARGET, Toolchain};
use crate::Workspace;
use crate::steps::checked;

/// A crate that becomes `NAME.js` and `NAME_bg.wasm`.
pub struct Module {
    /// The crate.
    pub package: &'static str,
    /// Whether to build its library rather than its binary.
    pub library: bool,
    /// The name of the files.
    pub name: &'static str,
    /// Compiler flags beyond the profile.
    pub flags: &'static [&'static str],
}

impl Module {
    /// Builds the module into the folder `out`.
    pub fn build(&self, workspace: &Workspace, toolchain: &Toolchain, out: &Path) -> Result<()> {
        let mut cargo = toolchain.cargo(workspace);
        // The library is an rlib for the rest of the workspace. It is linked only here.
        match self.library {
            true => cargo.args(["rustc", "--lib", "--crate-type", "cdylib"]),
            false => cargo.arg("build"),
        };
        cargo.args(["--package", self.package]).args(toolchain.args());
        if !self.flags.is_empty() {
            cargo.arg("--").args(self.flags);
        }
        checked(&mut cargo)?;
        let file = if self.library { self.name.to_owned() } else { self.package.to_owned() };
        let wasm = workspace.target.join(TARGET).join("web").join(file + ".wasm");
        Bindgen::new()
            .input_path(&wasm)
            .out_name(self.name)
            .web(true)
            .and_then(|bindgen| {
                bindgen
                    .typescript(false)
                    .remove_name_section(true)
                    .remove_producers_section(true)
                    .generate(out)
            })
            .with_context(|| format!("wasm-bindgen cannot read {}", wasm.display()))
    }
}
