//! One change of a scene.

use super::referent::Referent;
use crate::world::{Object, Scene};

/// One change: the instruction, the resulting scene, and the objects that were named.
pub(super) struct Step {
    pub instruction: String,
    pub after: Scene,
    pub named: Vec<(Referent, Vec<Object>)>,
}
