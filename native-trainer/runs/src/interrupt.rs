//! Stopping on Ctrl-C without losing work.

use std::io::{Write, stderr};
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use unigen_core::ErrorKind;
use unigen_core::sampling::Flow;

/// Shows whether the user asked the program to stop.
#[derive(Debug, Clone, Copy)]
pub struct Interrupt(());

static REQUESTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Exit code of an interrupted program, by the convention of shells.
const INTERRUPTED: i32 = 130;

impl Interrupt {
    /// Catches Ctrl-C, and on Unix also SIGTERM and SIGHUP. The first signal sets the flag that
    /// [`Interrupt::requested`] returns; the second ends the program at once with exit code 130. It is harmless to
    /// install this twice.
    ///
    /// # Errors
    /// If the system does not let signals be caught.
    pub fn install() -> Result<Self> {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !*installed {
            ctrlc::set_handler(on_signal).context("cannot catch Ctrl-C")?;
            *installed = true;
        }
        Ok(Self(()))
    }

    /// Whether the user asked the program to stop.
    pub fn requested(self) -> bool {
        REQUESTED.load(Ordering::Relaxed)
    }

    /// For long work that can stop anywhere: fails if the user asked the program to stop. Signals are noticed only
    /// after [`Interrupt::install`].
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check() -> Result<(), Interrupted> {
        if Self(()).requested() { Err(Interrupted) } else { Ok(()) }
    }

    /// The same as a [`Flow`] for decoding.
    pub fn flow() -> Flow {
        if Self(()).requested() { Flow::Cancel } else { Flow::Continue }
    }
}

/// The user asked the program to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupted {
    /// Whether `error` says only that the user asked the program to stop.
    pub fn is(error: &anyhow::Error) -> bool {
        let cancelled = |e: &unigen_core::Error| e.kind == ErrorKind::Cancelled;
        error.chain().any(|cause| cause.is::<Self>() || cause.downcast_ref().is_some_and(cancelled))
    }
}

fn on_signal() {
    if REQUESTED.swap(true, Ordering::Relaxed) {
        exit(INTERRUPTED);
    }
    // An error is ignored: perhaps nobody reads this any more, and saving matters more.
    let _ = writeln!(
        stderr(),
        "\ninterrupted: saving before the program ends; press Ctrl-C again to end it at once"
    );
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    const CHILD: &str = "UNIGEN_TEST_INTERRUPT_CHILD";

    /// Runs only as the child of the next test, and sends itself as many signals as it is told.
    #[test]
    fn child() {
        let Ok(signals) = std::env::var(CHILD) else { return };
        let interrupt = Interrupt::install().unwrap();
        Interrupt::install().unwrap();
        assert!(!interrupt.requested());
        for signal in signals.split_whitespace() {
            Command::new("kill").arg(signal).arg(std::process::id().to_string()).status().unwrap();
            sleep(Duration::from_millis(200));
        }
        assert!(interrupt.requested());
        exit(0);
    }

    #[test]
    fn the_first_signal_is_a_wish_and_the_second_an_order() {
        let (_, path) = module_path!().split_once("::").unwrap();
        let run = |signals: &str| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args([&format!("{path}::child"), "--exact", "--nocapture"])
                .env(CHILD, signals)
                .stdout(Stdio::null())
                .output()
                .unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap().matches("saving").count())
        };
        assert_eq!(run("-INT"), (Some(0), 1));
        assert_eq!(run("-TERM"), (Some(0), 1));
        assert_eq!(run("-INT -INT"), (Some(INTERRUPTED), 1));
    }
}
