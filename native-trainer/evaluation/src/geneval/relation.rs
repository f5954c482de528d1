//! Where one object is, seen from another.

use serde::{Deserialize, Serialize};

/// Where one object is, seen from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Relation {
    #[serde(rename = "left of")]
    Left,
    #[serde(rename = "right of")]
    Right,
    #[serde(rename = "above")]
    Above,
    #[serde(rename = "below")]
    Below,
}

impl Relation {
    /// All four relations.
    pub const ALL: [Relation; 4] = [Relation::Left, Relation::Right, Relation::Above, Relation::Below];

    /// GenEval's words: `left of`, `right of`, `above`, `below`.
    pub fn name(self) -> &'static str {
        match self {
            Relation::Left => "left of",
            Relation::Right => "right of",
            Relation::Above => "above",
            Relation::Below => "below",
        }
    }

    /// The relation as seen from the other object.
    pub fn inverse(self) -> Relation {
        match self {
            Relation::Left => Relation::Right,
            Relation::Right => Relation::Left,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        }
    }
}

/// The relations of box `a` to box `b`. Boxes are `[left, top, right, bottom]` in any unit with y down. GenEval's rule
/// (`relative_position` in its evaluate_images.py) shrinks the offset of the centres along each axis by a tenth of both
/// sizes, and divides it by its unshrunk length. A relation holds if the result exceeds one half.
pub fn relations(a: &[f32; 4], b: &[f32; 4]) -> Vec<Relation> {
    let offset = [0, 1].map(|axis| (a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2.);
    let shrunk = [0, 1].map(|axis| {
        let sizes = (a[axis + 2] - a[axis]).abs() + (b[axis + 2] - b[axis]).abs();
        (offset[axis].abs() - 0.1 * sizes).max(0.) * offset[axis].signum()
    });
    let length = offset[0].hypot(offset[1]).max(f32::MIN_POSITIVE);
    let [x, y] = shrunk.map(|value| value / length);
    let holds = [
        (x < -0.5, Relation::Left),
        (x > 0.5, Relation::Right),
        (y < -0.5, Relation::Above),
        (y > 0.5, Relation::Below),
    ];
    holds.into_iter().filter_map(|(holds, relation)| holds.then_some(relation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_can_hold_both_or_not_at_all() {
        let unit = |x: f32, y: f32| [x - 1., y - 1., x + 1., y + 1.];
        assert_eq!(relations(&unit(0., 0.), &unit(0., 0.)), []);
        assert_eq!(relations(&unit(-9., -9.), &unit(0., 0.)), [Relation::Left, Relation::Above]);
        assert_eq!(relations(&unit(0.5, 9.), &unit(0., 0.)), [Relation::Below]);
    }
}
