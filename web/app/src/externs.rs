//! JavaScript as Rust sees it: the package's engine, brush, words and picture files (`web/npm/src`), and what only has callbacks
//! (`browser.js`, `zoom.js`).

use js_sys::{Array, Float64Array, Object, Reflect};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob, Element, EventTarget, HtmlCanvasElement, HtmlElement, ImageData};

use crate::lang::Lang;
use crate::state::Entry;
use crate::words::Words;

#[wasm_bindgen(raw_module = "../unigen/engine.js")]
extern "C" {
    /// The page's side of the engine; `web/npm/src/engine.ts` says what its calls do.
    #[wasm_bindgen(extends = EventTarget)]
    #[derive(Clone, Debug)]
    pub type Engine;

    #[wasm_bindgen(catch, static_method_of = Engine)]
    pub async fn create(options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn load(this: &Engine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn generate(this: &Engine, request: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn edit(this: &Engine, request: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn inpaint(this: &Engine, request: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn describe(this: &Engine, request: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn capabilities(this: &Engine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method)]
    pub async fn purge(this: &Engine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, method, js_name = unknownWords)]
    pub async fn unknown_words(this: &Engine, text: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method)]
    pub fn close(this: &Engine);
}

#[wasm_bindgen(raw_module = "../unigen/element/brush.js")]
extern "C" {
    /// Paints a mask; `web/npm/src/element/brush.ts`.
    #[derive(Clone, Debug)]
    pub type Brush;

    #[wasm_bindgen(constructor)]
    pub fn new(canvas: &HtmlCanvasElement, ring: &HtmlElement, changed: &JsValue) -> Brush;
    #[wasm_bindgen(method, getter)]
    pub fn size(this: &Brush) -> f64;
    #[wasm_bindgen(method, setter)]
    pub fn set_size(this: &Brush, size: f64);
    #[wasm_bindgen(method, getter)]
    pub fn erases(this: &Brush) -> bool;
    #[wasm_bindgen(method, setter)]
    pub fn set_erases(this: &Brush, erases: bool);
    #[wasm_bindgen(method, getter)]
    pub fn painted(this: &Brush) -> bool;
    #[wasm_bindgen(method)]
    pub fn shape(this: &Brush, width: f64, height: f64);
    #[wasm_bindgen(method)]
    pub fn clear(this: &Brush);
    #[wasm_bindgen(method)]
    pub fn undo(this: &Brush);
    /// An `OffscreenCanvas`, white on black, or undefined where nothing is painted.
    #[wasm_bindgen(method)]
    pub fn mask(this: &Brush) -> JsValue;
}

#[wasm_bindgen(raw_module = "../unigen/element/words.js")]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_name = words)]
    static PACKAGE: JsValue;
}

/// What the package says, by its place in `web/npm/src/element/words.ts`, such as `failures`, `network`.
pub fn package_word(lang: Lang, path: &[&str]) -> Option<String> {
    let lang = if lang == Lang::Zh { "zh" } else { "en" };
    PACKAGE.with(|words| {
        let words = Reflect::get(words, &lang.into());
        let found = path.iter().try_fold(words.ok()?, |words, &name| Reflect::get(&words, &name.into()));
        found.ok()?.as_string()
    })
}

#[wasm_bindgen(raw_module = "./zoom.js")]
extern "C" {
    #[derive(Clone, Debug)]
    pub type Zoom;

    #[wasm_bindgen(constructor)]
    pub fn new(board: &Element, frame: &Element, changed: &JsValue) -> Zoom;
    #[wasm_bindgen(method)]
    pub fn by(this: &Zoom, factor: f64);
}

#[wasm_bindgen]
extern "C" {
    /// What `generate` and `edit` give.
    pub type Drawing;
    #[wasm_bindgen(method, getter)]
    pub fn images(this: &Drawing) -> Array;
    #[wasm_bindgen(method, getter)]
    pub fn settings(this: &Drawing) -> JsValue;

    /// One picture of it.
    pub type Drawn;
    #[wasm_bindgen(method, getter)]
    pub fn image(this: &Drawn) -> ImageData;
    #[wasm_bindgen(method, getter)]
    pub fn seed(this: &Drawn) -> f64;

    /// What a decoding step tells.
    pub type Step;
    #[wasm_bindgen(method, getter)]
    pub fn previews(this: &Step) -> Array;
}

#[wasm_bindgen(raw_module = "../unigen/png.js")]
extern "C" {
    #[wasm_bindgen(catch, js_name = writePng)]
    pub async fn write_png(picture: &JsValue, record: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = readPng)]
    pub async fn read_png(file: &Blob) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen(raw_module = "./browser.js")]
extern "C" {
    #[wasm_bindgen(catch, js_name = keptPictures)]
    pub async fn kept_pictures() -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = keepPictures)]
    async fn keep_rows(rows: &Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = dropPictures)]
    async fn drop_ids(ids: &Float64Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = forgetPicture)]
    pub fn forget_picture(id: f64);
    #[wasm_bindgen(js_name = watchPictures)]
    pub fn watch_pictures(changed: &JsValue);
    #[wasm_bindgen(catch, js_name = copyPicture)]
    pub async fn copy_picture(id: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = copyText)]
    pub async fn copy_text(text: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = savePicture)]
    pub async fn save_picture(id: f64, name: &str, scale: f64, record: &JsValue) -> Result<JsValue, JsValue>;
    pub fn asked() -> JsValue;
    #[wasm_bindgen(js_name = linkTo)]
    pub fn link_to(wishes: &JsValue) -> String;
}

