//! The demo app of UniGen in Rust: draws, edits and answers in the browser, through the same page's side of the engine
//! (`web/npm/src/engine.ts`) that anyone can embed.

#[cfg(target_family = "wasm")]
mod examples;
#[cfg(target_family = "wasm")]
mod externs;
#[cfg(target_family = "wasm")]
mod lang;
// It needs no browser, and neither do its tests.
#[cfg(all(test, not(target_family = "wasm")))]
#[path = "state/look.rs"]
mod look;
#[cfg(target_family = "wasm")]
mod picture;
#[cfg(target_family = "wasm")]
mod state;
#[cfg(target_family = "wasm")]
mod view;
#[cfg(target_family = "wasm")]
mod words;

#[cfg(target_family = "wasm")]
fn main() {
    use leptos::prelude::*;

    console_error_panic_hook::set_once();
    let app = state::App::new();
    // What the page shows before the app is there.
    if let Some(start) = document().get_element_by_id("start") {
        start.remove();
    }
    mount_to_body(move || {
        app.begin();
        view! { <view::Page app/> }
    });
}

#[cfg(not(target_family = "wasm"))]
fn main() {
    eprintln!("this app runs in a browser: `cargo xtask demo` builds and opens it");
}
