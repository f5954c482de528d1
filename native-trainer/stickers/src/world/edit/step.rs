//! One change of a scene.

use super::referent::Referent;
use crate::world::{Object, Scene};

/// One thing done: what was said, what came of it, and which objects were named.
pub(super) struct Step {
    pub instruction: String,
    pub after: Scene,
    pub named: Vec<(Referent, Vec<Object>)>,
}
