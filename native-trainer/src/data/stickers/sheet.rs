//! Sheets of pictures with their texts, to look at.

use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};

const GAP: u32 = 8;
const LETTER: u32 = 8;
const LINE: u32 = 10;
const LINES: usize = 4;

/// Lays pictures of one size out in rows of `columns`, each with its text below, at most four lines of it.
pub fn contact_sheet(cells: &[(RgbImage, String)], columns: u32) -> RgbImage {
    let columns = columns.max(1);
    let (width, height) = cells.first().map_or((1, 1), |(image, _)| image.dimensions());
    let (cell_width, cell_height) = (width + GAP, height + LINE * LINES as u32 + GAP);
    let rows = (cells.len() as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * cell_width + GAP, rows * cell_height + GAP, Rgb([255; 3]));
    for (index, (image, text)) in (0u32..).zip(cells) {
        let (left, top) = (GAP + index % columns * cell_width, GAP + index / columns * cell_height);
        imageops::replace(&mut sheet, image, left.into(), top.into());
        for (row, line) in (0u32..).zip(wrap(text, (width / LETTER) as usize).iter().take(LINES)) {
            write(&mut sheet, line, left, top + height + 3 + row * LINE);
        }
    }
    sheet
}

fn wrap(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.chars().take(letters).collect()),
        }
    }
    lines
}

fn write(sheet: &mut RgbImage, line: &str, left: u32, top: u32) {
    for (column, letter) in (0u32..).zip(line.chars()) {
        let glyph = BASIC_FONTS.get(letter).unwrap_or([0; 8]);
        for (y, bits) in (0u32..).zip(glyph) {
            for x in (0..8).filter(|x| bits >> x & 1 == 1) {
                let (x, y) = (left + column * LETTER + x, top + y);
                if x < sheet.width() && y < sheet.height() {
                    sheet.put_pixel(x, y, Rgb([40; 3]));
                }
            }
        }
    }
}
