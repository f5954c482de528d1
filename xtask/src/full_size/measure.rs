//! Seconds and memory of a program.

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::steps::shown;

/// What a program took.
pub struct Measured {
    pub seconds: f64,
    /// The most bytes of memory that it had at once, where the system tells.
    pub peak: Option<u64>,
}

/// Runs `command` to its end.
///
/// # Errors
/// If it cannot be run or fails.
pub fn run(command: &mut Command) -> Result<Measured> {
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run `{}`", shown(command)))?;
    let mut peak = None;
    let status = loop {
        // The peak of a process goes with it, so it is read while it runs; it only grows.
        peak = peak_of(&child).max(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(20));
    };
    ensure!(status.success(), "`{}` ended with {status}", shown(command));
    Ok(Measured { seconds: start.elapsed().as_secs_f64(), peak })
}

/// Linux's `VmHWM`.
fn peak_of(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
