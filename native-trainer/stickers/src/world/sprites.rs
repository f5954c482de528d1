//! The drawings of things as sprites: their visible pixels, their tones, and their rasters.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use resvg::tiny_skia::{Pixmap, Transform};

use super::{
    Class, Color, Look,
    art::Art,
    bounds::Bounds,
    color::{Rgb, luma, oklab},
};

/// Pixels a side of the raster on which a sprite is measured.
const PROBE: u32 = 144;
/// The part of the drawing on that raster, in SVG units: its first corner and its side.
const PROBE_FROM: f32 = -4.;
const PROBE_SPAN: f32 = 44.;

/// A thing's drawing, measured once.
pub(super) struct Sprite {
    art: Art,
    /// The middle of the visible pixels and their longer side, in SVG units.
    middle: [f32; 2],
    longest: f32,
    /// The convex hull of the visible pixels relative to the middle, scaled so that the longer side is 1.
    hull: Vec<[f32; 2]>,
    /// The middle (between mean and median) and the spread of the luma.
    luma: (f32, f32),
    /// For natural colours and then each colour: the OKLab tones, and the share of the sprite that has each (sum 1).
    tones: Vec<Vec<([f32; 3], f32)>>,
    /// How much the sprite changes when it is mirrored, turned by 90 degrees, and turned by 180 degrees: 0 is not at
    /// all, 1 is everywhere.
    changes: [f32; 3],
}

impl Sprite {
    /// The sprite of a thing in a look, measured at the first call.
    pub fn of(class: Class, look: Look) -> &'static Sprite {
        type Sprites = Vec<[OnceLock<Sprite>; Look::ALL.len()]>;
        static SPRITES: LazyLock<Sprites> =
            LazyLock::new(|| Class::all().iter().map(|_| Default::default()).collect());
        SPRITES[class.index()][look as usize].get_or_init(|| Sprite::measure(Art::of(class, look)))
    }

    fn measure(art: Art) -> Sprite {
        let scale = PROBE as f32 / PROBE_SPAN;
        let mut probe = pixmap(PROBE, PROBE);
        let place = Transform::from_translate(-PROBE_FROM, -PROBE_FROM).post_scale(scale, scale);
        art.draw(place, &mut probe);

        let seen: Vec<([u32; 2], Rgb)> = (0u32..)
            .zip(probe.pixels())
            .filter(|(_, pixel)| pixel.alpha() > 127)
            .map(|(index, pixel)| {
                let color = pixel.demultiply();
                ([index % PROBE, index / PROBE], [color.red(), color.green(), color.blue()])
            })
            .collect();
        let span = |axis: usize| {
            let ends = seen
                .iter()
                .fold((PROBE, 0), |(low, high), (at, _)| (low.min(at[axis]), high.max(at[axis] + 1)));
            (ends.0 as f32 / scale + PROBE_FROM, ends.1 as f32 / scale + PROBE_FROM)
        };
        let spans = [span(0), span(1)];
        let middle = spans.map(|(low, high)| (low + high) / 2.);
        let longest = spans.map(|(low, high)| high - low).into_iter().fold(0., f32::max);

        let corners = seen
            .iter()
            .flat_map(|([x, y], _)| [[*x, *y], [x + 1, *y], [*x, y + 1], [x + 1, y + 1]])
            .collect();
        let hull = convex_hull(corners)
            .into_iter()
            .map(|corner| {
                [0, 1].map(|axis| (corner[axis] as f32 / scale + PROBE_FROM - middle[axis]) / longest)
            })
            .collect();

        let mut lumas: Vec<f32> = seen.iter().map(|(_, rgb)| luma(*rgb)).collect();
        lumas.sort_by(f32::total_cmp);
        let mean = lumas.iter().sum::<f32>() / lumas.len() as f32;
        let typical = (lumas[lumas.len() / 2] + mean) / 2.;
        let spread =
            (lumas.iter().map(|luma| (luma - typical).powi(2)).sum::<f32>() / lumas.len() as f32).sqrt();

        let luma = (typical, spread);
        let mut sprite = Sprite { art, middle, longest, hull, luma, tones: Vec::new(), changes: [0.; 3] };
        sprite.tones = std::iter::once(None)
            .chain(Color::ALL.map(Some))
            .map(|color: Option<Color>| {
                tones(seen.iter().map(|(_, rgb)| match color {
                    None => *rgb,
                    Some(color) => color.shade(f32::from(sprite.tone(*rgb)) / 255.),
                }))
            })
            .collect();
        sprite.changes = sprite.measure_changes();
        sprite
    }

    fn measure_changes(&self) -> [f32; 3] {
        let still = self.stamp(48., 0.);
        [(true, 0.), (false, 90.), (false, 180.)].map(|(flipped, rotation)| {
            let moved = self.stamp(48., rotation);
            let (mut changed, mut visible) = (0., 0.);
            for y in -26..26 {
                for x in -26..26 {
                    let (a, b) =
                        (still.about_middle(x, y), moved.about_middle(if flipped { -1 - x } else { x }, y));
                    let shape = f32::from(a.alpha.abs_diff(b.alpha)) / 255.;
                    let color =
                        (0..3).map(|i| f32::from(a.rgb[i].abs_diff(b.rgb[i])) / 255.).fold(0., f32::max);
                    let either = f32::from(a.alpha.max(b.alpha)) / 255.;
                    changed += either * (shape + 2. * color).min(1.);
                    visible += either;
                }
            }
            changed / visible
        })
    }

    /// The box of the sprite relative to its middle, at size 1.
    pub fn extent(&self, flipped: bool, rotation: f32) -> Bounds {
        let (sin, cos) = rotation.to_radians().sin_cos();
        let sign = if flipped { -1. } else { 1. };
        self.hull.iter().fold(
            [f32::MAX, f32::MAX, f32::MIN, f32::MIN],
            |[left, top, right, bottom], &[x, y]| {
                let x = x * sign;
                let [x, y] = [x * cos - y * sin, x * sin + y * cos];
                [left.min(x), top.min(y), right.max(x), bottom.max(y)]
            },
        )
    }

    /// The tones in natural colours or in a colour, each with its share of the sprite.
    pub fn tones(&self, color: Option<Color>) -> &[([f32; 3], f32)] {
        &self.tones[color.map_or(0, |color| color.index() + 1)]
    }

    /// Whether mirroring can be seen.
    pub fn shows_flip(&self) -> bool {
        self.changes[0] > 0.15
    }

    /// Whether turning by 90 or 180 degrees can be seen.
    pub fn shows_turn(&self) -> bool {
        self.changes[1] > 0.15 && self.changes[2] > 0.15
    }

    /// The lightness of a natural colour relative to this sprite's colours: 0 is dark, 128 typical, 255 light.
    fn tone(&self, rgb: Rgb) -> u8 {
        let (typical, spread) = self.luma;
        let gain = (0.2 / spread).clamp(0.7, 1.8);
        ((0.5 + (luma(rgb) - typical) * gain).clamp(0., 1.) * 255.).round() as u8
    }

    /// The sprite as pixels. Its longer side is `pixels` long, and its middle is the middle of the stamp.
    pub fn stamp(&self, pixels: f32, rotation: f32) -> Stamp {
        let [left, top, right, bottom] = self.extent(false, rotation);
        // The side is even, so that the middle lies between two pixels.
        let side = |low: f32, high: f32| 2 * ((high.max(-low) * pixels).ceil() as u32 + 1);
        let (width, height) = (side(left, right), side(top, bottom));
        let mut canvas = pixmap(width, height);
        let scale = pixels / self.longest;
        let place = Transform::from_translate(-self.middle[0], -self.middle[1])
            .post_scale(scale, scale)
            .post_concat(Transform::from_rotate(rotation))
            .post_translate(width as f32 / 2., height as f32 / 2.);
        self.art.draw(place, &mut canvas);
        let pixels = canvas.pixels().iter().map(|pixel| {
            let color = pixel.demultiply();
            let rgb = [color.red(), color.green(), color.blue()];
            Texel { rgb, alpha: color.alpha(), tone: self.tone(rgb) }
        });
        Stamp { width, height, pixels: pixels.collect() }
    }
}

