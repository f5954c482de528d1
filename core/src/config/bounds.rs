//! What a size may be, and the error where it is not.

use crate::error::{Error, ErrorKind, Result};
use std::fmt::Display;

/// The largest width or vocabulary.
pub(super) const MAX_SIZE: usize = 1 << 24;
/// The most layers.
pub(super) const MAX_LAYERS: usize = 1 << 12;
/// The longest side of an image that a model draws, in pixels.
pub const MAX_IMAGE_SIZE: usize = 1024;
/// The most bits of a code, so that it fits the 32-bit integers of every device.
pub(super) const MAX_CODE_BITS: usize = 31;
/// The most codes in an image: 1024 x 1024 pixels at 8 pixels a code.
pub(super) const MAX_IMAGE_CODES: usize = 1 << 14;
/// The most parameters in one part of a model: 2^40, about 10^12.
const MAX_PARAMETERS: u128 = 1 << 40;

/// An error about the value of `key`.
pub(super) fn wrong(key: impl Display, what: impl Display) -> Error {
    Error::new(ErrorKind::Config, key, what)
}

/// Checks that `value` lies between 1 and `max`.
pub(super) fn size(key: &str, value: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(wrong(key, format!("is {value}")).fix(format!("choose 1 to {max}")))
}

/// Checks that `divisor`, which is not zero, divides the value of the key `of`.
pub(super) fn divides(key: &str, divisor: usize, of: &str, value: usize) -> Result<()> {
    if value.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(wrong(key, format!("is {divisor}, which does not divide {of} {value}"))
        .fix(format!("choose a divisor of {of}")))
}

/// Checks that `value` is finite and above zero.
pub(super) fn positive(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(wrong(key, format!("is {value}")).fix("choose a positive number"))
}

/// Checks that a part has no more parameters than any model.
pub(super) fn parameters(count: u128) -> Result<()> {
    if count <= MAX_PARAMETERS {
        return Ok(());
    }
    Err(wrong("sizes", format!("make {count} parameters")).fix("choose smaller sizes"))
}

/// Adds the section `section` in front of the key that an error names.
pub(super) fn within(section: &'static str) -> impl Fn(Error) -> Error {
    move |e| Error { place: format!("{section}.{}", e.place), ..e }
}
