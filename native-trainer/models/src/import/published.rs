//! A folder or file of published weights.

use super::tensors::Weights;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::config::Config;
use unigen_core::file_kind::recognise;
use unigen_core::files::read_regular;
use unigen_core::weights::{Checkpoint, keys};
use unigen_core::{Error, ErrorKind, Result};

/// The most bytes of a JSON file: Qwen2.5's tokenizer has 7 MB.
const MAX_JSON: u64 = 256 << 20;
/// The file of sizes beside published weights.
const CONFIG: &str = "config.json";
/// The file of a text tokenizer.
const TOKENIZER: &str = "tokenizer.json";

/// What weights belong to, told by the names of their tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A language model.
    Decoder,
    /// A SigLIP or SigLIP2 vision tower.
    Vision,
    /// A MAGVITv2.
    ImageTokenizer,
    /// A UniGen checkpoint.
    UniGen,
    /// A Show-o checkpoint.
    ShowO,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::ShowO, Kind::UniGen, Kind::Decoder, Kind::ImageTokenizer, Kind::Vision];

    /// A noun with its article.
    fn name(self) -> &'static str {
        match self {
            Kind::Decoder => "a language model",
            Kind::Vision => "a SigLIP or SigLIP2 vision tower",
            Kind::ImageTokenizer => "a MAGVITv2 image tokenizer",
            Kind::UniGen => "a UniGen checkpoint",
            Kind::ShowO => "a Show-o checkpoint",
        }
    }

    /// Whether `checkpoint` has what this kind has.
    fn is_in(self, checkpoint: &Checkpoint) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| checkpoint.names().any(test);
        match self {
            Kind::ShowO => any(&|name| name.starts_with("showo.")),
            Kind::UniGen => any(&|name| name.starts_with("llm.")),
            Kind::Decoder => {
                let table = any(&|name| name.ends_with("embed_tokens.weight"));
                checkpoint.gguf().is_some()
                    || table && !Kind::ShowO.is_in(checkpoint) && !Kind::UniGen.is_in(checkpoint)
            }
            Kind::ImageTokenizer => checkpoint.contains("decoder.conv_in.weight"),
            Kind::Vision => any(&|name| name.ends_with("embeddings.patch_embedding.weight")),
        }
    }
}

/// Weights, and the files beside them.
pub struct Published {
    path: PathBuf,
    /// The weights' headers.
    pub checkpoint: Arc<Checkpoint>,
}

impl Published {
    /// Opens the folder or file of weights at `path`, which must be of `kind`.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`], and `Weights` where it is something else, with what it is.
    pub fn open(path: &Path, kind: Kind) -> Result<Self> {
        let config = path.join(CONFIG);
        let ours = config.is_file() && json(&config).is_ok_and(|json| is_ours(&json));
        let error = |what: String| Error::new(ErrorKind::Weights, path.display(), what);
        if ours {
            let whole = "is a model folder already, and needs no import".to_owned();
            return Err(error(whole).fix("give it to --model, or name the published weights"));
        }
        let checkpoint = Checkpoint::open(path)?;
        if !kind.is_in(&checkpoint) {
            let found = Kind::ALL.into_iter().find(|kind| kind.is_in(&checkpoint));
            let found = found.map_or("something unknown", Kind::name);
            return Err(error(format!("holds {found}, not {}", kind.name()))
                .fix(format!("give the folder of {}", kind.name())));
        }
        Ok(Self { path: path.to_owned(), checkpoint: Arc::new(checkpoint) })
    }

    /// Whether this is a GGUF file, which holds its own sizes and tokenizer.
    pub fn is_gguf(&self) -> bool {
        self.checkpoint.gguf().is_some()
    }

    /// The folder that the weights are in.
    fn folder(&self) -> &Path {
        if self.path.is_dir() { &self.path } else { self.path.parent().unwrap_or(Path::new("")) }
    }

    /// The path of the file `config.json` beside the weights.
    pub fn config_path(&self) -> PathBuf {
        self.folder().join(CONFIG)
    }

    /// What `config.json` beside the weights says.
    ///
    /// # Errors
    /// `Io` where it is missing; those of [`Config::from_json`].
    pub fn config<C: Config>(&self) -> Result<C> {
        let path = self.config_path();
        C::from_json(&String::from_utf8_lossy(&json(&path)?), &path.display().to_string())
    }

    /// The decoder's weights, under the paths of a decoder alone.
    pub fn decoder(&self) -> Weights {
        match self.is_gguf() {
            true => Weights::new(self.checkpoint.clone(), keys::qwen2),
            false => Weights::new(self.checkpoint.clone(), keys::decoder(&self.checkpoint)),
        }
    }

    /// The tokenizer at `given`, a file or the folder that it is in; else the one beside the weights or in the GGUF file.
    ///
    /// # Errors
    /// Where there is none.
    pub fn tokenizer(&self, given: Option<&Path>) -> Result<Vec<u8>> {
        if let (None, Some(gguf)) = (given, self.checkpoint.gguf()) {
            return Ok(gguf.tokenizer_json()?.to_string().into_bytes());
        }
        let path = given.unwrap_or(self.folder());
        let path = if path.is_dir() { path.join(TOKENIZER) } else { path.to_owned() };
        json(&path)
    }
}

/// The bytes of a JSON file.
///
/// # Errors
/// `Io` where it cannot be read; `Config` where it is something else, with what it is.
pub fn json(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_regular(path, MAX_JSON)?;
    // Text may be JSON, and whoever parses it says where it is not.
    match recognise(&bytes).filter(|kind| !kind.text) {
        Some(kind) => {
            Err(Error::new(ErrorKind::Config, path.display(), format!("not JSON, but {}", kind.name))
                .fix(kind.fix.unwrap_or("download the file again")))
        }
        None => Ok(bytes),
    }
}

/// Whether this is the `config.json` of a model folder.
fn is_ours(json: &[u8]) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    json.is_some_and(|json| json.get("decoder").is_some() && json.get("image_tokenizer").is_some())
}
