//! The worker: answers a page's calls with one loaded model.

use crate::device::{self, Choice};
use crate::host::{self, Host, post};
use crate::picture;
use crate::previews::{Cost, Previews};
use crate::protocol::{
    Adapter, Backend, Call, Capabilities, Describe, Drawn, Edit, Event, Failure, Generate, Inpaint, Load,
    Model, Outcome, Phase, Progress, Request, Sampling, Settings, Step, UnknownWord,
};
use burn::tensor::Device;
use futures_channel::oneshot;
use futures_util::future::try_join;
use image::RgbImage;
use js_sys::{Object, Reflect, Uint8Array};
use serde_bytes::ByteBuf;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use unigen_core::config::{Config, GenerationConfig, ModelConfig};
use unigen_core::engine::{
    AnswerSettings, Drawing, EditRequest, Engine, GenerateRequest, InpaintRequest, ModelFolder, ModelParts,
    warm_up,
};
use unigen_core::image_tokenizer::lfq::Codes;
use unigen_core::sampling::{Flow, StepReport};
use wasm_bindgen::prelude::*;

/// Most pictures of one call.
const MAX_COUNT: u32 = 16;
/// Parts of a load that have been done when its phases after the download begin.
const WARMUP_AT: f64 = 0.8;
const WEIGHTS_AT: f64 = 0.95;
/// Parts of other calls that have been done when what was given is read (a text, also a picture's codes, also what the
/// understanding encoder sees in it) and when the codes of a drawing are drawn: about its time with `models/nano`.
const TEXT_READ_AT: f64 = 0.01;
const CODES_READ_AT: f64 = 0.02;
const PICTURE_READ_AT: f64 = 0.04;
const PAINT_AT: f64 = 0.97;
/// Nobody knows how long an answer gets: of its part so many tokens do half of what is left.
const HALF_AN_ANSWER: f64 = 8.0;

/// A worker's state.
#[wasm_bindgen]
pub struct Worker {
    state: Rc<State>,
}

struct State {
    host: Host,
    calls: RefCell<HashMap<u32, Rc<Underway>>>,
    loaded: RefCell<Option<Rc<Loaded>>>,
    /// Loads, unloading and purging, one after another.
    loads: Turns,
    /// The GPU, once opened, for as long as the worker lives.
    gpu: RefCell<Option<Device>>,
    /// The device in use.
    choice: RefCell<Option<Choice>>,
    /// The adapter, or that there is none, once looked for; that and timing it happen once.
    adapter: RefCell<Option<Option<Adapter>>>,
    looking: Turns,
}

/// Work that is done in the order in which it was asked for.
#[derive(Default)]
struct Turns {
    last: RefCell<Option<oneshot::Receiver<()>>>,
}

impl Turns {
    /// Waits until all turns before have ended; this one ends when what comes back is dropped.
    async fn turn(&self) -> oneshot::Sender<()> {
        let (turn, ended) = oneshot::channel();
        let before = self.last.replace(Some(ended));
        if let Some(before) = before {
            // Nothing is sent: the sender goes.
            let _ = before.await;
        }
        turn
    }
}

/// A call that has not ended.
#[derive(Default)]
struct Underway {
    /// Whether the page wants it to end.
    cancelled: Cell<bool>,
    /// Dropped when the page has seen what it was shown last.
    seen: Cell<Option<oneshot::Sender<()>>>,
}

impl Underway {
    /// Waits until the page has seen what was just posted, so that a step never runs ahead of a page that would cancel it.
    async fn seen(&self) -> Flow {
        let (send, seen) = oneshot::channel();
        self.seen.set(Some(send));
        let _ = seen.await;
        if self.cancelled.get() { Flow::Cancel } else { Flow::Continue }
    }

    /// An error once the page wants the load to end.
    fn wanted(&self) -> Result<(), Failure> {
        let cancelled = || Failure::new("cancelled", "The load was cancelled; what has come is kept.", "");
        if self.cancelled.get() { Err(cancelled()) } else { Ok(()) }
    }
}

/// A call whose progress the page sees.
struct Course {
    id: u32,
    /// The part of it that has been done when what was given is read.
    read_at: f64,
}

