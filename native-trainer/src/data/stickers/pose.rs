//! How a sticker stands: as drawn, mirrored, tilted or turned.

use super::Object;

/// What there is to say of an object's pose.
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
    /// All six.
    pub const ALL: [Turn; 6] = {
        use Turn::*;
        [Upright, TiltedRight, Right, UpsideDown, Left, TiltedLeft]
    };

    /// Of an angle in degrees.
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

    /// None: it stands as one would think.
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
    /// How many there are.
    pub const COUNT: usize = 2 * Turn::ALL.len();
    /// The word for `mirrored`.
    pub const MIRRORED: &str = "mirrored";

    /// How `object` stands.
    pub fn of(object: &Object) -> Self {
        Self { mirrored: object.flipped, turn: Turn::of(object.rotation) }
    }

    /// Below [`Self::COUNT`].
    pub fn index(self) -> usize {
        self.turn as usize + if self.mirrored { Turn::ALL.len() } else { 0 }
    }

    /// What a description says of it, each part after a comma; nothing of an object that stands as it was drawn.
    pub fn told(self) -> String {
        let parts = [self.mirrored.then_some(Self::MIRRORED), self.turn.words()];
        parts.into_iter().flatten().map(|part| format!(", {part}")).collect()
    }
}
