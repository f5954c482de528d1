//! Progress of a long job: how far it is, how fast it goes, and how long it will take.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// A progress bar on a terminal. Elsewhere (a file, a pipe, CI) it prints a plain line every thirty seconds.
pub struct Progress {
    label: String,
    total: u64,
    done: u64,
    last: Instant,
    pace: Pace,
    loss: f64,
    output: Output,
}

enum Output {
    Bar(ProgressBar),
    /// When the next line is due, and the step of the last line.
    Lines {
        next: Instant,
        told: Option<u64>,
    },
}

impl Progress {
    /// Shows progress called `label`, with `done` of `total` steps done.
    pub fn new(label: &str, done: u64, total: u64) -> Self {
        let now = Instant::now();
        let output = if stderr().is_terminal() {
            let bar = ProgressBar::new(total).with_position(done).with_prefix(label.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}{msg}") {
                bar.set_style(style);
            }
            bar.tick();
            Output::Bar(bar)
        } else {
            Output::Lines { next: now, told: None }
        };
        let (pace, loss) = (Pace::default(), f64::NAN);
        Self { label: label.to_owned(), total, done, last: now, pace, loss, output }
    }

    /// Calls `work` with a callback for the number of steps done, and shows it under `label` as a part of `total`.
    ///
    /// # Errors
    /// The errors of `work`.
    pub fn over<T>(
        label: &str,
        total: usize,
        work: impl FnOnce(&mut dyn FnMut(usize)) -> Result<T>,
    ) -> Result<T> {
        let (mut progress, mut before) = (Self::new(label, 0, total as u64), 0);
        let found = work(&mut |done| {
            progress.step(done as u64, (done - before) as u64, f64::NAN);
            before = done;
        })?;
        progress.finish();
        Ok(found)
    }

    /// Records that `step` steps are done. The latest had `samples` samples and this `loss`.
    pub fn step(&mut self, step: u64, samples: u64, loss: f64) {
        let now = Instant::now();
        self.pace.add(now - self.last, step.saturating_sub(self.done), samples);
        (self.done, self.last, self.loss) = (step, now, loss);
        let state = self.state();
        match &mut self.output {
            Output::Bar(bar) => {
                bar.set_position(step);
                bar.set_message(state);
            }
            Output::Lines { next, told } if now >= *next => {
                (*next, *told) = (now + LINE_INTERVAL, Some(step));
                self.line();
            }
            Output::Lines { .. } => {}
        }
    }

    /// Prints a separate line above the bar.
    pub fn note(&self, text: &str) {
        match &self.output {
            Output::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Output::Lines { .. } => eprintln!("{text}"),
        }
    }

    /// Leaves the final state on the screen.
    pub fn finish(self) {
        match &self.output {
            Output::Bar(bar) => bar.abandon(),
            Output::Lines { told, .. } if *told == Some(self.done) => {}
            Output::Lines { .. } => self.line(),
        }
    }

    fn line(&self) {
        eprintln!("{} {}/{}{}", self.label, self.done, self.total, self.state());
    }

    fn state(&self) -> String {
        let mut state = String::new();
        if !self.loss.is_nan() {
            state += &format!(" · loss {:.4}", self.loss);
        }
        if let Some((steps, samples)) = self.pace.per_second() {
            let left = self.total.saturating_sub(self.done) as f64 / steps;
            state += &format!(" · {samples:.1} samples/s · {} left", human(left));
        }
        state
    }
}

/// Steps and samples per second, as an average whose weights fade over [`Pace::FADE`] seconds.
#[derive(Default)]
struct Pace {
    seconds: f64,
    steps: f64,
    samples: f64,
}

impl Pace {
    /// Seconds after which the weight of a step has fallen to 1/e.
    const FADE: f64 = 30.0;

    fn add(&mut self, elapsed: Duration, steps: u64, samples: u64) {
        let elapsed = elapsed.as_secs_f64();
        let fade = (-elapsed / Self::FADE).exp();
        self.seconds = self.seconds * fade + elapsed;
        self.steps = self.steps * fade + steps as f64;
        self.samples = self.samples * fade + samples as f64;
    }

    /// `(steps, samples)` per second, once a step is done.
    fn per_second(&self) -> Option<(f64, f64)> {
        (self.seconds > 0.0 && self.steps > 0.0)
            .then(|| (self.steps / self.seconds, self.samples / self.seconds))
    }
}

/// A duration in its two largest units.
fn human(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let text = [0.4, 59.0, 61.0, 3_725.0, 180_000.0].map(human);
        assert_eq!(text, ["0s", "59s", "1m 01s", "1h 02m", "2d 2h"]);
        assert!(human(f64::INFINITY).ends_with("h"));
    }

    #[test]
    fn pace_follows_a_change_of_speed() {
        let mut pace = Pace::default();
        assert!(pace.per_second().is_none());
        for _ in 0..100 {
            pace.add(Duration::from_millis(500), 1, 8);
        }
        let (steps, samples) = pace.per_second().unwrap();
        assert!((steps - 2.0).abs() < 1e-6 && (samples - 16.0).abs() < 1e-6);
        for _ in 0..100 {
            pace.add(Duration::from_secs(2), 1, 8);
        }
        assert!((pace.per_second().unwrap().1 - 4.0).abs() < 0.1);
    }

    #[test]
    fn says_loss_speed_and_time_left() {
        let mut progress = Progress::new("pretrain", 10, 100);
        assert_eq!(progress.state(), "");
        progress.pace.add(Duration::from_secs(1), 1, 8);
        (progress.done, progress.loss) = (20, 0.5);
        assert_eq!(progress.state(), " · loss 0.5000 · 8.0 samples/s · 1m 20s left");
        progress.step(100, 8, f64::NAN);
        assert!(progress.state().ends_with("0s left"));
        progress.note("saved");
        progress.finish();
    }
}
