//! The objects that a rendered scene shows.

use super::{Class, Color, Scene};

/// An object that a picture shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub class: Class,
    /// None if the colours are natural, or the style hides them.
    pub color: Option<Color>,
    /// `[left, top, right, bottom]` in pixels.
    pub bbox: [f32; 4],
}

impl Truth {
    /// The objects of a scene that is drawn at `width` x `height` pixels.
    pub fn of(scene: &Scene, width: u32, height: u32) -> Vec<Truth> {
        let side = width.min(height) as f32;
        let [left, top] = [width, height].map(|length| (length as f32 - side) / 2.);
        let objects = scene.objects.iter().map(|object| {
            let [l, t, r, b] = object.bounds().map(|at| at * side);
            let bbox = [left + l, top + t, left + r, top + b];
            Truth { class: object.class, color: scene.color_of(object), bbox }
        });
        objects.collect()
    }
}
