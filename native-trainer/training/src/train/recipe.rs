//! Recipes: several runs in order from one TOML file, for `unigen train all` and `unigen train check`.

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

use super::check::{Checked, check, predict};
use super::command::{ComputeArgs, Options, command};
use super::fit::OnCard;
use super::trial::Trial;
use super::{Find, Stage};
use crate::estimate::{Card, Exports, size};
use unigen_runs::{Interrupt, RunFolder};

/// The command line of commands that work on a recipe.
#[derive(Debug, Args)]
pub struct RecipeOptions {
    /// TOML file of the runs in order: each [[run]] has a name, a stage if its name differs, a config file (its path
    /// is relative to this file), and settings of its own
    #[arg(long)]
    config: PathBuf,
    /// Folder of the runs; each run has a folder of its name in it
    #[arg(long, default_value = "runs")]
    out: PathBuf,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// The command line of `unigen train check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Predict memory and time for a card, such as 24GB,20TFLOPS, and try nothing on this machine
    #[arg(long)]
    card: Option<Card>,
}

/// A stage that a recipe may name.
pub struct Entry {
    pub name: &'static str,
    train: fn(&Options, Find) -> Result<()>,
    check: fn(&Trial) -> Result<Checked>,
    predict: fn(&Trial, Card, &mut Exports) -> Result<Option<OnCard>>,
}

impl Entry {
    /// The entry of the stage `S`.
    pub const fn of<S: Stage>() -> Self {
        Self { name: S::NAME, train: command::<S>, check: check::<S>, predict: predict::<S> }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    run: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    name: String,
    stage: Option<String>,
    config: Option<PathBuf>,
    #[serde(default)]
    settings: Table,
}

/// A run with its stage, and its settings in the form that [`Options`] takes.
struct Planned<'a> {
    name: String,
    entry: &'a Entry,
    config: Option<PathBuf>,
    set: Vec<String>,
}

/// Trains the unfinished runs of a recipe, one after another. A run that was stopped continues. `find` knows models by
/// name.
///
/// # Errors
/// If the recipe cannot be used; the errors of the runs, with the name of the run.
pub fn train_all(options: &RecipeOptions, stages: &[Entry], find: Find) -> Result<()> {
    Interrupt::install()?;
    for Planned { name, entry, config, set } in plan(&options.config, stages)? {
        Interrupt::check()?;
        let out = options.out.join(&name);
        // One without a checkpoint has nothing to go on from.
        let begun = RunFolder::open(&out).ok().filter(RunFolder::begun);
        if begun.as_ref().is_some_and(|run| run.info().finished) {
            eprintln!("{name}: done in {}", out.display());
            continue;
        }
        eprintln!("{name}: {}", if begun.is_some() { "continues with its own settings" } else { "begins" });
        let run = Options::of(config, set, out, begun.is_some(), options.compute);
        (entry.train)(&run, find).with_context(|| {
            let recipe = options.config.display();
            format!("the run {name} stopped; `unigen train all --config {recipe}` continues from here")
        })?;
    }
    Ok(())
}

/// Checks a recipe: predicts it for a card, or tries it.
///
/// # Errors
/// If the recipe cannot be used, a run does not fit the card, or a run would end at its start.
pub fn check_all(options: &CheckOptions, stages: &[Entry], find: Find) -> Result<()> {
    match options.card {
        Some(card) => predict_all(&options.recipe, card, stages, find),
        None => try_all(&options.recipe, stages, find),
    }
}

/// Prints what every run of a recipe needs on `card`: memory by part, and time.
///
/// # Errors
/// If the recipe cannot be used, or a run does not fit; the error names settings that make it fit.
fn predict_all(options: &RecipeOptions, card: Card, stages: &[Entry], find: Find) -> Result<()> {
    let planned = plan(&options.config, stages)?;
    let compute = &options.compute.open()?;
    let (mut exports, mut total, mut refused) = (Exports::default(), 0.0, Vec::new());
    for Planned { name, entry, config, set } in &planned {
        let (config, out) = (config.as_deref(), &*options.out);
        let export = &out.join(name).join("export");
        let trial = Trial { config, set, find, compute, out, trial: out, export };
        let found = (entry.predict)(&trial, card, &mut exports)
            .with_context(|| format!("cannot predict the run {name}"))?;
        let Some(OnCard { estimate, hours, advice }) = found else {
            println!("{name:<12}  cannot be predicted");
            continue;
        };
        let time = hours.map_or(String::new(), |hours| format!(", {hours:.1} hours"));
        println!("{name:<12}{:>12} on the card{time}; {estimate}", size(estimate.device_bytes()));
        total += hours.unwrap_or_default();
        refused.extend(advice.map(|advice| {
            let (needed, memory) = (size(estimate.device_bytes()), size(card.memory));
            format!("{name} needs {needed} of {memory} on the card{advice}")
        }));
    }
    if card.speed.is_some() {
        println!("{total:.1} hours in total, without validations and the encoding of images");
    }
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    Ok(())
}

