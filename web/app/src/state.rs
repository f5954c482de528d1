//! What the app knows and does. Views read its signals and call its methods.

use js_sys::{Array, Date, Promise};
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{
    AbortController, AbortSignal, Blob, CustomEvent, HtmlAnchorElement, HtmlCanvasElement, HtmlInputElement,
    ImageData, Url,
};

use crate::externs::{
    self, Capabilities, Drawing, Drawn, Engine, Failure, Kept, Model, Progress, Record, Request, Sampling,
    Step,
};
use crate::lang::Lang;
use crate::picture::{self, Brush, Place};
use crate::words::Words;

/// Where settings of the page are kept between visits.
const STORAGE_KEY: &str = "unigen-app";
/// Pictures of the history beyond so many make room for newer ones.
const MOST: usize = 200;

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
}

/// Colours of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

/// A picture of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Milliseconds at which it was made, unlike any other's.
    pub id: f64,
    pub entry: Entry,
    /// Address of its file.
    pub url: String,
}

/// What is kept beside a picture's file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub record: Record,
    /// The picture that it was edited from, and where that stayed on an extended canvas.
    pub parent: Option<f64>,
    pub place: Option<Place>,
}

/// How the model is.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    Loading(Option<Progress>),
    Ready(Model),
    /// Deleted; it comes again with the next drawing.
    Purged,
    Failed,
}

/// A question about a picture, and what is answered so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub picture: f64,
    pub question: String,
    pub text: String,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    pub task: Task,
    /// Pictures.
    pub count: u32,
    /// How far it is, once the engine has said so.
    pub progress: Option<Progress>,
}

/// What the stage shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Scene {
    Empty,
    /// Pictures on their way.
    Working(u32),
    /// Pictures to choose from.
    Batch(Vec<Item>),
    Picture(Item),
}

/// What is kept between visits.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
    lang: Option<Lang>,
    theme: Theme,
    task: Task,
    shown: Option<f64>,
    past: Vec<f64>,
    future: Vec<f64>,
}

/// The app's state.
#[derive(Clone, Copy)]
pub struct App {
    pub lang: RwSignal<Lang>,
    pub theme: RwSignal<Theme>,
    pub task: RwSignal<Task>,
    /// The text of each task.
    pub prompts: [RwSignal<String>; 3],
    pub seed: RwSignal<f64>,
    /// Whether the seed stays after a drawing.
    pub locked: RwSignal<bool>,
    /// What is chosen instead of the model's own, of each task.
    samplings: [RwSignal<Sampling>; 3],
    pub count: RwSignal<u32>,

    pub load: RwSignal<Load>,
    pub capabilities: RwSignal<Option<Capabilities>>,
    pub work: RwSignal<Option<Work>>,
    /// The pictures so far.
    pub previews: RwSignal<Vec<ImageData>, LocalStorage>,
    /// Milliseconds of the last step.
    pub step_time: RwSignal<Option<f64>>,
    pub failure: RwSignal<Option<Failure>>,
    /// For screen readers and the status line.
    pub said: RwSignal<String>,

    pub items: RwSignal<Vec<Item>>,
    pub shown: RwSignal<Option<f64>>,
    past: RwSignal<Vec<f64>>,
    future: RwSignal<Vec<f64>>,
    /// The last pictures, where there are several to choose from.
    batch: RwSignal<Vec<f64>>,
    pub scene: Memo<Scene>,
    pub answers: RwSignal<Vec<Answer>>,
    /// The last question with its whole answer, for screen readers.
    pub answered: RwSignal<String>,

    pub compare: RwSignal<bool>,
    pub brushing: RwSignal<bool>,
    pub erasing: RwSignal<bool>,
    pub brush_size: RwSignal<f64>,
    /// Whether anything is painted.
    pub painted: RwSignal<bool>,
    pub place: RwSignal<Option<Place>>,
    mask: StoredValue<Option<HtmlCanvasElement>, LocalStorage>,

    /// Of an [`Engine`]; all who ask for it meanwhile wait for the same one.
    engine: StoredValue<Option<Promise>, LocalStorage>,
    abort: StoredValue<Option<AbortController>, LocalStorage>,
}

