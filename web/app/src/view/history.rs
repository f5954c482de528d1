//! All pictures of this machine, newest first.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::icon;
use super::stage::alt;
use crate::state::{App, Item};

#[component]
pub fn History(app: App) -> impl IntoView {
    let newest = move || {
        let mut items = app.items.get();
        items.reverse();
        items
    };
    let clear = move |_| delete(app, all(app));
    let empty = move || app.items.read().is_empty();
    view! {
        <section class="history" aria-labelledby="history-title">
            <div class="row">
                <h2 id="history-title" tabindex="-1">{move || app.t().history}</h2>
                <Show when=move || !empty()>
                    <button type="button" class="quiet" on:click=clear>{move || app.t().history_clear}</button>
                </Show>
            </div>
            <Deleted app/>
            <Show when=empty>
                <p class="note">{move || app.t().history_empty}</p>
            </Show>
            <ul class="strip" class:bare=empty>
                <For each=newest key=|item| item.id.to_bits() let:item>
                    <Thumb app item/>
                </For>
            </ul>
        </section>
    }
}

fn all(app: App) -> Vec<f64> {
    app.items.read_untracked().iter().map(|item| item.id).collect()
}

/// What was deleted, and the way back.
#[component]
fn Deleted(app: App) -> impl IntoView {
    let count = move || app.deleted.read().len();
    view! {
        <div role="status">
            <Show when=move || count() != 0>
                <p class="deleted">
                    <span>{move || app.t().deleted}" "{count}</span>
                    <button type="button" class="quiet" on:click=move |_| app.undelete()>{move || app.t().undelete}</button>
                    <button type="button" class="icon-button" aria-label=move || app.t().dismiss on:click=move |_| app.forget_deleted()>{icon("close")}</button>
                </p>
            </Show>
        </div>
    }
}

#[component]
fn Thumb(app: App, item: Item) -> impl IntoView {
    let id = item.id;
    let title = item.entry.record.prompt.clone();
    let label = item.clone();
    view! {
        <li>
            <button type="button" class="thumb" title=title aria-current=move || (app.shown.get() == Some(id)).to_string()
                on:click=move |_| app.show(id)
                on:keydown=move |event: KeyboardEvent| {
                    if event.key() == "Delete" {
                        delete(app, vec![id]);
                    }
                }>
                <img src=item.url alt=move || alt(app.t(), &label) loading="lazy"/>
            </button>
            <button type="button" class="remove" title=move || app.t().delete
                aria-label=move || format!("{}: {}", app.t().delete, alt(app.t(), &item_of(app, id)))
                on:click=move |_| delete(app, vec![id])>{icon("close")}</button>
        </li>
    }
}

/// Deletes pictures; the focus goes to what takes the place of the first one, or to the title.
fn delete(app: App, ids: Vec<f64>) {
    let items = app.items.get_untracked();
    let at = items.iter().rev().position(|item| ids.contains(&item.id)).unwrap_or_default();
    let target = match items.iter().filter(|item| !ids.contains(&item.id)).count() {
        0 => "#history-title".to_owned(),
        left => format!(".strip li:nth-child({}) .thumb", left.min(at + 1)),
    };
    app.delete(&ids);
    // When the strip is without them.
    request_animation_frame(move || {
        let target = document().query_selector(&target).ok().flatten();
        if let Some(target) = target.and_then(|target| target.dyn_into::<HtmlElement>().ok()) {
            let _ = target.focus();
        }
    });
}

/// The item that is still there while its button is.
fn item_of(app: App, id: f64) -> Item {
    app.item(id).unwrap_or(Item { id, entry: Default::default(), url: String::new() })
}
