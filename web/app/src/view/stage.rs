//! The picture: on its way, to choose from, compared with what it was, extended; and what one can do with it.

use leptos::html;
use leptos::prelude::*;
use web_sys::Element;

use super::icon;
use super::mask::Mask;
use crate::picture::{self, Place, placed};
use crate::state::{App, Item, Scene, Task};
use crate::words::Words;

#[component]
pub fn Stage(app: App) -> impl IntoView {
    view! {
        <section class="stage" aria-label=move || app.t().stage>
            <div class="board" aria-busy=move || app.work.get().is_some().to_string()>
                {move || match app.scene.get() {
                    Scene::Empty => view! { <Empty app/> }.into_any(),
                    Scene::Working(count) => view! { <Working app count/> }.into_any(),
                    Scene::Batch(items) => view! { <Batch app items/> }.into_any(),
                    Scene::Picture(item) => view! { <Picture app item/> }.into_any(),
                }}
            </div>
            <Tools app/>
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

#[component]
fn Empty(app: App) -> impl IntoView {
    view! {
        <div class="empty">
            <img src="empty.svg" alt="" width="168" height="168"/>
            <p class="lead">{move || app.t().empty_title}</p>
            <p class="note">{move || app.t().empty_note}</p>
        </div>
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
    let part = |[left, top, side]: [f64; 3]| (percent(left), percent(top), percent(side));
    let fits = move || if app.task.get() == Task::Ask { "contain" } else { "cover" };
    let words = app.t();
    view! {
        <div class="frame" class:extended=move || place().is_some()>
            <img class="picture" src=item.url.clone() alt=alt(words, &item)
                style=("object-fit", fits)
                style=("left", move || part(placed(place())).0)
                style=("top", move || part(placed(place())).1)
                style=("width", move || part(placed(place())).2)
                style=("height", move || part(placed(place())).2)
                style=("clip-path", move || if compares() { format!("inset(0 0 0 {}%)", split.get()) } else { "none".to_owned() })/>
            {before.map(|before| {
                let (left, top, side) = part(placed(item.entry.place));
                let url = before.url.clone();
                view! {
                    <Show when=compares>
                        <div class="before" style=("clip-path", move || format!("inset(0 {}% 0 0)", 100.0 - split.get()))>
                            <img class="picture" src=url.clone() alt=alt(words, &before)
                                style=("left", left.clone()) style=("top", top.clone()) style=("width", side.clone()) style=("height", side.clone())/>
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
            <Show when=move || paints() && app.brushing.get()>
                <Mask app/>
            </Show>
        </div>
    }
}

fn percent(part: f64) -> String {
    format!("{}%", part * 100.0)
}

#[component]
fn Tools(app: App) -> impl IntoView {
    let shown = move || match app.scene.get() {
        Scene::Picture(item) => Some(item),
        _ => None,
    };
    let none = move || shown().is_none();
    let paints = move || app.task.get() != Task::Ask && !none();
    let file = NodeRef::<html::Input>::new();
    view! {
        <div class="tools" role="group" aria-label=move || app.t().stage>
            <Tool app icon_name="undo" label=|t| t.undo off=move || !app.can_undo() act=App::undo/>
            <Tool app icon_name="redo" label=|t| t.redo off=move || !app.can_redo() act=App::redo/>
            <Toggle app icon_name="compare" label=|t| t.compare on=app.compare
                off=move || shown().is_none_or(|item| item.entry.parent.is_none())/>
            <Show when=paints>
                <span class="rule"></span>
                <Toggle app icon_name="brush" label=|t| t.brush on=app.brushing off=|| false/>
                <Show when=move || app.brushing.get()>
                    <Toggle app icon_name="eraser" label=|t| t.eraser on=app.erasing off=|| false/>
                    <label class="size">
                        <span class="hidden">{move || app.t().brush_size}</span>
                        <input type="range" min="16" max="256" step="8" title=move || app.t().brush_size
                            prop:value=move || app.brush_size.get().to_string()
                            on:input:target=move |event| app.brush_size.set(event.target().value().parse().unwrap_or(112.0))/>
                    </label>
                    <Tool app icon_name="close" label=|t| t.clear_mask off=move || !app.painted.get() act=App::clear_mask/>
                </Show>
                <Extend app/>
            </Show>
            <span class="space"></span>
            <Tool app icon_name="open" label=|t| t.open off=|| false act=move |_: App| {
                file.get_untracked().iter().for_each(|input| input.click())
            }/>
            <input class="hidden" type="file" accept="image/*" tabindex="-1" aria-hidden="true" node_ref=file
                on:change:target=move |event| app.open_chosen(&event.target())/>
            <Tool app icon_name="copy" label=|t| t.copy off=none act=App::copy/>
            <Tool app icon_name="download" label=|t| t.download off=none act=App::download/>
        </div>
    }
}

#[component]
fn Tool(
    app: App,
    icon_name: &'static str,
    label: fn(&'static Words) -> &'static str,
    off: impl Fn() -> bool + Send + Sync + 'static,
    act: impl Fn(App) + 'static,
) -> impl IntoView {
    view! {
        <button type="button" class="icon-button" title=move || label(app.t()) aria-label=move || label(app.t())
            disabled=off on:click=move |_| act(app)>{icon(icon_name)}</button>
    }
}

#[component]
fn Toggle(
    app: App,
    icon_name: &'static str,
    label: fn(&'static Words) -> &'static str,
    on: RwSignal<bool>,
    off: impl Fn() -> bool + Send + Sync + 'static,
) -> impl IntoView {
    view! {
        <button type="button" class="icon-button" title=move || label(app.t()) aria-label=move || label(app.t())
            aria-pressed=move || on.get().to_string() disabled=off on:click=move |_| on.update(|on| *on = !*on)>{icon(icon_name)}</button>
    }
}

/// Where the picture stays when the canvas is extended.
#[component]
fn Extend(app: App) -> impl IntoView {
    let places: [Option<Place>; 9] =
        std::array::from_fn(|cell| Some([(cell % 3) as i8 - 1, (cell / 3) as i8 - 1]));
    let name = move |[x, y]: Place| {
        let words = app.t();
        let row = [words.top, words.middle, words.bottom][(y + 1) as usize];
        let column = [words.left, words.center, words.right][(x + 1) as usize];
        format!("{row} {column}")
    };
    // The menu closes when a choice is made.
    let choose = move |place: Option<Place>, button: Element| {
        app.place.set(place);
        if let Ok(Some(menu)) = button.closest("details") {
            let _ = menu.remove_attribute("open");
        }
    };
    view! {
        <details class="menu">
            <summary class="icon-button" class:pressed=move || app.place.get().is_some()
                title=move || app.t().extend aria-label=move || app.t().extend>{icon("extend")}</summary>
            <div class="popover">
                <p class="note">{move || app.t().extend_note}</p>
                <div class="pad" role="group" aria-label=move || app.t().extend>
                    {places.into_iter().flatten().map(|place| view! {
                        <button type="button" aria-label=move || name(place) aria-pressed=move || (app.place.get() == Some(place)).to_string()
                            on:click:target=move |event| choose(Some(place), event.target().into())></button>
                    }).collect_view()}
                </div>
                <button type="button" class="quiet" on:click:target=move |event| choose(None, event.target().into())>
                    {move || app.t().extend_none}
                </button>
            </div>
        </details>
    }
}
