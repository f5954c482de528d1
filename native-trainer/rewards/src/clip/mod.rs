//! CLIP (Radford et al. 2021, arXiv 2103.00020) and its descendant HPSv2 (Wu et al. 2023, arXiv 2306.09341): the
//! similarity of a picture and a text.

mod config;
mod model;
mod open_clip;
mod preprocess;
mod reward;
mod tokens;

pub use config::{ClipConfig, TextConfig};
pub use model::{Clip, unit};
pub use open_clip::OpenClip;
pub use preprocess::{Framing, Preprocess};
pub use reward::ClipReward;
pub use tokens::ClipTokenizer;
