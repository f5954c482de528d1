//! Pictures on canvases.

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlImageElement, ImageData};

use crate::externs::Failure;

/// Pixels a side of what is painted.
pub const SIDE: u32 = 768;
/// How much wider the canvas is than the picture when it is extended.
pub const EXTENSION: f64 = 1.5;
/// The largest side of an opened picture, in pixels.
const LARGEST: f64 = 1536.0;
/// The largest side of a picture to edit, in pixels: the engine shrinks larger ones.
const LARGEST_SOURCE: f64 = 2048.0;

/// Where a picture stays on an extended canvas: -1, 0, 1 from left to right and from top to bottom.
pub type Place = [i8; 2];

/// A picture of an address, decoded.
pub async fn load(url: &str) -> Result<HtmlImageElement, JsValue> {
    let image = HtmlImageElement::new()?;
    image.set_src(url);
    JsFuture::from(image.decode()).await?;
    Ok(image)
}

/// An empty canvas.
pub fn canvas(width: u32, height: u32) -> Result<HtmlCanvasElement, JsValue> {
    let document = leptos::prelude::document();
    let canvas: HtmlCanvasElement = document.create_element("canvas")?.unchecked_into();
    canvas.set_width(width);
    canvas.set_height(height);
    Ok(canvas)
}

/// The context to draw on a canvas.
pub fn context(canvas: &HtmlCanvasElement) -> Result<CanvasRenderingContext2d, JsValue> {
    let context = canvas.get_context("2d")?;
    context.map(JsCast::unchecked_into).ok_or_else(|| JsValue::from_str("no 2d context"))
}

/// A whole picture on a canvas of bounded size.
pub fn whole(image: &HtmlImageElement) -> Result<HtmlCanvasElement, JsValue> {
    let (width, height) = (f64::from(image.natural_width()), f64::from(image.natural_height()));
    let scale = (LARGEST / width.max(height)).min(1.0);
    let [w, h] = [width, height].map(|side| (side * scale).round().max(1.0));
    let canvas = canvas(w as u32, h as u32)?;
    context(&canvas)?.draw_image_with_html_image_element_and_dw_and_dh(image, 0.0, 0.0, w, h)?;
    Ok(canvas)
}

/// Left, top and side of the picture on the square that is edited, as parts of the square's side.
pub fn placed(place: Option<Place>) -> [f64; 3] {
    let Some([x, y]) = place else { return [0.0, 0.0, 1.0] };
    let side = 1.0 / EXTENSION;
    let at = |step: i8| (1.0 - side) * f64::from(step + 1) / 2.0;
    [at(x), at(y), side]
}

/// The square to edit: the largest one in the middle of the picture, pixel by pixel; on a larger canvas where it is extended.
pub fn source(image: &HtmlImageElement, place: Option<Place>) -> Result<HtmlCanvasElement, JsValue> {
    let (width, height) = (f64::from(image.natural_width()), f64::from(image.natural_height()));
    let square = width.min(height);
    let grown = if place.is_some() { square * EXTENSION } else { square };
    let canvas_side = grown.round().clamp(1.0, LARGEST_SOURCE) as u32;
    let [left, top, side] = kept(place, canvas_side);
    let canvas = canvas(canvas_side, canvas_side)?;
    context(&canvas)?.draw_image_with_html_image_element_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
        image,
        ((width - square) / 2.0).floor(),
        ((height - square) / 2.0).floor(),
        square,
        square,
        left,
        top,
        side,
        side,
    )?;
    Ok(canvas)
}

/// What may change, white on black, on a square of `side` pixels: what is painted, and what lies outside the picture where
/// it is extended.
pub fn mask(
    painted: &HtmlCanvasElement,
    place: Option<Place>,
    side: u32,
) -> Result<HtmlCanvasElement, JsValue> {
    let whole = f64::from(side);
    // The paint's shape in white.
    let white = canvas(side, side)?;
    let pen = context(&white)?;
    pen.draw_image_with_html_canvas_element_and_dw_and_dh(painted, 0.0, 0.0, whole, whole)?;
    pen.set_global_composite_operation("source-in")?;
    pen.set_fill_style_str("#fff");
    pen.fill_rect(0.0, 0.0, whole, whole);

    let mask = canvas(side, side)?;
    let pen = context(&mask)?;
    pen.set_fill_style_str("#fff");
    pen.fill_rect(0.0, 0.0, whole, whole);
    pen.set_fill_style_str("#000");
    let [left, top, stays] = kept(place, side);
    pen.fill_rect(left, top, stays, stays);
    pen.draw_image_with_html_canvas_element(&white, 0.0, 0.0)?;
    Ok(mask)
}

/// Left, top and side of the picture on a square of `side` pixels: whole pixels, so that none is blurred.
fn kept(place: Option<Place>, side: u32) -> [f64; 3] {
    placed(place).map(|part| (part * f64::from(side)).round())
}

/// Shows pixels on a canvas of their size.
pub fn show(canvas: &HtmlCanvasElement, pixels: &ImageData) -> Result<(), JsValue> {
    if canvas.width() != pixels.width() || canvas.height() != pixels.height() {
        canvas.set_width(pixels.width());
        canvas.set_height(pixels.height());
    }
    context(canvas)?.put_image_data(pixels, 0.0, 0.0)
}

/// The brush that paints what may change.
#[derive(Clone, Copy)]
pub struct Brush {
    /// Diameter in pixels of the mask.
    pub size: f64,
    /// Whether it takes paint away.
    pub erases: bool,
}

impl Brush {
    /// Paints a line between two points in pixels of the mask.
    pub fn stroke(self, mask: &HtmlCanvasElement, from: (f64, f64), to: (f64, f64)) -> Result<(), JsValue> {
        let pen = context(mask)?;
        pen.set_global_composite_operation(if self.erases { "destination-out" } else { "source-over" })?;
        pen.set_line_cap("round");
        pen.set_line_join("round");
        pen.set_line_width(self.size);
        pen.set_stroke_style_str("#ff5a36");
        pen.begin_path();
        pen.move_to(from.0, from.1);
        // Canvases leave out lines without a length.
        pen.line_to(to.0 + 0.01, to.1);
        pen.stroke();
        Ok(())
    }
}

/// The failure of a file that holds no picture.
pub fn unreadable(words: &crate::words::Words) -> Failure {
    Failure::new(words.lang, "image", words.unreadable, words.unreadable_hint)
}