impl Course {
    /// The call begins to read what it was given.
    fn begin(id: u32, read_at: f64) -> Self {
        let course = Self { id, read_at };
        course.tell(Progress::new(Phase::Encode, 0.0));
        course
    }

    fn tell(&self, progress: Progress) {
        post(self.id, Event::Progress(progress));
    }

    /// The understanding encoder has seen the picture.
    fn seen(&self) {
        self.tell(Progress::new(Phase::Encode, self.read_at / 2.0));
    }

    /// So many decoding steps are done.
    fn decoded(&self, step: usize, steps: usize) {
        let fraction = self.read_at + (PAINT_AT - self.read_at) * step as f64 / steps as f64;
        self.tell(counted(Phase::Decode, fraction, step, steps));
    }

    /// So many tokens of at most so many are written.
    fn answered(&self, tokens: usize, most: usize) {
        let left = (1.0 - self.read_at) * 0.5_f64.powf(tokens as f64 / HALF_AN_ANSWER);
        self.tell(counted(Phase::Answer, 1.0 - left, tokens, most));
    }
}

fn counted(phase: Phase, fraction: f64, step: usize, steps: usize) -> Progress {
    Progress { step: Some(step as u32), steps: Some(steps as u32), ..Progress::new(phase, fraction) }
}

struct Loaded {
    engine: Engine,
    model: Model,
    /// Of the previews of its drawings.
    cost: Cell<Cost>,
}

impl Loaded {
    /// The words of a text that the model has not learned.
    fn unknown(&self, text: &str) -> Vec<UnknownWord> {
        let nearest = |word: &str| self.engine.generation().vocabulary.nearest(word).map(str::to_owned);
        let words = self.engine.unknown_words(text).into_iter();
        words.map(|word| UnknownWord { word: word.to_owned(), nearest: nearest(word) }).collect()
    }
}

#[wasm_bindgen]
impl Worker {
    /// A worker without a model.
    #[wasm_bindgen(constructor)]
    pub fn new(host: Host) -> Self {
        host::install(&host);
        post(0, Event::Started);
        Self { state: Rc::new(State::new(host)) }
    }

    /// Takes a message of the page, a [`Call`].
    pub fn receive(&self, message: JsValue) {
        let id = Reflect::get(&message, &"id".into()).ok().and_then(|id| id.as_f64());
        match serde_wasm_bindgen::from_value::<Call>(message) {
            Ok(call) => wasm_bindgen_futures::spawn_local(self.state.clone().answer(call)),
            Err(e) => {
                let failure = Failure::new("protocol", format!("The call cannot be read: {e}"), "");
                post(id.unwrap_or_default() as u32, Event::Error(failure));
            }
        }
    }
}

impl State {
    fn new(host: Host) -> Self {
        Self {
            host,
            calls: RefCell::default(),
            loaded: RefCell::default(),
            loads: Turns::default(),
            gpu: RefCell::default(),
            choice: RefCell::default(),
            adapter: RefCell::default(),
            looking: Turns::default(),
        }
    }

    async fn answer(self: Rc<Self>, Call { id, request }: Call) {
        let underway = Rc::new(Underway::default());
        self.calls.borrow_mut().insert(id, underway.clone());
        let result = match request {
            Request::Load(load) => {
                self.load(id, &load, &underway).await.map(|model| Some(Outcome::Model(model)))
            }
            Request::Generate(generate) => self.generate(id, generate, &underway).await.map(Some),
            Request::Edit(edit) => self.edit(id, edit, &underway).await.map(Some),
            Request::Inpaint(inpaint) => self.inpaint(id, inpaint, &underway).await.map(Some),
            Request::Describe(describe) => self.describe(id, describe, &underway).await.map(Some),
            Request::Unknown { text } => {
                self.loaded().map(|loaded| Some(Outcome::Words { unknown: loaded.unknown(&text) }))
            }
            Request::Capabilities => self.capabilities().await.map(Some),
            Request::Purge => {
                let _turn = self.loads.turn().await;
                self.loaded.take();
                host::wait(self.host.purge()).await.map(|_| None)
            }
            Request::Unload => {
                let _turn = self.loads.turn().await;
                self.loaded.take();
                Ok(None)
            }
            Request::Seen { target } => {
                if let Some(call) = self.calls.borrow().get(&target) {
                    drop(call.seen.take());
                }
                Ok(None)
            }
            Request::Cancel { target } => {
                if let Some(call) = self.calls.borrow().get(&target) {
                    call.cancelled.set(true);
                    drop(call.seen.take());
                }
                self.host.cancel(target);
                Ok(None)
            }
        };
        self.calls.borrow_mut().remove(&id);
        post(id, result.map_or_else(Event::Error, |result| Event::Done { result }));
    }

