//! What the binary `unigen` has beside its commands: benches and parity.

pub mod bench;
pub mod verify;
