//! Texts to begin with, in what the model reads, with the seeds that they are known to work with.

use serde::Deserialize;

use crate::state::Task;

/// A text, and a seed where it draws.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Example {
    pub prompt: String,
    pub seed: Option<f64>,
}

/// Those of each task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Examples {
    pub generate: Vec<Example>,
    pub edit: Vec<Example>,
    pub ask: Vec<Example>,
}

impl Examples {
    pub fn of(self, task: Task) -> Vec<Example> {
        match task {
            Task::Generate => self.generate,
            Task::Edit => self.edit,
            Task::Ask => self.ask,
        }
    }
}

/// The examples of `examples.json`, which a test draws and shows to the judge.
pub fn examples() -> Examples {
    let json = js_sys::JSON::parse(include_str!("../examples.json"));
    json.ok().and_then(|examples| serde_wasm_bindgen::from_value(examples).ok()).unwrap_or_default()
}
