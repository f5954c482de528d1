//! An object that the judge finds.

use serde::Serialize;

use crate::world::{Class, Color};

/// An object found in a picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    pub class: Class,
    /// 0 to 1.
    pub score: f32,
    /// The colour. None stands for natural colours.
    pub color: Option<Color>,
    /// `[left, top, right, bottom]` in pixels, y down.
    pub bbox: [f32; 4],
}

impl From<Detection> for unigen_evaluation::Detection {
    fn from(Detection { class, score, color, bbox }: Detection) -> Self {
        let color = color.map(|color| color.name().to_owned());
        Self { class: class.name().to_owned(), score, color, bbox }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_evaluations_write_theirs() {
        let class = Class::from_name("tv remote").unwrap();
        for color in [None, Some(Color::Red)] {
            let own = Detection { class, score: 0.3, color, bbox: [1.0, 2.5, 3.0, 4.1] };
            let text = serde_json::to_string(&own).unwrap();
            assert_eq!(text, serde_json::to_string(&unigen_evaluation::Detection::from(own)).unwrap());
        }
    }
}
