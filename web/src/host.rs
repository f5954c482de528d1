//! What the worker asks of JavaScript: `npm/src/host.ts`.

use crate::protocol::{Event, Failure, Message};
use js_sys::Promise;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_wasm_bindgen::Serializer;
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// The JavaScript side of the worker.
    #[derive(Clone)]
    pub type Host;

    /// Sends a message to the page.
    #[wasm_bindgen(method)]
    pub fn post(this: &Host, message: JsValue);

    /// Fetches a model's files under a call's number; `progress` sees bytes so far and bytes of all, `arrived` the name
    /// and the bytes of every file.
    #[wasm_bindgen(method)]
    pub fn download(
        this: &Host,
        id: u32,
        manifest: &str,
        progress: &js_sys::Function,
        arrived: &js_sys::Function,
    ) -> Promise;

    /// Ends the download of a call.
    #[wasm_bindgen(method)]
    pub fn cancel(this: &Host, id: u32);

    /// Drops all models from the browser's storage; no download may be under way.
    #[wasm_bindgen(method)]
    pub fn purge(this: &Host) -> Promise;

    /// The browser's storage: [`Storage`](crate::protocol::Storage).
    #[wasm_bindgen(method)]
    pub fn storage(this: &Host) -> Promise;

    /// The WebGPU adapter, or nothing; a software one with the time of a product of two square matrices.
    #[wasm_bindgen(method)]
    pub fn adapter(this: &Host, side: u32) -> Promise;

    /// Lets the messages that have arrived be handled.
    #[wasm_bindgen(method)]
    pub fn pause(this: &Host) -> Promise;

    /// Milliseconds from some moment on.
    #[wasm_bindgen(method)]
    pub fn now(this: &Host) -> f64;
}

thread_local! {
    // Panics and lost devices are told from places that a worker's state does not reach.
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// Makes `host` the one that [`post`] uses, and panics known to the page.
pub fn install(host: &Host) {
    HOST.set(Some(host.clone()));
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let hint = "Try again; if it fails again, report it with this text.";
        post(0, Event::Error(Failure::new("crashed", format!("The engine crashed: {info}"), hint)));
    }));
}

/// Sends an event about the call `id` to the page; one that has no form in JavaScript ends the call with an error.
pub fn post(id: u32, event: Event) {
    let serializer = Serializer::new().serialize_maps_as_objects(true);
    let serialise = |event| Message { id, event }.serialize(&serializer);
    let message = serialise(event).or_else(|error| {
        let text = format!("The engine's answer cannot be sent: {error}");
        serialise(Event::Error(Failure::new("protocol", text, "Report it with this text.")))
    });
    HOST.with_borrow(|host| {
        if let (Some(host), Ok(message)) = (host, message) {
            host.post(message);
        }
    });
}

/// Waits for a promise; its failure is one of the host's (`{code, text, hint}`) or of the browser.
pub async fn wait(promise: Promise) -> Result<JsValue, Failure> {
    JsFuture::from(promise).await.map_err(|error| {
        serde_wasm_bindgen::from_value(error.clone()).unwrap_or_else(|_| {
            let text = error.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
            Failure::new("io", text.unwrap_or_else(|| format!("{error:?}")), "")
        })
    })
}

/// Waits for a promise of a value of the protocol.
pub async fn read<T: DeserializeOwned>(promise: Promise) -> Result<T, Failure> {
    let value = wait(promise).await?;
    serde_wasm_bindgen::from_value(value).map_err(|e| Failure::new("protocol", e.to_string(), ""))
}
