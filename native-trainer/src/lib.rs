//! Benchmarks of the binary `unigen`.

pub mod bench;
