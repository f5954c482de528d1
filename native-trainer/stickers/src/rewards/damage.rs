//! Damages pictures in the ways in which generators fail.

use image::{RgbImage, imageops};
use rand::{Rng, RngExt};

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Some cells of 8 x 8 pixels come from elsewhere in the picture, like wrong codes.
    Scatter,
    /// Some cells come from another picture.
    Foreign,
    /// Some cells have a single colour, like meaningless codes.
    Flat,
    Blur,
    Noise,
    /// Colours fade to grey.
    Fade,
}

/// Side of a cell in pixels, as of an image code at 96 x 96.
const CELL: u32 = 8;

impl Damage {
    /// All kinds.
    pub const ALL: [Damage; 6] =
        [Damage::Scatter, Damage::Foreign, Damage::Flat, Damage::Blur, Damage::Noise, Damage::Fade];

    /// Damages `image` with a strength from 0 (none) to 1. `other` has the same size.
    pub fn apply(self, image: &RgbImage, other: &RgbImage, strength: f32, rng: &mut impl Rng) -> RgbImage {
        let mut worse = image.clone();
        if strength <= 0.0 {
            return worse;
        }
        match self {
            Damage::Blur => return imageops::blur(image, 0.3 + 3.0 * strength),
            Damage::Noise => {
                for value in worse.iter_mut() {
                    let noise: f32 = (0..3).map(|_| rng.random_range(-1.0..1.0f32)).sum();
                    *value = (f32::from(*value) + 40.0 * strength * noise) as u8;
                }
            }
            Damage::Fade => {
                for pixel in worse.pixels_mut() {
                    let grey = pixel.0.iter().map(|&value| f32::from(value)).sum::<f32>() / 3.0;
                    pixel.0 =
                        pixel.0.map(|value| (f32::from(value) + (grey - f32::from(value)) * strength) as u8);
                }
            }
            Damage::Scatter | Damage::Foreign | Damage::Flat => {
                let (columns, rows) = (image.width() / CELL, image.height() / CELL);
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    if !rng.random_bool(f64::from(0.5 * strength)) {
                        continue;
                    }
                    let at = |column: u32, row: u32| [column * CELL, row * CELL];
                    let [x, y] = at(column, row);
                    let from = match self {
                        Damage::Foreign => [x, y],
                        _ => at(rng.random_range(0..columns), rng.random_range(0..rows)),
                    };
                    let source = if self == Damage::Foreign { other } else { image };
                    let mut cell = imageops::crop_imm(source, from[0], from[1], CELL, CELL).to_image();
                    if self == Damage::Flat {
                        let color = *cell.get_pixel(CELL / 2, CELL / 2);
                        cell.pixels_mut().for_each(|pixel| *pixel = color);
                    }
                    imageops::replace(&mut worse, &cell, x.into(), y.into());
                }
            }
        }
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Renderer, Split, scene_at};
    use unigen_training::data::rng_at;

    #[test]
    fn more_strength_does_more_harm() {
        let renderer = Renderer::new();
        let picture = |index| renderer.render(&scene_at(Split::Train, 1, index), 96, 96);
        for damage in Damage::ALL {
            let harm = |strength: f32| {
                let harm = (0..8).map(|index| {
                    let (image, other) = (picture(index), picture(index + 8));
                    let worse = damage.apply(&image, &other, strength, &mut rng_at(3, index));
                    assert_eq!(worse.dimensions(), image.dimensions());
                    image.iter().zip(worse.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
                });
                harm.sum::<u64>()
            };
            assert_eq!(harm(0.0), 0);
            assert!(harm(0.3) > 0 && harm(0.3) < harm(0.9), "{damage:?}");
        }
    }
}
