//! What one can do with the picture on the stage.

use leptos::html;
use leptos::prelude::*;
use web_sys::Element;

use super::icon;
use crate::picture::Place;
use crate::state::{App, Scene, Task};
use crate::words::Words;

/// Smallest and largest width of the brush, in hundredths of the picture's longer side.
const BRUSH: (f64, f64) = (100.0 / 32.0, 50.0);

#[component]
pub fn Tools(app: App) -> impl IntoView {
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
                    <button type="button" class="icon-button" title=move || app.t().eraser aria-label=move || app.t().eraser
                        aria-pressed=move || app.erasing.get().to_string() on:click=move |_| app.toggle_eraser()>{icon("eraser")}</button>
                    <label class="size">
                        <span class="hidden">{move || app.t().brush_size}</span>
                        <input type="range" min=BRUSH.0 max=BRUSH.1 step="any" title=move || app.t().brush_size
                            prop:value=move || {
                                app.painted.track();
                                (100.0 * app.brush_size()).to_string()
                            }
                            on:input:target=move |event| {
                                if let Ok(size) = event.target().value().parse::<f64>() {
                                    app.set_brush_size(size / 100.0);
                                }
                            }/>
                    </label>
                    <Tool app icon_name="close" label=|t| t.clear_mask off=move || !app.painted.get() act=App::clear_mask/>
                </Show>
                <Extend app/>
            </Show>
            <span class="space"></span>
            <Tool app icon_name="zoom_out" label=|t| t.zoom_out off=move || none() || app.zoomed.get() <= 1.0 act=|app| app.zoom_by(1.0 / 1.5)/>
            <Tool app icon_name="zoom_in" label=|t| t.zoom_in off=none act=|app| app.zoom_by(1.5)/>
            <span class="rule"></span>
            <Tool app icon_name="open" label=|t| t.open off=|| false act=move |_: App| {
                file.get_untracked().iter().for_each(|input| input.click())
            }/>
            <input class="hidden" type="file" accept="image/*" multiple tabindex="-1" aria-hidden="true" node_ref=file
                on:change:target=move |event| app.open_chosen(&event.target())/>
            <Tool app icon_name="copy" label=|t| t.copy off=none act=App::copy/>
            <Tool app icon_name="download" label=|t| t.download off=none act=|app| app.download(1.0)/>
            <Enlarged app off=none/>
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

/// Closes the menu that a button is in.
fn close_menu(button: &Element) {
    if let Ok(Some(menu)) = button.closest("details") {
        let _ = menu.remove_attribute("open");
    }
}

/// Downloads of a larger picture.
#[component]
fn Enlarged(app: App, off: impl Fn() -> bool + Copy + Send + Sync + 'static) -> impl IntoView {
    view! {
        <Show when=move || !off()>
            <details class="menu">
                <summary class="icon-button small" title=move || app.t().enlarged aria-label=move || app.t().enlarged>{icon("more")}</summary>
                <div class="popover end">
                    <p class="note">{move || app.t().enlarged_note}</p>
                    {[2, 4].map(|scale| view! {
                        <button type="button" class="quiet" on:click:target=move |event| {
                            app.download(f64::from(scale));
                            close_menu(&event.target());
                        }>{move || app.t().download}" "{scale}"×"</button>
                    })}
                </div>
            </details>
        </Show>
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
        close_menu(&button);
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
