//! What page and worker say to each other: the page sends a [`Call`], the worker answers with any number of [`Event`]s
//! and ends each call with one of [`Event::Done`] or [`Event::Error`].
//!
//! Messages are plain JavaScript objects: an enum is an object with `type`, names are camelCase, bytes are a
//! `Uint8Array`, absent options may be left out. `npm/src/types.d.ts` shows the same types to users of the page's side.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A call of the page, with the number that its events carry.
#[derive(Debug, Deserialize)]
pub struct Call {
    /// Chosen by the page, unlike that of any other call under way.
    pub id: u32,
    /// What is asked.
    pub request: Request,
}

/// An event of the worker about one call; `id` 0 is about the worker itself.
#[derive(Debug, Serialize)]
pub struct Message {
    /// The call's number.
    pub id: u32,
    /// What happened.
    pub event: Event,
}

/// What a page may ask.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Request {
    /// Fetch a model and make it ready; unloads another.
    Load(Load),
    /// Draw pictures.
    Generate(Generate),
    /// Change a picture, wholly or under a mask.
    Edit(Edit),
    /// Draw under a mask.
    Inpaint(Inpaint),
    /// Answer a question about a picture.
    Describe(Describe),
    /// Name the words of a text that the loaded model has not learned.
    Unknown {
        /// A prompt, an instruction or a question.
        text: String,
    },
    /// The [`Event::Step`] or [`Event::Token`] of the call `target` has been seen: the worker waits for this after each.
    Seen {
        /// The call's number.
        target: u32,
    },
    /// End the call `target` within one step; it ends with the error `cancelled`.
    Cancel {
        /// The call's number.
        target: u32,
    },
    /// Drop the model from memory.
    Unload,
    /// Drop every model from the browser's storage.
    Purge,
    /// Say what this browser and the loaded model can do.
    Capabilities,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// WebGPU, but for a software adapter that is slower than the processor.
    #[default]
    Auto,
    /// WebGPU or an error.
    WebGpu,
    /// WebAssembly on the processor.
    Cpu,
}

/// Which model to load.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Absolute address of the manifest that `cargo xtask export` writes.
    pub manifest: String,
    /// Where to compute. WebGPU, once in use, stays the device of this worker.
    #[serde(default)]
    pub backend: Backend,
}

/// Which pictures to draw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generate {
    /// What they show.
    pub prompt: String,
    /// Seed of the first picture; the others have those that follow, 0 after [`MAX_SEED`].
    pub seed: u64,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// How they are drawn.
    #[serde(default)]
    pub sampling: Sampling,
}

impl Generate {
    /// The seed of each picture.
    pub fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let first = self.seed;
        (0..u64::from(self.count)).map(move |i| first.wrapping_add(i) & MAX_SEED)
    }
}

/// The largest seed, and the largest whole number that JavaScript's numbers count without gaps: 2^53 - 1.
pub const MAX_SEED: u64 = (1 << 53) - 1;

/// What to change in which picture.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edit {
    /// The picture; the largest square in its middle is edited.
    pub image: Image,
    /// What to change.
    pub instruction: String,
    /// Of the picture's size, white where it may change; without it all may. To extend a picture, put it on a larger
    /// canvas that the mask covers with white.
    #[serde(default)]
    pub mask: Option<Image>,
    /// One seed gives one picture.
    pub seed: u64,
    /// How it is drawn.
    #[serde(default)]
    pub sampling: Sampling,
}

/// What to draw under a mask; takes no model that sees.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inpaint {
    /// The picture; the largest square in its middle is taken.
    pub image: Image,
    /// Of the picture's size, white where it is drawn anew.
    pub mask: Image,
    /// What the whole picture shows in the end.
    pub prompt: String,
    /// One seed gives one picture.
    pub seed: u64,
    /// How it is drawn.
    #[serde(default)]
    pub sampling: Sampling,
}

/// What to ask about which picture.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Describe {
    /// The picture, whole.
    pub image: Image,
    /// The question.
    pub question: String,
    /// The longest answer in tokens.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// 0 gives the likeliest answer.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// One seed gives one answer.
    #[serde(default)]
    pub seed: u64,
}

/// How pictures are drawn; what is left out is the model's own choice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    /// Decoding steps.
    pub steps: Option<u32>,
    /// How strongly the text counts.
    pub guidance: Option<f32>,
    /// How strongly the picture counts (edits).
    pub image_guidance: Option<f32>,
    /// Noise on confidences at the start.
    pub temperature: Option<f32>,
    /// What a drawing is led away from; edits have none.
    pub negative: Option<String>,
    /// Whether some step events carry pictures.
    pub previews: bool,
}

/// Pixels of a picture.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue and opacity of each pixel, row by row. Transparent parts of a picture given are seen on white.
    pub pixels: ByteBuf,
}

