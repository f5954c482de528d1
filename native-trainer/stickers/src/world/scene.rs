//! Scenes: objects with class, colour and place, a background, and a style.

use serde::{Deserialize, Serialize};

use super::{
    Class, Color, Scenery, Tint,
    bounds::{inside, overlap},
    sprites::Sprite,
};
use unigen_evaluation::geneval::{Relation, relations};

/// One sticker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub class: Class,
    /// The colour. None stands for the sprite's natural colours.
    pub color: Option<Color>,
    /// The middle of the sprite, 0 to 1, with y down.
    pub center: [f32; 2],
    /// The longer side of the unrotated sprite as a fraction of the canvas.
    pub size: f32,
    /// Mirrored left to right, before the rotation.
    #[serde(default)]
    pub flipped: bool,
    /// Degrees clockwise.
    #[serde(default)]
    pub rotation: f32,
    #[serde(default, skip_serializing_if = "Look::is_flat")]
    pub look: Look,
}

impl Object {
    /// The drawing.
    pub(super) fn sprite(&self) -> &'static Sprite {
        Sprite::of(self.class, self.look)
    }

    /// The tight box around the sprite's visible pixels.
    pub fn bounds(&self) -> [f32; 4] {
        let [left, top, right, bottom] = self.sprite().extent(self.flipped, self.rotation);
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

    /// The relations of object `a` to object `b` by GenEval's rule: none, one, or two on a diagonal.
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

    /// The look of its objects. Flat if there are none, or they differ.
    pub fn look(&self) -> Look {
        let mut looks = self.objects.iter().map(|object| object.look);
        let first = looks.next().unwrap_or_default();
        if looks.all(|look| look == first) { first } else { Look::Flat }
    }

    /// An object's colour, if the style leaves it visible.
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

/// The background behind the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    Plain(Tint),
    /// Upright stripes in two tints.
    Stripes(Tint, Tint),
    /// Dots of the second tint on the first.
    Dots(Tint, Tint),
    /// A checkerboard in two tints.
    Checks(Tint, Tint),
    /// A gradient from the first tint at the top to the second at the bottom.
    Gradient(Tint, Tint),
    Scenery(Scenery),
}

impl Background {
    /// The two tints. A plain background gives its tint twice, and scenery has none.
    pub fn tints(self) -> Option<[Tint; 2]> {
        match self {
            Background::Plain(tint) => Some([tint; 2]),
            Background::Stripes(a, b)
            | Background::Dots(a, b)
            | Background::Checks(a, b)
            | Background::Gradient(a, b) => Some([a, b]),
            Background::Scenery(_) => None,
        }
    }

    /// The colours of its large areas, in OKLab.
    pub(super) fn tones(self) -> Vec<[f32; 3]> {
        match self {
            Background::Scenery(scenery) => scenery.tones(),
            _ => self.tints().into_iter().flatten().map(Tint::oklab).collect(),
        }
    }
}

/// How things are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// In plain areas of colour.
    #[default]
    Flat,
    /// In three dimensions, with light and shade.
    Solid,
}

impl Look {
    /// Both looks.
    pub const ALL: [Look; 2] = [Look::Flat, Look::Solid];

    fn is_flat(&self) -> bool {
        *self == Look::Flat
    }
}

/// What is done to the whole picture.
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

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        ["plain", "grey", "sepia", "outline", "pixel", "inverted", "blurred", "night"][self as usize]
    }

    /// Whether colours are still visible in this style.
    pub fn shows_color(self) -> bool {
        matches!(self, Style::Plain | Style::Pixel | Style::Blurred)
    }

    /// Whether the background's pattern is still visible in this style.
    pub(super) fn shows_pattern(self) -> bool {
        !matches!(self, Style::Blurred)
    }
}