/// A sprite rasterised at one size.
pub(super) struct Stamp {
    pub width: u32,
    pub height: u32,
    pub pixels: Vec<Texel>,
}

impl Stamp {
    /// The pixel at an offset right of and below the middle. Empty outside the stamp.
    fn about_middle(&self, x: i64, y: i64) -> Texel {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        let (x, y) = (x + width / 2, y + height / 2);
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        if inside { self.pixels[(y * width + x) as usize] } else { Texel::default() }
    }
}

/// One pixel of a stamp. The colour is not multiplied by alpha.
#[derive(Clone, Copy, Default)]
pub(super) struct Texel {
    pub rgb: Rgb,
    pub alpha: u8,
    /// See [`Sprite::tone`].
    pub tone: u8,
}

fn pixmap(width: u32, height: u32) -> Pixmap {
    Pixmap::new(width, height).expect("a stamp is neither empty nor beyond 2^31 bytes")
}

/// Groups colours by their three upper bits.
fn tones(colors: impl Iterator<Item = Rgb>) -> Vec<([f32; 3], f32)> {
    let mut bins: HashMap<Rgb, ([f32; 3], f32)> = HashMap::new();
    for rgb in colors {
        let (sum, count) = bins.entry(rgb.map(|value| value / 32)).or_default();
        *count += 1.;
        for (sum, value) in sum.iter_mut().zip(rgb) {
            *sum += f32::from(value);
        }
    }
    let total: f32 = bins.values().map(|(_, count)| count).sum();
    let mut bins: Vec<_> = bins.into_iter().collect();
    bins.sort_by_key(|(key, _)| *key);
    bins.into_iter()
        .map(|(_, (sum, count))| (oklab(sum.map(|sum| (sum / count).round() as u8)), count / total))
        .filter(|(_, share)| *share > 0.02)
        .collect()
}

/// The convex hull, by Andrew's monotone chain.
fn convex_hull(mut points: Vec<[u32; 2]>) -> Vec<[u32; 2]> {
    points.sort_unstable();
    points.dedup();
    let turns_left = |a: [u32; 2], b: [u32; 2], c: [u32; 2]| {
        let [ax, ay, bx, by, cx, cy] = [a[0], a[1], b[0], b[1], c[0], c[1]].map(i64::from);
        (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0
    };
    let half = |points: &mut dyn Iterator<Item = [u32; 2]>| {
        let mut chain: Vec<[u32; 2]> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..] {
                if turns_left(a, b, point) {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain
    };
    let mut hull = half(&mut points.iter().copied());
    hull.extend(half(&mut points.iter().rev().copied()));
    hull
}
