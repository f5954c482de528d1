//! The demo: a sheet of images drawn by the shipped model.

use anyhow::{Result, bail};

use crate::Workspace;
use crate::steps::checked;

const PROMPTS: [&str; 8] = [
    "a photo of a red apple",
    "a photo of two dogs",
    "a photo of a blue car and a yellow umbrella",
    "a photo of a cat left of a clock",
    "a photo of three bananas",
    "a photo of a green cup",
    "a photo of a bird above a bench",
    "a photo of a purple chair and an orange book",
];

/// Builds `unigen` and draws a sheet with `models/nano`; an error while the repository ships no model.
pub fn run(workspace: &Workspace) -> Result<()> {
    let model = workspace.root.join("models/nano");
    if !model.join("config.json").is_file() {
        bail!(
            "no model is shipped yet: models/nano is not there, so there is nothing to show.\n\
             It is to be trained with `unigen train tokenizer`, then `unigen train pretrain`; README.md says what of \
             this works today. `cargo xtask test` runs the checks."
        );
    }
    checked(&mut workspace.cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let sheet = workspace.target.join("demo/sheet.png");
    std::fs::create_dir_all(workspace.target.join("demo"))?;
    let mut generate = workspace.unigen();
    generate.arg("generate").args(PROMPTS).args(["--sheet", "--model"]).arg(&model).arg("-o").arg(&sheet);
    checked(&mut generate)?;
    println!("The sheet is in {}", sheet.display());
    Ok(())
}
