//! Draws scenes.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use image::{Rgb as Pixel, RgbImage};

use super::{
    Background, Class, Color, Look, Object, Scene, Style, Tint,
    color::{Rgb, luma},
    sprites::Stamp,
};

/// Stamps of sprites longer than this many pixels are not kept.
const KEPT_SIZE: u16 = 128;
/// The cache is emptied when its stamps have more pixels than this (5 bytes each).
const KEPT_PIXELS: usize = 12 << 20;

/// The key of a stamp: class, look, size in pixels, degrees.
type Key = (Class, Look, u16, u16);

/// Draws scenes at any size and keeps the rasters of sprites for later scenes. Threads can share one renderer.
#[derive(Default)]
pub struct Renderer {
    stamps: RwLock<Stamps>,
}

#[derive(Default)]
struct Stamps {
    kept: HashMap<Key, Arc<Stamp>>,
    pixels: usize,
}

impl Renderer {
    /// A renderer with an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws a scene, `width` x `height` pixels. The objects' unit square is as large as fits and is centred. The
    /// background fills the rest.
    pub fn render(&self, scene: &Scene, width: u32, height: u32) -> RgbImage {
        let side = width.min(height) as f32;
        let origin = [(width as f32 - side) / 2., (height as f32 - side) / 2.];
        let mut image = draw_background(scene.background, width, height, side, origin);
        for object in &scene.objects {
            let stamp = self.stamp(object, side);
            let middle = [0, 1].map(|axis| origin[axis] + object.center[axis] * side);
            blend(&mut image, &stamp, middle, object.flipped, object.color);
        }
        apply(scene.style, image)
    }

    fn stamp(&self, object: &Object, side: f32) -> Arc<Stamp> {
        let pixels = (object.size * side).round().clamp(1., 8192.) as u16;
        // Stamps are mirrored while they are drawn. Mirroring and then turning equals turning back and then mirroring.
        let rotation =
            if object.flipped { -object.rotation } else { object.rotation }.rem_euclid(360.).round();
        let key = (object.class, object.look, pixels, rotation as u16);
        let draw = || Arc::new(object.sprite().stamp(pixels.into(), rotation));
        if pixels > KEPT_SIZE {
            return draw();
        }
        if let Some(stamp) = self.stamps.read().unwrap_or_else(PoisonError::into_inner).kept.get(&key) {
            return stamp.clone();
        }
        let stamp = draw();
        let mut stamps = self.stamps.write().unwrap_or_else(PoisonError::into_inner);
        if stamps.pixels > KEPT_PIXELS {
            *stamps = Stamps::default();
        }
        stamps.pixels += stamp.pixels.len();
        stamps.kept.insert(key, stamp.clone());
        stamp
    }
}

fn draw_background(background: Background, width: u32, height: u32, side: f32, origin: [f32; 2]) -> RgbImage {
    if let Background::Scenery(scenery) = background {
        let side = side.max(1.);
        return RgbImage::from_fn(width, height, |x, y| {
            let at = [x, y].map(|at| at as f32 + 0.5);
            Pixel(scenery.color([0, 1].map(|axis| (at[axis] - origin[axis]) / side), side).map(byte))
        });
    }
    let [first, second] = background.tints().unwrap_or([Tint::White; 2]).map(|tint| tint.rgb());
    // The first function gives the pattern's value of a column or row from its place, in units of the square's side.
    // The second gives the share of the second colour from both values. Edges are one pixel soft.
    type Axis = fn(f32, f32) -> f32;
    type Share = fn(f32, f32, f32) -> f32;
    let (axis, share): (Axis, Share) = match background {
        Background::Plain(_) | Background::Scenery(_) => {
            return RgbImage::from_pixel(width, height, Pixel(first));
        }
        Background::Stripes(..) => (|at, side| wave(at * 4., side / 4.), |x, _, _| x),
        Background::Checks(..) => (|at, side| wave(at * 3., side / 3.), |x, y, _| x + y - 2. * x * y),
        Background::Dots(..) => (
            |at, _| ((at * 6.).rem_euclid(1.) - 0.5).powi(2),
            |x, y, side| (0.5 + (0.26 - (x + y).sqrt()) * side / 6.).clamp(0., 1.),
        ),
        Background::Gradient(..) => (|at, _| at.clamp(0., 1.), |_, y, _| y),
    };
    let side = side.max(1.);
    let along =
        |length: u32, origin: f32| (0..length).map(move |at| axis((at as f32 + 0.5 - origin) / side, side));
    let columns: Vec<f32> = along(width, origin[0]).collect();
    let mut pixels = Vec::with_capacity(3 * columns.len() * height as usize);
    for y in along(height, origin[1]) {
        for &x in &columns {
            pixels.extend_from_slice(&mix(first, second, share(x, y, side)));
        }
    }
    RgbImage::from_raw(width, height, pixels).expect("one colour for each pixel")
}

