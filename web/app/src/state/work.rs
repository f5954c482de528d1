//! Drawing, editing, asking, and the look that the model takes at its own pictures.

use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, AbortSignal, HtmlElement};

use super::{App, Entry, Item, Load, Look, Task, missing, random_seed};
use crate::externs::{self, Failure, Progress, Request, Step};
use crate::picture;

/// What the model is asked about its own pictures.
const LOOK: &str = "describe the picture.";

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

impl Scene {
    pub(super) fn of(work: Option<Work>, items: &[Item], batch: &[f64], shown: Option<f64>) -> Self {
        if let Some(work) = work.filter(|work| work.task != Task::Ask) {
            return Self::Working(work.count);
        }
        // What the model sees in a picture changes nothing on the stage.
        let bare = |item: &Item| Item { entry: Entry { look: None, ..item.entry.clone() }, ..item.clone() };
        let item = |id: f64| items.iter().find(|item| item.id == id).map(bare);
        let batch: Vec<Item> = batch.iter().filter_map(|&id| item(id)).collect();
        match (batch.len(), shown.and_then(item)) {
            (2.., _) => Self::Batch(batch),
            (_, Some(item)) => Self::Picture(item),
            _ => Self::Empty,
        }
    }
}

impl App {
    /// Does what the chosen task says.
    pub fn start(self) {
        if self.work.get_untracked().is_some() {
            return;
        }
        let task = self.task.get_untracked();
        if self.prompts[task as usize].get_untracked().trim().is_empty() {
            let prompt = document().get_element_by_id("prompt");
            if let Some(prompt) = prompt.and_then(|prompt| prompt.dyn_into::<HtmlElement>().ok()) {
                let _ = prompt.focus();
            }
            return self.fail(Failure::App { what: |t| t.no_prompt, advice: |t| t.no_prompt_hint });
        }
        if task != Task::Generate && self.shown_item().is_none() {
            return self.fail(Failure::App { what: |t| t.no_picture, advice: |t| t.no_picture_hint });
        }
        if matches!(&*self.load.read_untracked(), Load::Purged | Load::Failed) {
            self.load();
        }
        let Ok(abort) = AbortController::new() else { return };
        let signal = abort.signal();
        self.abort.set_value(Some(abort));
        self.looking.with_value(|looking| looking.iter().for_each(AbortController::abort));
        self.failure.set(None);
        self.say("");
        let count = if task == Task::Generate && !self.masks() { self.count.get_untracked() } else { 1 };
        if task != Task::Ask {
            // What is on its way is square; the stage takes the shape of what comes of it.
            self.ratio.set(1.0);
        }
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
                    failure if signal.aborted() || failure.is_cancelled() => self.say(self.words().cancelled),
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
        self.batch.set(ids.clone());
        self.say(self.words().done_generate);
        self.look_at(ids);
        Ok(())
    }

    async fn fill(self, shown: Item, signal: &AbortSignal) -> Result<(), JsValue> {
        let prompt = self.prompts[Task::Generate as usize].get_untracked();
        let request =
            externs::object(&Request { prompt: Some(prompt.clone()), ..self.request(Task::Generate) });
        let entry = self.give(&request, &shown).await?;
        let (options, _listeners) = self.follow(signal);
        let drawing = self.engine().await?.inpaint(&request, &options).await?;
        let ids = self.keep_change(drawing, "inpaint", prompt, entry).await?;
        self.look_at(ids);
        Ok(())
    }

    async fn change(self, signal: &AbortSignal) -> Result<(), JsValue> {
        let Some(shown) = self.shown_item() else { return Ok(()) };
        let instruction = self.prompts[Task::Edit as usize].get_untracked();
        let request = Request { instruction: Some(instruction.clone()), ..self.request(Task::Edit) };
        let request = externs::object(&request);
        let entry = self.give(&request, &shown).await?;
        let (options, _listeners) = self.follow(signal);
        let drawing = self.engine().await?.edit(&request, &options).await?;
        self.keep_change(drawing, "edit", instruction, entry).await.map(drop)
    }