    fn loaded(&self) -> Result<Rc<Loaded>, Failure> {
        let missing = || Failure::new("notloaded", "No model is loaded.", "Load one first.");
        self.loaded.borrow().clone().ok_or_else(missing)
    }

    async fn load(&self, id: u32, load: &Load, underway: &Underway) -> Result<Model, Failure> {
        let _turn = self.loads.turn().await;
        underway.wanted()?;
        self.loaded.take();
        let progress = move |phase, fraction, bytes, total| {
            let load = Progress { bytes: Some(bytes), total: Some(total), ..Progress::new(phase, fraction) };
            post(id, Event::Progress(load));
        };
        let downloaded = Closure::<dyn Fn(f64, f64)>::new(move |bytes: f64, total: f64| {
            progress(Phase::Download, WARMUP_AT * bytes / total.max(1.0), bytes, total);
        });
        // The sizes come first.
        let (send, sizes) = oneshot::channel::<Uint8Array>();
        let send = Rc::new(Cell::new(Some(send)));
        let sender = send.clone();
        let arrived = Closure::<dyn Fn(String, Uint8Array)>::new(move |name: String, bytes| {
            if name == ModelFolder::CONFIG
                && let Some(sender) = sender.take()
            {
                let _ = sender.send(bytes);
            }
        });
        let [downloaded, arrived] = [downloaded.as_ref(), arrived.as_ref()].map(|f| f.unchecked_ref());
        let download = self.host.download(id, &load.manifest, downloaded, arrived);
        let fetched = async {
            let package = Package::new(&host::wait(download.clone()).await?)?;
            // Nobody waits any more for what has not come.
            drop(send.take());
            progress(Phase::Warmup, WARMUP_AT, package.bytes, package.bytes);
            Ok(package)
        };
        let ready = self.ready(load.backend, sizes);
        let both = try_join(fetched, ready).await;
        if both.is_err() {
            self.host.cancel(id);
            // It still keeps what has come; then the storage is free for the next turn.
            let _ = host::wait(download).await;
        }
        let (package, device) = both?;
        let bytes = package.bytes;
        progress(Phase::Weights, WEIGHTS_AT, bytes, bytes);
        self.pause().await;
        underway.wanted()?;
        let parts = ModelParts::from_files(|name| package.file(name)).map_err(core)?;
        let engine = Engine::new(parts, &device).map_err(core)?;
        progress(Phase::Weights, 1.0, bytes, bytes);
        let model = package.model(&engine);
        self.loaded.replace(Some(Rc::new(Loaded { engine, model: model.clone(), cost: Cell::default() })));
        Ok(model)
    }

    /// The device to use; a GPU has compiled what a model of the `sizes` needs, meanwhile the weights may come.
    async fn ready(&self, wanted: Backend, sizes: oneshot::Receiver<Uint8Array>) -> Result<Device, Failure> {
        let device = self.device(wanted).await?;
        // On the processor there is nothing to warm up. Without sizes the download fails, and says why.
        if device != Device::flex()
            && let Ok(sizes) = sizes.await
        {
            let json = String::from_utf8_lossy(&sizes.to_vec()).into_owned();
            let config = ModelConfig::from_json(&json, ModelFolder::CONFIG).map_err(core)?;
            self.pause().await;
            warm_up(&config, &device).await.map_err(core)?;
        }
        Ok(device)
    }

    /// The device to use; from then on it is the one that [`Self::capabilities`] tells of.
    async fn device(&self, wanted: Backend) -> Result<Device, Failure> {
        let known = self.choice.borrow().clone().filter(|_| wanted == Backend::Auto);
        let mut choice = match known {
            Some(choice) => choice,
            None => Choice::new(wanted, self.adapter().await?)?,
        };
        let mut device = Device::flex();
        if choice.backend == Backend::WebGpu {
            let opened = self.gpu.borrow().clone();
            match opened {
                Some(gpu) => device = gpu,
                None => match device::open_gpu().await {
                    Ok(gpu) => {
                        self.gpu.replace(Some(gpu.clone()));
                        device = gpu;
                    }
                    Err(failure) if wanted == Backend::Auto => {
                        choice.backend = Backend::Cpu;
                        choice.reason = format!("{} So the processor computes.", failure.text);
                    }
                    Err(failure) => return Err(failure),
                },
            }
        }
        self.choice.replace(Some(choice));
        Ok(device)
    }