/// A square wave of period 1: 0 in its first half, 1 in its second. Edges are one pixel soft at `pixels` pixels per
/// period.
fn wave(phase: f32, pixels: f32) -> f32 {
    (0.5 + (((phase + 0.25).rem_euclid(1.) - 0.5).abs() - 0.25) * pixels).clamp(0., 1.)
}

fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|channel| {
        let [a, b] = [a, b].map(|rgb| f32::from(rgb[channel]));
        byte(a + (b - a) * share)
    })
}

/// Rounds to the nearest byte. (`f32::round` is a function call where SSE 4.1 may not be assumed.)
fn byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// The shades of the ten colours by tone.
static SHADES: LazyLock<[[Rgb; 256]; 10]> =
    LazyLock::new(|| Color::ALL.map(|color| std::array::from_fn(|tone| color.shade(tone as f32 / 255.))));

fn blend(image: &mut RgbImage, stamp: &Stamp, middle: [f32; 2], flipped: bool, color: Option<Color>) {
    let left = (middle[0] - stamp.width as f32 / 2.).round() as i64;
    let top = (middle[1] - stamp.height as f32 / 2.).round() as i64;
    let shades = color.map(|color| &SHADES[color.index()]);
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    for (y, row) in (top..).zip(stamp.pixels.chunks_exact(stamp.width as usize)) {
        if !(0..height).contains(&y) {
            continue;
        }
        for (column, texel) in (0i64..).zip(row) {
            let x = left + if flipped { i64::from(stamp.width) - 1 - column } else { column };
            if texel.alpha == 0 || !(0..width).contains(&x) {
                continue;
            }
            let rgb = shades.map_or(texel.rgb, |shades| shades[usize::from(texel.tone)]);
            let alpha = u32::from(texel.alpha);
            for (below, above) in image.get_pixel_mut(x as u32, y as u32).0.iter_mut().zip(rgb) {
                *below = ((u32::from(above) * alpha + u32::from(*below) * (255 - alpha) + 127) / 255) as u8;
            }
        }
    }
}

fn apply(style: Style, mut image: RgbImage) -> RgbImage {
    let side = image.width().min(image.height());
    match style {
        Style::Plain => {}
        Style::Grey => map(&mut image, |rgb| [luma(rgb) * 255.; 3]),
        Style::Sepia => map(&mut image, |rgb| {
            let light = luma(rgb);
            [(60., 195.), (34., 200.), (14., 186.)].map(|(dark, range)| dark + range * light)
        }),
        Style::Inverted => map(&mut image, |rgb| rgb.map(|value| 255. - f32::from(value))),
        Style::Night => map(&mut image, |rgb| {
            let light = luma(rgb) * 255.;
            let [r, g, b] = rgb.map(f32::from);
            [0.2 * r + 0.2 * light, 0.24 * g + 0.3 * light + 4., 0.24 * b + 0.5 * light + 30.]
        }),
        Style::Outline => image = outline(&image),
        Style::Pixel => image = pixelate(&image, side.div_ceil(24)),
        Style::Blurred => {
            let radius = (side as f32 / 72.).round().max(1.) as i64;
            image = blur(&blur(&image, radius), radius);
        }
    }
    image
}

