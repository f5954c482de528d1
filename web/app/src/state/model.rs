//! The engine and its model: loading, losing, deleting, and what it knows.

use js_sys::Object;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::CustomEvent;

use super::{App, Task};
use crate::externs::{self, Engine, Failure, Model, Progress, Sampling};

/// How long the visitor has not typed when the words are looked up.
const PAUSE: Duration = Duration::from_millis(350);

/// How the model is.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    Loading(Option<Progress>),
    Ready(Model),
    /// Deleted; it comes again with the next drawing.
    Purged,
    Failed,
}

/// What is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    #[default]
    Auto,
    WebGpu,
    Cpu,
}

impl Backend {
    pub const ALL: [Self; 3] = [Self::Auto, Self::WebGpu, Self::Cpu];

    /// Its name for the engine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WebGpu => "webgpu",
            Self::Cpu => "cpu",
        }
    }
}

impl App {
    /// Loads the model, again after a failure.
    pub fn load(self) {
        self.load.set(Load::Loading(None));
        self.failure.set(None);
        spawn_local(async move {
            let loaded = async { self.engine().await?.load().await }.await;
            match loaded {
                Ok(model) => self.loaded(model),
                Err(error) => match Failure::from(error) {
                    // The model was deleted, or another device was chosen meanwhile.
                    failure if failure.is_cancelled() => self.load.set(Load::Purged),
                    Failure::Engine { code, .. } if code == "closed" => {}
                    failure => {
                        self.load.set(Load::Failed);
                        self.fail(failure);
                    }
                },
            }
            self.measure().await;
        });
    }

    pub(super) async fn engine(self) -> Result<Engine, JsValue> {
        let engine = self.engine.get_value().unwrap_or_else(|| {
            let engine = future_to_promise(async move {
                let created = self.create().await;
                if created.is_err() {
                    self.engine.set_value(None);
                }
                created.map(JsValue::from)
            });
            self.engine.set_value(Some(engine.clone()));
            engine
        });
        Ok(JsFuture::from(engine).await?.unchecked_into())
    }

    async fn create(self) -> Result<Engine, JsValue> {
        let options = Object::new().into();
        externs::set(&options, "backend", &self.backend.get_untracked().name().into());
        if let Some(model) = self.model.get_value() {
            externs::set(&options, "model", &model.into());
        }
        let engine: Engine = Engine::create(&options).await?.unchecked_into();
        let listen = |kind: &str, act: fn(Self, JsValue)| {
            let closure =
                Closure::<dyn FnMut(CustomEvent)>::new(move |event: CustomEvent| act(self, event.detail()));
            // The engine lives as long as the page, and so do its listeners.
            engine.add_event_listener_with_callback(kind, closure.into_js_value().unchecked_ref())
        };
        listen("progress", |app, progress| {
            app.load.set(Load::Loading(serde_wasm_bindgen::from_value(progress).ok()));
        })?;
        listen("ready", Self::loaded)?;
        listen("devicelost", |app, detail| {
            let recovering =
                js_sys::Reflect::get(&detail, &"recovering".into()).is_ok_and(|value| value.is_truthy());
            if recovering {
                // The engine loads by itself; this waits for it, and tells where it fails.
                app.load();
                app.say(app.words().recovering);
            } else {
                app.load.set(Load::Failed);
                app.fail(Failure::App { what: |t| t.lost, advice: |t| t.lost_hint });
            }
        })?;
        Ok(engine)
    }

    fn loaded(self, model: JsValue) {
        match serde_wasm_bindgen::from_value(model) {
            Ok(model) => self.load.set(Load::Ready(model)),
            Err(error) => {
                self.fail(Failure::Engine { code: "protocol".into(), details: error.to_string() });
            }
        }
    }

    /// Asks the engine again what this browser can do.
    pub async fn measure(self) {
        let asked = async { self.engine().await?.capabilities().await }.await;
        if let Ok(found) = asked {
            self.capabilities.set(serde_wasm_bindgen::from_value(found).ok());
        }
    }

    /// Computes with another device from now on: with a new engine.
    pub fn compute_with(self, backend: Backend) {
        self.cancel();
        self.backend.set(backend);
        let before = self.engine.get_value();
        self.engine.set_value(None);
        spawn_local(async move {
            if let Some(before) = before
                && let Ok(engine) = JsFuture::from(before).await
            {
                engine.unchecked_into::<Engine>().close();
            }
            self.load();
        });
    }

    /// Deletes the kept weights.
    pub fn purge(self) {
        spawn_local(async move {
            match async { self.engine().await?.purge().await }.await {
                Ok(_) => {
                    self.load.set(Load::Purged);
                    self.say(self.words().purged);
                }
                Err(error) => self.fail(error.into()),
            }
            self.measure().await;
        });
    }

    /// The model that is loaded.
    pub fn model(self) -> Option<Model> {
        match self.load.get() {
            Load::Ready(model) => Some(model),
            _ => None,
        }
    }

    /// The model's own settings of a task.
    pub fn own(self, task: Task) -> Sampling {
        match self.load.get() {
            Load::Ready(model) if task == Task::Edit => model.edit,
            Load::Ready(model) => model.generate,
            _ => Sampling::default(),
        }
    }

    /// Whether the model draws, but sees no pictures.
    pub fn is_blind(self) -> bool {
        matches!(&*self.load.read(), Load::Ready(model) if !model.sees)
    }

    /// Names the words that the model has not learned, a moment after the visitor has written them.
    pub(super) fn follow_words(self) {
        let waiting = StoredValue::new(None::<TimeoutHandle>);
        Effect::new(move |_| {
            let text = self.prompt().get();
            let ready = matches!(&*self.load.read(), Load::Ready(_));
            if let Some(waiting) = waiting.get_value() {
                waiting.clear();
            }
            if !ready || text.trim().is_empty() {
                return self.unknown.set(vec![]);
            }
            let look_up = move || spawn_local(self.look_up(text));
            waiting.set_value(set_timeout_with_handle(look_up, PAUSE).ok());
        });
    }

    async fn look_up(self, text: String) {
        let asked = async { self.engine().await?.unknown_words(&text).await }.await;
        let words = asked.ok().and_then(|words| serde_wasm_bindgen::from_value(words).ok());
        // The visitor may write on meanwhile.
        if self.prompts[self.task.get_untracked() as usize].get_untracked() == text {
            self.unknown.set(words.unwrap_or_default());
        }
    }

    /// Puts a word that the model knows in the place of another.
    pub fn replace_word(self, word: &str, known: &str) {
        let prompt = self.prompts[self.task.get_untracked() as usize];
        prompt.update(|text| *text = text.replacen(word, known, 1));
    }
}
