//! Hostile input for every loader. A [`Target`] is a loader with a budget of memory; [`Target::check`] gives it an input and
//! panics where it panics, takes too long or takes too much memory. `tests/replay.rs` does so with the inputs of the corpus,
//! `cargo xtask fuzz` with those that libFuzzer makes of them.

mod data;
#[path = "../../../core/tests/weights/files.rs"]
#[allow(dead_code)]
mod files;
mod pictures;
mod rewards;
mod settings;
mod text;
mod weights;

use peak_alloc::PeakAlloc;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Longest time for an input.
const LONGEST: Duration = Duration::from_secs(5);

/// An input with a name.
pub type Seed = (String, Vec<u8>);

/// A loader under test.
pub struct Target {
    pub name: &'static str,
    /// Bytes that the loader may take beside its input, and again for each byte of the input.
    memory: [usize; 2],
    /// Largest input that the fuzzer makes.
    pub most: usize,
    load: fn(&[u8]),
    seeds: fn() -> Vec<Seed>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    pictures::PNG,
    pictures::JPEG,
    pictures::WEBP,
    pictures::GIF,
    pictures::BMP,
    pictures::TIFF,
    pictures::MASK,
    weights::SAFETENSORS,
    weights::INDEX,
    weights::GGUF,
    weights::PYTORCH,
    text::TOKENIZER,
    settings::CONFIG,
    settings::PUBLISHED,
    settings::RECIPE,
    data::TAR,
    data::JSONL,
    rewards::REQUEST,
    rewards::RESPONSE,
    rewards::JUDGE,
];

impl Target {
    /// The target with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Gives `input` to the loader.
    ///
    /// # Panics
    /// Where the loader panics, or takes more than its time or memory.
    pub fn check(&self, input: &[u8]) {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        (self.load)(input);
        let (time, memory) = (start.elapsed(), MEMORY.peak_usage().saturating_sub(before));
        let [base, each] = self.memory;
        let budget = base + each * input.len();
        assert!(time < LONGEST, "{} takes {time:?} for {} bytes", self.name, input.len());
        assert!(
            memory <= budget,
            "{} takes {memory} bytes for {}, more than {budget}",
            self.name,
            input.len()
        );
    }

    /// Good input and some that is nearly good, made by the project's own writers.
    pub fn seeds(&self) -> Vec<Seed> {
        (self.seeds)()
    }

    /// The folder of inputs that the fuzzer found worth keeping.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }
}

/// A seed of a text.
fn text(name: &str, text: impl Into<String>) -> Seed {
    (name.into(), text.into().into_bytes())
}

/// A file of the repository.
fn repository(path: &str) -> Seed {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    (path.replace('/', "-"), bytes)
}
