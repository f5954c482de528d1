//! Small scenes of Twemoji sprites in GenEval's 80 classes and ten colours, with their captions, questions and edits. A
//! [`Scene`] is a small graph. A [`Renderer`] draws it, a grammar describes it, and [`Facts`] reads such descriptions.
//!
//! Everything is a function of a seed: `scene_at(split, seed, index)` gives the same scene on every machine.
//! Twemoji graphics are CC-BY 4.0 (Twitter and contributors).

mod art;
mod bounds;
mod caption;
mod chinese;
mod classes;
mod color;
mod edit;
mod facts;
pub(crate) mod geneval;
mod pose;
mod question;
mod random;
mod render;
mod sample;
mod scene;
mod scenery;
mod scope;
mod split;
mod sprites;
mod truth;
mod typed;
mod words;

pub use caption::{caption, description, example_at};
pub use classes::Class;
pub use color::{Color, Tint};
pub use edit::{Edit, EditKind, another_scene, edit_at, edit_of, posed_scene, sample_edit};
pub use facts::{Facts, Pattern, Surroundings, Thing};
pub use geneval::{geneval_prompts, in_chinese, training_prompt, validation_prompts, vocabulary};
pub use pose::{Pose, Turn};
pub use question::{QuestionAnswer, QuestionKind, questions};
pub use render::Renderer;
pub use sample::{sample_scene, scene_at, scene_of};
pub use scene::{Background, Look, Object, Scene, Style};
pub use scenery::Scenery;
pub use scope::{Domain, Scope};
pub use split::Split;
pub use truth::Truth;
pub use typed::{typed, worded};
pub use words::region;
