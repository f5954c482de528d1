//! Files and links: pictures come in, go out, and bring back how they were made.

use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, FileList, HtmlInputElement, Url};

use super::{App, Entry, Item, Load, Task, random_seed};
use crate::examples::Example;
use crate::externs::{self, Failure, Record};
use crate::picture;

impl App {
    /// Opens the files that an input was given.
    pub fn open_chosen(self, input: &HtmlInputElement) {
        if let Some(files) = input.files() {
            self.open(&files);
        }
        // The same file may be chosen again.
        input.set_value("");
    }

    /// Opens pictures; the last of them is on the stage. One that this app made brings its settings back.
    pub fn open(self, files: &FileList) {
        self.failure.set(None);
        let files: Vec<Blob> = (0..files.length()).filter_map(|i| files.get(i)).map(Into::into).collect();
        spawn_local(async move {
            for file in files {
                if self.open_file(file).await.is_err() {
                    self.fail(Failure::App { what: |t| t.unreadable, advice: |t| t.unreadable_hint });
                }
            }
        });
    }

    async fn open_file(self, file: Blob) -> Result<(), JsValue> {
        let url = Url::create_object_url_with_blob(&file)?;
        let image = picture::load(&url).await;
        Url::revoke_object_url(&url)?;
        image?;
        let record: Option<Record> =
            serde_wasm_bindgen::from_value(externs::read_png(&file).await?).unwrap_or_default();
        // As it is: all of its pixels in all of their places.
        let entry = Entry { record: record.clone().unwrap_or_default(), ..Entry::default() };
        let id = self.keep(file, entry).await?;
        self.show(id);
        match record {
            Some(record) => self.restore(&record),
            None if self.task.get_untracked() == Task::Generate => self.task.set(Task::Edit),
            None => {}
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
        self.negative.set(record.negative.clone().unwrap_or_default());
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

    /// Takes an example over.
    pub fn follow_example(self, task: Task, example: &Example) {
        self.task.set(task);
        self.prompts[task as usize].set(example.prompt.clone());
        if let Some(seed) = example.seed {
            self.seed.set(seed);
        }
        self.say("");
    }

    /// Draws what a picture shows with another seed.
    pub fn try_again(self, item: &Item) {
        self.restore(&item.entry.record);
        self.locked.set(false);
        self.seed.set(random_seed());
        self.draw_anew();
    }

    /// Draws four pictures with the seeds that follow a picture's.
    pub fn vary(self, item: &Item) {
        self.restore(&item.entry.record);
        self.seed.update(|seed| *seed += 1.0);
        self.count.set(4);
        self.draw_anew();
    }

    /// Draws a whole picture, whatever is painted on the one on the stage.
    fn draw_anew(self) {
        self.clear_mask();
        self.place.set(None);
        self.start();
    }

    /// Downloads the picture on the stage, enlarged by a factor.
    pub fn download(self, scale: f64) {
        let Some(item) = self.shown_item() else { return };
        let seed = item.entry.record.seed;
        let name = seed.map_or("unigen".to_owned(), |seed| format!("unigen-{seed}"));
        let record = externs::object(&item.entry.record);
        spawn_local(async move {
            if externs::save_picture(item.id, &name, scale, &record).await.is_err() {
                self.fail(Failure::App { what: |t| t.not_saved, advice: |t| t.not_saved_hint });
            }
        });
    }

    /// Copies the picture on the stage.
    pub fn copy(self) {
        let Some(id) = self.shown.get_untracked() else { return };
        spawn_local(async move {
            match externs::copy_picture(id).await {
                Ok(_) => self.say(self.words().copied),
                Err(_) => self.fail(Failure::App { what: |t| t.not_copied, advice: |t| t.not_copied_hint }),
            }
        });
    }

    /// Copies an address that asks for what is written and chosen.
    pub fn share(self) {
        let address = self.address();
        spawn_local(async move {
            match externs::copy_text(&address).await {
                Ok(_) => self.say(self.words().shared),
                Err(_) => self.fail(Failure::App { what: |t| t.not_shared, advice: |t| t.not_shared_hint }),
            }
        });
    }
}
