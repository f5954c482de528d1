//! Models from the Hugging Face Hub: listed, downloaded, and planned for import.

mod download;
mod hub;
mod published;

pub use download::Patience;
pub use hub::Hub;
pub use published::{Kind, Published};

use crate::Source;
use crate::import::{Import, Parts, ShowO, Whole};
use hub::{File, Listing};
use std::path::PathBuf;
use unigen_core::{Error, ErrorKind, Result};

/// A model whose repositories are listed; nothing is downloaded yet.
pub struct Pull {
    model: Published,
    parts: Vec<Part>,
}

/// A repository and the files of it that are wanted.
struct Part {
    /// `decoder`, `vision`, `image_tokenizer` or `tokenizer`.
    name: &'static str,
    listing: Listing,
    files: Vec<File>,
}

/// A file of a text tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// A file of sizes.
const CONFIG: &str = "config.json";

impl Pull {
    /// Asks `hub` what the repositories of `model` hold.
    ///
    /// # Errors
    /// Those of [`Hub::list`]; `Config` where a part is missing that its kind has; `Io` where a repository lacks a file.
    pub fn list(hub: &Hub, model: Published) -> Result<Self> {
        let missing = |what: &str| {
            Error::new(ErrorKind::Config, &model.name, format!("needs {what}")).fix("name its repository")
        };
        let mut wanted =
            vec![("decoder", Some(&model.checkpoint)), ("image_tokenizer", Some(&model.image_tokenizer))];
        if model.kind != Kind::ShowO {
            let vision = model.vision.as_ref();
            wanted
                .push(("vision", Some(vision.ok_or_else(|| missing("an understanding encoder, --vision"))?)));
        }
        if model.kind != Kind::Parts && model.tokenizer.is_none() {
            return Err(missing("a text tokenizer, --tokenizer"));
        }
        wanted.push(("tokenizer", model.tokenizer.as_ref()));
        let parts = wanted.into_iter().filter_map(|(name, repository)| Some((name, repository?)));
        let parts = parts.map(|(name, repository)| Part::of(hub, name, repository, &model));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Ok(Self { parts, model })
    }

    /// Name, commit, licence and bytes of each repository.
    pub fn repositories(&self) -> impl Iterator<Item = (&str, &str, Option<&str>, u64)> {
        self.parts.iter().map(|Part { listing, files, .. }| {
            let size = files.iter().filter_map(|file| file.size).sum();
            (listing.repository.as_str(), listing.commit.as_str(), listing.licence.as_deref(), size)
        })
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.repositories().map(|(.., size)| size).sum()
    }

    /// The licence of the checkpoint: what its card says, else what the list says.
    pub fn licence(&self) -> Option<&str> {
        let card = self.parts.first().and_then(|part| part.listing.licence.as_deref());
        card.or(self.model.licence.as_deref())
    }

    /// Brings all files into the Hub's cache and plans the model. `heard` is told how many bytes are there; an error of it ends the
    /// download, which the next call continues.
    ///
    /// # Errors
    /// Those of [`Hub::bring`] and of the import.
    pub fn import(&self, hub: &Hub, heard: &mut dyn FnMut(u64) -> Result<()>) -> Result<Import> {
        let mut before = 0;
        for Part { listing, files, .. } in &self.parts {
            for file in files {
                hub.bring(listing, file, &mut |there| heard(before + there))?;
                before += file.size.unwrap_or(0);
            }
        }
        let mut import = self.plan(hub)?;
        import.origin.licence = self.licence().map(String::from);
        import.origin.parts = self
            .parts
            .iter()
            .map(|Part { name, listing, .. }| {
                let Listing { repository, commit, .. } = listing.clone();
                ((*name).to_owned(), Source::Repository { repository, commit })
            })
            .collect();
        Ok(import)
    }

    /// Plans the model from the files in the cache.
    fn plan(&self, hub: &Hub) -> Result<Import> {
        let folder = |name: &str| {
            self.parts.iter().find(|part| part.name == name).map(|part| hub.folder(&part.listing))
        };
        let needed = |name: &str| -> PathBuf { folder(name).unwrap_or_default() };
        let [mut decoder, image_tokenizer] = ["decoder", "image_tokenizer"].map(needed);
        let Published { kind, image_size, ref file, .. } = self.model;
        // The cache may have others beside it.
        decoder.extend(file);
        match kind {
            Kind::ShowO => ShowO {
                checkpoint: decoder,
                image_tokenizer,
                tokenizer: needed("tokenizer"),
                turbo: self.model.turbo,
            }
            .read(),
            Kind::Unigen => Whole {
                checkpoint: decoder,
                image_tokenizer,
                vision: folder("vision"),
                tokenizer: needed("tokenizer"),
                image_size: image_size.unwrap_or(256),
            }
            .read(),
            Kind::Parts => Parts {
                decoder,
                vision: needed("vision"),
                image_tokenizer,
                tokenizer: folder("tokenizer"),
                image_size: image_size.unwrap_or(384),
                seed: 0,
            }
            .read(),
        }
    }
}

impl Part {
    /// The files of `repository` that the part `name` of `model` needs.
    fn of(hub: &Hub, name: &'static str, repository: &str, model: &Published) -> Result<Self> {
        let listing = hub.list(repository)?;
        let mut files = match name {
            "tokenizer" => vec![listing.wanted(TOKENIZER)?],
            "decoder" => listing.weights(model.file.as_deref())?,
            _ => listing.weights(None)?,
        };
        let gguf = files.iter().any(|file| file.name.ends_with(".gguf"));
        match name {
            // Published image tokenizers may have none; a GGUF file is all that it needs.
            "image_tokenizer" => files.extend(listing.file(CONFIG)),
            "decoder" | "vision" if !gguf => files.push(listing.wanted(CONFIG)?),
            _ => {}
        }
        if name == "decoder" && !gguf && model.kind == Kind::Parts && model.tokenizer.is_none() {
            files.push(listing.wanted(TOKENIZER)?);
        }
        Ok(Self { name, files: files.into_iter().cloned().collect(), listing })
    }
}
