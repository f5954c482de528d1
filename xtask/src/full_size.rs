//! Models of full size with random weights, imported, drawn with and trained by adapters: what memory and time they take on
//! this machine.

mod checkpoints;
mod measure;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Workspace, system};
use checkpoints::{Checkpoint, magvitv2, qwen2_5_1_5b, show_o_512, siglip2_so400m};
use measure::Measured;

/// Bytes that the largest model takes: its checkpoint, its parts and the import, or the import and what a trial of training exports.
const DISK: &str = "9 GB";

/// A model that is measured.
struct Model {
    name: &'static str,
    /// The command of `unigen import`, after the paths of the checkpoint and of the image tokenizer.
    kind: &'static str,
    checkpoint: fn() -> Checkpoint,
    /// Whether it has an understanding encoder.
    sees: bool,
}

/// What is drawn.
const PROMPT: &str = "a red fox in the snow, golden light";

const MODELS: [Model; 2] = [
    Model { name: "unigen-1.5b", kind: "unigen", checkpoint: qwen2_5_1_5b, sees: true },
    Model { name: "show-o-512", kind: "show-o", checkpoint: show_o_512, sees: false },
];

/// Makes each model, imports it in 4 bits, draws in two steps, takes three steps of training adapters beside UniGen's 4 bits, and
/// prints peak memory and seconds. With `name`, that model alone.
///
/// # Errors
/// For an unknown name, and where a command fails.
pub fn run(workspace: &Workspace, name: Option<&str>) -> Result<()> {
    let names = MODELS.map(|model| model.name).join(", ");
    ensure!(
        name.is_none_or(|name| MODELS.iter().any(|model| model.name == name)),
        "there is no model {}; choose one of {names}",
        name.unwrap_or_default()
    );
    println!(
        "needs {DISK} of disk below {}, one model at a time; nothing of it stays",
        workspace.target.display()
    );
    crate::steps::checked(&mut workspace.cargo(crate::BUILD_BINS))?;
    let tokenizer = system::qwen_tokenizer(workspace)?;
    for model in MODELS.iter().filter(|model| name.is_none_or(|name| model.name == name)) {
        let folder = workspace.target.join("full-size");
        // What an interrupted run left.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let measured = measure(workspace, model, &folder, &tokenizer);
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        measured.with_context(|| model.name)?;
    }
    Ok(())
}

fn measure(workspace: &Workspace, model: &Model, folder: &Path, qwen: &Path) -> Result<()> {
    let parts = folder.join("parts");
    let at = |name: &str| parts.join(name);
    (model.checkpoint)().write(&at(model.name))?;
    magvitv2().write(&at("magvitv2"))?;
    let mut import = workspace.unigen();
    import.args(["import", model.kind]).arg(at(model.name));
    import.arg("--image-tokenizer").arg(at("magvitv2"));
    // Any tokenizer of fewer tokens does for Show-o; that of nano is in the repository.
    let nano = workspace.root.join("models/nano/tokenizer.json");
    import.arg("--tokenizer").arg(if model.kind == "show-o" { &nano } else { qwen });
    if model.sees {
        siglip2_so400m().write(&at("siglip2"))?;
        import.arg("--vision").arg(at("siglip2"));
    }
    let out = folder.join(model.name);
    import.args(["--quantize", "q4", "--out"]).arg(&out);
    report(
        &format!("{}, checkpoint and parts of {}", model.name, size(&parts)?),
        "import in q4",
        &mut import,
    )?;
    fs::remove_dir_all(&parts)?;
    let mut draw = workspace.unigen();
    draw.args(["generate", PROMPT, "--steps", "2", "--model"]).arg(&out);
    draw.arg("--out").arg(folder.join("out.png"));
    report(&format!("{}, model folder of {}", model.name, size(&out)?), "draw in two steps", &mut draw)?;
    if model.sees { train(workspace, folder, &out) } else { Ok(()) }
}

/// Tries to train adapters of rank 64 beside the weights in `model`, on 8 pictures a step: prints what the trial prints.
fn train(workspace: &Workspace, folder: &Path, model: &Path) -> Result<()> {
    let recipe = folder.join("adapters.toml");
    let text = format!(
        "[[run]]\nname = \"pretrain\"\n[run.settings]\nstart = {model:?}\nlora = {{ rank = 64, alpha = 128.0 }}\n\
         training = {{ batch = 8, gradient_checkpointing = true }}\n"
    );
    fs::write(&recipe, text)?;
    let mut check = workspace.unigen();
    check.args(["train", "check", "--config"]).arg(&recipe).arg("--out").arg(folder.join("runs"));
    println!("adapters of rank 64 beside the model in q4, 8 pictures a step:");
    crate::steps::checked(&mut check)
}

/// Runs `command` and prints what it took.
fn report(model: &str, what: &str, command: &mut Command) -> Result<()> {
    let Measured { seconds, peak } = measure::run(command)?;
    let peak = peak.map_or("memory is measured on Linux alone".into(), |peak| {
        format!("{} MB at most", peak / 1_000_000)
    });
    println!("{model}: {what}: {seconds:.1} s, {peak}");
    Ok(())
}

/// The size of all files in a folder, in words.
fn size(folder: &Path) -> Result<String> {
    fn bytes(path: &Path) -> Result<u64> {
        if path.is_dir() {
            return fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum();
        }
        Ok(fs::metadata(path)?.len())
    }
    Ok(format!("{:.2} GB", bytes(folder)? as f64 / 1e9))
}
