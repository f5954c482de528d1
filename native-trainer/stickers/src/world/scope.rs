//! How much of the sticker world is shown.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Class, Look, Split, art};

/// How much of the world is shown: the table `[world]` of a recipe. The default is the small world of GenEval's classes
/// in flat drawings with English texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// The number of things, in the order of the table of things: at least GenEval's 80.
    pub things: usize,
    /// Three in five scenes in three dimensions, as far as their things have such drawings (`cargo xtask assets`).
    pub solid: bool,
    /// Texts in Chinese beside those in English.
    pub chinese: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Self { things: Class::GENEVAL.len(), solid: false, chinese: false }
    }
}

impl Scope {
    /// Refuses what the world does not have.
    ///
    /// # Errors
    /// If there are not so many things, or the drawings of a look are missing.
    pub fn check(&self) -> Result<()> {
        let counts = Class::GENEVAL.len()..=Class::all().len();
        ensure!(
            counts.contains(&self.things),
            "world.things is {}; the world has {} to {}",
            self.things,
            counts.start(),
            counts.end()
        );
        if self.solid {
            art::check(&Class::all()[..self.things])?;
        }
        Ok(())
    }

    /// Whether this is the small world, whose scenes and texts never change.
    pub fn is_small(&self) -> bool {
        *self == Self::default()
    }

    /// The things that are shown.
    pub fn classes(&self) -> &'static [Class] {
        &Class::all()[..self.things.min(Class::all().len())]
    }

    /// The looks that are shown.
    pub fn looks(&self) -> &'static [Look] {
        if self.solid { &Look::ALL } else { &Look::ALL[..1] }
    }
}

/// The scenes of a split within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    pub scope: Scope,
    pub split: Split,
}

impl From<Split> for Domain {
    /// The small world's scenes of a split.
    fn from(split: Split) -> Self {
        Self { scope: Scope::default(), split }
    }
}
