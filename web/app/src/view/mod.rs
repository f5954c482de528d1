//! The page: header, controls, stage, history, notices.

mod caption;
mod controls;
mod device;
mod gallery;
mod header;
mod history;
mod icon;
mod mask;
mod stage;
mod tools;
mod words;

use leptos::ev::{self, KeyboardEvent};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{ClipboardEvent, DragEvent, HtmlElement};

use crate::externs::Failure;
use crate::state::{App, Load, Theme};
use controls::Controls;
use device::Device;
use header::Header;
use history::History;
use icon::icon;
use stage::Stage;

#[component]
pub fn Page(app: App) -> impl IntoView {
    let dialog = NodeRef::new();
    let dragging = RwSignal::new(false);
    Effect::new(move |_| {
        let Some(root) = document().document_element() else { return };
        let _ = root.set_attribute("lang", app.lang.get().tag());
        let theme = match app.theme.get() {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        let _ = root.set_attribute("data-theme", theme);
        document().set_title(app.t().title);
    });
    keys(app, dialog);
    files(app, dragging);
    view! {
        <a class="skip" href="#prompt">{move || app.t().skip}</a>
        <Header app dialog/>
        <main class="layout">
            <Controls app/>
            <div class="work">
                <Stage app/>
                <History app/>
            </div>
        </main>
        <footer class="footer">{move || app.t().tagline}</footer>
        <p class="hidden" role="status">{move || app.said.get()}</p>
        <p class="hidden" role="status" lang="en">{move || app.answered.get()}</p>
        <Notice app/>
        <Device app dialog/>
        <Show when=move || dragging.get()>
            <div class="dropping"><p>{move || app.t().drop_here}</p></div>
        </Show>
    }
}

/// What went wrong and what to do.
#[component]
fn Notice(app: App) -> impl IntoView {
    let failed = move || app.load.get() == Load::Failed;
    view! {
        <div role="alert" class="notices">
            {move || app.failure.get().map(|failure| {
                let words = app.t();
                let (what, details) = match failure {
                    Failure::App { what, advice } => (format!("{} {}", what(words), advice(words)), None),
                    Failure::Engine { code, details } => (words.failure(&code), Some(details)),
                };
                view! {
                    <div class="notice">
                        <div>
                            <strong>{what}</strong>
                            {details.map(|details| view! { <p lang="en">{details}</p> })}
                        </div>
                        <div class="row">
                            <Show when=failed>
                                <button type="button" class="quiet" on:click=move |_| app.load()>{move || app.t().again}</button>
                            </Show>
                            <button type="button" class="icon-button" aria-label=move || app.t().dismiss
                                on:click=move |_| app.failure.set(None)>{icon("close")}</button>
                        </div>
                    </div>
                }
            })}
        </div>
    }
}

/// Keys that work everywhere.
fn keys(app: App, dialog: NodeRef<html::Dialog>) {
    window_event_listener(ev::keydown, move |event: KeyboardEvent| {
        // The brush has taken its own.
        if event.default_prevented() {
            return;
        }
        let control = event.ctrl_key() || event.meta_key();
        match event.key().as_str() {
            // Of an open dialog it is the key that closes it.
            "Escape" if dialog.get_untracked().is_some_and(|dialog| dialog.open()) => {}
            "Escape" => app.cancel(),
            "z" | "Z" if control && !writes(&event) => {
                event.prevent_default();
                if event.shift_key() { app.redo() } else { app.undo() }
            }
            "y" if control && !writes(&event) => {
                event.prevent_default();
                app.redo();
            }
            _ => {}
        }
    });
}

/// Whether a key goes into a text, which has its own undo.
fn writes(event: &KeyboardEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok());
    target.is_some_and(|target| match target.tag_name().as_str() {
        "TEXTAREA" => true,
        "INPUT" => target.get_attribute("type").is_none_or(|kind| kind == "text" || kind == "number"),
        _ => false,
    })
}

/// Pictures that are dropped on the page or pasted into it.
fn files(app: App, dragging: RwSignal<bool>) {
    let brings_files = |event: &DragEvent| {
        event.data_transfer().is_some_and(|data| data.types().includes(&"Files".into(), 0))
    };
    window_event_listener(ev::dragover, move |event: DragEvent| {
        if brings_files(&event) {
            event.prevent_default();
            dragging.set(true);
        }
    });
    window_event_listener(ev::dragleave, move |event: DragEvent| {
        if event.related_target().is_none() {
            dragging.set(false);
        }
    });
    window_event_listener(ev::drop, move |event: DragEvent| {
        dragging.set(false);
        if let Some(files) =
            event.data_transfer().and_then(|data| data.files()).filter(|files| files.length() > 0)
        {
            event.prevent_default();
            app.open(&files);
        }
    });
    window_event_listener(ev::paste, move |event: ClipboardEvent| {
        if let Some(files) =
            event.clipboard_data().and_then(|data| data.files()).filter(|files| files.length() > 0)
        {
            event.prevent_default();
            app.open(&files);
        }
    });
}
