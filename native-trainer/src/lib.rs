//! Benchmarks and parity checks of the binary `unigen`.

pub mod bench;
