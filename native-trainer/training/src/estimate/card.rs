//! The memory and speed that a run has at hand.

use anyhow::{Context, Result, bail};
use std::str::FromStr;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// A card to predict for, such as `24GB,20TFLOPS`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Card {
    /// Bytes of memory.
    pub memory: f64,
    /// Floating-point operations a second that products reach, if given.
    pub speed: Option<f64>,
}

impl FromStr for Card {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (mut memory, mut speed) = (None, None);
        for part in text.split(',').map(str::trim) {
            let digits = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
            let (number, unit) = part.split_at(digits);
            let number: f64 = number.parse().with_context(|| wrong(text))?;
            match unit.trim().to_uppercase().as_str() {
                "GB" | "G" => memory = Some(number * 1e9),
                "TFLOPS" | "TFLOP/S" | "TF" => speed = Some(number * 1e12),
                _ => bail!(wrong(text)),
            }
        }
        let memory = memory.filter(|memory| *memory > 0.0).with_context(|| wrong(text))?;
        Ok(Self { memory, speed: speed.filter(|speed| *speed > 0.0) })
    }
}

fn wrong(text: &str) -> String {
    format!("{text:?} is not a card; write its memory and speed like 24GB,20TFLOPS")
}

/// The memory in bytes that this process may use: that of the machine, or of its container. `None` if the system does
/// not say.
pub fn memory() -> Option<f64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Some(system.total_memory().min(limit)).filter(|bytes| *bytes > 0).map(|bytes| bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_memory_and_speed() {
        for (text, memory, speed) in [
            ("24GB,20TFLOPS", 24e9, Some(20e12)),
            ("24gb, 20.5 tflops", 24e9, Some(20.5e12)),
            ("80 GB", 80e9, None),
            ("0.5GB,1TF", 5e8, Some(1e12)),
        ] {
            assert_eq!(text.parse::<Card>().unwrap(), Card { memory, speed }, "{text}");
        }
        for text in ["", "24", "20TFLOPS", "24GB,fast", "GB", "0GB", "-4GB", "24MB"] {
            let error = format!("{:#}", text.parse::<Card>().unwrap_err());
            assert!(error.contains("24GB,20TFLOPS"), "{error}");
        }
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory().unwrap() > 1e8);
    }
}
