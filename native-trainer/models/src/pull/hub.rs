//! The Hugging Face Hub: what a repository lists, and its files in the cache that all of its programs share.
//!
//! The crate `hf-hub` knows addresses, the token and the cache. Downloads are ours, because its own neither notice a file that
//! is too short or damaged nor survive a server that begins anew.

use super::download::{Download, Patience, refused};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use unigen_core::weights::Checkpoint;
use unigen_core::{Error, ErrorKind, Result};

/// The variable that holds a token; else there may be one in the cache.
const TOKEN: &str = "HF_TOKEN";
/// The variable that names another Hub.
const ENDPOINT: &str = "HF_ENDPOINT";
/// The variable that names the folder of cache and token.
const HOME: &str = "HF_HOME";

/// The Hub, where no other is named.
const HUGGING_FACE: &str = "https://huggingface.co";

/// A connection to the Hub.
pub struct Hub {
    api: Api,
    cache: Cache,
    download: Download,
}

/// What a repository of models holds at one commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// `owner/name`
    pub repository: String,
    /// The commit's hash.
    pub commit: String,
    /// What its card says.
    pub licence: Option<String>,
    files: Vec<File>,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path in the repository.
    pub name: String,
    /// Bytes, where the Hub says.
    pub size: Option<u64>,
    /// Hash of the content, which the Hub has for large files.
    pub sha256: Option<String>,
}

/// The Hub's answer about a repository.
#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Hub {
    /// The Hub that `HF_ENDPOINT` names, else huggingface.co, with the cache in `HF_HOME` and the token in `HF_TOKEN` or the cache.
    ///
    /// # Errors
    /// `Io` where there is no place for the cache.
    pub fn of_user(patience: Patience) -> Result<Self> {
        let set = |variable| std::env::var(variable).ok().filter(|value| !value.is_empty());
        // hf-hub panics without one.
        if set(HOME).is_none() && dirs::home_dir().is_none() {
            return Err(Error::new(ErrorKind::Io, HOME, "is not set, and there is no home folder")
                .fix("set it to a folder for downloads"));
        }
        let cache = Cache::from_env();
        let token = set(TOKEN).or_else(|| cache.token());
        Self::at(&set(ENDPOINT).unwrap_or(HUGGING_FACE.into()), cache.path(), token, patience)
    }

    /// The server `endpoint`, with its files in the folder `cache`.
    ///
    /// # Errors
    /// `Io` where the system lacks what a client needs.
    pub fn at(endpoint: &str, cache: &Path, token: Option<String>, patience: Patience) -> Result<Self> {
        let cache = Cache::new(cache.to_owned());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint.trim_end_matches('/').into())
            .with_token(token.clone())
            .build()
            .map_err(|e| Error::new(ErrorKind::Io, endpoint, e))?;
        Ok(Self { api, cache, download: Download::new(token, patience) })
    }

    /// What the repository `owner/name` holds today.
    ///
    /// # Errors
    /// `Io` where the Hub refuses or does not answer; `Config` where `repository` is no such name.
    pub fn list(&self, repository: &str) -> Result<Listing> {
        check_name(repository)?;
        let repo = self.api.model(repository.into());
        let place = format!("the Hub's {repository}");
        let mut tries = 0;
        let text = loop {
            let answer = repo.info_request().query("blobs", "true").call();
            let answer = answer.and_then(|mut answer| answer.body_mut().read_to_string());
            let error = match answer {
                Ok(text) => break text,
                Err(error) => error,
            };
            let (error, again) = match error {
                ureq::Error::StatusCode(status) => refused(&place, status),
                other => (unreachable(&place, &other.to_string()), true),
            };
            match self.download.patience.wait(tries) {
                Some(time) if again => sleep(time),
                _ => return Err(error),
            }
            tries += 1;
        };
        let unreadable = |e: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Io, &place, format!("answers something that cannot be read: {e}"))
                .fix("check HF_ENDPOINT, which names the server")
        };
        let info: Info = serde_json::from_str(&text).map_err(|e| unreadable(&e))?;
        if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(unreadable(&format!("the commit {:?}", info.sha)));
        }
        let files = info.siblings.into_iter().map(|Sibling { rfilename, size, lfs }| File {
            name: rfilename,
            size,
            sha256: lfs.and_then(|lfs| lfs.sha256),
        });
        let licence = info.card["license"].as_str().map(String::from);
        Ok(Listing { repository: repository.into(), commit: info.sha, licence, files: files.collect() })
    }

    /// The folder that the files of `listing` come into.
    pub fn folder(&self, listing: &Listing) -> PathBuf {
        self.cache.repo(listing.repo()).pointer_path(&listing.commit)
    }

    /// Brings `file` of `listing` into the cache, unless it is there. `heard` is told how many of its bytes
    /// are there; an error of it ends the download, which the next call continues.
    ///
    /// # Errors
    /// `Io` where the server refuses or stays away, the disk is full, or the content is not what the Hub lists.
    pub fn bring(
        &self,
        listing: &Listing,
        file: &File,
        heard: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let pointer = self.folder(listing).join(&file.name);
        if pointer.is_file() {
            return heard(file.size.unwrap_or(0));
        }
        let cached = self.cache.repo(listing.repo());
        let name = file.sha256.clone().unwrap_or_else(|| format!("{}-{}", listing.commit, file.name));
        let blob = cached.blob_path(&name);
        let unwritable = |e: std::io::Error| {
            Error::new(ErrorKind::Io, blob.display(), format!("cannot be written: {e}"))
                .fix("free some disk space, or set HF_HOME to another folder")
        };
        for folder in [blob.parent(), pointer.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        if !blob.is_file() {
            let url = self.api.repo(listing.repo()).url(&file.name);
            self.download.to(&blob, &url, file, heard)?;
        }
        // Other programs of the Hub have links here, and find either kind.
        fs::hard_link(&blob, &pointer).or_else(|_| fs::rename(&blob, &pointer)).map_err(unwritable)
    }
}