/// What a worker tells.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    /// The worker runs, no model is loaded (`id` 0).
    Started,
    /// How far the call is.
    Progress(Progress),
    /// A decoding step is done.
    Step(Step),
    /// A piece of an answer.
    Token {
        /// The answer so far.
        text: String,
    },
    /// The call ended well.
    Done {
        /// What it gives.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Outcome>,
    },
    /// The call failed.
    Error(Failure),
    /// The GPU is gone (`id` 0): this worker is of no more use, a new one may be.
    DeviceLost {
        /// The browser's words.
        reason: String,
    },
}

/// What a call is doing. A load has the first three phases, in this order; drawings, edits and inpainting `encode`, `decode` and
/// `paint`; an answer `encode` and `answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Weights come over the network or from the browser's storage.
    Download,
    /// What the device needs is still being compiled, which began behind the download.
    Warmup,
    /// Weights move to the device.
    Weights,
    /// The text and the picture that were given become what the model reads.
    Encode,
    /// Codes of pictures are drawn, step by step.
    Decode,
    /// Codes become pixels.
    Paint,
    /// An answer is written, token by token.
    Answer,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Part of the whole call that is done, 0 to 1; never falls.
    pub fraction: f64,
    /// Of a load: bytes of weights here so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// Of a load: bytes of all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// While decoding: steps done; while answering: tokens written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// While decoding: of how many; while answering: of at most how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
}

impl Progress {
    /// So far, with nothing to count.
    pub fn new(phase: Phase, fraction: f64) -> Self {
        Self { phase, fraction, bytes: None, total: None, step: None, steps: None }
    }
}

/// A decoding step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Counted from 1.
    pub step: u32,
    /// Of how many.
    pub steps: u32,
    /// Where asked for, each picture so far: cells that are still masked are faint ([`MASKED_ALPHA`]). Only some steps have
    /// them: they take at most a tenth of a drawing.
    pub previews: Vec<Image>,
    /// Codes a row of the pictures.
    pub grid: u32,
    /// Of a step with previews, for each picture and code, row by row, 1 where it is still masked.
    pub masked: Vec<ByteBuf>,
}

/// Opacity of cells that a preview only guesses.
pub const MASKED_ALPHA: u8 = 72;

/// What a call gives.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Outcome {
    /// Of `generate` and `edit`.
    Images {
        /// The pictures.
        images: Vec<Drawn>,
        /// How they were drawn.
        settings: Settings,
        /// The words of the text that the model has not learned.
        unknown: Vec<UnknownWord>,
    },
    /// Of `describe`.
    Answer {
        /// The answer.
        text: String,
    },
    /// Of `unknown`.
    Words {
        /// The words, each once, in the order of the text.
        unknown: Vec<UnknownWord>,
    },
    /// Of `load`.
    Model(Model),
    /// Of `capabilities`.
    Capabilities(Box<Capabilities>),
}

/// A finished picture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drawn {
    /// The pixels, opaque.
    pub image: Image,
    /// Its seed.
    pub seed: u64,
    /// Its codes, row by row.
    pub codes: Vec<u32>,
}

/// A word that a model has not learned.
#[derive(Debug, Serialize)]
pub struct UnknownWord {
    /// As it is written in the text.
    pub word: String,
    /// The word that the model knows and that is written most like it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

/// How pictures were drawn.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Decoding steps.
    pub steps: u32,
    /// How strongly the text counted.
    pub guidance: f32,
    /// How strongly the picture counted (edits).
    pub image_guidance: f32,
    /// Noise on confidences at the start.
    pub temperature: f32,
}

/// A loaded model.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Its name in the manifest.
    pub name: String,
    /// Tells its weights from all others.
    pub hash: String,
    /// Pixels a side of the pictures that it draws.
    pub image_size: u32,
    /// Codes a side.
    pub grid: u32,
    /// Whether it can edit and describe.
    pub sees: bool,
    /// How it draws unless told otherwise.
    pub generate: Settings,
    /// How it edits unless told otherwise.
    pub edit: Settings,
    /// The longest prompt in tokens.
    pub max_prompt_tokens: u32,
    /// The words that it has learned, the most telling first; none where nobody has listed them.
    pub words: Vec<String>,
    /// Bytes of its weights.
    pub bytes: f64,
}

/// What this browser and the loaded model can do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// The device in use, or the one that `auto` would choose.
    pub backend: Backend,
    /// Why that one, in a sentence.
    pub reason: String,
    /// The WebGPU adapter, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    /// Whether the processor's vector instructions are used.
    pub simd: bool,
    /// Bytes of memory of the worker's WebAssembly.
    pub memory: f64,
    /// Where weights are kept.
    pub storage: Storage,
    /// The loaded model, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Version of this engine.
    pub version: String,
}

/// A WebGPU adapter. The browser may keep parts of it to itself; those are empty.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adapter {
    /// Maker.
    pub vendor: String,
    /// Family.
    pub architecture: String,
    /// Name.
    pub description: String,
    /// Whether it computes on the processor.
    pub software: bool,
    /// Optional abilities.
    pub features: Vec<String>,
    /// Bytes of the largest storage binding.
    pub max_storage_binding: f64,
    /// Time of a short matrix product on it in milliseconds; of software adapters only.
    pub gpu_ms: Option<f64>,
    /// Time of the same product on the processor in milliseconds.
    pub cpu_ms: Option<f64>,
}

