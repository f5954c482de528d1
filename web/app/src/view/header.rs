//! Name, state of the model, language, colours, device.

use leptos::html;
use leptos::prelude::*;

use super::device::{bytes, why};
use super::icon;
use crate::externs::{Capabilities, Phase, Progress, package_word};
use crate::lang::Lang;
use crate::state::{App, Load, Theme};
use crate::words::Words;

#[component]
pub fn Header(app: App, dialog: NodeRef<html::Dialog>) -> impl IntoView {
    let open = move |_| {
        if let Some(dialog) = dialog.get_untracked() {
            let _ = dialog.show_modal();
            leptos::task::spawn_local(app.measure());
        }
    };
    let theme = move |choice: String| {
        app.theme.set(match choice.as_str() {
            "light" => Theme::Light,
            "dark" => Theme::Dark,
            _ => Theme::Auto,
        });
    };
    let other = move || if app.lang.get() == Lang::En { Lang::Zh } else { Lang::En };
    view! {
        <header class="header">
            <h1 class="brand"><img src="icon.svg" alt="" width="28" height="28"/>"UniGen"</h1>
            <ModelState app/>
            <nav class="row">
                <a class="link" href="docs.html">{move || app.t().docs}</a>
                <button type="button" class="quiet" lang=move || other().tag() on:click=move |_| app.lang.set(other())>
                    {move || app.t().other_lang}
                </button>
                <label>
                    <span class="hidden">{move || app.t().theme}</span>
                    <select class="quiet" on:change:target=move |event| theme(event.target().value())>
                        <option value="auto" selected=move || app.theme.get() == Theme::Auto>{move || app.t().theme_auto}</option>
                        <option value="light" selected=move || app.theme.get() == Theme::Light>{move || app.t().theme_light}</option>
                        <option value="dark" selected=move || app.theme.get() == Theme::Dark>{move || app.t().theme_dark}</option>
                    </select>
                </label>
                <button type="button" class="quiet" aria-haspopup="dialog" aria-label=move || app.t().device on:click=open>
                    {icon("device")}<span class="wide">{move || app.t().device}</span>
                </button>
            </nav>
        </header>
    }
}

/// Whether the model is there, or how far it is.
#[component]
fn ModelState(app: App) -> impl IntoView {
    let text = move || match app.load.get() {
        Load::Loading(progress) => {
            progress.map_or(app.t().loading.to_owned(), |progress| far(app.t(), progress))
        }
        Load::Ready(model) => {
            let computer = app.capabilities.get().map(|found| computer(app.t(), &found));
            [Some(model.name), computer].into_iter().flatten().collect::<Vec<_>>().join(" · ")
        }
        Load::Purged | Load::Failed => app.t().no_model.to_owned(),
    };
    let reason = move || app.capabilities.get().map(|found| why(app.t(), &found));
    // Beside a message there is one already.
    let again = move || app.load.get() == Load::Failed && app.failure.read().is_none();
    let fraction = move || match app.load.get() {
        Load::Loading(progress) => Some(progress.map_or(0.0, |progress| progress.fraction)),
        _ => None,
    };
    view! {
        <div class="model" title=reason class:ready=move || matches!(app.load.get(), Load::Ready(_)) class:failed=move || app.load.get() == Load::Failed>
            <span class="dot"></span>
            <span>{text}</span>
            {move || fraction().map(|fraction| view! {
                <progress max="1" prop:value=fraction aria-label=move || app.t().loading></progress>
            })}
        </div>
        <Show when=again>
            <button type="button" class="quiet" on:click=move |_| app.load()>{move || app.t().again}</button>
        </Show>
    }
}

/// What a call is doing, and how far it is.
pub fn far(words: &Words, progress: Progress) -> String {
    let phase = package_word(words.lang, &["phases", progress.phase.name()]).unwrap_or_default();
    match progress {
        Progress { phase: Phase::Download, bytes: Some(part), total: Some(total), .. } => {
            format!("{phase} · {} / {}", bytes(part), bytes(total))
        }
        // The first step takes in what was read.
        Progress { phase: Phase::Decode, step: Some(step @ 1..), steps: Some(steps), .. } => {
            format!("{} {step} / {steps}", words.step)
        }
        _ => phase,
    }
}

/// What computes; where it is the processor, also why.
fn computer(words: &Words, found: &Capabilities) -> String {
    match found.backend.as_str() {
        "webgpu" => "WebGPU".to_owned(),
        _ => format!("{}{}", words.processor, why(words, found)),
    }
}
