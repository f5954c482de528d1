//! The sticker world: scenes of emoji with captions, questions and edits ([`world`]), drawn without end. A small model can be
//! trained on it from nothing, and everything that it draws can be judged, since all of a scene is known.
//!
//! [`Stickers`] is the [`World`](unigen_training::world::World) from which the stages of training take pictures, edits and
//! prompts. A detector judges ([`judge`]), rewards of its own lead reinforcement learning ([`rewards`]), and the protocols of
//! `unigen-evaluation` are run on held-out scenes: edits are scored by [`imgedit`].

pub mod ablation;
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
