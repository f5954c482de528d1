//! Painting what may change, with the pointer or the keyboard.

use leptos::ev::KeyboardEvent;
use leptos::html;
use leptos::prelude::*;
use web_sys::{HtmlCanvasElement, PointerEvent};

use crate::picture::SIDE;
use crate::state::App;

#[component]
pub fn Mask(app: App) -> impl IntoView {
    let canvas = NodeRef::<html::Canvas>::new();
    let middle = f64::from(SIDE) / 2.0;
    // Where the brush is, in pixels of the mask, and whether it is down.
    let brush = RwSignal::new((middle, middle));
    let down = RwSignal::new(false);
    let repaint = move || {
        if let Some(canvas) = canvas.get_untracked() {
            app.show_mask(&canvas);
        }
    };
    // What was painted before, and what is left after the mask is cleared.
    Effect::new(move |_| {
        app.painted.track();
        if let Some(canvas) = canvas.get() {
            app.show_mask(&canvas);
        }
    });
    let point = |event: &PointerEvent, canvas: &HtmlCanvasElement| {
        let area = canvas.get_bounding_client_rect();
        let scale = f64::from(SIDE) / area.width().max(1.0);
        (
            (f64::from(event.client_x()) - area.left()) * scale,
            (f64::from(event.client_y()) - area.top()) * scale,
        )
    };
    let paint = move |to: (f64, f64)| {
        app.paint(brush.get_untracked(), to);
        brush.set(to);
        repaint();
    };
    let press = move |event: PointerEvent, canvas: HtmlCanvasElement| {
        event.prevent_default();
        let _ = canvas.set_pointer_capture(event.pointer_id());
        let _ = canvas.focus();
        down.set(true);
        brush.set(point(&event, &canvas));
        paint(point(&event, &canvas));
    };
    let drag = move |event: PointerEvent, canvas: HtmlCanvasElement| {
        let to = point(&event, &canvas);
        if down.get_untracked() { paint(to) } else { brush.set(to) }
    };
    let key = move |event: KeyboardEvent| {
        let (x, y) = brush.get_untracked();
        let (reach, side) = (app.brush_size.get_untracked() / 2.0, f64::from(SIDE));
        let step = |dx: f64, dy: f64| {
            brush.set(((x + dx * reach).clamp(0.0, side), (y + dy * reach).clamp(0.0, side)))
        };
        let resize = |factor: f64| app.brush_size.update(|size| *size = (*size * factor).clamp(16.0, 256.0));
        match event.key().as_str() {
            "ArrowLeft" => step(-1.0, 0.0),
            "ArrowRight" => step(1.0, 0.0),
            "ArrowUp" => step(0.0, -1.0),
            "ArrowDown" => step(0.0, 1.0),
            " " | "Enter" => paint((x, y)),
            "e" | "E" => app.erasing.update(|erasing| *erasing = !*erasing),
            "[" => resize(0.8),
            "]" => resize(1.25),
            _ => return,
        }
        event.prevent_default();
    };
    let part = |pixels: f64| format!("{}%", pixels / f64::from(SIDE) * 100.0);
    view! {
        <canvas class="mask" node_ref=canvas width=SIDE height=SIDE tabindex="0" role="application" aria-label=move || app.t().mask
            on:pointerdown=move |event| canvas.get_untracked().into_iter().for_each(|canvas| press(event.clone(), canvas))
            on:pointermove=move |event| canvas.get_untracked().into_iter().for_each(|canvas| drag(event.clone(), canvas))
            on:pointerup=move |_| down.set(false)
            on:pointercancel=move |_| down.set(false)
            on:keydown=key></canvas>
        <span class="ring" aria-hidden="true" class:erases=move || app.erasing.get()
            style=("left", move || part(brush.get().0)) style=("top", move || part(brush.get().1))
            style=("width", move || part(app.brush_size.get()))></span>
    }
}
