//! Contact sheets: one image of many images and their captions.

use image::imageops::{FilterType, replace, resize};
use image::{Rgb, RgbImage};
use unifont::{Glyph, get_glyph};

const PAPER: Rgb<u8> = Rgb([247, 246, 242]);
const INK: Rgb<u8> = Rgb([38, 38, 42]);
/// Pixels around the sheet and between cells.
const MARGIN: u32 = 16;
/// Pixels from an image to its caption.
const GAP: u32 = 6;
/// Width of a narrow glyph in pixels. Wide ones, such as Chinese characters, take two.
const GLYPH: u32 = 8;
/// Height of a glyph, and the distance of text lines.
const HEIGHT: u32 = 16;
const LINE: u32 = 17;
/// Smallest width of a cell in narrow glyphs, so that captions of small images stay readable.
const MIN_WIDTH: u32 = 16;
/// Most lines of a caption. A longer caption ends in dots.
const MAX_LINES: usize = 8;
/// Lays out `items` (image, caption) row by row in `columns` columns. Every image is enlarged `scale` times without
/// smoothing, and its caption is wrapped below it. A `columns` or `scale` of 0 counts as 1. Without items the sheet
/// is empty.
pub fn sheet(items: &[(RgbImage, String)], columns: usize, scale: u32) -> RgbImage {
    let (columns, scale) = (columns.clamp(1, items.len().max(1)), scale.max(1));
    let widest = items.iter().map(|(image, _)| image.width() * scale).max().unwrap_or(0);
    let cell = widest.max(MIN_WIDTH * GLYPH);
    let captions: Vec<_> = items.iter().map(|(_, text)| wrap(text, (cell / GLYPH) as usize)).collect();

    // For each row: its first item, the height of its images, and the height of its captions.
    let rows: Vec<_> = (0..items.len())
        .step_by(columns)
        .map(|first| {
            let row = first..(first + columns).min(items.len());
            let image = items[row.clone()].iter().map(|(image, _)| image.height() * scale).max();
            let lines = captions[row].iter().map(Vec::len).max().unwrap_or(0) as u32;
            (first, image.unwrap_or(0), if lines == 0 { 0 } else { GAP + lines * LINE })
        })
        .collect();

    let width = MARGIN + columns as u32 * (cell + MARGIN);
    let height = MARGIN + rows.iter().map(|(_, image, text)| image + text + MARGIN).sum::<u32>();
    let mut canvas = RgbImage::from_pixel(width, height, PAPER);
    let mut top = MARGIN;
    for (first, image_height, text_height) in rows {
        for column in 0..columns.min(items.len() - first) {
            let (image, lines) = (&items[first + column].0, &captions[first + column]);
            let left = MARGIN + column as u32 * (cell + MARGIN);
            let (image_width, height) = (image.width() * scale, image.height() * scale);
            if image_width > 0 && height > 0 {
                let large = resize(image, image_width, height, FilterType::Nearest);
                replace(&mut canvas, &large, left.into(), (top + image_height - height).into());
            }
            for (line, text) in (0..).zip(lines) {
                write(&mut canvas, left, top + image_height + GAP + line * LINE, text);
            }
        }
        top += image_height + text_height + MARGIN;
    }
    canvas
}

/// Breaks `text` at white space into lines of at most `width` narrow glyphs. A longer word is broken anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length: usize = word.chars().map(columns).sum();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        for character in (used > 0).then_some(' ').into_iter().chain(word.chars()) {
            if used + columns(character) > width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(character);
                used += columns(character);
            }
        }
        if lines.len() > MAX_LINES {
            break;
        }
    }
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        if let Some(last) = lines.last_mut() {
            while last.chars().map(columns).sum::<usize>() + 3 > width {
                last.pop();
            }
            last.push_str("...");
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The width of a character in narrow glyphs.
fn columns(character: char) -> usize {
    glyph(character).map_or(1, |glyph| glyph.get_width() / GLYPH as usize)
}

/// Draws a line of text with its upper left corner at `(x, y)`.
fn write(canvas: &mut RgbImage, mut x: u32, y: u32, text: &str) {
    for character in text.chars() {
        let Some(glyph) = glyph(character) else { continue };
        let width = glyph.get_width() as u32;
        for (row, column) in (0..HEIGHT).flat_map(|row| (0..width).map(move |column| (row, column))) {
            if glyph.get_pixel(column as usize, row as usize)
                && let Some(pixel) = canvas.get_pixel_mut_checked(x + column, y + row)
            {
                *pixel = INK;
            }
        }
        x += width;
    }
}

/// The glyph of a character, or the one of unknown characters. None for a character that takes no room.
fn glyph(character: char) -> Option<&'static Glyph> {
    if character.is_control() {
        return get_glyph('\u{fffd}');
    }
    get_glyph(character).or_else(|| get_glyph('\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wraps_words_and_breaks_long_ones() {
        assert_eq!(wrap("a red apple\nleft of it", 11), ["a red apple", "left of it"]);
        assert_eq!(wrap("ab abcdefghij", 4), ["ab", "abcd", "efgh", "ij"]);
        assert!(wrap(" \t", 8).is_empty());
        let long = wrap(&"word ".repeat(1000), 16);
        assert_eq!((long.len(), long[MAX_LINES - 1].as_str()), (MAX_LINES, "word word wor..."));
    }

    #[test]
    fn places_images_and_captions() {
        let red = RgbImage::from_pixel(64, 64, Rgb([200, 0, 0]));
        let items =
            vec![(red.clone(), "one".to_owned()), (red.clone(), String::new()), (red, "three".to_owned())];
        let sheet = sheet(&items, 2, 3);
        assert_eq!(sheet.width(), 3 * MARGIN + 2 * 192);
        assert_eq!(sheet.height(), 3 * MARGIN + 2 * (192 + GAP + LINE));
        assert_eq!(sheet.get_pixel(MARGIN, MARGIN), &Rgb([200, 0, 0]));
        assert_eq!(sheet.get_pixel(MARGIN - 1, MARGIN), &PAPER);
        let ink = sheet.pixels().filter(|pixel| **pixel == INK).count();
        assert!(ink > 50, "{ink}");
    }

    #[test]
    fn odd_sheets() {
        assert_eq!(sheet(&[], 0, 0).height(), MARGIN);
        let empty = vec![(RgbImage::new(0, 0), "nothing to see".to_owned())];
        assert_eq!(sheet(&empty, 4, 8).width(), 2 * MARGIN + MIN_WIDTH * GLYPH);
    }

    #[test]
    fn every_script_has_its_glyphs() {
        let unknown = glyph('\u{fffd}');
        for character in ['a', 'é', '猫', 'あ', 'ж', '’', '“'] {
            assert_ne!(glyph(character), unknown, "{character}");
        }
        assert_eq!((glyph('\u{7}'), glyph('\u{10ffff}')), (unknown, unknown));
        assert_eq!((columns('a'), columns('猫')), (1, 2));
        assert_eq!(wrap("一只红色的猫", 6), ["一只红", "色的猫"]);
    }

    proptest! {
        #[test]
        fn any_caption_fits(text: String, width in 5..40usize) {
            let lines = wrap(&text, width);
            prop_assert!(lines.len() <= MAX_LINES && lines.iter().all(|line| line.chars().map(columns).sum::<usize>() <= width));
            sheet(&[(RgbImage::new(8, 8), text)], 1, 1);
        }
    }
}
