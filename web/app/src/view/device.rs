//! What computes, and what it costs.

use leptos::html;
use leptos::prelude::*;

use super::icon;
use crate::externs::{Adapter, Capabilities};
use crate::lang::Lang;
use crate::state::{App, Backend, Load};
use crate::words::Words;

#[component]
pub fn Device(app: App, dialog: NodeRef<html::Dialog>) -> impl IntoView {
    let close = move |_| dialog.get_untracked().iter().for_each(|dialog| dialog.close());
    let model = move || match app.load.get() {
        Load::Ready(model) => format!("{}, {}, {} px", model.name, bytes(model.bytes), model.image_size),
        _ => app.t().no_model.to_owned(),
    };
    let step_time =
        move || app.step_time.get().map_or(app.t().not_yet.to_owned(), |ms| format!("{ms:.0} ms"));
    view! {
        <dialog class="device" node_ref=dialog aria-labelledby="device-title">
            <div class="row">
                <h2 id="device-title">{move || app.t().device}</h2>
                <button type="button" class="icon-button" aria-label=move || app.t().close on:click=close>{icon("close")}</button>
            </div>
            <dl>
                {move || app.capabilities.get().map(|found| rows(app.t(), &found)).unwrap_or_default().into_iter()
                    .map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> }).collect_view()}
                <div><dt>{move || app.t().model}</dt><dd>{model}</dd></div>
                <div><dt>{move || app.t().step_time}</dt><dd>{step_time}</dd></div>
            </dl>
            <fieldset class="field counts">
                <legend>{move || app.t().backend_choice}</legend>
                <div class="segments">
                    {Backend::ALL.into_iter().map(|backend| view! {
                        <label>
                            <input type="radio" name="backend" prop:checked=move || app.backend.get() == backend
                                on:change=move |_| app.compute_with(backend)/>
                            <span>{move || chosen(app.t(), backend)}</span>
                        </label>
                    }).collect_view()}
                </div>
            </fieldset>
            <button type="button" class="quiet" on:click=move |_| app.purge()>{icon("delete")}{move || app.t().purge}</button>
        </dialog>
    }
}

fn chosen(words: &'static Words, backend: Backend) -> &'static str {
    match backend {
        Backend::Auto => words.backend_auto,
        Backend::WebGpu => "WebGPU",
        Backend::Cpu => words.backend_processor,
    }
}

fn rows(words: &'static Words, found: &Capabilities) -> Vec<(&'static str, String)> {
    let backend = if found.backend == "webgpu" { words.backend_webgpu } else { words.backend_cpu };
    let adapter = found.adapter.as_ref();
    let mut features = adapter.map(|adapter| adapter.features.clone()).unwrap_or_default();
    if found.simd {
        features.push("wasm simd128".into());
    }
    let storage = &found.storage;
    // The engine says more, but in English.
    let reason = if words.lang == Lang::En { found.reason.as_str() } else { why(words, found) };
    let place = if storage.kind == "memory" { words.storage_memory } else { words.storage_opfs };
    vec![
        (words.backend, backend.to_owned()),
        (words.why, reason.to_owned()),
        (words.adapter, adapter.map_or(words.adapter_none.to_owned(), |adapter| named(words, adapter))),
        (words.features, features.join(", ")),
        (words.memory, bytes(found.memory)),
        (words.storage, format!("{} / {}, {place}", bytes(storage.usage), bytes(storage.quota))),
        (words.version, found.version.clone()),
    ]
}

/// Why the GPU or the processor computes, in a few words: it follows from what was found.
pub fn why(words: &Words, found: &Capabilities) -> &'static str {
    let software = found.adapter.as_ref().map(|adapter| adapter.gpu_ms.is_some());
    match (found.backend.as_str(), software) {
        ("webgpu", Some(true)) => words.why_faster,
        ("webgpu", _) => words.why_gpu,
        (_, None) => words.why_none,
        (_, Some(true)) => words.why_slower,
        (_, Some(false)) => words.why_closed,
    }
}

fn named(words: &'static Words, adapter: &Adapter) -> String {
    let software = if adapter.software { words.software } else { "" };
    let parts = [&adapter.description, &adapter.vendor, &adapter.architecture].map(String::as_str);
    let parts: Vec<_> = parts.into_iter().chain([software]).filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

/// Bytes as one reads them.
pub fn bytes(count: f64) -> String {
    match count {
        1e9.. => format!("{:.1} GB", count / 1e9),
        1e6.. => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.0} kB", count / 1e3),
    }
}