impl App {
    pub fn new() -> Self {
        let saved = saved();
        let browser = Lang::of(&window().navigator().language().unwrap_or_default());
        let (work, items) = (RwSignal::new(None::<Work>), RwSignal::new(Vec::<Item>::new()));
        let (shown, batch) = (RwSignal::new(saved.shown), RwSignal::new(Vec::<f64>::new()));
        let scene = Memo::new(move |_| {
            if let Some(work) = work.get().filter(|work| work.task != Task::Ask) {
                return Scene::Working(work.count);
            }
            let items = items.read();
            let item = |id: f64| items.iter().find(|item| item.id == id).cloned();
            let batch: Vec<Item> = batch.read().iter().filter_map(|&id| item(id)).collect();
            match (batch.len(), shown.get().and_then(item)) {
                (2.., _) => Scene::Batch(batch),
                (_, Some(item)) => Scene::Picture(item),
                _ => Scene::Empty,
            }
        });
        Self {
            lang: RwSignal::new(saved.lang.unwrap_or(browser)),
            theme: RwSignal::new(saved.theme),
            task: RwSignal::new(saved.task),
            prompts: std::array::from_fn(|_| RwSignal::new(String::new())),
            seed: RwSignal::new(random_seed()),
            locked: RwSignal::new(false),
            samplings: std::array::from_fn(|_| RwSignal::new(Sampling::default())),
            count: RwSignal::new(1),
            load: RwSignal::new(Load::Loading(None)),
            capabilities: RwSignal::new(None),
            work,
            previews: RwSignal::new_local(vec![]),
            step_time: RwSignal::new(None),
            failure: RwSignal::new(None),
            said: RwSignal::new(String::new()),
            items,
            shown,
            past: RwSignal::new(saved.past),
            future: RwSignal::new(saved.future),
            batch,
            scene,
            answers: RwSignal::new(vec![]),
            answered: RwSignal::new(String::new()),
            compare: RwSignal::new(false),
            brushing: RwSignal::new(false),
            erasing: RwSignal::new(false),
            brush_size: RwSignal::new(112.0),
            painted: RwSignal::new(false),
            place: RwSignal::new(None),
            mask: StoredValue::new_local(picture::canvas(picture::SIDE, picture::SIDE).ok()),
            engine: StoredValue::new_local(None),
            abort: StoredValue::new_local(None),
        }
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
        Effect::new(move |_| {
            save(&Saved {
                lang: Some(self.lang.get()),
                theme: self.theme.get(),
                task: self.task.get(),
                shown: self.shown.get(),
                past: self.past.get(),
                future: self.future.get(),
            });
        });
        spawn_local(async move {
            // Without a history the page works as well.
            if let Ok(kept) = externs::kept_pictures().await {
                let kept: Vec<Item> =
                    Array::from(&kept).iter().filter_map(|row| item(row.unchecked_into())).collect();
                // Before those that were opened meanwhile.
                self.items.update(|items| drop(items.splice(0..0, kept)));
            }
            self.tidy();
        });
        self.load();
    }

    // The engine.

    /// Loads the model, again after a failure.
    pub fn load(self) {
        self.load.set(Load::Loading(None));
        self.failure.set(None);
        spawn_local(async move {
            let loaded = async { self.engine().await?.load().await }.await;
            match loaded {
                Ok(model) => self.loaded(model),
                Err(error) => match Failure::from(error) {
                    // The model was deleted meanwhile.
                    failure if failure.code == "cancelled" => self.load.set(Load::Purged),
                    failure => {
                        self.load.set(Load::Failed);
                        self.fail(failure);
                    }
                },
            }
            self.measure().await;
        });
    }

