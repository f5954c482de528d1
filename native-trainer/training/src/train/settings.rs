//! Settings from a TOML file and from the command line.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

use super::Stage;

/// Returns the defaults, changed first by the TOML file `file` if it is given, then by `overrides`, each written as
/// `section.key=value`. A value that is not TOML is taken as a string.
///
/// # Errors
/// If the file cannot be read, or when a key is unknown (the error lists the section's keys) or has a value of the
/// wrong type.
pub fn settings<T: Serialize + DeserializeOwned + Default>(
    file: Option<&Path>,
    overrides: &[String],
) -> Result<T> {
    let mut table = Table::try_from(T::default())?;
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the settings file {}", file.display()))?;
        let changed = text.parse::<Table>().map_err(plain).and_then(|own| {
            merge(&mut table, own);
            checked::<T>(&table)
        });
        table = changed.with_context(|| format!("cannot use the settings file {}", file.display()))?;
    }
    for text in overrides {
        table = changed::<T>(table, text).with_context(|| format!("--set {text}"))?;
    }
    table.try_into().map_err(plain)
}

/// The folder of the model that a user calls so in settings; a path stays as it is.
///
/// # Errors
/// If the model of this name has no folder.
pub type Find = fn(&Path) -> Result<PathBuf>;

/// The [`settings`] of the stage `S`, with folders in the place of the names of models.
///
/// # Errors
/// As [`settings`] and [`Find`].
pub(super) fn settings_of<S: Stage>(
    file: Option<&Path>,
    overrides: &[String],
    find: Find,
) -> Result<S::Settings> {
    let mut settings = settings(file, overrides)?;
    for model in S::models(&mut settings) {
        *model = find(model)?;
    }
    Ok(settings)
}

/// `settings` with `overrides`, in the same form.
///
/// # Errors
/// As [`settings`].
pub(super) fn with<T: Serialize + DeserializeOwned>(settings: &T, overrides: &[String]) -> Result<T> {
    let table = Table::try_from(settings)?;
    let table = overrides.iter().try_fold(table, |table, text| changed::<T>(table, text))?;
    table.try_into().map_err(plain)
}

fn changed<T: Serialize + DeserializeOwned>(mut table: Table, text: &str) -> Result<Table> {
    let (key, value) = text.split_once('=').context("write it as section.key=value")?;
    insert(&mut table, key.trim(), parse(value.trim()))?;
    checked::<T>(&table)
}

/// `table` as the settings would write it. Fails if they lack a key or do not take its value.
fn checked<T: Serialize + DeserializeOwned>(table: &Table) -> Result<Table> {
    let settings: T = table.clone().try_into().map_err(plain)?;
    let known = Table::try_from(&settings)?;
    // Unknown keys pass when sizes of models are read, because published files have more keys.
    match unknown(table, &known) {
        Some(error) => bail!(error),
        None => Ok(known),
    }
}

/// Keys that settings had once and that mean nothing now, so that old recipes and runs are still read.
///
/// `code_groups` was once a key of the image tokenizer as well; now only the model has it.
const RETIRED: [&str; 1] = ["code_groups"];

/// A message about the first key of `table` that `known` lacks.
fn unknown(table: &Table, known: &Table) -> Option<String> {
    table.iter().find_map(|(key, value)| match (value, known.get(key)) {
        (Value::Table(inner), Some(Value::Table(known))) => {
            unknown(inner, known).map(|error| format!("{error}\nin `{key}`"))
        }
        (Value::Array(items), Some(Value::Array(known))) => {
            items.iter().zip(known).enumerate().find_map(|(place, pair)| match pair {
                (Value::Table(inner), Value::Table(known)) => {
                    unknown(inner, known).map(|error| format!("{error}\nin entry {} of `{key}`", place + 1))
                }
                _ => None,
            })
        }
        (Value::Array(items), None) if items.is_empty() => None,
        (_, None) if RETIRED.contains(&key.as_str()) => None,
        (_, None) => {
            let keys: Vec<_> = known.keys().map(|key| format!("`{key}`")).collect();
            Some(format!("unknown field `{key}`, expected one of {}", keys.join(", ")))
        }
        _ => None,
    })
}

fn plain(error: toml::de::Error) -> anyhow::Error {
    anyhow!("{}", error.to_string().trim_end())
}

/// Merges the values of `own` into `table`, section by section.
fn merge(table: &mut Table, own: Table) {
    for (key, value) in own {
        match (table.entry(key).or_insert_with(|| Table::new().into()), value) {
            (Value::Table(inner), Value::Table(own)) => merge(inner, own),
            (place, value) => *place = value,
        }
    }
}