    /// Whether the next drawing has a mask.
    pub fn masks(self) -> bool {
        self.place.get().is_some() || (self.brushing.get() && self.painted.get())
    }

    /// Gives a request the picture on the stage and its mask; where what comes of it belongs in the history.
    async fn give(self, request: &JsValue, shown: &Item) -> Result<Entry, JsValue> {
        let (place, painted) = (self.place.get_untracked(), self.mask());
        let image = picture::load(&shown.url).await?;
        match place {
            Some(place) => {
                let mask = picture::mask_around(picture::size(&image), place, painted.as_ref())?;
                externs::set(request, "mask", &mask.into());
                externs::set(request, "image", &picture::on_larger_canvas(&image, place)?.into());
            }
            None => {
                if let Some(painted) = painted {
                    externs::set(request, "mask", &painted.into());
                }
                externs::set(request, "image", &image.into());
            }
        }
        Ok(Entry { parent: Some(shown.id), place, ..Entry::default() })
    }

    /// Keeps and shows what became of a picture; the new pictures' ids.
    async fn keep_change(
        self,
        drawing: JsValue,
        task: &str,
        text: String,
        entry: Entry,
    ) -> Result<Vec<f64>, JsValue> {
        let ids = self.keep_drawing(drawing.unchecked_into(), task, text, entry).await?;
        self.brushing.set(false);
        self.compare.set(true);
        ids.first().into_iter().for_each(|&id| self.show(id));
        self.say(self.words().done_edit);
        Ok(ids)
    }

    /// Has the model look at its own pictures, one after another, until something else is asked of it.
    fn look_at(self, ids: Vec<f64>) {
        let sees = matches!(&*self.load.read_untracked(), Load::Ready(model) if model.sees);
        let Some(abort) = AbortController::new().ok().filter(|_| sees) else { return };
        let signal = abort.signal();
        self.looking.set_value(Some(abort));
        spawn_local(async move {
            for id in ids {
                // The drawing is there all the same.
                let Ok(look) = self.look(id, &signal).await else { return };
                if let Some(look) = look {
                    self.keep_look(id, look).await;
                }
            }
        });
    }

    async fn look(self, id: f64, signal: &AbortSignal) -> Result<Option<Look>, JsValue> {
        let item = self.items.read_untracked().iter().find(|item| item.id == id).cloned();
        let Some(item) = item else { return Ok(None) };
        let request = externs::object(&Request { question: Some(LOOK.into()), ..Request::default() });
        externs::set(&request, "image", &picture::load(&item.url).await?.into());
        let answer = self.engine().await?.describe(&request, &externs::options(signal, [])).await?;
        let seen = answer.as_string().unwrap_or_default();
        let prompt = item.entry.record.prompt.unwrap_or_default();
        Ok((!seen.trim().is_empty()).then(|| Look { missing: missing(&prompt, &seen), seen }))
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
            negative: self.led_away_from().filter(|_| task == Task::Generate),
            sampling: self.samplings[task as usize].get_untracked(),
            ..Request::default()
        }
    }

    /// What a drawing is led away from, where that is written.
    pub(super) fn led_away_from(self) -> Option<String> {
        Some(self.negative.get_untracked()).filter(|text| !text.trim().is_empty())
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
            // Most steps show none.
            let previews = step.previews();
            if previews.length() > 0 {
                self.previews.set(previews.iter().map(JsCast::unchecked_into).collect());
            }
        })
    }

    fn on_progress(self) -> Closure<dyn FnMut(JsValue)> {
        Closure::new(move |progress: JsValue| {
            let progress = serde_wasm_bindgen::from_value(progress).ok();
            self.work.update(|work| work.iter_mut().for_each(|work| work.progress = progress));
        })
    }
}

fn now() -> f64 {
    window().performance().map_or(0.0, |clock| clock.now())
}
