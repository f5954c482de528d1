//! Under the picture: how it was made, and what the model sees in it.

use leptos::prelude::*;

use super::words::quoted;
use crate::state::{App, Item, Look, Scene};

#[component]
pub fn Caption(app: App) -> impl IntoView {
    // With what is seen in it, which may come later.
    let item = move || match app.scene.get() {
        Scene::Picture(item) => app.item(item.id).filter(|item| item.entry.record.prompt.is_some()),
        _ => None,
    };
    view! {
        <div class="caption">
            {move || item().map(|item| view! { <Made app item=item.clone()/> {item.entry.look.clone().map(|look| view! { <Seen app item look/> })} })}
        </div>
    }
}

#[component]
fn Made(app: App, item: Item) -> impl IntoView {
    let record = item.entry.record.clone();
    let again = item.clone();
    let drawn = record.task.as_deref() == Some("generate");
    view! {
        <p class="made">
            <span lang="en">{record.prompt.clone()}</span>
            {record.seed.map(|seed| view! { <span class="note">{app.t().seed}" "{seed.to_string()}</span> })}
        </p>
        <div class="row actions">
            <button type="button" class="quiet" on:click=move |_| app.restore(&record)>{app.t().use_again}</button>
            {drawn.then(|| view! {
                <button type="button" class="quiet" disabled=move || app.work.get().is_some() on:click=move |_| app.vary(&again)>{app.t().vary}</button>
            })}
        </div>
    }
}

/// Whether the picture shows what was asked for, as far as the model sees.
#[component]
fn Seen(app: App, item: Item, look: Look) -> impl IntoView {
    let lacks = !look.missing.is_empty();
    let drawn = item.entry.record.task.as_deref() == Some("generate");
    view! {
        <div class="seen" class:lacks=lacks role="status">
            <p><span>{app.t().seen}</span>" "<q lang="en">{look.seen}</q></p>
            {lacks.then(|| view! {
                <p><strong>{app.t().missing}</strong>" "<span lang="en">{quoted(&look.missing)}</span></p>
            })}
            {(lacks && drawn).then(|| view! {
                <button type="button" class="quiet" disabled=move || app.work.get().is_some() on:click=move |_| app.try_again(&item)>{app.t().try_again}</button>
            })}
        </div>
    }
}
