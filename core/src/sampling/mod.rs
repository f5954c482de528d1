//! Drawing images and text from the model.
//!
//! Images: [`MaskedDecoding`] fills a grid of masked codes in a few steps (MaskGIT, Chang et al., arXiv 2202.04200, section
//! 3.2). Each step draws every masked code at once under guidance ([`Branch`]; UniGen-1.5, arXiv 2511.14760, section 3, has
//! two scales for edits), keeps as many as the cosine [schedule](still_masked) says, chosen by an [`Order`], and masks
//! the others again. [`target_logits`] replays such a decoding with gradients, for reinforcement learning.
//!
//! Text: [`decode_text`] continues a [`Prefix`] token by token.
//!
//! All randomness comes from a [`Noise`], so that one seed gives one image on every device.

mod blocks;
mod draw;
mod guidance;
mod masked;
mod noise;
mod on_device;
mod order;
mod prefix;
mod read;
mod replay;
mod schedule;
mod step;
mod text;

pub use guidance::{Branch, edit_guidance, text_guidance};
pub use masked::{MaskedDecoding, Path};
pub use noise::{Noise, Seeded, Seeds};
pub use order::Order;
pub use prefix::Prefix;
pub use replay::{PartialTarget, target_logits};
pub use schedule::{Counted, scheduled, still_masked};
pub use step::{Flow, Preview, StepReport};
pub use text::{DecodedText, TextDecoding, decode_text};