fn map(image: &mut RgbImage, change: impl Fn(Rgb) -> [f32; 3]) {
    for pixel in image.pixels_mut() {
        pixel.0 = change(pixel.0).map(byte);
    }
}

/// A contour picture: dark where the colour changes from pixel to pixel, white elsewhere.
fn outline(image: &RgbImage) -> RgbImage {
    let at = |x: i64, y: i64| {
        let (x, y) = (x.clamp(0, i64::from(image.width()) - 1), y.clamp(0, i64::from(image.height()) - 1));
        image.get_pixel(x as u32, y as u32).0.map(f32::from)
    };
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (x, y) = (i64::from(x), i64::from(y));
        let edge = |a: [f32; 3], b: [f32; 3]| (0..3).map(|i| (a[i] - b[i]).abs()).fold(0., f32::max);
        let strength = edge(at(x - 1, y), at(x + 1, y)).max(edge(at(x, y - 1), at(x, y + 1)));
        Pixel([(255. - 2. * (strength - 12.).max(0.)).clamp(24., 255.) as u8; 3])
    })
}

/// Gives every block of `block` x `block` pixels its mean colour.
fn pixelate(image: &RgbImage, block: u32) -> RgbImage {
    let mut coarse = image.clone();
    for top in (0..image.height()).step_by(block as usize) {
        for left in (0..image.width()).step_by(block as usize) {
            let (right, bottom) = ((left + block).min(image.width()), (top + block).min(image.height()));
            let places = || (top..bottom).flat_map(move |y| (left..right).map(move |x| (x, y)));
            let mean = mean(places().map(|(x, y)| image.get_pixel(x, y).0));
            places().for_each(|(x, y)| coarse.put_pixel(x, y, Pixel(mean)));
        }
    }
    coarse
}

/// Gives every pixel the mean of the square around it, `radius` pixels to each side.
fn blur(image: &RgbImage, radius: i64) -> RgbImage {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let across = blur_lines(image.as_raw(), radius, [(height, 3 * width), (width, 3)]);
    let down = blur_lines(&across, radius, [(width, 3), (height, 3 * width)]);
    RgbImage::from_raw(image.width(), image.height(), down).expect("as many pixels as before")
}

/// Blurs along lines. Both axes, across and along the lines, are given as (length, stride).
fn blur_lines(
    from: &[u8],
    radius: i64,
    [(lines, line_stride), (length, stride)]: [(i64, i64); 2],
) -> Vec<u8> {
    let mut to = vec![0; from.len()];
    let taps = (2 * radius + 1) as u32;
    for line in 0..lines {
        for at in 0..length {
            let near = (at - radius..=at + radius).map(|at| at.clamp(0, length - 1));
            let starts = near.map(|at| (line * line_stride + at * stride) as usize);
            let sum = starts.fold([0; 3], |sum: [u32; 3], start| {
                std::array::from_fn(|channel| sum[channel] + u32::from(from[start + channel]))
            });
            let start = (line * line_stride + at * stride) as usize;
            to[start..start + 3].copy_from_slice(&sum.map(|sum| ((sum + taps / 2) / taps) as u8));
        }
    }
    to
}