fn parse(text: &str) -> Value {
    let document = format!("value = {text}").parse::<Table>().ok();
    let value = document.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Inserts `value` at the dotted `path`.
fn insert(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(section).or_insert_with(|| Table::new().into());
    match inner {
        Value::Table(inner) => insert(inner, rest, value),
        _ => bail!("{section} is a single value, not a section with keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Training;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        model: String,
        limit: Option<u32>,
        training: Training,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self { model: "nano".into(), limit: None, training: Training::default() }
        }
    }

    fn set(overrides: &[&str]) -> Result<Settings> {
        settings(None, &overrides.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    fn fails(text: &str) -> String {
        format!("{:#}", set(&[text]).unwrap_err())
    }

    #[test]
    fn overrides_of_every_kind() {
        assert_eq!(set(&[]).unwrap(), Settings::default());
        let changed = set(&[
            "training.steps=7",
            "training.learning_rate = 1",
            "training.betas=[0.8, 0.9]",
            "model=runs/a=b",
            "limit=3",
        ])
        .unwrap();
        let training = Training { steps: 7, learning_rate: 1.0, betas: [0.8, 0.9], ..Training::default() };
        assert_eq!(changed, Settings { model: "runs/a=b".into(), limit: Some(3), training });
    }

    #[test]
    fn mistakes_are_named() {
        for (text, parts) in [
            (
                "training.stepz=3",
                ["--set training.stepz=3", "unknown field `stepz`", "`steps`", "`save_every`"],
            ),
            ("trainig.steps=3", ["unknown field `trainig`", "`model`", "`limit`", "`training`"]),
            ("training.steps=many", ["--set training.steps=many", "invalid type", "u64", "steps"]),
            ("training.steps.x=1", ["steps is a single value, not a section", "", "", ""]),
            ("training.steps", ["section.key=value", "", "", ""]),
        ] {
            let message = fails(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    /// Sizes of models are nested and have their own defaults.
    #[test]
    fn sections_of_sizes() {
        use crate::stages::{pretrain, tokenizer};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "[model]\nch = 8\n").unwrap();
        let mut wanted = tokenizer::Settings::default();
        wanted.model.ch = 8;
        assert_eq!(settings::<tokenizer::Settings>(Some(&file), &[]).unwrap(), wanted);
        std::fs::write(&file, "[model.decoder]\nnum_hidden_layers = 2\n").unwrap();
        let mut wanted = pretrain::Settings::default();
        wanted.model.decoder.num_hidden_layers = 2;
        assert_eq!(settings::<pretrain::Settings>(Some(&file), &[]).unwrap(), wanted);
        std::fs::write(&file, "[model.decoder]\nlayers = 2\n").unwrap();
        let message = format!("{:#}", settings::<pretrain::Settings>(Some(&file), &[]).unwrap_err());
        for part in ["a.toml", "unknown field `layers`", "`num_hidden_layers`", "in `decoder`", "in `model`"]
        {
            assert!(message.contains(part), "{message}");
        }
        let set = |text: &str| settings::<tokenizer::Settings>(None, &[text.to_owned()]);
        assert!(set("model.chh=8").unwrap_err().root_cause().to_string().contains("unknown field `chh`"));
        // From before the model alone cut codes into groups.
        for old in ["model.code_groups=[]", "model.code_groups=[8,8]"] {
            assert_eq!(set(old).unwrap(), tokenizer::Settings::default());
        }
    }

    /// A flattened field of an entry lets unknown keys pass.
    #[test]
    fn entries_of_lists() {
        use crate::stages::rl;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let read = |last: &str| {
            let reward = "[[rewards]]\nkind = \"matcher\"\nat = \"x\"\n";
            std::fs::write(&file, format!("{reward}name = \"\"\n{reward}{last}\n")).unwrap();
            settings::<rl::Settings>(Some(&file), &[])
        };
        let message = format!("{:#}", read("wieght = 2.0").unwrap_err());
        for part in ["a.toml", "unknown field `wieght`", "`weight`", "`name`", "in entry 2 of `rewards`"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(format!("{:#}", read("http.retrys = 2").unwrap_err()).contains("`retrys`"));
        assert_eq!(read("weight = 2.0\nhttp.retries = 2").unwrap().rewards[1].weight, 2.0);
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, "model = \"b\"\n[training]\nsteps = 5\n").unwrap();
        let read: Settings = settings(Some(&file), &["training.batch=2".into()]).unwrap();
        assert_eq!((read.model.as_str(), read.training.steps, read.training.batch), ("b", 5, 2));
        std::fs::write(&file, "[training]\nstep = 5\n").unwrap();
        let message = format!("{:#}", settings::<Settings>(Some(&file), &[]).unwrap_err());
        assert!(message.contains("a.toml") && message.contains("unknown field `step`"), "{message}");
        std::fs::remove_file(&file).unwrap();
        assert!(settings::<Settings>(Some(&file), &[]).unwrap_err().to_string().contains("cannot read"));
    }
}
