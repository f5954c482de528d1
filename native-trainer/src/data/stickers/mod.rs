//! The sticker world: small scenes of Twemoji sprites in GenEval's 80 classes and ten colours, with their captions,
//! questions and edits. A [`Scene`] is a small graph; a [`Renderer`] draws it; a grammar writes about it.
//!
//! Everything is a function of a seed: `scene_at(split, seed, index)` gives the same scene on every machine.
//! Twemoji graphics are CC-BY 4.0 (Twitter and contributors).

mod caption;
mod classes;
mod color;
mod edit;
mod facts;
mod pose;
mod prompts;
mod question;
mod render;
mod sample;
mod scene;
mod sheet;
mod split;
mod sprites;
mod words;

pub use caption::{caption, description};
pub use classes::Class;
pub use color::{Color, Tint};
pub use edit::{Edit, EditKind, another_scene, edit_at, edit_of, posed_scene, sample_edit};
pub use facts::{Facts, Pattern, Surroundings, Thing};
pub use pose::{Pose, Turn};
pub use prompts::{geneval_prompts, training_prompt, validation_prompts};
pub use question::{QuestionAnswer, QuestionKind, questions};
pub use render::Renderer;
pub use sample::{example_at, rng_at, sample_scene, scene_at};
pub use scene::{Background, Object, Relation, Scene, Style, relations};
pub use sheet::contact_sheet;
pub use split::Split;
pub use words::region;
