//! The colours that a file means, as sRGB.

use image::{DynamicImage, Rgb, RgbImage, Rgba};
use moxcms::{ColorProfile, DataColorSpace, Layout, RenderingIntent, TransformF32Executor, TransformOptions};
use std::sync::Arc;

/// Rows that are converted at once, so that wide numbers exist for these alone.
const BAND: u32 = 32;

/// A picture in the colours of `profile`, or without one in sRGB, as sRGB at eight bits a channel, transparency over grey of
/// the level `ground`.
pub(super) fn to_srgb(picture: DynamicImage, profile: Option<ColorProfile>, ground: u8) -> RgbImage {
    let converted = profile.and_then(|profile| convert(&picture, &profile, ground));
    converted.unwrap_or_else(|| opaque(picture, ground))
}

/// `None` where the library does not know how.
fn convert(picture: &DynamicImage, profile: &ColorProfile, ground: u8) -> Option<RgbImage> {
    let grey = profile.color_space == DataColorSpace::Gray;
    let layout = if grey { Layout::GrayAlpha } else { Layout::Rgba };
    let transform = transform(profile, layout, Layout::Rgba)?;
    let (width, height) = (picture.width(), picture.height());
    let mut converted = RgbImage::new(width, height);
    let mut to = converted.pixels_mut();
    for top in (0..height).step_by(BAND as usize) {
        let band = picture.crop_imm(0, top, width, BAND.min(height - top));
        let from = if grey { band.to_luma_alpha32f().into_raw() } else { band.to_rgba32f().into_raw() };
        let mut srgb = vec![0.0; band.width() as usize * band.height() as usize * 4];
        transform.transform(&from, &mut srgb).ok()?;
        for (to, from) in to.by_ref().zip(srgb.as_chunks::<4>().0) {
            *to = on_ground(*from, ground);
        }
    }
    Some(converted)
}

/// How a profile's colours become sRGB's; `None` where the library cannot.
pub(super) fn transform(
    source: &ColorProfile,
    from: Layout,
    to: Layout,
) -> Option<Arc<TransformF32Executor>> {
    let options = TransformOptions {
        rendering_intent: RenderingIntent::Perceptual,
        // A profile's curves count, not what it says beside them.
        allow_use_cicp_transfer: false,
        prefer_fixed_point: false,
        ..TransformOptions::default()
    };
    source.create_transform_f32(from, &ColorProfile::new_srgb(), to, options).ok()
}

/// The profile of an ICC file, where it suits grey or coloured pixels.
pub(super) fn suitable(icc: &[u8], grey: bool) -> Option<ColorProfile> {
    let profile = ColorProfile::new_from_slice(icc).ok()?;
    match profile.color_space {
        DataColorSpace::Rgb => Some(profile),
        DataColorSpace::Gray if grey => Some(profile),
        _ => None,
    }
}

/// Composites transparency over `ground`, at eight bits a channel.
fn opaque(picture: DynamicImage, ground: u8) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let mut opaque = RgbImage::new(picture.width(), picture.height());
    for (to, &Rgba([r, g, b, alpha])) in opaque.pixels_mut().zip(picture.pixels()) {
        let (alpha, below) = (u32::from(alpha), u32::from(ground) * (255 - u32::from(alpha)));
        *to = Rgb([r, g, b].map(|c| ((u32::from(c) * alpha + below + 127) / 255) as u8));
    }
    opaque
}

/// One pixel of sRGB and alpha, 0 to 1, over `ground`.
fn on_ground([r, g, b, alpha]: [f32; 4], ground: u8) -> Rgb<u8> {
    let below = f32::from(ground) * (1.0 - alpha);
    Rgb([r, g, b].map(|c| (c.clamp(0.0, 1.0) * alpha * 255.0 + below).round() as u8))
}
