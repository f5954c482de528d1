//! The drawings of things: vectors of Twemoji and our own, and pictures of Fluent Emoji in three dimensions.
//!
//! The pictures are fetched by `cargo xtask assets`. Twemoji is by Twitter and contributors (CC-BY 4.0), Fluent Emoji by
//! Microsoft (MIT).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, imageops::FilterType};
use resvg::{
    tiny_skia::{FilterQuality, IntSize, Pixmap, PixmapPaint, Transform},
    usvg::{Options, Tree},
};

use super::{Class, Look};

/// Side of the drawings in their own units, as Twemoji has it.
const UNITS: f32 = 36.;
/// Sides of the pictures that are kept of one in three dimensions, in pixels.
const SIDES: [u32; 4] = [256, 128, 64, 32];
/// The folder of the pictures within the folder of assets.
const SOLID: &str = "node_modules/@lobehub/fluent-emoji-3d/assets";

/// A drawing of about 36 x 36 units.
pub(super) enum Art {
    Vector(Box<Tree>),
    /// The same picture in the [`SIDES`].
    Picture(Vec<Pixmap>),
}

impl Art {
    /// The drawing of a thing. The flat one stands in where there is none in three dimensions.
    pub fn of(class: Class, look: Look) -> Self {
        match look {
            Look::Solid => solid(class).map(Self::Picture),
            Look::Flat => None,
        }
        .unwrap_or_else(|| {
            let tree = Tree::from_str(class.svg(), &Options::default());
            Self::Vector(Box::new(tree.expect("the built-in drawings are valid SVG")))
        })
    }

    /// Draws it on `canvas`, with `place` from its units to pixels.
    pub fn draw(&self, place: Transform, canvas: &mut Pixmap) {
        match self {
            Self::Vector(tree) => resvg::render(tree, place, &mut canvas.as_mut()),
            Self::Picture(sizes) => {
                let [sx, ky] = [place.sx, place.ky];
                let wanted = sx.hypot(ky) * UNITS;
                // The smallest picture that need not be enlarged, so that no pixel is skipped.
                let large = sizes.iter().rev().find(|picture| picture.width() as f32 >= wanted);
                let picture = large.unwrap_or(&sizes[0]);
                let scale = UNITS / picture.width() as f32;
                let paint = PixmapPaint { quality: FilterQuality::Bicubic, ..PixmapPaint::default() };
                canvas.draw_pixmap(0, 0, picture.as_ref(), &paint, place.pre_scale(scale, scale), None);
            }
        }
    }
}

/// The folder of fetched assets: `UNIGEN_ASSETS`, or `unigen/assets` in the user's cache.
fn assets() -> Option<PathBuf> {
    let named = std::env::var_os("UNIGEN_ASSETS").map(PathBuf::from);
    named.or_else(|| Some(dirs::cache_dir()?.join("unigen/assets")))
}

fn solid_path(class: Class) -> Option<PathBuf> {
    let folder = assets()?.join(SOLID);
    // Names differ in whether they end with the variation selector that asks for colour.
    let code = class.code()?;
    let bare = code.trim_end_matches("-fe0f");
    let names = [code.to_owned(), bare.to_owned(), format!("{bare}-fe0f")];
    names.into_iter().map(|name| folder.join(name + ".webp")).find(|path| path.is_file())
}

fn solid(class: Class) -> Option<Vec<Pixmap>> {
    read(&solid_path(class)?).ok()
}

fn read(path: &Path) -> Result<Vec<Pixmap>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let picture = image::load_from_memory_with_format(&bytes, image::ImageFormat::WebP)
        .with_context(|| format!("{} is no WebP picture", path.display()))?;
    SIDES.iter().map(|&side| pixmap(&picture, side).context("an empty picture")).collect()
}

/// The picture, `side` x `side` pixels, with colours multiplied by alpha. They are multiplied before the picture is made
/// smaller, so that the colour of invisible pixels does not bleed.
fn pixmap(picture: &DynamicImage, side: u32) -> Option<Pixmap> {
    let mut picture = picture.to_rgba8();
    for pixel in picture.pixels_mut() {
        let [r, g, b, alpha] = pixel.0;
        let [r, g, b] = [r, g, b].map(|value| ((u16::from(value) * u16::from(alpha) + 127) / 255) as u8);
        pixel.0 = [r, g, b, alpha];
    }
    let small = image::imageops::resize(&picture, side, side, FilterType::Triangle);
    Pixmap::from_vec(small.into_raw(), IntSize::from_wh(side, side)?)
}

/// Whether the drawings in three dimensions of all `classes` that can have one are there and whole.
///
/// # Errors
/// The error names the first that is missing.
pub(super) fn check(classes: &[Class]) -> Result<()> {
    for class in classes.iter().filter(|class| class.has_solid()) {
        let path = solid_path(*class);
        ensure!(
            path.is_some(),
            "world.solid asks for drawings in three dimensions, but there is none of \"{class}\" in {}; run `cargo xtask assets` \
             first",
            assets().map_or_else(|| "the user's cache".to_owned(), |folder| folder.display().to_string())
        );
        path.map_or(Ok(Vec::new()), |path| read(&path))?;
    }
    Ok(())
}