/// Tries every run of a recipe: opens it, takes a few steps with batches of its size, and prints what it needs.
/// Nothing is left behind. If a run needs an earlier run that has not been made, an export with random weights stands
/// for it.
///
/// # Errors
/// If the recipe cannot be used; the errors that would end a run at its start.
fn try_all(options: &RecipeOptions, stages: &[Entry], find: Find) -> Result<()> {
    Interrupt::install()?;
    let planned = plan(&options.config, stages)?;
    let compute = &options.compute.open()?;
    let trial = Scratch::create()?;
    println!(
        "{:<12}{:>12}{:>10}{:>12}{:>12}{:>10}{:>14}",
        "run", "parameters", "batch", "predicted", "memory", "a step", "all steps"
    );
    let mut total = 0.0;
    for Planned { name, entry, config, set } in &planned {
        Interrupt::check()?;
        let export = &trial.0.join(name).join("export");
        let (config, out, trial) = (config.as_deref(), &*options.out, &*trial.0);
        let found = (entry.check)(&Trial { config, set, find, compute, out, trial, export })
            .with_context(|| format!("cannot try the run {name}"))?;
        total += found.hours();
        println!("{name:<12}{found}");
    }
    println!("{total:.1} hours in total, without validations and the encoding of images");
    Ok(())
}

/// The names of the runs in the text of a recipe, each with its settings as `--set` takes them.
///
/// # Errors
/// If it is no recipe, or a name cannot name a folder of its own.
pub fn runs_in(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    Ok(read(text)?.into_iter().map(|run| (run.name, set(&run.settings))).collect())
}

/// The runs in the text of a recipe; their names are good names of folders.
fn read(text: &str) -> Result<Vec<Run>> {
    let Recipe { run: runs } = toml::from_str(text)?;
    for (place, Run { name, .. }) in runs.iter().enumerate() {
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        ensure!(
            !name.starts_with('.') && !name.is_empty() && name.chars().all(plain),
            "{name:?} cannot name a folder; use letters, digits, - and _"
        );
        ensure!(runs[..place].iter().all(|run| run.name != *name), "two runs are called {name}");
    }
    Ok(runs)
}

/// The runs of the recipe in `path`.
fn plan<'a>(path: &Path, stages: &'a [Entry]) -> Result<Vec<Planned<'a>>> {
    let wrong = || format!("cannot use the recipe {}", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let runs = read(&text).with_context(wrong)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let planned = runs.into_iter().map(|run| {
        let Run { name, stage, config, settings } = run;
        let stage = stage.as_ref().unwrap_or(&name);
        let entry = stages.iter().find(|entry| entry.name == stage).with_context(|| {
            let known: Vec<_> = stages.iter().map(|entry| entry.name).collect();
            format!("the run {name} has the unknown stage {stage}; the stages are {}", known.join(", "))
        })?;
        let config = config.map(|config| folder.join(config));
        Ok(Planned { name, entry, config, set: set(&settings) })
    });
    let planned = planned.collect::<Result<Vec<_>>>().with_context(wrong)?;
    ensure!(!planned.is_empty(), "the recipe {} has no [[run]]", path.display());
    Ok(planned)
}

/// The values of a table as `section.key=value`.
fn set(table: &Table) -> Vec<String> {
    let mut set = Vec::new();
    flatten("", table, &mut set);
    set
}

/// Adds the values of a table to `set`, with `prefix` before their keys.
fn flatten(prefix: &str, table: &Table, set: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{prefix}{key}."), inner, set),
            value => set.push(format!("{prefix}{key}={value}")),
        }
    }
}

/// A temporary folder, which is removed after its use.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("unigen-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that cannot be removed is left behind.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::Shapes;

    fn planned(text: &str) -> Result<Vec<(String, Vec<String>)>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.toml");
        std::fs::write(&file, text).unwrap();
        let stages = [
            Entry::of::<crate::stages::TokenizerStage<Shapes>>(),
            Entry::of::<crate::stages::SftStage<Shapes>>(),
        ];
        Ok(plan(&file, &stages)?.into_iter().map(|run| (run.name, run.set)).collect())
    }

    #[test]
    fn recipes_are_runs_in_order() {
        let text = "[[run]]\nname = \"tokenizer\"\nsettings = { size = 32, training = { betas = [0.5, 0.9], steps = 3 } }\n\
                    [[run]]\nname = \"a\"\nstage = \"sft\"\nsettings = { model = \"runs/x y\" }\n";
        let runs = planned(text).unwrap();
        assert_eq!(runs[0].1, ["size=32", "training.betas=[0.5, 0.9]", "training.steps=3"]);
        assert_eq!((runs[1].0.as_str(), runs[1].1[0].as_str()), ("a", "model=\"runs/x y\""));
        for (text, words) in [
            ("[[run]]\nname = \"x\"\n", ["all.toml", "tokenizer, sft"]),
            ("[[run]]\nname = \"../sft\"\nstage = \"sft\"\n", ["all.toml", "cannot name a folder"]),
            ("[[run]]\nname = \"sft\"\n[[run]]\nname = \"sft\"\n", ["all.toml", "two runs"]),
            ("[[run]]\nname = \"sft\"\nsteps = 3\n", ["all.toml", "unknown field `steps`"]),
            ("run = []\n", ["all.toml", "no [[run]]"]),
        ] {
            let error = format!("{:#}", planned(text).unwrap_err());
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