    async fn engine(self) -> Result<Engine, JsValue> {
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
        let engine: Engine = Engine::create(&js_sys::Object::new()).await?.unchecked_into();
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
            let words = app.words();
            if recovering {
                // The engine loads by itself; this waits for it, and tells where it fails.
                app.load();
                app.say(words.recovering);
            } else {
                app.load.set(Load::Failed);
                app.fail(Failure::new(words.lang, "devicelost", words.lost, words.lost_hint));
            }
        })?;
        Ok(engine)
    }

    fn loaded(self, model: JsValue) {
        match serde_wasm_bindgen::from_value(model) {
            Ok(model) => self.load.set(Load::Ready(model)),
            Err(error) => self.fail(Failure::new(Lang::En, "protocol", &error.to_string(), "")),
        }
    }

    /// Asks the engine again what this browser can do.
    pub async fn measure(self) {
        let asked = async { self.engine().await?.capabilities().await }.await;
        if let Ok(found) = asked {
            self.capabilities.set(serde_wasm_bindgen::from_value(found).ok());
        }
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

    // Drawing, editing, asking.

    /// The model's own settings of a task.
    pub fn own(self, task: Task) -> Sampling {
        match self.load.get() {
            Load::Ready(model) if task == Task::Edit => model.edit,
            Load::Ready(model) => model.generate,
            _ => Sampling::default(),
        }
    }

    /// What is chosen for the task instead of the model's own.
    pub fn sampling(self) -> RwSignal<Sampling> {
        self.samplings[self.task.get() as usize]
    }

    /// Whether the model draws, but sees no pictures.
    pub fn is_blind(self) -> bool {
        matches!(&*self.load.read(), Load::Ready(model) if !model.sees)
    }

    /// The text of the task that is chosen.
    pub fn prompt(self) -> RwSignal<String> {
        self.prompts[self.task.get() as usize]
    }

    /// Does what the chosen task says.
    pub fn start(self) {
        if self.work.get_untracked().is_some() {
            return;
        }
        let (task, words) = (self.task.get_untracked(), self.words());
        if self.prompts[task as usize].get_untracked().trim().is_empty() {
            return self.fail(Failure::new(words.lang, "text", words.no_prompt, words.no_prompt_hint));
        }
        if task != Task::Generate && self.shown_item().is_none() {
            return self.fail(Failure::new(words.lang, "image", words.no_picture, words.no_picture_hint));
        }
        if matches!(&*self.load.read_untracked(), Load::Purged | Load::Failed) {
            self.load();
        }
        let Ok(abort) = AbortController::new() else { return };
        let signal = abort.signal();
        self.abort.set_value(Some(abort));
        self.failure.set(None);
        self.said.set(String::new());
        let count = if task == Task::Generate { self.count.get_untracked() } else { 1 };
        self.work.set(Some(Work { task, count, progress: None }));
        spawn_local(async move {
            let ended = match task {
                Task::Generate => self.generate(&signal).await,
                Task::Edit => self.change(&signal).await,
                Task::Ask => self.describe(&signal).await,
            };
            self.work.set(None);
            self.previews.set(vec![]);
            match ended {
                Ok(()) => {
                    if !self.locked.get_untracked() && task != Task::Ask {
                        self.seed.set(random_seed());
                    }
                }
                Err(error) => match Failure::from(error) {
                    failure if signal.aborted() || failure.code == "cancelled" => {
                        self.say(self.words().cancelled)
                    }
                    failure => self.fail(failure),
                },
            }
            self.measure().await;
        });
    }

    /// Ends what is under way.
    pub fn cancel(self) {
        self.abort.with_value(|abort| abort.iter().for_each(AbortController::abort));
    }

    /// Draws anew, or where something is painted or the canvas is extended, there alone.
    async fn generate(self, signal: &AbortSignal) -> Result<(), JsValue> {
        if self.masks()
            && let Some(shown) = self.shown_item()
        {
            return self.fill(shown, signal).await;
        }
        let request = Request {
            prompt: Some(self.prompts[Task::Generate as usize].get_untracked()),
            count: Some(self.count.get_untracked()),
            ..self.request(Task::Generate)
        };
        let (options, _listeners) = self.follow(signal);
        let drawing = self.engine().await?.generate(&externs::object(&request), &options).await?;
        let prompt = request.prompt.unwrap_or_default();
        let ids = self.keep_drawing(drawing.unchecked_into(), "generate", prompt, Entry::default()).await?;
        if let Some(&first) = ids.first() {
            self.show(first);
        }
        self.batch.set(ids);
        self.say(self.words().done_generate);
        Ok(())
    }

    async fn fill(self, shown: Item, signal: &AbortSignal) -> Result<(), JsValue> {
        let prompt = self.prompts[Task::Generate as usize].get_untracked();
        let request =
            externs::object(&Request { prompt: Some(prompt.clone()), ..self.request(Task::Generate) });
        let entry = self.give(&request, &shown).await?;
        let (options, _listeners) = self.follow(signal);
        let drawing = self.engine().await?.inpaint(&request, &options).await?;
        self.keep_change(drawing, "inpaint", prompt, entry).await
    }

    async fn change(self, signal: &AbortSignal) -> Result<(), JsValue> {
        let Some(shown) = self.shown_item() else { return Ok(()) };
        let instruction = self.prompts[Task::Edit as usize].get_untracked();
        let request = Request { instruction: Some(instruction.clone()), ..self.request(Task::Edit) };
        let request = externs::object(&request);
        let entry = self.give(&request, &shown).await?;
        let (options, _listeners) = self.follow(signal);
        let drawing = self.engine().await?.edit(&request, &options).await?;
        self.keep_change(drawing, "edit", instruction, entry).await
    }

    /// Whether the next drawing has a mask.
    fn masks(self) -> bool {
        self.place.get_untracked().is_some() || self.painted.get_untracked()
    }

    /// Gives a request the picture on the stage and its mask; where what comes of it belongs in the history.
    async fn give(self, request: &JsValue, shown: &Item) -> Result<Entry, JsValue> {
        let place = self.place.get_untracked();
        let image = picture::load(&shown.url).await?;
        let source = picture::source(&image, place)?;
        if let Some(painted) = self.mask.get_value()
            && self.masks()
        {
            externs::set(request, "mask", &picture::mask(&painted, place, source.width())?.into());
        }
        externs::set(request, "image", &source.into());
        Ok(Entry { parent: Some(shown.id), place, ..Entry::default() })
    }

    /// Keeps and shows what became of a picture.
    async fn keep_change(
        self,
        drawing: JsValue,
        task: &str,
        text: String,
        entry: Entry,
    ) -> Result<(), JsValue> {
        let ids = self.keep_drawing(drawing.unchecked_into(), task, text, entry).await?;
        self.brushing.set(false);
        self.compare.set(true);
        ids.first().into_iter().for_each(|&id| self.show(id));
        self.say(self.words().done_edit);
        Ok(())
    }

    async fn describe(self, signal: &AbortSignal) -> Result<(), JsValue> {
        let Some(shown) = self.shown_item() else { return Ok(()) };
        let question = self.prompts[Task::Ask as usize].get_untracked();
        let request = externs::object(&Request { question: Some(question.clone()), ..Request::default() });
        externs::set(&request, "image", &picture::load(&shown.url).await?.into());
        let picture = shown.id;
        let on_token = Closure::<dyn FnMut(String)>::new(move |text: String| {
            self.answer(picture, text);
        });
        let on_progress = self.on_progress();
        let listeners = [("ontoken", on_token.as_ref()), ("onprogress", on_progress.as_ref())];
        let options = externs::options(signal, listeners);
        let asked = Answer { picture, question: question.clone(), text: String::new() };
        self.answers.update(|answers| answers.push(asked));
        match self.engine().await?.describe(&request, &options).await {
            Ok(answer) => {
                let said = answer.as_string().filter(|answer| !answer.trim().is_empty());
                let answer = said.unwrap_or_else(|| self.words().no_answer.to_owned());
                self.answered.set(format!("{question} {answer}"));
                self.answer(picture, answer);
                Ok(())
            }
            Err(error) => {
                self.answers.update(|answers| {
                    if let Some(last) = answers.iter().rposition(|answer| answer.picture == picture) {
                        answers.remove(last);
                    }
                });
                Err(error)
            }
        }
    }

    /// What is answered so far to the last question about a picture, which may be off the stage or deleted by now.
    fn answer(self, picture: f64, text: String) {
        self.answers.update(|answers| {
            if let Some(answer) = answers.iter_mut().rfind(|answer| answer.picture == picture) {
                answer.text = text;
            }
        });
    }

    fn request(self, task: Task) -> Request {
        Request {
            seed: Some(self.seed.get_untracked()),
            sampling: self.samplings[task as usize].get_untracked(),
            ..Request::default()
        }
    }

    /// Options of a drawing, and the listeners in them, which are to live as long as it.
    fn follow(self, signal: &AbortSignal) -> (JsValue, [Closure<dyn FnMut(JsValue)>; 2]) {
        let listeners = [self.on_step(), self.on_progress()];
        let [on_step, on_progress] = listeners.each_ref().map(AsRef::as_ref);
        (externs::options(signal, [("onstep", on_step), ("onprogress", on_progress)]), listeners)
    }

    fn on_step(self) -> Closure<dyn FnMut(JsValue)> {
        let mut last = now();
        Closure::new(move |step: JsValue| {
            let step: Step = step.unchecked_into();
            self.step_time.set(Some(now() - last));
            last = now();
            self.previews.set(step.previews().iter().map(JsCast::unchecked_into).collect());
        })
    }

    fn on_progress(self) -> Closure<dyn FnMut(JsValue)> {
        Closure::new(move |progress: JsValue| {
            let progress = serde_wasm_bindgen::from_value(progress).ok();
            self.work.update(|work| work.iter_mut().for_each(|work| work.progress = progress));
        })
    }

    // The history.

    /// Keeps drawn pictures; their ids.
    async fn keep_drawing(
        self,
        drawing: Drawing,
        task: &str,
        prompt: String,
        entry: Entry,
    ) -> Result<Vec<f64>, JsValue> {
        let model = match self.load.get_untracked() {
            Load::Ready(model) => Some(model),
            _ => None,
        };
        let sampling = serde_wasm_bindgen::from_value(drawing.settings()).unwrap_or_default();
        let mut ids = vec![];
        for drawn in drawing.images().iter() {
            let drawn: Drawn = drawn.unchecked_into();
            let record = Record {
                task: Some(task.into()),
                prompt: Some(prompt.clone()),
                seed: Some(drawn.seed()),
                model: model.as_ref().map(|model| model.name.clone()),
                model_hash: model.as_ref().map(|model| model.hash.clone()),
                sampling,
            };
            let file = externs::write_png(&drawn.image(), &externs::object(&record)).await?.unchecked_into();
            ids.push(self.keep(file, Entry { record, ..entry.clone() }).await?);
        }
        Ok(ids)
    }

    /// Adds a file to the history; its id.
    async fn keep(self, file: Blob, entry: Entry) -> Result<f64, JsValue> {
        let newest = self.items.read_untracked().iter().map(|item| item.id).fold(0.0, f64::max);
        let id = Date::now().max(newest + 1.0);
        let url = Url::create_object_url_with_blob(&file)?;
        let kept = externs::object(&entry);
        self.items.update(|items| items.push(Item { id, entry, url }));
        self.make_room();
        if externs::keep_picture(id, &kept, &file).await.is_err() {
            let words = self.words();
            self.fail(Failure::new(words.lang, "storage", words.not_kept, words.not_kept_hint));
        }
        Ok(id)
    }

    /// Deletes the oldest pictures beyond [`MOST`].
    fn make_room(self) {
        let items = self.items.get_untracked();
        let old = &items[..items.len().saturating_sub(MOST)];
        if !old.is_empty() {
            self.delete(old.iter().map(|item| item.id).collect());
        }
    }

    /// Takes back what was kept of pictures that are no longer there.
    fn tidy(self) {
        self.make_room();
        let items = self.items.get_untracked();
        let there = |id: &f64| items.iter().any(|item| item.id == *id);
        for ids in [self.past, self.future] {
            ids.update(|ids| ids.retain(there));
        }
        if self.shown.get_untracked().is_some_and(|id| !there(&id)) {
            self.turn_to(None);
        }
    }

    /// The picture on the stage.
    pub fn shown_item(self) -> Option<Item> {
        let shown = self.shown.get_untracked()?;
        self.item(shown)
    }

    /// A picture of the history.
    pub fn item(self, id: f64) -> Option<Item> {
        self.items.read().iter().find(|item| item.id == id).cloned()
    }

    /// Puts a picture on the stage, as something that can be undone.
    pub fn show(self, id: f64) {
        let before = self.shown.get_untracked();
        if before != Some(id) {
            self.past.update(|past| past.extend(before));
            self.future.set(vec![]);
        }
        self.turn_to(Some(id));
    }

    fn turn_to(self, id: Option<f64>) {
        self.batch.set(vec![]);
        if self.shown.get_untracked() != id {
            self.clear_mask();
            self.place.set(None);
        }
        self.shown.set(id);
    }

    pub fn can_undo(self) -> bool {
        !self.past.read().is_empty()
    }

    pub fn can_redo(self) -> bool {
        !self.future.read().is_empty()
    }

    pub fn undo(self) {
        self.step_back(self.past, self.future);
    }

    pub fn redo(self) {
        self.step_back(self.future, self.past);
    }

    fn step_back(self, from: RwSignal<Vec<f64>>, onto: RwSignal<Vec<f64>>) {
        let Some(id) = from.try_update(Vec::pop).flatten() else { return };
        onto.update(|ids| ids.extend(self.shown.get_untracked()));
        self.turn_to(Some(id));
    }

    /// Deletes pictures of the history.
    pub fn delete(self, ids: Vec<f64>) {
        let gone = |id: &f64| ids.contains(id);
        for ids in [self.past, self.future] {
            ids.update(|ids| ids.retain(|id| !gone(id)));
        }
        self.items.update(|items| {
            for item in items.iter().filter(|item| gone(&item.id)) {
                let _ = Url::revoke_object_url(&item.url);
            }
            items.retain(|item| !gone(&item.id));
        });
        self.answers.update(|answers| answers.retain(|answer| !gone(&answer.picture)));
        if self.shown.get_untracked().as_ref().is_some_and(gone) {
            self.turn_to(None);
        }
        spawn_local(async move {
            for id in ids {
                // What the browser does not keep needs no deleting.
                let _ = externs::drop_picture(id).await;
            }
        });
    }

    // Files.

    /// Opens the files that an input was given.
    pub fn open_chosen(self, input: &HtmlInputElement) {
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            self.open(file.into());
        }
        // The same file may be chosen again.
        input.set_value("");
    }

    /// Opens a picture; one that this app made brings its settings back.
    pub fn open(self, file: Blob) {
        self.failure.set(None);
        spawn_local(async move {
            if self.open_file(&file).await.is_err() {
                self.fail(picture::unreadable(self.words()));
            }
        });
    }

    async fn open_file(self, file: &Blob) -> Result<(), JsValue> {
        let url = Url::create_object_url_with_blob(file)?;
        let image = picture::load(&url).await;
        Url::revoke_object_url(&url)?;
        let canvas = picture::whole(&image?)?;
        let record: Option<Record> =
            serde_wasm_bindgen::from_value(externs::read_png(file).await?).unwrap_or_default();
        let known = record.is_some();
        let record = record.unwrap_or_default();
        let file = externs::write_png(&canvas, &externs::object(&record)).await?.unchecked_into();
        let id = self.keep(file, Entry { record: record.clone(), ..Entry::default() }).await?;
        self.show(id);
        if known {
            self.restore(&record);
        } else if self.task.get_untracked() == Task::Generate {
            self.task.set(Task::Edit);
        }
        Ok(())
    }

    /// Takes over how a picture was made.
    pub fn restore(self, record: &Record) {
        let task = if record.task.as_deref() == Some("edit") { Task::Edit } else { Task::Generate };
        self.task.set(task);
        if let Some(prompt) = &record.prompt {
            self.prompts[task as usize].set(prompt.clone());
        }
        if let Some(seed) = record.seed {
            self.seed.set(seed);
            self.locked.set(true);
        }
        self.samplings[task as usize].set(record.sampling);
        let words = self.words();
        match (&*self.load.read_untracked(), &record.model_hash) {
            (Load::Ready(model), Some(hash)) if *hash != model.hash => {
                let name = record.model.as_ref().unwrap_or(hash);
                self.say(&format!("{} {} {name}", words.restored, words.other_model));
            }
            _ => self.say(words.restored),
        }
    }

    /// Downloads the picture on the stage.
    pub fn download(self) {
        let Some(item) = self.shown_item() else { return };
        let Ok(link) = document().create_element("a") else { return };
        let link: HtmlAnchorElement = link.unchecked_into();
        link.set_href(&item.url);
        let seed = item.entry.record.seed;
        link.set_download(&seed.map_or("unigen.png".to_owned(), |seed| format!("unigen-{seed}.png")));
        link.click();
    }

    /// Copies the picture on the stage.
    pub fn copy(self) {
        let Some(id) = self.shown.get_untracked() else { return };
        spawn_local(async move {
            let words = self.words();
            match externs::copy_picture(id).await {
                Ok(_) => self.say(words.copied),
                Err(_) => {
                    self.fail(Failure::new(words.lang, "clipboard", words.not_copied, words.not_copied_hint))
                }
            }
        });
    }

    // The mask.

    /// Paints a line, in pixels of the mask.
    pub fn paint(self, from: (f64, f64), to: (f64, f64)) {
        let erases = self.erasing.get_untracked();
        let brush = Brush { size: self.brush_size.get_untracked(), erases };
        self.mask.with_value(|mask| mask.iter().for_each(|mask| drop(brush.stroke(mask, from, to))));
        if !erases {
            self.painted.set(true);
        }
    }

    pub fn clear_mask(self) {
        let side = f64::from(picture::SIDE);
        self.mask.with_value(|mask| {
            let pen = mask.as_ref().and_then(|mask| picture::context(mask).ok());
            pen.iter().for_each(|pen| pen.clear_rect(0.0, 0.0, side, side));
        });
        self.painted.set(false);
    }

    /// Copies what is painted onto a canvas of the same size.
    pub fn show_mask(self, canvas: &HtmlCanvasElement) {
        let side = f64::from(picture::SIDE);
        if let (Some(mask), Ok(pen)) = (self.mask.get_value(), picture::context(canvas)) {
            pen.clear_rect(0.0, 0.0, side, side);
            let _ = pen.draw_image_with_html_canvas_element(&mask, 0.0, 0.0);
        }
    }

    // Telling.

    pub fn say(self, text: &str) {
        self.said.set(text.into());
    }

    pub fn fail(self, failure: Failure) {
        self.said.set(String::new());
        self.failure.set(Some(failure));
    }
}

