//! Drawing images and text from the model.

mod masked;
mod noise;
mod on_device;
mod order;
mod replay;
mod schedule;
mod text;

pub use masked::{
    Branch, Flow, MaskedDecoding, Path, Prefix, Preview, StepReport, edit_guidance, text_guidance,
};
pub use noise::{Noise, Seeded, Seeds};
pub use order::Order;
pub use replay::{PartialTarget, target_logits};
pub use schedule::{scheduled, still_masked};
pub use text::{TextDecoding, decode_text};
