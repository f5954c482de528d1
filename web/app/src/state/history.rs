//! The pictures of this machine, which all tabs share; which of them is on the stage, and which were before.

use js_sys::{Array, Date, Float64Array};
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, Url};

use super::{App, Load};
use crate::externs::{self, Drawing, Drawn, Failure, Kept, Record};
use crate::picture::Place;

/// Pictures of the history beyond so many make room for newer ones.
const MOST: usize = 200;

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
    /// What the model sees in it.
    pub look: Option<Look>,
}

/// What the model sees in a picture of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// In its own words.
    pub seen: String,
    /// The words of the prompt that are not among them.
    pub missing: Vec<String>,
}

impl App {
    /// Brings back what was kept, and follows what other tabs do.
    pub(super) fn follow_history(self) {
        let read = move || {
            spawn_local(async move {
                // Without a history the page works as well.
                if let Ok(kept) = externs::kept_pictures().await {
                    self.merge(&Array::from(&kept));
                }
                self.tidy();
            });
        };
        read();
        let changed = Closure::<dyn Fn(JsValue)>::new(move |dropped: JsValue| {
            match dropped.dyn_into::<Float64Array>() {
                Ok(ids) => {
                    forget(&self.take_out(&ids.to_vec()));
                    self.tidy();
                }
                Err(_) => read(),
            }
        });
        externs::watch_pictures(&changed.into_js_value());
    }

    /// Takes over pictures that are kept and not here yet, and what is known about the others.
    fn merge(self, kept: &Array) {
        let rows: Vec<Kept> = kept.iter().map(JsCast::unchecked_into).collect();
        self.items.update(|items| {
            for row in &rows {
                match items.iter_mut().find(|item| item.id == row.id()) {
                    Some(item) => item.entry = entry(row).unwrap_or_else(|| item.entry.clone()),
                    None => items.extend(item(row)),
                }
            }
            items.sort_by(|a, b| a.id.total_cmp(&b.id));
        });
    }

    /// Keeps drawn pictures; their ids.
    pub(super) async fn keep_drawing(
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
                negative: self.led_away_from().filter(|_| task != "edit"),
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
    pub(super) async fn keep(self, file: Blob, entry: Entry) -> Result<f64, JsValue> {
        let newest = self.items.read_untracked().iter().map(|item| item.id).fold(0.0, f64::max);
        let id = Date::now().max(newest + 1.0);
        let url = Url::create_object_url_with_blob(&file)?;
        self.items.update(|items| items.push(Item { id, entry: entry.clone(), url }));
        self.make_room();
        if externs::keep_pictures([(id, &entry, Some(file))]).await.is_err() {
            self.fail(Failure::App { what: |t| t.not_kept, advice: |t| t.not_kept_hint });
        }
        Ok(id)
    }

    /// Keeps what the model sees in a picture that may be gone by now.
    pub(super) async fn keep_look(self, id: f64, look: Look) {
        let entry = self.items.try_update(|items| {
            let item = items.iter_mut().find(|item| item.id == id)?;
            item.entry.look = Some(look);
            Some(item.entry.clone())
        });
        if let Some(entry) = entry.flatten() {
            // Where nothing is kept it is seen all the same.
            let _ = externs::keep_pictures([(id, &entry, None)]).await;
        }
    }

    /// Deletes the oldest pictures beyond [`MOST`].
    fn make_room(self) {
        let items = self.items.get_untracked();
        let old = &items[..items.len().saturating_sub(MOST)];
        if !old.is_empty() {
            let gone = self.remove(&old.iter().map(|item| item.id).collect::<Vec<_>>());
            forget(&gone);
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
        self.items.read_untracked().iter().find(|item| item.id == shown).cloned()
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
            self.say("");
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
        (self.brushing.get() && self.painted.get()) || !self.past.read().is_empty()
    }

    pub fn can_redo(self) -> bool {
        !self.future.read().is_empty()
    }

    /// Takes back the last stroke of the brush, or else the last picture.
    pub fn undo(self) {
        if !self.undo_stroke() {
            self.step_back(self.past, self.future);
        }
    }

    pub fn redo(self) {
        self.step_back(self.future, self.past);
    }

    fn step_back(self, from: RwSignal<Vec<f64>>, onto: RwSignal<Vec<f64>>) {
        let Some(id) = from.try_update(Vec::pop).flatten() else { return };
        onto.update(|ids| ids.extend(self.shown.get_untracked()));
        self.turn_to(Some(id));
    }

    /// Deletes pictures of the history. Until others are deleted they can come back.
    pub fn delete(self, ids: &[f64]) {
        let gone = self.remove(ids);
        forget(&self.deleted.get_untracked());
        self.deleted.set(gone);
    }

    /// Takes pictures out of the history, here and where they are kept.
    fn remove(self, ids: &[f64]) -> Vec<Item> {
        let out = self.take_out(ids);
        let ids = ids.to_vec();
        spawn_local(async move {
            // What the browser does not keep needs no deleting.
            let _ = externs::drop_pictures(&ids).await;
        });
        out
    }

    /// Takes pictures off this page.
    fn take_out(self, ids: &[f64]) -> Vec<Item> {
        let gone = |id: &f64| ids.contains(id);
        for ids in [self.past, self.future] {
            ids.update(|ids| ids.retain(|id| !gone(id)));
        }
        let (out, left) = self.items.get_untracked().into_iter().partition(|item| gone(&item.id));
        self.items.set(left);
        self.answers.update(|answers| answers.retain(|answer| !gone(&answer.picture)));
        if self.shown.get_untracked().as_ref().is_some_and(gone) {
            self.turn_to(None);
        }
        out
    }

    /// Brings back what was deleted last.
    pub fn undelete(self) {
        let back = self.deleted.try_update(std::mem::take).unwrap_or_default();
        self.items.update(|items| {
            items.extend(back.iter().cloned());
            items.sort_by(|a, b| a.id.total_cmp(&b.id));
        });
        if self.shown.get_untracked().is_none()
            && let Some(last) = back.last()
        {
            self.show(last.id);
        }
        spawn_local(async move {
            let _ = externs::keep_pictures(back.iter().map(|item| (item.id, &item.entry, None))).await;
        });
    }

    /// Nothing that was deleted comes back any more.
    pub fn forget_deleted(self) {
        forget(&self.deleted.get_untracked());
        self.deleted.set(vec![]);
    }
}

fn forget(items: &[Item]) {
    for item in items {
        let _ = Url::revoke_object_url(&item.url);
        externs::forget_picture(item.id);
    }
}

fn item(row: &Kept) -> Option<Item> {
    Some(Item { id: row.id(), entry: entry(row)?, url: Url::create_object_url_with_blob(&row.blob()).ok()? })
}

fn entry(row: &Kept) -> Option<Entry> {
    serde_wasm_bindgen::from_value(row.entry()).ok()
}
