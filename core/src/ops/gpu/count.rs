//! Counts what is launched, to tell what a model would cost on a device that is not there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What shaders were given. The few operations that burn computes itself are not in it: sums of residuals, and tensors that are put
/// one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Launches {
    /// How many were launched.
    pub dispatches: u64,
    /// Tensors that were bound.
    pub bindings: u64,
    /// Bytes of these tensors.
    pub bytes: u64,
    /// Bytes of the largest one.
    pub largest: u64,
}

static DISPATCHES: AtomicU64 = AtomicU64::new(0);
static BINDINGS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicU64 = AtomicU64::new(0);

/// Notes a launch with tensors of so many bytes.
pub fn note(tensors: impl Iterator<Item = usize>) {
    DISPATCHES.fetch_add(1, Relaxed);
    for bytes in tensors {
        BINDINGS.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
        LARGEST.fetch_max(bytes as u64, Relaxed);
    }
}

/// What was launched since this was last asked for.
pub fn take_launches() -> Launches {
    let [dispatches, bindings, bytes, largest] =
        [&DISPATCHES, &BINDINGS, &BYTES, &LARGEST].map(|count| count.swap(0, Relaxed));
    Launches { dispatches, bindings, bytes, largest }
}