fn item(row: Kept) -> Option<Item> {
    let id = js_sys::Reflect::get(&row, &"id".into()).ok()?.as_f64()?;
    let entry = serde_wasm_bindgen::from_value(row.entry()).ok()?;
    Some(Item { id, entry, url: Url::create_object_url_with_blob(&row.blob()).ok()? })
}

/// A seed that is easily read and typed.
pub fn random_seed() -> f64 {
    (js_sys::Math::random() * 1e6).floor()
}

fn now() -> f64 {
    window().performance().map_or(0.0, |clock| clock.now())
}

fn saved() -> Saved {
    let text = window()
        .local_storage()
        .ok()
        .flatten()
        .and_then(|storage| storage.get_item(STORAGE_KEY).ok().flatten());
    let value = text.and_then(|text| js_sys::JSON::parse(&text).ok());
    value.and_then(|value| serde_wasm_bindgen::from_value(value).ok()).unwrap_or_default()
}

/// Where the browser keeps nothing, nothing is kept.
fn save(saved: &Saved) {
    let text = js_sys::JSON::stringify(&externs::object(saved)).ok().and_then(|text| text.as_string());
    if let (Ok(Some(storage)), Some(text)) = (window().local_storage(), text) {
        let _ = storage.set_item(STORAGE_KEY, &text);
    }
}
