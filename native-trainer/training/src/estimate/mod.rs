//! What a run needs before it begins: memory by part and the arithmetic of a step, from its settings alone.
//!
//! Activations are the values that the backward pass reads, counted operation by operation, so they follow the code of
//! the models. `unigen train check` prints them beside the measured peak.

mod card;
mod decoder;
mod exports;
mod images;
mod texts;

use std::fmt;

pub use card::{Card, memory};
pub use decoder::{Adapters, Conversation, Rows, Sequences};
pub use exports::Exports;
pub use images::{pair, siglip};
pub use texts::{conversation, text_tokens};

/// Bytes of a value.
const F32: f64 = 4.0;

/// The program itself: its code, threads and tables, and what the allocator keeps for the next step. Measured beside
/// every stage of the nano model.
const PROGRAM: f64 = 170e6;

/// What a run needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// Bytes by part.
    pub parts: Vec<Part>,
    /// Floating-point operations of a step.
    pub flops: f64,
}

/// The memory of one part of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    pub name: &'static str,
    pub bytes: f64,
    pub place: Place,
}

/// Where a part lies when a GPU computes. On the CPU everything lies in one memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Device,
    Host,
}

/// What is trained, and how.
#[derive(Debug, Clone, Copy)]
pub struct Trained {
    /// Parameters that are trained.
    pub trained: f64,
    /// Bytes of those that are frozen, as they are stored.
    pub frozen: f64,
    /// Values that one batch keeps for its backward pass.
    pub kept: f64,
    /// Batches of a step.
    pub accumulate: u64,
}

impl Estimate {
    /// The parts of every training run. `adapters` says what the trained parameters are.
    pub fn of(run: Trained, adapters: bool, flops: f64) -> Self {
        let Trained { trained, frozen, kept, accumulate } = run;
        let weights = if adapters { frozen } else { trained * F32 + frozen };
        let mut found = Self { parts: vec![], flops: flops * accumulate as f64 };
        found.add("weights", weights, Place::Device);
        found.add("adapters", if adapters { trained * F32 } else { 0.0 }, Place::Device);
        // Two moments and the averaged weights.
        found.add("optimizer", 3.0 * trained * F32, Place::Host);
        // A step of several batches holds their sum while it computes the next.
        let sums = if accumulate > 1 { 1.0 } else { 0.0 };
        found.add("gradients", trained * F32, Place::Device);
        found.add("sum of gradients", sums * trained * F32, Place::Host);
        found.add("activations", kept * F32, Place::Device);
        found.add("program", PROGRAM, Place::Host);
        found
    }

    /// Adds `bytes` to the part called `name`.
    pub fn add(&mut self, name: &'static str, bytes: f64, place: Place) {
        match self.parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.bytes += bytes,
            None if bytes > 0.0 => self.parts.push(Part { name, bytes, place }),
            None => {}
        }
    }

    /// Bytes of all parts together, as on the CPU.
    pub fn bytes(&self) -> f64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the parts that lie on a device.
    pub fn device_bytes(&self) -> f64 {
        let on_device = self.parts.iter().filter(|part| part.place == Place::Device);
        on_device.map(|part| part.bytes).sum()
    }
}

impl fmt::Display for Estimate {
    /// The parts in one line, largest first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.parts.clone();
        parts.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
        let parts = parts.iter().map(|part| format!("{} {}", part.name, size(part.bytes)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// A number of bytes for people.
pub fn size(bytes: f64) -> String {
    if bytes >= 1e9 { format!("{:.2} GB", bytes / 1e9) } else { format!("{:.0} MB", bytes / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let run = Trained { trained: 10e6, frozen: 20e6, kept: 2e6, accumulate: 1 };
        let full = Estimate::of(run, false, 7.0);
        assert_eq!(full.bytes(), (15.0 + 30.0 + 10.0 + 2.0) * 4e6 + PROGRAM);
        assert_eq!(full.device_bytes(), (15.0 + 10.0 + 2.0) * 4e6);
        let lora = Estimate::of(Trained { accumulate: 3, ..run }, true, 7.0);
        assert_eq!(lora.bytes(), (5.0 + 10.0 + 30.0 + 10.0 + 10.0 + 2.0) * 4e6 + PROGRAM);
        assert_eq!(lora.flops, 21.0);
        assert!(full.to_string().starts_with("program 170 MB, optimizer 120 MB"), "{full}");
    }
}
