//! Pictures on canvases.

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlImageElement, ImageData, OffscreenCanvas};

/// How much longer each side of the canvas is than the picture's when it is extended.
pub const EXTENSION: f64 = 1.5;

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

/// Width and height in the picture's own pixels.
pub fn size(image: &HtmlImageElement) -> [f64; 2] {
    [image.natural_width(), image.natural_height()].map(f64::from)
}

/// Left, top and length of the picture on the canvas, as parts of the canvas.
pub fn placed(place: Option<Place>) -> [f64; 3] {
    let Some([x, y]) = place else { return [0.0, 0.0, 1.0] };
    let length = 1.0 / EXTENSION;
    let at = |step: i8| (1.0 - length) * f64::from(step + 1) / 2.0;
    [at(x), at(y), length]
}

/// Width and height of a canvas that is extended, and left and top of the picture on it: whole pixels, so that none is blurred.
fn extended([width, height]: [f64; 2], place: Place) -> ([f64; 2], [f64; 2]) {
    let [left, top, _] = placed(Some(place));
    let canvas = [width, height].map(|length| (length * EXTENSION).round());
    (canvas, [(left * canvas[0]).round(), (top * canvas[1]).round()])
}

/// The picture pixel by pixel on a larger canvas, which is transparent around it.
pub fn on_larger_canvas(image: &HtmlImageElement, place: Place) -> Result<HtmlCanvasElement, JsValue> {
    let ([width, height], [left, top]) = extended(size(image), place);
    let canvas = canvas(width as u32, height as u32)?;
    context(&canvas)?.draw_image_with_html_image_element(image, left, top)?;
    Ok(canvas)
}

/// What may change, white on black, on the larger canvas of a picture of a `size`: what lies around the picture, and what is
/// `painted`.
pub fn mask_around(
    size: [f64; 2],
    place: Place,
    painted: Option<&OffscreenCanvas>,
) -> Result<HtmlCanvasElement, JsValue> {
    let ([width, height], [left, top]) = extended(size, place);
    let mask = canvas(width as u32, height as u32)?;
    let pen = context(&mask)?;
    pen.set_fill_style_str("#fff");
    pen.fill_rect(0.0, 0.0, width, height);
    pen.set_fill_style_str("#000");
    pen.fill_rect(left, top, size[0], size[1]);
    if let Some(painted) = painted {
        // White stays white on black.
        pen.set_global_composite_operation("lighten")?;
        pen.draw_image_with_offscreen_canvas_and_dw_and_dh(painted, 0.0, 0.0, width, height)?;
    }
    Ok(mask)
}

/// Shows pixels on a canvas of their size.
pub fn show(canvas: &HtmlCanvasElement, pixels: &ImageData) -> Result<(), JsValue> {
    if canvas.width() != pixels.width() || canvas.height() != pixels.height() {
        canvas.set_width(pixels.width());
        canvas.set_height(pixels.height());
    }
    context(canvas)?.put_image_data(pixels, 0.0, 0.0)
}
