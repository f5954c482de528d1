//! Settings from a TOML file and from the command line.

use anyhow::{Context, Result, anyhow, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;
use toml::{Table, Value};

/// The settings of the TOML file `file`, or the defaults without one, then changed by `overrides`, each
/// `section.key=value`. A value that is not TOML is taken as a string.
///
/// # Errors
/// When the file cannot be read, or when a key is unknown (the error lists the section's keys) or has a value of
/// the wrong type.
pub fn settings<T: Serialize + DeserializeOwned + Default>(
    file: Option<&Path>,
    overrides: &[String],
) -> Result<T> {
    let mut settings = match file {
        None => T::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the settings {}", file.display()))?;
            toml::from_str(&text).with_context(|| format!("the settings {} are wrong", file.display()))?
        }
    };
    for text in overrides {
        settings = changed(&settings, text).with_context(|| format!("--set {text}"))?;
    }
    Ok(settings)
}

fn changed<T: Serialize + DeserializeOwned>(settings: &T, text: &str) -> Result<T> {
    let (key, value) = text.split_once('=').context("write it as section.key=value")?;
    let (key, value) = (key.trim(), value.trim());
    let mut table = Table::try_from(settings)?;
    insert(&mut table, key, parse(value))?;
    table.try_into().map_err(|e: toml::de::Error| anyhow!("{}", e.to_string().trim_end()))
}

fn parse(text: &str) -> Value {
    let document = format!("value = {text}").parse::<Table>().ok();
    let value = document.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Puts `value` at the dotted `path`.
fn insert(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(section).or_insert_with(|| Table::new().into());
    match inner {
        Value::Table(inner) => insert(inner, rest, value),
        _ => bail!("{section} is not a section; it has no keys"),
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
            ("training.steps.x=1", ["steps is not a section", "", "", ""]),
            ("training.steps", ["section.key=value", "", "", ""]),
        ] {
            let message = fails(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
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