#[wasm_bindgen]
extern "C" {
    /// A row of `keptPictures`.
    pub type Kept;
    #[wasm_bindgen(method, getter)]
    pub fn id(this: &Kept) -> f64;
    #[wasm_bindgen(method, getter)]
    pub fn entry(this: &Kept) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn blob(this: &Kept) -> Blob;
}

/// How pictures are drawn: chosen (where `Some`), a model's own, or used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    pub steps: Option<f64>,
    pub guidance: Option<f64>,
    pub image_guidance: Option<f64>,
    pub temperature: Option<f64>,
}

/// How a picture was made, as its file says (`png.ts`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    pub task: Option<String>,
    pub prompt: Option<String>,
    pub negative: Option<String>,
    pub seed: Option<f64>,
    pub model: Option<String>,
    pub model_hash: Option<String>,
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// A loaded model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    pub name: String,
    pub hash: String,
    pub image_size: f64,
    pub sees: bool,
    pub generate: Sampling,
    pub edit: Sampling,
    /// Those that it has learned.
    pub words: Vec<String>,
    pub bytes: f64,
}

/// A word that the model has not learned.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct UnknownWord {
    pub word: String,
    pub nearest: Option<String>,
}

/// What the page's address asks for, and what a link to share asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Wishes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// What a call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Download,
    Warmup,
    Weights,
    Encode,
    Decode,
    Paint,
    Answer,
}

impl Phase {
    /// Its name in the package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Warmup => "warmup",
            Self::Weights => "weights",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Paint => "paint",
            Self::Answer => "answer",
        }
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// Of the whole call.
    pub fraction: f64,
    /// Of a load.
    pub bytes: Option<f64>,
    pub total: Option<f64>,
    /// While decoding and answering.
    pub step: Option<u32>,
    pub steps: Option<u32>,
}

/// What this browser can do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Capabilities {
    pub backend: String,
    pub reason: String,
    pub adapter: Option<Adapter>,
    pub simd: bool,
    pub memory: f64,
    pub storage: Storage,
    pub version: String,
}

/// A WebGPU adapter.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adapter {
    pub vendor: String,
    pub architecture: String,
    pub description: String,
    pub software: bool,
    pub features: Vec<String>,
    /// Where the adapter is a software one: how long a short product took on it.
    pub gpu_ms: Option<f64>,
}

/// Where weights are kept.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Storage {
    pub kind: String,
    pub persisted: bool,
    pub usage: f64,
    pub quota: f64,
}

/// A request of the engine; absent fields are the model's choice.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    #[serde(flatten)]
    pub sampling: Sampling,
}

/// Keeps pictures: their ids and entries, and their files where they are not here yet.
pub async fn keep_pictures<'a>(
    pictures: impl IntoIterator<Item = (f64, &'a Entry, Option<Blob>)>,
) -> Result<(), JsValue> {
    let rows = pictures.into_iter().map(|(id, entry, file)| {
        let row = Object::new();
        set(&row, "id", &id.into());
        set(&row, "entry", &object(entry));
        set(&row, "blob", &file.into());
        row
    });
    keep_rows(&rows.collect()).await.map(drop)
}

/// Drops pictures by their ids.
pub async fn drop_pictures(ids: &[f64]) -> Result<(), JsValue> {
    drop_ids(&ids.into()).await.map(drop)
}

/// A plain object of `value`; null where it has no such form.
pub fn object<T: Serialize>(value: &T) -> JsValue {
    // Flattened structs are maps to serde: as objects, and without what is absent.
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
    value.serialize(&serializer).unwrap_or(JsValue::NULL)
}

/// Sets a property of a plain object, which cannot fail.
pub fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}

/// Options of a call: its signal and its listeners by name.
pub fn options<const N: usize>(signal: &AbortSignal, listeners: [(&str, &JsValue); N]) -> JsValue {
    let options = Object::new().into();
    set(&options, "signal", signal);
    for (name, listener) in listeners {
        set(&options, name, listener);
    }
    options
}

/// What failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A call of the engine.
    Engine {
        code: String,
        /// For developers, in English.
        details: String,
    },
    /// Something that the app looks after: what happened and what to do.
    App { what: fn(&Words) -> &'static str, advice: fn(&Words) -> &'static str },
}

impl From<JsValue> for Failure {
    fn from(error: JsValue) -> Self {
        let field = |name: &str| Reflect::get(&error, &name.into()).ok().and_then(|value| value.as_string());
        let text = field("message").or_else(|| error.as_string()).unwrap_or_default();
        Self::Engine {
            code: field("code").or_else(|| field("name")).unwrap_or_default(),
            details: format!("{text} {}", field("hint").unwrap_or_default()).trim().to_owned(),
        }
    }
}

impl Failure {
    /// Whether somebody wanted it so.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Engine { code, .. } if code == "cancelled" || code == "AbortError")
    }
}
