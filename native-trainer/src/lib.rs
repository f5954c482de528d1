//! What the binary `unigen` has beside its commands: benches.

pub mod bench;
