//! A list of checks. Each runs under a heading, all run even if one fails, and a summary ends the list.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The checks run so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<(String, Outcome)>,
}

enum Outcome {
    Passed(Duration),
    Failed(Duration, String),
    Skipped(String),
}

impl Steps {
    /// Runs `command` under a heading that shows it. Returns false if it failed.
    pub fn command(&mut self, name: &str, mut command: Command) -> bool {
        self.run(name, || {
            println!("{}", shown(&command));
            checked(&mut command)
        })
    }

    /// Runs `check` under a heading. Returns false if it failed.
    pub fn run(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> bool {
        println!("\n==== {name} ====");
        let start = Instant::now();
        let result = check();
        let time = start.elapsed();
        let passed = result.is_ok();
        let outcome = match result {
            Ok(()) => Outcome::Passed(time),
            Err(error) => {
                println!("{name}: {error:#}");
                Outcome::Failed(time, format!("{error:#}"))
            }
        };
        self.done.push((name.to_owned(), outcome));
        passed
    }

    /// Records that a check does not run, and the reason.
    pub fn skip(&mut self, name: &str, why: &str) {
        println!("\n==== {name} ====\nskipped: {why}");
        self.done.push((name.to_owned(), Outcome::Skipped(why.to_owned())));
    }

    /// Prints one line per check. Fails if any check failed.
    pub fn finish(self) -> Result<()> {
        println!("\n==== summary ====");
        let mut failed = Vec::new();
        for (name, outcome) in &self.done {
            match outcome {
                Outcome::Passed(time) => println!("{name:<14} ok       {:>6.1} s", time.as_secs_f64()),
                Outcome::Failed(time, why) => {
                    println!("{name:<14} FAILED   {:>6.1} s  {why}", time.as_secs_f64());
                    failed.push(name.as_str());
                }
                Outcome::Skipped(why) => println!("{name:<14} skipped  {why}"),
            }
        }
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

/// Runs `command` and fails if it fails.
pub fn checked(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// The command line as a person would type it.
pub fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(command.get_program());
    std::iter::once(name).chain(command.get_args()).map(|s| s.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_list_and_does_not_stop_it() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || bail!("broken")));
        assert!(steps.run("second", || Ok(())));
        steps.skip("third", "not here");
        let error = steps.finish().expect_err("one step failed");
        assert_eq!(error.to_string(), "failed: first");
    }

    #[test]
    fn skipped_steps_do_not_fail_the_list() {
        let mut steps = Steps::default();
        steps.skip("only", "not here");
        assert!(steps.finish().is_ok());
    }

    #[test]
    fn commands_are_shown_without_the_path_of_the_program() {
        let mut command = Command::new("/some/where/cargo");
        command.args(["test", "--release"]);
        assert_eq!(shown(&command), "cargo test --release");
    }
}
