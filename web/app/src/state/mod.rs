//! What the app knows and does. Views read its signals and call its methods.

mod files;
mod history;
mod look;
mod model;
mod paint;
mod saved;
mod work;

use js_sys::Promise;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use web_sys::{AbortController, ImageData};

use crate::externs::{Capabilities, Failure, Sampling, UnknownWord, Zoom};
use crate::lang::Lang;
use crate::picture::Place;
use crate::words::Words;
pub use history::{Entry, Item, Look};
use look::missing;
pub use model::{Backend, Load};
use paint::Painter;
pub use saved::Theme;
pub use work::{Answer, Scene, Work};

/// What can be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    #[default]
    Generate,
    Edit,
    Ask,
}

impl Task {
    pub const ALL: [Self; 3] = [Self::Generate, Self::Edit, Self::Ask];

    /// Its name in addresses.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Edit => "edit",
            Self::Ask => "ask",
        }
    }
}

/// The app's state.
#[derive(Clone, Copy)]
pub struct App {
    // What is wanted.
    pub lang: RwSignal<Lang>,
    pub theme: RwSignal<Theme>,
    pub task: RwSignal<Task>,
    /// The text of each task.
    pub prompts: [RwSignal<String>; 3],
    /// What a drawing is led away from.
    pub negative: RwSignal<String>,
    /// The words of the text that the model has not learned.
    pub unknown: RwSignal<Vec<UnknownWord>>,
    pub seed: RwSignal<f64>,
    /// Whether the seed stays after a drawing.
    pub locked: RwSignal<bool>,
    /// What is chosen instead of the model's own, of each task.
    samplings: [RwSignal<Sampling>; 3],
    pub count: RwSignal<u32>,

    // The engine.
    pub backend: RwSignal<Backend>,
    pub load: RwSignal<Load>,
    pub capabilities: RwSignal<Option<Capabilities>>,
    /// The address of the model, where the page's own asks for another.
    model: StoredValue<Option<String>>,
    /// Of an engine; all who ask for it meanwhile wait for the same one.
    engine: StoredValue<Option<Promise>, LocalStorage>,

    // What is under way.
    pub work: RwSignal<Option<Work>>,
    abort: StoredValue<Option<AbortController>, LocalStorage>,
    /// The pictures so far.
    pub previews: RwSignal<Vec<ImageData>, LocalStorage>,
    /// Milliseconds of the last step.
    pub step_time: RwSignal<Option<f64>>,
    pub failure: RwSignal<Option<Failure>>,
    /// For screen readers and the status line.
    pub said: RwSignal<String>,

    // The history.
    pub items: RwSignal<Vec<Item>>,
    pub shown: RwSignal<Option<f64>>,
    past: RwSignal<Vec<f64>>,
    future: RwSignal<Vec<f64>>,
    /// The last pictures, where there are several to choose from.
    batch: RwSignal<Vec<f64>>,
    /// What was deleted last and can come back.
    pub deleted: RwSignal<Vec<Item>>,
    pub scene: Memo<Scene>,
    pub answers: RwSignal<Vec<Answer>>,
    /// The last question with its whole answer, for screen readers.
    pub answered: RwSignal<String>,
    looking: StoredValue<Option<AbortController>, LocalStorage>,

    // The picture on the stage.
    /// Width by height.
    pub ratio: RwSignal<f64>,
    pub compare: RwSignal<bool>,
    pub brushing: RwSignal<bool>,
    pub erasing: RwSignal<bool>,
    /// Whether anything is painted.
    pub painted: RwSignal<bool>,
    pub place: RwSignal<Option<Place>>,
    pub zoomed: RwSignal<f64>,
    pub zoom: StoredValue<Option<Zoom>, LocalStorage>,
    painter: StoredValue<Option<Painter>, LocalStorage>,
}

impl App {
    pub fn new() -> Self {
        let saved = saved::read();
        let browser = Lang::of(&window().navigator().language().unwrap_or_default());
        let (work, items) = (RwSignal::new(None::<Work>), RwSignal::new(Vec::<Item>::new()));
        let (shown, batch) = (RwSignal::new(saved.shown), RwSignal::new(Vec::<f64>::new()));
        let [erasing, painted] = [RwSignal::new(false), RwSignal::new(false)];
        let prompts = saved.prompts.map(RwSignal::new);
        let app = Self {
            lang: RwSignal::new(saved.lang.unwrap_or(browser)),
            theme: RwSignal::new(saved.theme),
            task: RwSignal::new(saved.task),
            prompts,
            negative: RwSignal::new(String::new()),
            unknown: RwSignal::new(vec![]),
            seed: RwSignal::new(saved.seed.unwrap_or_else(random_seed)),
            locked: RwSignal::new(saved.locked),
            samplings: std::array::from_fn(|_| RwSignal::new(Sampling::default())),
            count: RwSignal::new(1),
            backend: RwSignal::new(saved.backend),
            load: RwSignal::new(Load::Loading(None)),
            capabilities: RwSignal::new(None),
            model: StoredValue::new(None),
            engine: StoredValue::new_local(None),
            work,
            abort: StoredValue::new_local(None),
            previews: RwSignal::new_local(vec![]),
            step_time: RwSignal::new(None),
            failure: RwSignal::new(None),
            said: RwSignal::new(String::new()),
            items,
            shown,
            past: RwSignal::new(saved.past),
            future: RwSignal::new(saved.future),
            batch,
            deleted: RwSignal::new(vec![]),
            scene: Memo::new(move |_| Scene::of(work.get(), &items.read(), &batch.read(), shown.get())),
            answers: RwSignal::new(vec![]),
            answered: RwSignal::new(String::new()),
            looking: StoredValue::new_local(None),
            ratio: RwSignal::new(1.0),
            compare: RwSignal::new(false),
            brushing: RwSignal::new(false),
            erasing,
            painted,
            place: RwSignal::new(None),
            zoomed: RwSignal::new(1.0),
            zoom: StoredValue::new_local(None),
            painter: StoredValue::new_local(Painter::new(erasing, painted)),
        };
        app.follow_address();
        app
    }

    /// Words in the visitor's language.
    pub fn t(self) -> &'static Words {
        self.lang.get().words()
    }

    /// The same where nothing follows the language.
    fn words(self) -> &'static Words {
        self.lang.get_untracked().words()
    }

    /// Begins: what was kept comes back, the model loads.
    pub fn begin(self) {
        self.keep_settings();
        self.follow_history();
        self.follow_words();
        self.load();
    }

    /// What is chosen for the task instead of the model's own.
    pub fn sampling(self) -> RwSignal<Sampling> {
        self.samplings[self.task.get() as usize]
    }

    /// The text of the task that is chosen.
    pub fn prompt(self) -> RwSignal<String> {
        self.prompts[self.task.get() as usize]
    }

    /// The visitor writes a text of the task.
    pub fn write(self, text: String) {
        self.prompts[self.task.get_untracked() as usize].set(text);
        // What was said was about another one.
        self.say("");
    }

    pub fn choose(self, task: Task) {
        self.task.set(task);
        self.say("");
    }

    pub fn say(self, text: &str) {
        self.said.set(text.into());
    }

    pub fn fail(self, failure: Failure) {
        self.say("");
        self.failure.set(Some(failure));
    }
}

/// A seed that is easily read and typed.
pub fn random_seed() -> f64 {
    (js_sys::Math::random() * 1e6).floor()
}
