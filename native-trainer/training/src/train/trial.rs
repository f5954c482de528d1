//! A trial of a run of a recipe.

use std::path::Path;
use toml::{Table, Value};

use super::{Find, Training};
use unigen_runs::Compute;

/// The input of [`check`](super::check::check): a run of a recipe. Exports that earlier runs have not made yet lie in
/// `trial`.
pub(super) struct Trial<'a> {
    pub config: Option<&'a Path>,
    pub set: &'a [String],
    pub find: Find,
    pub compute: &'a Compute,
    /// Folder of the runs, and the temporary folder that stands for it.
    pub out: &'a Path,
    pub trial: &'a Path,
    /// Folder for the export that later runs need.
    pub export: &'a Path,
}

/// The settings of a run, in which paths of missing exports lead to the trial's folder.
pub(super) fn on_trial(mut settings: Table, out: &Path, trial: &Path) -> Table {
    settings.iter_mut().for_each(|(_, value)| to_trial(value, out, trial));
    settings
}

fn to_trial(value: &mut Value, out: &Path, trial: &Path) {
    match value {
        Value::Table(inner) => inner.iter_mut().for_each(|(_, value)| to_trial(value, out, trial)),
        Value::Array(items) => items.iter_mut().for_each(|value| to_trial(value, out, trial)),
        Value::String(text) => {
            if let Ok(rest) = Path::new(&*text).strip_prefix(out)
                && !Path::new(&*text).exists()
            {
                *text = trial.join(rest).display().to_string();
            }
        }
        _ => {}
    }
}

/// Seconds of all steps of a run.
pub(super) fn seconds(training: &Training, step: f64) -> f64 {
    step * training.steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_made_is_looked_for_in_the_trial() {
        let folder = tempfile::tempdir().unwrap();
        let (out, trial) = (folder.path().join("runs"), folder.path().join("trial"));
        std::fs::create_dir_all(out.join("made/export")).unwrap();
        let path = |name: &str| Value::from(out.join(name).display().to_string());
        let table: Table =
            [("a", path("made/export")), ("b", path("other/export")), ("c", Value::from("elsewhere"))]
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect();
        let moved = on_trial(table.clone(), &out, &trial);
        assert_eq!((&moved["a"], &moved["c"]), (&table["a"], &table["c"]));
        assert_eq!(moved["b"].as_str().unwrap(), trial.join("other/export").display().to_string());
    }
}
