//! One error for the whole core: what was wrong, where, and what to do about it.

use std::fmt;

/// The part of the system that an [`Error`] comes from; its [`code`](ErrorKind::code) is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A model or training configuration that cannot work.
    Config,
    /// A weight file or one tensor in it.
    Weights,
    /// A tokenizer file, or text that it cannot encode.
    Text,
    /// An input image.
    Image,
    /// A compute device.
    Device,
    /// Reading or writing a file.
    Io,
    /// The caller cancelled the work.
    Cancelled,
}

impl ErrorKind {
    /// A stable, lower-case word for programs.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Weights => "weights",
            ErrorKind::Text => "text",
            ErrorKind::Image => "image",
            ErrorKind::Device => "device",
            ErrorKind::Io => "io",
            ErrorKind::Cancelled => "cancelled",
        }
    }
}

/// What went wrong, where, and how to fix it.
///
/// Displays as `place: what (fix)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The part of the system.
    pub kind: ErrorKind,
    /// The file, tensor, key or argument at fault.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
    /// What the user can do; may be empty.
    pub fix: String,
}

/// Result with the core's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` at `place`.
    pub fn new(kind: ErrorKind, place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self { kind, place: place.to_string(), what: what.to_string(), fix: String::new() }
    }

    /// Adds what the user can do.
    pub fn fix(mut self, fix: impl fmt::Display) -> Self {
        self.fix = fix.to_string();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if !self.fix.is_empty() {
            write!(f, " ({})", self.fix)?;
        }
        Ok(())
    }
}
