//! `unigen models`.

use anyhow::Result;
use std::process::ExitCode;
use unigen_core::config::Ability;
use unigen_models::{Library, Listed};

/// Prints a line for each model that `--model` finds by its name.
pub fn list() -> Result<ExitCode> {
    let models = Library::of_user().list();
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0).max("model".len());
    println!("{:<width$}  {:<8}  {:>8}  {:<9}  {:<22}  licence", "model", "kind", "size", "precision", "can");
    for Listed { name, kind, size, precision, abilities, licence } in models {
        let can = match &abilities {
            Ok(abilities) => abilities.iter().map(verb).collect::<Vec<_>>().join(", "),
            Err(error) => format!("cannot be used: {error}"),
        };
        let (kind, licence) = (kind.unwrap_or("trained".into()), licence.unwrap_or("unknown".into()));
        let size = bytes(size);
        println!("{name:<width$}  {kind:<8}  {size:>8}  {precision:<9}  {can:<22}  {licence}");
    }
    Ok(ExitCode::SUCCESS)
}

fn verb(ability: &Ability) -> &'static str {
    match ability {
        Ability::Draw => "draws",
        Ability::Edit => "edits",
        Ability::Answer => "answers",
    }
}

/// A number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