/// The browser's storage for this page.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// `opfs`, or `memory` where the browser keeps nothing.
    pub kind: String,
    /// Whether the browser promised to keep it.
    pub persisted: bool,
    /// Bytes in use.
    pub usage: f64,
    /// Bytes allowed.
    pub quota: f64,
}

/// Why a call failed.
///
/// Codes: those of the core (`config`, `weights`, `text`, `image`, `device`, `io`, `cancelled`); of the loader `network`,
/// `integrity` (a shard is not what the manifest says), `manifest`, `memory` (there is none for a file); `unsupported` (this
/// browser lacks something), `notloaded`, `busy`, `protocol`, `crashed`. The page's side adds `devicelost` and `closed`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Stable, for programs.
    pub code: String,
    /// What is wrong and where.
    pub text: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Failure {
    /// A failure of these words.
    pub fn new(code: &str, text: impl Into<String>, hint: &str) -> Self {
        Self { code: code.into(), text: text.into(), hint: hint.into() }
    }
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_read_what_the_page_writes() {
        let call = json!({"id": 7, "request": {"type": "generate", "prompt": "a dog", "seed": 9_007_199_254_740_991_u64,
            "sampling": {"steps": 4, "guidance": 2, "negative": "a cat", "previews": true}}});
        let call: Call = serde_json::from_value(call).unwrap();
        let Request::Generate(generate) = call.request else { panic!("{call:?}") };
        assert_eq!((generate.seed, generate.count), (MAX_SEED, 1));
        assert_eq!((generate.sampling.steps, generate.sampling.guidance), (Some(4), Some(2.0)));
        assert_eq!(generate.sampling.negative.as_deref(), Some("a cat"));
        let cancel: Call =
            serde_json::from_value(json!({"id": 8, "request": {"type": "cancel", "target": 7}})).unwrap();
        assert!(matches!(cancel.request, Request::Cancel { target: 7 }));
        let load = json!({"id": 1, "request": {"type": "load", "manifest": "https://x.org/m.json", "backend": "webgpu"}});
        let Request::Load(load) = serde_json::from_value::<Call>(load).unwrap().request else { panic!() };
        assert_eq!(load.backend, Backend::WebGpu);
        let unknown = json!({"id": 2, "request": {"type": "unknown", "text": "a dragon"}});
        let unknown = serde_json::from_value::<Call>(unknown).unwrap().request;
        assert!(matches!(unknown, Request::Unknown { text } if text == "a dragon"));
        assert!(serde_json::from_value::<Call>(json!({"id": 1, "request": {"type": "format"}})).is_err());
    }

    #[test]
    fn seeds_of_a_batch_stay_within_what_the_page_can_count() {
        let batch = |seed: u64| {
            let request = json!({"prompt": "a dog", "seed": seed, "count": 3});
            serde_json::from_value::<Generate>(request).unwrap().seeds().collect::<Vec<_>>()
        };
        assert_eq!(batch(5), [5, 6, 7]);
        assert_eq!(batch(MAX_SEED - 1), [MAX_SEED - 1, MAX_SEED, 0]);
    }

    #[test]
    fn events_are_what_the_page_reads() {
        let load = Progress { bytes: Some(10.0), total: Some(20.0), ..Progress::new(Phase::Download, 0.5) };
        let message = Message { id: 3, event: Event::Progress(load) };
        let wanted = json!({"id": 3, "event":
            {"type": "progress", "phase": "download", "fraction": 0.5, "bytes": 10.0, "total": 20.0}});
        assert_eq!(serde_json::to_value(message).unwrap(), wanted);
        let decode = Progress { step: Some(1), steps: Some(4), ..Progress::new(Phase::Decode, 0.25) };
        let wanted = json!({"type": "progress", "phase": "decode", "fraction": 0.25, "step": 1, "steps": 4});
        assert_eq!(serde_json::to_value(Event::Progress(decode)).unwrap(), wanted);
        let failure = Failure::new("cancelled", "at step 2", "");
        let wanted = json!({"type": "error", "code": "cancelled", "text": "at step 2", "hint": ""});
        assert_eq!(serde_json::to_value(Event::Error(failure)).unwrap(), wanted);
        assert_eq!(serde_json::to_value(Event::Done { result: None }).unwrap(), json!({"type": "done"}));
        let word = |word: &str, nearest: Option<&str>| UnknownWord {
            word: word.into(),
            nearest: nearest.map(Into::into),
        };
        let words = Outcome::Words { unknown: vec![word("aple", Some("apple")), word("dragon", None)] };
        let wanted =
            json!({"type": "words", "unknown": [{"word": "aple", "nearest": "apple"}, {"word": "dragon"}]});
        assert_eq!(serde_json::to_value(words).unwrap(), wanted);
        let lost = Event::DeviceLost { reason: "gone".into() };
        assert_eq!(serde_json::to_value(lost).unwrap(), json!({"type": "deviceLost", "reason": "gone"}));
    }
}
