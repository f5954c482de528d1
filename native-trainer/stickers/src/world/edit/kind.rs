//! The kinds of edit.

use serde::{Deserialize, Serialize};

/// ImgEdit's nine kinds of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditKind {
    Add,
    Remove,
    Replace,
    /// Another colour or size.
    Adjust,
    Background,
    Style,
    /// The object alone, in its place, on white.
    Extract,
    /// Move, mirror or turn.
    Action,
    /// Two of the others in one instruction.
    Compose,
}

impl EditKind {
    /// All nine.
    pub const ALL: [EditKind; 9] = {
        use EditKind::*;
        [Add, Remove, Replace, Adjust, Background, Style, Extract, Action, Compose]
    };

    /// ImgEdit's name.
    pub fn name(self) -> &'static str {
        ["add", "remove", "replace", "adjust", "background", "style", "extract", "action", "compose"]
            [self as usize]
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<EditKind> {
        EditKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
