//! Edits of ImgEdit's nine kinds (Ye et al. 2025, arXiv 2505.20275): a scene, an instruction, and the scene that it
//! asks for. Whatever an instruction does not name stays exactly as it is.

mod chinese;
mod fit;
mod instruct;
mod kind;
mod looks;
mod moves;
mod near;
mod objects;
mod referent;
mod sample;
mod step;

pub use kind::EditKind;
pub use near::{another_scene, posed_scene};
pub use sample::{Edit, edit_at, edit_of, sample_edit};
