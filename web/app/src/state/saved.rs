//! What is kept between visits beside the history, and what the page's address asks for.

use leptos::prelude::*;
use serde::{Deserialize, Serialize};

use super::{App, Backend, Task};
use crate::externs::{self, Wishes};
use crate::lang::Lang;

/// Where the browser keeps it.
const KEY: &str = "unigen-app";

/// Colours of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

/// What is kept.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    pub lang: Option<Lang>,
    pub theme: Theme,
    pub backend: Backend,
    pub task: Task,
    pub prompts: [String; 3],
    pub seed: Option<f64>,
    pub locked: bool,
    pub shown: Option<f64>,
    pub past: Vec<f64>,
    pub future: Vec<f64>,
}

pub fn read() -> Saved {
    let storage = window().local_storage().ok().flatten();
    let text = storage.and_then(|storage| storage.get_item(KEY).ok().flatten());
    let value = text.and_then(|text| js_sys::JSON::parse(&text).ok());
    value.and_then(|value| serde_wasm_bindgen::from_value(value).ok()).unwrap_or_default()
}

/// Where the browser keeps nothing, nothing is kept.
fn write(saved: &Saved) {
    let text = js_sys::JSON::stringify(&externs::object(saved)).ok().and_then(|text| text.as_string());
    if let (Ok(Some(storage)), Some(text)) = (window().local_storage(), text) {
        let _ = storage.set_item(KEY, &text);
    }
}

impl App {
    /// Keeps settings and texts whenever they change.
    pub(super) fn keep_settings(self) {
        Effect::new(move |_| {
            write(&Saved {
                lang: Some(self.lang.get()),
                theme: self.theme.get(),
                backend: self.backend.get(),
                task: self.task.get(),
                prompts: self.prompts.map(|prompt| prompt.get()),
                seed: Some(self.seed.get()),
                locked: self.locked.get(),
                shown: self.shown.get(),
                past: self.past.get(),
                future: self.future.get(),
            });
        });
    }

    /// Takes over what the page's address asks for.
    pub(super) fn follow_address(self) {
        let wishes: Wishes = serde_wasm_bindgen::from_value(externs::asked()).unwrap_or_default();
        let mode = wishes.mode.as_deref();
        if let Some(task) = Task::ALL.into_iter().find(|task| Some(task.mode()) == mode) {
            self.task.set(task);
        } else if wishes.prompt.is_some() {
            self.task.set(Task::Generate);
        }
        if let Some(prompt) = wishes.prompt {
            self.prompts[self.task.get_untracked() as usize].set(prompt);
        }
        if let Some(seed) = wishes.seed {
            self.seed.set(seed);
            self.locked.set(true);
        }
        self.model.set_value(wishes.model);
    }

    /// An address that asks for what is written and chosen.
    pub(super) fn address(self) -> String {
        let task = self.task.get_untracked();
        let prompt = self.prompts[task as usize].get_untracked();
        externs::link_to(&externs::object(&Wishes {
            prompt: Some(prompt),
            seed: Some(self.seed.get_untracked()),
            model: self.model.get_value(),
            mode: Some(task.mode().to_owned()),
        }))
    }
}