    /// The WebGPU adapter, where there is one.
    async fn adapter(&self) -> Result<Option<Adapter>, Failure> {
        let _turn = self.looking.turn().await;
        let known = self.adapter.borrow().clone();
        if let Some(adapter) = known {
            return Ok(adapter);
        }
        let adapter = device::adapter(&self.host).await?;
        self.adapter.replace(Some(adapter.clone()));
        Ok(adapter)
    }

    async fn generate(&self, id: u32, request: Generate, underway: &Underway) -> Result<Outcome, Failure> {
        let seeds = request.seeds();
        let Generate { prompt, count, sampling, .. } = request;
        if !(1..=MAX_COUNT).contains(&count) {
            let text = format!("count: is {count}");
            return Err(Failure::new("config", text, &format!("choose 1 to {MAX_COUNT}")));
        }
        let loaded = self.loaded()?;
        let course = Course::begin(id, TEXT_READ_AT);
        let engine = &loaded.engine;
        let mut settings = over(&sampling, engine.generation());
        settings.guidance_scale = sampling.guidance.unwrap_or(settings.guidance_scale);
        let requests: Vec<GenerateRequest> =
            seeds.map(|seed| GenerateRequest { prompt: prompt.clone(), seed }).collect();
        let drawing = engine.begin_drawing(&requests, &settings).map_err(core)?;
        let codes = self.decode(&course, &loaded, drawing, &sampling, underway).await?;
        let images = engine.images(&codes).await.map_err(core)?;
        course.tell(Progress::new(Phase::Paint, 1.0));
        let drawn = images.iter().zip(codes).zip(&requests).map(|((image, codes), request)| Drawn {
            image: picture::to_page(image),
            seed: request.seed,
            codes,
        });
        let settings = told(&settings, settings.steps, settings.guidance_scale);
        Ok(Outcome::Images { images: drawn.collect(), settings, unknown: loaded.unknown(&prompt) })
    }

    async fn edit(&self, id: u32, request: Edit, underway: &Underway) -> Result<Outcome, Failure> {
        let Edit { image, instruction, mask, seed, sampling } = request;
        let loaded = self.loaded()?;
        let course = Course::begin(id, PICTURE_READ_AT);
        let engine = &loaded.engine;
        let mut settings = over(&sampling, engine.generation());
        settings.edit_guidance_scale = sampling.guidance.unwrap_or(settings.edit_guidance_scale);
        let request = EditRequest {
            image: picture::from_page(&image, 255)?,
            instruction,
            seed,
            // What nobody painted on a mask stays.
            mask: mask.map(|mask| picture::from_page(&mask, 0)).transpose()?,
        };
        let requests = [request];
        let edit = engine.begin_edit(&requests, &settings, || course.seen()).await.map_err(core)?;
        let codes = self.decode(&course, &loaded, edit, &sampling, underway).await?;
        let images = engine.edit_images(&requests, &codes).await.map_err(core)?;
        course.tell(Progress::new(Phase::Paint, 1.0));
        let drawn = images.iter().zip(codes);
        let drawn = drawn.map(|(image, codes)| Drawn { image: picture::to_page(image), seed, codes });
        let settings = told(&settings, settings.edit_steps, settings.edit_guidance_scale);
        let unknown = loaded.unknown(&requests[0].instruction);
        Ok(Outcome::Images { images: drawn.collect(), settings, unknown })
    }

