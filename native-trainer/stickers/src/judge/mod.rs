//! The detector that judges pictures: objects as points (Zhou et al. 2019, arXiv 1904.07850), with class and colour.
//!
//! The judge is trained for judging only. A second network of the same kind, from another seed, may teach the tokenizer
//! with its [features](DetectorNet::features). The judge never teaches.

mod boxes;
mod decode;
mod detection;
mod detector;
mod distort;
mod found;
mod loss;
mod net;
mod stage;

#[cfg(test)]
mod tests;

pub(crate) use boxes::{iou, middle, same_place};
pub use decode::decode;
pub use detection::Detection;
pub use detector::{Detector, FILE, Unlike};
pub use found::{Found, sprites_found};
pub use loss::loss;
pub(crate) use net::space_to_depth;
pub use net::{DetectorConfig, DetectorNet, Level, MULTIPLE, STRIDE, Teacher};
pub use stage::{DetectorStage, Settings};
