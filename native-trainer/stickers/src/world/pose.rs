//! Poses of stickers: as drawn, mirrored, tilted or turned.

use super::Object;

/// The pose of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pose {
    pub mirrored: bool,
    pub turn: Turn,
}

/// A rotation, clockwise, in the words of descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Upright,
    TiltedRight,
    Right,
    UpsideDown,
    Left,
    TiltedLeft,
}

impl Turn {
    /// All six turns.
    pub const ALL: [Turn; 6] = {
        use Turn::*;
        [Upright, TiltedRight, Right, UpsideDown, Left, TiltedLeft]
    };

    /// The turn by an angle in degrees.
    fn of(rotation: f32) -> Self {
        match rotation.rem_euclid(360.) {
            angle if !(5. ..=355.).contains(&angle) => Turn::Upright,
            angle if angle < 60. => Turn::TiltedRight,
            angle if angle <= 120. => Turn::Right,
            angle if angle < 240. => Turn::UpsideDown,
            angle if angle <= 300. => Turn::Left,
            _ => Turn::TiltedLeft,
        }
    }

    /// The words for the turn. None if the object stands upright.
    pub fn words(self) -> Option<&'static str> {
        Some(match self {
            Turn::Upright => return None,
            Turn::TiltedRight => "tilted to the right",
            Turn::Right => "turned to the right",
            Turn::UpsideDown => "upside down",
            Turn::Left => "turned to the left",
            Turn::TiltedLeft => "tilted to the left",
        })
    }
}

impl Pose {
    /// Number of poses.
    pub const COUNT: usize = 2 * Turn::ALL.len();
    /// The word for `mirrored`.
    pub const MIRRORED: &str = "mirrored";

    /// The pose of `object`.
    pub fn of(object: &Object) -> Self {
        Self { mirrored: object.flipped, turn: Turn::of(object.rotation) }
    }

    /// An index below [`Self::COUNT`].
    pub fn index(self) -> usize {
        self.turn as usize + if self.mirrored { Turn::ALL.len() } else { 0 }
    }

    /// The words of a description for the pose, each part after a comma. Empty for an object that stands as it was
    /// drawn.
    pub fn told(self) -> String {
        let parts = [self.mirrored.then_some(Self::MIRRORED), self.turn.words()];
        parts.into_iter().flatten().map(|part| format!(", {part}")).collect()
    }
}