    async fn inpaint(&self, id: u32, request: Inpaint, underway: &Underway) -> Result<Outcome, Failure> {
        let Inpaint { image, mask, prompt, seed, sampling } = request;
        let loaded = self.loaded()?;
        let course = Course::begin(id, CODES_READ_AT);
        let engine = &loaded.engine;
        let mut settings = over(&sampling, engine.generation());
        settings.guidance_scale = sampling.guidance.unwrap_or(settings.guidance_scale);
        let (image, mask) = (picture::from_page(&image, 255)?, picture::from_page(&mask, 0)?);
        let request = InpaintRequest { image, mask, prompt, seed };
        let drawing = engine.begin_inpainting(&request, &settings).await.map_err(core)?;
        let mut images = vec![];
        for codes in self.decode(&course, &loaded, drawing, &sampling, underway).await? {
            let image = engine.inpaint_image(&request, &codes).await.map_err(core)?;
            images.push(Drawn { image: picture::to_page(&image), seed, codes });
        }
        course.tell(Progress::new(Phase::Paint, 1.0));
        let settings = told(&settings, settings.steps, settings.guidance_scale);
        Ok(Outcome::Images { images, settings, unknown: loaded.unknown(&request.prompt) })
    }

    async fn describe(&self, id: u32, request: Describe, underway: &Underway) -> Result<Outcome, Failure> {
        let Describe { image, question, max_tokens, temperature, seed } = request;
        let usual = AnswerSettings::default();
        let settings = AnswerSettings {
            max_tokens: max_tokens.map_or(usual.max_tokens, |tokens| tokens as usize),
            temperature: temperature.unwrap_or(usual.temperature),
            seed,
            ..usual
        };
        let (loaded, image) = (self.loaded()?, picture::from_page(&image, 255)?);
        let course = Course::begin(id, PICTURE_READ_AT);
        let question = loaded.engine.begin_answer(&image, &question, &settings).map_err(core)?;
        let mut tokens = 0;
        course.answered(tokens, settings.max_tokens);
        let on_text = async |text: &str| {
            tokens += 1;
            course.answered(tokens, settings.max_tokens);
            post(id, Event::Token { text: text.into() });
            underway.seen().await
        };
        let answer = loaded.engine.answer(&question, on_text).await.map_err(core)?;
        course.tell(Progress::new(Phase::Answer, 1.0));
        Ok(Outcome::Answer { text: answer.text })
    }

    async fn capabilities(&self) -> Result<Outcome, Failure> {
        let adapter = self.adapter().await?;
        let storage = host::read(self.host.storage()).await?;
        // The one in use, which a load may have chosen meanwhile, else the one that `auto` would choose.
        let chosen = self.choice.borrow().clone();
        let Choice { backend, reason, adapter } = match chosen {
            Some(choice) => choice,
            None => Choice::new(Backend::Auto, adapter)?,
        };
        let memory = wasm_bindgen::memory().unchecked_into::<js_sys::WebAssembly::Memory>().buffer();
        let memory = memory.unchecked_into::<js_sys::ArrayBuffer>().byte_length();
        Ok(Outcome::Capabilities(Box::new(Capabilities {
            backend,
            reason,
            adapter,
            simd: cfg!(target_feature = "simd128"),
            memory: memory.into(),
            storage,
            model: self.loaded.borrow().as_ref().map(|loaded| loaded.model.clone()),
            version: env!("CARGO_PKG_VERSION").into(),
        })))
    }

