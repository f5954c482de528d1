//! The sticker world: an endless supply of drawn scenes of emoji with captions, questions and edits ([`world`]). A
//! small model can be trained on it from scratch. Everything about a scene is known, so every picture that the model
//! draws can be judged.
//!
//! [`Stickers`] is the [`World`](unigen_training::world::World) from which the training stages take pictures, edits and
//! prompts. A detector judges ([`judge`]), small rewards guide reinforcement learning ([`rewards`]), and the protocols
//! of `unigen-evaluation` run on held-out scenes. [`imgedit`] scores edits.

pub mod ablation;
pub mod coverage;
pub mod diversity;
mod edits;
pub mod imgedit;
pub mod judge;
mod pictures;
mod prompts;
pub mod reconstruction;
pub mod rewards;
pub mod shards;
mod stickers;
pub mod understanding;
mod validation;
mod vocabulary;
pub mod world;

pub use stickers::Stickers;
pub use vocabulary::vocabulary;
