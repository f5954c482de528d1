//! A Rust toolchain that compiles for browsers: the one in use if it has the wasm32 target, else Debian's, which
//! includes the standard library's sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Workspace;
use crate::system::{install, quiet};

pub const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler and cargo for the web.
const DEBIAN: [&str; 2] = ["/usr/bin/rustc", "/usr/bin/cargo"];
/// The folder in which the package rust-web-src puts the standard library.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library";

/// How to compile for browsers.
pub enum Toolchain {
    /// The toolchain in use has the target.
    Installed,
    /// Debian's compiler, which also builds the standard library. The linker is that of another toolchain or of Debian.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// Finds a toolchain, and tries to install what is missing. An error says what was tried.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        if has_target() {
            return Ok(Self::Installed);
        }
        println!("The toolchain in use has no target {TARGET}; trying rustup ...");
        if quiet(Command::new("rustup").args(["target", "add", TARGET]).current_dir(&workspace.root))
            && has_target()
        {
            return Ok(Self::Installed);
        }
        println!("rustup cannot add it; trying Debian's toolchain for the web ...");
        for package in ["rustc-web", "cargo-web", "rust-web-src"] {
            if !quiet(Command::new("dpkg").args(["-s", package])) {
                let missing = || {
                    format!("neither rustup nor Debian gave a toolchain for {TARGET}: {package} is missing")
                };
                install(package).with_context(missing)?;
            }
        }
        if !DEBIAN.iter().all(|tool| Path::new(tool).is_file()) || !Path::new(DEBIAN_SOURCES).is_dir() {
            bail!(
                "no toolchain for {TARGET}: {} or {} is missing; run `rustup target add {TARGET}` with a connection to \
                 rustup's server",
                DEBIAN.join(" or "),
                DEBIAN_SOURCES
            );
        }
        Ok(Self::Debian { linker: linker()? })
    }

    /// A cargo call for browsers.
    pub fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.cargo(&[]);
        if let Self::Debian { linker } = self {
            command = Command::new(DEBIAN[1]);
            command
                .current_dir(&workspace.root)
                .env("CARGO_TARGET_DIR", &workspace.target)
                .env("RUSTC", DEBIAN[0])
                // `-Z build-std` is unstable, and this variable allows it.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        // These variables would replace the flags of .cargo/config.toml, which the target needs.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    /// The arguments that every such call takes.
    pub fn args(&self) -> Vec<&'static str> {
        let mut args = vec!["--target", TARGET, "--profile", "web"];
        if matches!(self, Self::Debian { .. }) {
            args.extend(["-Z", "build-std=std,panic_abort"]);
        }
        args
    }
}

/// Whether the compiler in use has the target's standard library.
fn has_target() -> bool {
    let libraries = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    libraries.is_some_and(|folder| Path::new(&folder).is_dir())
}

/// A linker for wasm: `wasm-ld`, or the `rust-lld` of the toolchain in use.
fn linker() -> Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from);
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]));
    let lld = sysroot.zip(host).map(|(root, host)| root.join("lib/rustlib").join(host).join("bin/rust-lld"));
    if let Some(lld) = lld.filter(|lld| lld.is_file()) {
        return Ok(lld);
    }
    if !quiet(Command::new("wasm-ld").arg("--version")) {
        install("lld").context("no linker for wasm: neither rust-lld nor wasm-ld")?;
    }
    Ok("wasm-ld".into())
}

/// The trimmed output of a command. None if it fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
