//! What a scene is: objects with class, colour and place, a background and a style.

use serde::{Deserialize, Serialize};

use super::{Class, Color, Tint, sprites::Sprite};

/// A box `[left, top, right, bottom]`, 0 to 1, y down.
pub(super) type Box = [f32; 4];

/// One sticker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub class: Class,
    /// None: the sprite's natural colours.
    pub color: Option<Color>,
    /// The middle of the sprite, 0 to 1, y down.
    pub center: [f32; 2],
    /// The longer side of the unrotated sprite as a fraction of the canvas.
    pub size: f32,
    /// Mirrored left to right, before the rotation.
    #[serde(default)]
    pub flipped: bool,
    /// Degrees clockwise.
    #[serde(default)]
    pub rotation: f32,
}

impl Object {
    /// The tight box around the sprite's visible pixels.
    pub fn bounds(&self) -> [f32; 4] {
        let [left, top, right, bottom] = Sprite::of(self.class).extent(self.flipped, self.rotation);
        let [x, y] = self.center;
        [x + left * self.size, y + top * self.size, x + right * self.size, y + bottom * self.size]
    }
}

/// Stickers on a background, drawn back to front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    pub objects: Vec<Object>,
    pub background: Background,
    pub style: Style,
}

impl Scene {
    /// The tight box `[left, top, right, bottom]` of each object, 0 to 1, y down.
    pub fn boxes(&self) -> Vec<[f32; 4]> {
        self.objects.iter().map(Object::bounds).collect()
    }

    /// The relations of object `a` to object `b`, by GenEval's rule: none, one, or two on a diagonal.
    pub fn relations(&self, a: usize, b: usize) -> Vec<Relation> {
        relations(&self.objects[a].bounds(), &self.objects[b].bounds())
    }

    /// Whether every object lies inside the canvas and none touches another.
    pub fn is_clear(&self) -> bool {
        let boxes = self.boxes();
        boxes
            .iter()
            .enumerate()
            .all(|(index, a)| inside(a, -1e-5) && boxes[index + 1..].iter().all(|b| !overlap(a, b, 0.)))
    }

    /// The objects by class and visible colour, in the order of first appearance.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (index, object) in self.objects.iter().enumerate() {
            let color = self.color_of(object);
            match groups.iter_mut().find(|group| group.class == object.class && group.color == color) {
                Some(group) => group.members.push(index),
                None => groups.push(Group { class: object.class, color, members: vec![index] }),
            }
        }
        groups
    }

    /// An object's colour as far as the style lets it be seen.
    pub fn color_of(&self, object: &Object) -> Option<Color> {
        object.color.filter(|_| self.style.shows_color())
    }
}

/// Objects of a scene that look alike.
pub(super) struct Group {
    pub class: Class,
    pub color: Option<Color>,
    pub members: Vec<usize>,
}

/// Whether a box lies inside the canvas, `margin` away from its edges.
pub(super) fn inside(a: &Box, margin: f32) -> bool {
    a[0] >= margin && a[1] >= margin && a[2] <= 1. - margin && a[3] <= 1. - margin
}

/// Whether two boxes come closer than `gap`.
pub(super) fn overlap(a: &Box, b: &Box, gap: f32) -> bool {
    a[0] < b[2] + gap && b[0] < a[2] + gap && a[1] < b[3] + gap && b[1] < a[3] + gap
}

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
    /// All four.
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

    /// The same seen from the other object.
    pub fn inverse(self) -> Relation {
        match self {
            Relation::Left => Relation::Right,
            Relation::Right => Relation::Left,
            Relation::Above => Relation::Below,
            Relation::Below => Relation::Above,
        }
    }
}

/// The relations of box `a` to box `b` `[left, top, right, bottom]`, in any unit with y down, by GenEval's rule
/// (`relative_position` in its evaluate_images.py): the offset of the centres is shrunk per axis by a tenth of both
/// sizes and divided by its unshrunk length; a relation holds where that exceeds a half.
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

/// What lies behind the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    Plain(Tint),
    /// Upright stripes in two tints.
    Stripes(Tint, Tint),
    /// Dots of the second tint on the first.
    Dots(Tint, Tint),
    /// A chequer board in two tints.
    Checks(Tint, Tint),
    /// From the first tint at the top to the second at the bottom.
    Gradient(Tint, Tint),
}

impl Background {
    /// The tints in it; a plain one gives its tint twice.
    pub fn tints(self) -> [Tint; 2] {
        match self {
            Background::Plain(tint) => [tint; 2],
            Background::Stripes(a, b)
            | Background::Dots(a, b)
            | Background::Checks(a, b)
            | Background::Gradient(a, b) => [a, b],
        }
    }
}

/// How the whole picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    Plain,
    Grey,
    Sepia,
    /// Dark contours on white.
    Outline,
    /// Coarse square pixels, 24 across.
    Pixel,
    /// Every colour replaced by its opposite.
    Inverted,
    Blurred,
    /// Dark and bluish.
    Night,
}

impl Style {
    /// All styles, the plain one first.
    pub const ALL: [Style; 8] = {
        use Style::*;
        [Plain, Grey, Sepia, Outline, Pixel, Inverted, Blurred, Night]
    };

    /// Whether colours can still be told in this style.
    pub fn shows_color(self) -> bool {
        matches!(self, Style::Plain | Style::Pixel | Style::Blurred)
    }

    /// Whether the pattern behind the objects can still be told in this style.
    pub(super) fn shows_pattern(self) -> bool {
        !matches!(self, Style::Blurred)
    }
}
