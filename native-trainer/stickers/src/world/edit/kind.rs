//! The kinds of edit.

use serde::{Deserialize, Serialize};

/// ImgEdit's nine kinds of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditKind {
    Add,
    Remove,
    Replace,
    /// Changes an object's colour or size.
    Adjust,
    Background,
    Style,
    /// Keeps one object alone, in its place, on white.
    Extract,
    /// Moves, mirrors or turns an object.
    Action,
    /// Two of the other kinds in one instruction.
    Compose,
}

impl EditKind {
    /// All nine kinds.
    pub const ALL: [EditKind; 9] = {
        use EditKind::*;
        [Add, Remove, Replace, Adjust, Background, Style, Extract, Action, Compose]
    };

    /// ImgEdit's name.
    pub fn name(self) -> &'static str {
        ["add", "remove", "replace", "adjust", "background", "style", "extract", "action", "compose"]
            [self as usize]
    }

    /// The kind with a name.
    pub fn from_name(name: &str) -> Option<EditKind> {
        EditKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