impl Listing {
    fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, self.commit.clone())
    }

    /// The file `name`, where there is one.
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The file `name`.
    ///
    /// # Errors
    /// `Io` where there is none.
    pub fn wanted(&self, name: &str) -> Result<&File> {
        self.file(name).ok_or_else(|| {
            let place = format!("the Hub's {}", self.repository);
            Error::new(ErrorKind::Io, place, format!("lists no {name}")).fix("name another repository")
        })
    }

    /// The files of its weights: the one called `chosen`, else one, or shards with their index, as a folder of them would be
    /// opened.
    ///
    /// # Errors
    /// `Io` where there are none, or several that nothing tells apart.
    pub fn weights(&self, chosen: Option<&str>) -> Result<Vec<&File>> {
        let ends = [".safetensors", ".gguf"];
        let weights =
            |file: &&File| !file.name.contains('/') && ends.iter().any(|end| file.name.ends_with(end));
        let found: Vec<&File> = self.files.iter().filter(weights).collect();
        let error = |what: String| Error::new(ErrorKind::Io, format!("the Hub's {}", self.repository), what);
        let all = || {
            let size = |file: &File| file.size.map_or(String::new(), |size| format!(" ({})", in_words(size)));
            found.iter().map(|file| format!("{}{}", file.name, size(file))).collect::<Vec<_>>().join(", ")
        };
        if let Some(chosen) = chosen {
            let file = found.iter().find(|file| file.name == chosen);
            return file.map(|file| vec![*file]).ok_or_else(|| {
                error(format!("lists no {chosen}, but {}", all())).fix("choose one of these with --file")
            });
        }
        for name in Checkpoint::NAMES {
            if let Some(file) = self.file(name) {
                return Ok(vec![file]);
            }
            if let (Some(index), Some((stem, end))) =
                (self.file(&format!("{name}{}", Checkpoint::INDEX)), name.rsplit_once('.'))
            {
                let is_shard = |file: &&File| {
                    let middle = file.name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(end));
                    middle.is_some_and(|middle| middle.contains("-of-") && !middle.contains('/'))
                };
                return Ok([index].into_iter().chain(self.files.iter().filter(is_shard)).collect());
            }
        }
        match found.as_slice() {
            [_] => Ok(found),
            [] => Err(error("lists no weights".into()).fix("name another repository")),
            _ => Err(error(format!("lists several weights: {}", all())).fix("choose one with --file")),
        }
    }
}

/// A number of bytes for people.
fn in_words(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e9 { format!("{:.0} MB", bytes / 1e6) } else { format!("{:.1} GB", bytes / 1e9) }
}

/// Checks that this is the name of a repository, and so no path that leads elsewhere.
fn check_name(repository: &str) -> Result<()> {
    let plain = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
    };
    match repository.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) => Ok(()),
        _ => Err(Error::new(ErrorKind::Config, repository, "is not the name of a repository of the Hub")
            .fix("write owner/name")),
    }
}

/// The error where nobody answers.
pub fn unreachable(place: &str, why: &str) -> Error {
    Error::new(ErrorKind::Io, place, format!("does not answer: {why}"))
        .fix("check the network; HF_ENDPOINT may name another server. Call it again, and it continues")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let file = |name: &&str| File { name: (*name).into(), size: None, sha256: None };
        let files = names.iter().map(file).collect();
        Listing { repository: "a/b".into(), commit: "0".into(), licence: None, files }
    }

    #[test]
    fn weights_are_found_under_their_usual_names() {
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let names = |names: &[&str]| -> Vec<String> {
            let listing = listing(names);
            listing.weights(None).unwrap().into_iter().map(|file| file.name.clone()).collect()
        };
        assert_eq!(names(&["pytorch_model.bin", "model.safetensors"]), ["model.safetensors"]);
        assert_eq!(names(&["config.json", "pytorch_model.bin"]), ["pytorch_model.bin"]);
        let index = "model.safetensors.index.json";
        assert_eq!(names(&[shards[0], "onnx/model.bin", index, shards[1]]), [index, shards[0], shards[1]]);
        assert_eq!(names(&["any.safetensors", "sub/other.safetensors"]), ["any.safetensors"]);
        for (names, word) in [(&["README.md"][..], "no weights"), (&["a.gguf", "b.gguf"], "a.gguf, b.gguf")] {
            let error = listing(names).weights(None).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("a/b"), "{error}");
        }
        let several = listing(&["q4.gguf", "q8.gguf", "model.safetensors", "sub/f16.gguf"]);
        assert_eq!(several.weights(Some("q8.gguf")).unwrap()[0].name, "q8.gguf");
        for absent in ["f16.gguf", "sub/f16.gguf", "../q4.gguf"] {
            let error = several.weights(Some(absent)).unwrap_err().to_string();
            assert!(
                error.contains("q4.gguf, q8.gguf, model.safetensors") && error.contains("--file"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_are_no_paths() {
        assert!(check_name("showlab/show-o-512x512").is_ok() && check_name("a_b/c.1").is_ok());
        for name in ["", "show-o", "a/b/c", "../b", "a/..", "a/", "/b", "a b/c", "a/b?x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
