//! Simple scenes behind the objects.

use serde::{Deserialize, Serialize};

use super::color::{Rgb, oklab};

/// A place that the background shows. Horizons lie between cells of the image tokenizer, so that few codes are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenery {
    /// Sky and grass.
    Meadow,
    /// Sky, sea and sand.
    Beach,
    /// Sky and snow.
    Snow,
    /// A wall and a floor.
    Room,
    /// Water that gets darker with the depth.
    Water,
    /// Stars in the dark.
    Space,
    /// An evening sky over dark land.
    Sunset,
}

/// Where stars are, and their radius.
const STARS: [[f32; 3]; 18] = [
    [0.06, 0.08, 0.006],
    [0.21, 0.16, 0.004],
    [0.35, 0.05, 0.007],
    [0.52, 0.13, 0.004],
    [0.69, 0.06, 0.006],
    [0.87, 0.14, 0.008],
    [0.95, 0.31, 0.004],
    [0.04, 0.36, 0.005],
    [0.13, 0.52, 0.007],
    [0.93, 0.55, 0.006],
    [0.05, 0.72, 0.004],
    [0.16, 0.88, 0.008],
    [0.31, 0.94, 0.005],
    [0.47, 0.88, 0.004],
    [0.62, 0.95, 0.007],
    [0.78, 0.86, 0.005],
    [0.9, 0.92, 0.006],
    [0.83, 0.71, 0.004],
];

impl Scenery {
    /// All places.
    pub const ALL: [Scenery; 7] = {
        use Scenery::*;
        [Meadow, Beach, Snow, Room, Water, Space, Sunset]
    };

    /// The name in descriptions, such as `meadow`.
    pub fn name(self) -> &'static str {
        ["meadow", "beach", "snow", "room", "water", "space", "sunset"][self as usize]
    }

    /// The noun with its article, such as `a meadow`.
    pub fn noun(self) -> &'static str {
        ["a meadow", "a beach", "snow", "a room", "deep water", "space", "a sunset"][self as usize]
    }

    /// Words that say where the objects are, such as `on a meadow`, the most usual first.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Scenery::Meadow => &["on a meadow", "on the grass", "in a field"],
            Scenery::Beach => &["at the beach", "on a beach", "by the sea"],
            Scenery::Snow => &["in the snow", "in winter", "on snow"],
            Scenery::Room => &["in a room", "indoors", "at home"],
            Scenery::Water => &["under water", "underwater", "in the sea"],
            Scenery::Space => &["in space", "in outer space", "among the stars"],
            Scenery::Sunset => &["at sunset", "in the evening", "in front of a sunset"],
        }
    }

    /// The same in Chinese.
    pub fn chinese(self) -> &'static [&'static str] {
        match self {
            Scenery::Meadow => &["在草地上", "在田野里"],
            Scenery::Beach => &["在海滩上", "在海边"],
            Scenery::Snow => &["在雪地里", "在雪中"],
            Scenery::Room => &["在房间里", "在室内"],
            Scenery::Water => &["在水下", "在海底"],
            Scenery::Space => &["在太空中", "在星空中"],
            Scenery::Sunset => &["在夕阳下", "在傍晚"],
        }
    }

    /// The colours of its large areas, in OKLab.
    pub(super) fn tones(self) -> Vec<[f32; 3]> {
        let (sky, rest) = self.areas();
        let areas = sky.into_iter().chain(rest.iter().map(|(_, color)| *color));
        areas.map(oklab).collect()
    }

    /// The colours at the top and at the bottom of the sky, and the areas below it with the height at which each begins.
    fn areas(self) -> ([Rgb; 2], &'static [(f32, Rgb)]) {
        match self {
            Scenery::Meadow => ([[120, 190, 245], [200, 230, 252]], &[(8. / 12., [112, 184, 76])]),
            Scenery::Beach => (
                [[130, 200, 248], [206, 236, 252]],
                &[(6. / 12., [44, 132, 196]), (8. / 12., [240, 220, 160])],
            ),
            Scenery::Snow => ([[176, 196, 222], [216, 228, 240]], &[(8. / 12., [246, 250, 254])]),
            Scenery::Room => ([[236, 222, 200], [236, 222, 200]], &[(9. / 12., [160, 112, 74])]),
            Scenery::Water => ([[96, 190, 220], [14, 60, 130]], &[]),
            Scenery::Space => ([[14, 16, 44], [34, 22, 66]], &[]),
            Scenery::Sunset => ([[116, 84, 160], [255, 164, 92]], &[(9. / 12., [58, 44, 66])]),
        }
    }

    /// The colour at a place of the unit square, which is `side` pixels long. Outside of it, the edges go on.
    pub(super) fn color(self, [x, y]: [f32; 2], side: f32) -> [f32; 3] {
        let mix = |a: [f32; 3], b: [f32; 3], share: f32| {
            std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
        };
        let ([top, bottom], areas) = self.areas();
        let horizon = areas.first().map_or(1., |(start, _)| *start);
        let sky = mix(top.map(f32::from), bottom.map(f32::from), (y / horizon).clamp(0., 1.));
        let mut color = areas.iter().fold(sky, |color, (start, area)| {
            mix(color, area.map(f32::from), ((y - start) * side + 0.5).clamp(0., 1.))
        });
        if self == Scenery::Space {
            for [across, down, radius] in STARS {
                let distance = (x - across).hypot(y - down);
                color = mix(color, [250., 250., 235.], ((radius - distance) * side + 0.5).clamp(0., 1.));
            }
        }
        color
    }
}