fn mean(colors: impl Iterator<Item = Rgb>) -> Rgb {
    let (sum, count) = colors.fold(([0u32; 3], 0), |(sum, count), rgb| {
        (std::array::from_fn(|channel| sum[channel] + u32::from(rgb[channel])), count + 1)
    });
    sum.map(|sum| ((sum + count / 2) / count.max(1)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{
        Split, Tint,
        color::{distance, oklab},
        scene_at,
    };

    fn alone(class: Class, color: Option<Color>, background: Tint) -> Scene {
        let object = Object {
            class,
            color,
            center: [0.5; 2],
            size: 0.6,
            flipped: false,
            rotation: 0.,
            look: Look::Flat,
        };
        Scene { objects: vec![object], background: Background::Plain(background), style: Style::Plain }
    }

    /// The mean OKLab colour of the pixels that differ plainly from the background.
    fn mean_color(image: &RgbImage, background: Tint) -> [f32; 3] {
        let colors = image.pixels().map(|pixel| oklab(pixel.0));
        let seen: Vec<_> = colors.filter(|color| distance(*color, background.oklab()) > 0.08).collect();
        std::array::from_fn(|axis| seen.iter().map(|color| color[axis]).sum::<f32>() / seen.len() as f32)
    }

    #[test]
    fn the_ten_colors_of_every_class_are_told_apart() {
        let renderer = Renderer::new();
        for class in Class::GENEVAL.into_iter().filter(|class| class.takes_color()) {
            let means = Color::ALL.map(|color| {
                mean_color(&renderer.render(&alone(class, Some(color), Tint::Teal), 96, 96), Tint::Teal)
            });
            for (index, mean) in means.iter().enumerate() {
                let nearest = Color::ALL.into_iter().min_by(|a, b| {
                    distance(*mean, oklab(a.shade(0.5))).total_cmp(&distance(*mean, oklab(b.shade(0.5))))
                });
                assert_eq!(
                    nearest,
                    Some(Color::ALL[index]),
                    "a {} {class} looks {nearest:?}",
                    Color::ALL[index]
                );
                for other in &means[index + 1..] {
                    assert!(
                        distance(*mean, *other) > 0.07,
                        "{class}: {} looks like another",
                        Color::ALL[index]
                    );
                }
            }
        }
    }

    #[test]
    fn black_and_white_sprites_keep_their_structure() {
        let renderer = Renderer::new();
        let plain = ["spoon", "orange"];
        for class in
            Class::GENEVAL.into_iter().filter(|class| class.takes_color() && !plain.contains(&class.name()))
        {
            for color in [Color::Black, Color::White] {
                let image = renderer.render(&alone(class, Some(color), Tint::Teal), 96, 96);
                let lights =
                    image.pixels().map(|pixel| oklab(pixel.0)).filter(|lab| lab[1].hypot(lab[2]) < 0.03);
                let (low, high) =
                    lights.fold((1f32, 0f32), |(low, high), lab| (low.min(lab[0]), high.max(lab[0])));
                assert!(high - low > 0.06, "a {color} {class} is flat: {low} to {high}");
            }
        }
    }

    #[test]
    fn boxes_are_tight() {
        let renderer = Renderer::new();
        for index in 0..60 {
            let class = Class::GENEVAL[index];
            let mut scene = alone(class, Some(Color::Black), Tint::White);
            scene.objects[0].rotation = 25. * (index % 3) as f32;
            scene.objects[0].flipped = index % 2 == 1;
            let image = renderer.render(&scene, 200, 200);
            let dark = image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] < 160);
            let seen = dark.fold([f32::MAX, f32::MAX, 0., 0.], |[l, t, r, b], (x, y, _)| {
                let (x, y) = (x as f32 / 200., y as f32 / 200.);
                [f32::min(l, x), f32::min(t, y), f32::max(r, x + 0.005), f32::max(b, y + 0.005)]
            });
            for (seen, stated) in seen.iter().zip(scene.boxes()[0]) {
                assert!((seen - stated).abs() < 0.025, "{class}: {seen} instead of {stated}");
            }
        }
    }

    #[test]
    fn any_size_and_shape_in_any_style() {
        let renderer = Renderer::new();
        let mut scene = scene_at(Split::Train, 0, 5);
        for style in Style::ALL {
            scene.style = style;
            for (width, height) in [(1, 1), (1, 40), (40, 7), (96, 96), (130, 64)] {
                assert_eq!(renderer.render(&scene, width, height).dimensions(), (width, height));
            }
        }
    }

    #[test]
    fn styles_change_the_picture() {
        let renderer = Renderer::new();
        let scene = alone(Class::GENEVAL[2], Some(Color::Red), Tint::Cream);
        let plain = renderer.render(&scene, 96, 96);
        for style in &Style::ALL[1..] {
            let styled = renderer.render(&Scene { style: *style, ..scene.clone() }, 96, 96);
            assert_ne!(styled, plain, "{style:?}");
        }
    }
}
