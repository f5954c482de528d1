//! How models come in and are found: [`import`] turns published weights into model folders, [`pull`](mod@pull) downloads them
//! from the Hugging Face Hub first, and [`Library`] finds a model by its name.
//!
//! ```text
//! Hugging Face folder, GGUF ──> import ──> model folder ──> Library ──> engine
//!                                  ^
//! the Hub ──> pull ────────────────┘
//! ```

pub mod import;
mod library;
mod nano;
mod origin;
pub mod pull;

pub use library::{Found, Library, Listed};
pub use origin::{Origin, Source};