    /// The codes of a drawing, all of whose steps the page sees.
    async fn decode(
        &self,
        course: &Course,
        loaded: &Loaded,
        drawing: Drawing,
        sampling: &Sampling,
        underway: &Underway,
    ) -> Result<Vec<Codes>, Failure> {
        let steps = drawing.steps();
        course.decoded(0, steps);
        let mut previews = sampling.previews.then(|| Previews::begin(loaded.cost.get(), self.host.now()));
        let on_step = async |report: StepReport<'_>| {
            self.step(course, &loaded.engine, previews.as_mut(), underway, report).await
        };
        let codes = loaded.engine.decode(drawing, on_step).await.map_err(core)?;
        if let Some(previews) = previews {
            loaded.cost.set(previews.end(steps, self.host.now()));
        }
        course.tell(Progress::new(Phase::Paint, PAINT_AT));
        Ok(codes)
    }

    /// Shows a step to the page and lets it answer.
    async fn step(
        &self,
        course: &Course,
        engine: &Engine,
        previews: Option<&mut Previews>,
        underway: &Underway,
        report: StepReport<'_>,
    ) -> Flow {
        course.decoded(report.step, report.steps);
        let grid = engine.config().grid();
        let due = previews.filter(|previews| previews.are_due(report.step, report.steps));
        // Reading back makes a GPU wait, so it is done only to show something. A device that cannot be read fails at the next
        // step, which says so.
        let shown = match due {
            Some(previews) => self.preview(engine, previews, &report).await,
            None => vec![],
        };
        let masked = shown.iter().map(|(_, masked)| masked.iter().map(|&cell| u8::from(cell)).collect());
        post(
            course.id,
            Event::Step(Step {
                step: report.step as u32,
                steps: report.steps as u32,
                masked: masked.map(ByteBuf::from::<Vec<u8>>).collect(),
                previews: shown.iter().map(|(image, masked)| picture::preview(image, masked, grid)).collect(),
                grid: grid as u32,
            }),
        );
        underway.seen().await
    }

    /// Each picture so far, and which of its codes are still masked.
    async fn preview(
        &self,
        engine: &Engine,
        previews: &mut Previews,
        report: &StepReport<'_>,
    ) -> Vec<(RgbImage, Vec<bool>)> {
        // A GPU first does what it was asked for before.
        let Ok(shown) = report.preview().await else { return vec![] };
        let began = self.host.now();
        let images = engine.images(&shown.codes).await.unwrap_or_default();
        previews.showed(self.host.now() - began);
        images.into_iter().zip(shown.masked).collect()
    }

    /// Lets messages of the page be handled.
    async fn pause(&self) {
        // Its promise has no way to fail.
        let _ = host::wait(self.host.pause()).await;
    }
}

/// A downloaded model.
struct Package {
    name: String,
    hash: String,
    bytes: f64,
    files: Object,
}

impl Package {
    fn new(value: &JsValue) -> Result<Self, Failure> {
        let get = |key: &str| Reflect::get(value, &key.into()).unwrap_or_default();
        let broken = || Failure::new("manifest", "The downloaded model is incomplete.", "");
        Ok(Self {
            name: get("name").as_string().ok_or_else(broken)?,
            hash: get("hash").as_string().ok_or_else(broken)?,
            bytes: get("bytes").as_f64().ok_or_else(broken)?,
            files: get("files").dyn_into().map_err(|_| broken())?,
        })
    }

    /// The file `name`, which JavaScript then no longer keeps.
    fn file(&self, name: &str) -> Option<Vec<u8>> {
        let bytes: Uint8Array = Reflect::get(&self.files, &name.into()).ok()?.dyn_into().ok()?;
        let _ = Reflect::delete_property(&self.files, &name.into());
        Some(bytes.to_vec())
    }

    fn model(&self, engine: &Engine) -> Model {
        let (config, usual) = (engine.config(), engine.generation());
        Model {
            name: self.name.clone(),
            hash: self.hash.clone(),
            image_size: config.image_size as u32,
            grid: config.grid() as u32,
            sees: engine.sees(),
            generate: told(usual, usual.steps, usual.guidance_scale),
            edit: told(usual, usual.edit_steps, usual.edit_guidance_scale),
            max_prompt_tokens: usual.max_prompt_tokens as u32,
            words: usual.vocabulary.words().to_vec(),
            bytes: self.bytes,
        }
    }
}

/// The model's settings with those of the page, but for the guidance by text.
fn over(sampling: &Sampling, model: &GenerationConfig) -> GenerationConfig {
    GenerationConfig {
        steps: sampling.steps.map_or(model.steps, |steps| steps as usize),
        edit_steps: sampling.steps.map_or(model.edit_steps, |steps| steps as usize),
        image_guidance_scale: sampling.image_guidance.unwrap_or(model.image_guidance_scale),
        temperature: sampling.temperature.unwrap_or(model.temperature),
        negative_prompt: sampling.negative.clone().unwrap_or_else(|| model.negative_prompt.clone()),
        ..model.clone()
    }
}

/// Settings as the page sees them.
fn told(settings: &GenerationConfig, steps: usize, guidance: f32) -> Settings {
    Settings {
        steps: steps as u32,
        guidance,
        image_guidance: settings.image_guidance_scale,
        temperature: settings.temperature,
    }
}

/// An error of the core in the page's words.
fn core(error: unigen_core::Error) -> Failure {
    Failure::new(error.kind.code(), format!("{}: {}", error.place, error.what), &error.fix)
}
