//! The picture: on its way, to choose from, compared with what it was, extended.

use leptos::ev::Event;
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::HtmlImageElement;

use super::caption::Caption;
use super::gallery::Gallery;
use super::mask::Mask;
use super::tools::Tools;
use crate::externs::Zoom;
use crate::picture::{self, placed};
use crate::state::{App, Item, Scene, Task};
use crate::words::Words;

#[component]
pub fn Stage(app: App) -> impl IntoView {
    let greets = move || matches!(app.scene.get(), Scene::Empty);
    view! {
        <section class="stage" class:greets=greets aria-label=move || app.t().stage style=("--ratio", move || app.ratio.get().to_string())>
            <Show when=greets>
                <Gallery app/>
            </Show>
            <div class="board" hidden=greets aria-busy=move || app.work.get().is_some().to_string()>
                {move || match app.scene.get() {
                    Scene::Empty => ().into_any(),
                    Scene::Working(count) => view! { <Working app count/> }.into_any(),
                    Scene::Batch(items) => view! { <Batch app items/> }.into_any(),
                    Scene::Picture(item) => view! { <Picture app item/> }.into_any(),
                }}
            </div>
            <Tools app/>
            <Caption app/>
        </section>
    }
}

/// Said of a picture where it cannot be seen.
pub fn alt(words: &'static Words, item: &Item) -> String {
    match (&item.entry.record.prompt, &item.entry.record.task) {
        (Some(prompt), Some(_)) => prompt.clone(),
        _ => words.opened.to_owned(),
    }
}

/// Pictures on their way; cells that are still masked are faint.
#[component]
fn Working(app: App, count: u32) -> impl IntoView {
    view! {
        <div class="grid" class:several=move || { count > 1 }>
            {(0..count as usize).map(|index| view! { <Preview app index/> }).collect_view()}
        </div>
    }
}

#[component]
fn Preview(app: App, index: usize) -> impl IntoView {
    let canvas = NodeRef::<html::Canvas>::new();
    Effect::new(move |_| {
        let previews = app.previews.read();
        if let (Some(canvas), Some(pixels)) = (canvas.get(), previews.get(index)) {
            let _ = picture::show(&canvas, pixels);
        }
    });
    let waits = move || app.previews.read().get(index).is_none();
    view! {
        <div class="preview" class:waiting=waits>
            <canvas node_ref=canvas width="1" height="1" role="img" aria-label=move || app.t().preview></canvas>
        </div>
    }
}

#[component]
fn Batch(app: App, items: Vec<Item>) -> impl IntoView {
    view! {
        <div class="grid several" role="group" aria-label=move || app.t().choose>
            {items.into_iter().map(|item| {
                let (id, words) = (item.id, app.t());
                view! {
                    <button type="button" class="choice" on:click=move |_| app.show(id)>
                        <img src=item.url.clone() alt=alt(words, &item)/>
                    </button>
                }
            }).collect_view()}
        </div>
    }
}

/// One picture; beside what it was edited from, under the mask, or on a larger canvas.
#[component]
fn Picture(app: App, item: Item) -> impl IntoView {
    let before = item.entry.parent.and_then(|parent| app.item(parent));
    let paints = move || app.task.get() != Task::Ask;
    let has_before = before.is_some();
    let compares = move || {
        has_before && app.compare.get() && !(paints() && app.brushing.get()) && app.place.get().is_none()
    };
    let split = RwSignal::new(50.0_f64);
    let place = move || app.place.get().filter(|_| paints());
    let part = |[left, top, length]: [f64; 3]| (percent(left), percent(top), percent(length));
    let words = app.t();
    let frame = NodeRef::<html::Div>::new();
    Effect::new(move |_| {
        let Some(frame) = frame.get() else { return };
        let Some(board) = frame.parent_element() else { return };
        let changed = Closure::<dyn FnMut(f64)>::new(move |scale| app.zoomed.set(scale));
        app.zoom.set_value(Some(Zoom::new(&board, &frame, &changed.into_js_value())));
    });
    let loaded = move |event: Event| {
        if let Some(image) = event.target().and_then(|target| target.dyn_into::<HtmlImageElement>().ok()) {
            app.fit(image.natural_width().into(), image.natural_height().into());
        }
    };
    view! {
        <div class="frame" class:extended=move || place().is_some() node_ref=frame>
            <img class="picture" src=item.url.clone() alt=alt(words, &item) draggable="false" on:load=loaded
                style=("left", move || part(placed(place())).0)
                style=("top", move || part(placed(place())).1)
                style=("width", move || part(placed(place())).2)
                style=("height", move || part(placed(place())).2)
                style=("clip-path", move || if compares() { format!("inset(0 0 0 {}%)", split.get()) } else { "none".to_owned() })/>
            {before.map(|before| {
                let (left, top, length) = part(placed(item.entry.place));
                let url = before.url.clone();
                view! {
                    <Show when=compares>
                        <div class="before" style=("clip-path", move || format!("inset(0 {}% 0 0)", 100.0 - split.get()))>
                            <img class="picture" src=url.clone() alt=alt(words, &before) draggable="false"
                                style=("left", left.clone()) style=("top", top.clone()) style=("width", length.clone()) style=("height", length.clone())/>
                        </div>
                        <span class="tag start" aria-hidden="true">{move || app.t().before}</span>
                        <span class="tag end" aria-hidden="true">{move || app.t().after}</span>
                        <input class="split" type="range" min="0" max="100" step="0.5" aria-label=move || app.t().compare
                            prop:value=move || split.get().to_string()
                            on:input:target=move |event| split.set(event.target().value().parse().unwrap_or(50.0))/>
                        <span class="handle" aria-hidden="true" style=("left", move || format!("{}%", split.get()))></span>
                    </Show>
                }
            })}
            <Show when=paints>
                <Mask app/>
            </Show>
        </div>
    }
}

fn percent(part: f64) -> String {
    format!("{}%", part * 100.0)
}
