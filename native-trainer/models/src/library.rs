//! Finding models by name.

use crate::{Origin, nano};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use unigen_core::config::{Ability, ModelConfig, TokenizerConfig};
use unigen_core::engine::{Engine, ModelFolder, ModelParts};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::weights::{Checkpoint, keys, load};
use unigen_core::{Device, Error, ErrorKind, Result};

/// The folder of the user's models. Each is a model folder under its name; the nano model is inside the program.
#[derive(Clone, Debug)]
pub struct Library {
    folder: PathBuf,
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In a folder.
    Folder(PathBuf),
    /// The nano model.
    Nano,
}

/// A line of [`Library::list`].
pub struct Listed {
    /// What `--model` takes.
    pub name: String,
    /// What was imported; nothing for a model that was trained.
    pub kind: Option<String>,
    /// Bytes of all its files.
    pub size: u64,
    /// The type that most bytes of its layers have.
    pub precision: String,
    /// What it can do, or why it cannot be used.
    pub abilities: Result<Vec<Ability>>,
    /// The licence of its weights, where it is known.
    pub licence: Option<String>,
}

impl Library {
    /// The variable that names another folder.
    pub const VARIABLE: &str = "UNIGEN_MODELS";

    /// The folder that `UNIGEN_MODELS` names, else `unigen/models` where the user's system keeps the data of programs.
    pub fn of_user() -> Self {
        let named = std::env::var_os(Self::VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        // A user without a home has the folder of the call.
        let data = || dirs::data_dir().unwrap_or_default().join("unigen").join("models");
        Self { folder: named.unwrap_or_else(data) }
    }

    /// The models in `folder`, which need not exist.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder of the model `name`, whether it is there or not.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The model that the user calls `name`: one of this library, or `nano`, or else the folder at that path. What has a
    /// separator in it is a path.
    ///
    /// # Errors
    /// `Io` where there is neither, with the names that there are.
    pub fn find(&self, name: &Path) -> Result<Found> {
        let mut components = name.components();
        let (first, rest) = (components.next(), components.next());
        let plain =
            first.map(|first| first.as_os_str()).filter(|&first| rest.is_none() && first == name.as_os_str());
        if let Some(plain) = plain.filter(|plain| is_name(plain)) {
            let folder = self.folder.join(plain);
            if folder.join(ModelFolder::CONFIG).exists() {
                return Ok(Found::Folder(folder));
            }
            if plain == nano::NAME {
                return Ok(Found::Nano);
            }
        }
        if name.is_dir() {
            return Ok(Found::Folder(name.to_owned()));
        }
        let names: Vec<String> = self.list().into_iter().map(|model| model.name).collect();
        Err(Error::new(ErrorKind::Io, name.display(), "there is no such folder, and no model of this name")
            .fix(format!(
                "give the folder of a model, or one of {}; `unigen pull` brings more",
                names.join(", ")
            )))
    }

    /// The folder that the settings of a run call `name`: that of a model of this library, or the path as it is, which an
    /// earlier run may make.
    ///
    /// # Errors
    /// `Config` for the nano model, which is inside the program.
    pub fn folder_of(&self, name: &Path) -> Result<PathBuf> {
        match self.find(name) {
            Ok(Found::Folder(folder)) => Ok(folder),
            Ok(Found::Nano) if !name.is_dir() => {
                let what = "is inside the program, and a run starts from a folder";
                Err(Error::new(ErrorKind::Config, nano::NAME, what)
                    .fix("give the folder models/nano of the repository"))
            }
            _ => Ok(name.to_owned()),
        }
    }

    /// All models, the nano model first.
    pub fn list(&self) -> Vec<Listed> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut folders: Vec<(String, PathBuf)> = entries
            .map(|entry| (entry.file_name(), entry.path()))
            .filter(|(name, path)| is_name(name) && path.join(ModelFolder::CONFIG).is_file())
            .map(|(name, path)| (name.to_string_lossy().into_owned(), path))
            .collect();
        folders.sort();
        let nano = (!folders.iter().any(|(name, _)| name == nano::NAME)).then(nano);
        nano.into_iter().chain(folders.into_iter().map(|(name, path)| listed(name, &path))).collect()
    }
}

/// Whether a folder of this name can be a model: hidden ones are not, such as those that are not whole yet.
fn is_name(name: &OsStr) -> bool {
    !name.to_string_lossy().starts_with('.')
}

impl Found {
    /// Opens its files.
    ///
    /// # Errors
    /// Those of [`ModelFolder::parts`].
    pub fn parts(&self) -> Result<ModelParts> {
        match self {
            Found::Folder(folder) => ModelFolder::at(folder).parts(),
            Found::Nano => nano::parts(),
        }
    }

    /// Opens the model on `device`.
    ///
    /// # Errors
    /// Those of [`Engine::open`].
    pub fn open(&self, device: &Device) -> Result<Engine> {
        Engine::new(self.parts()?, device)
    }

    /// Its image tokenizer alone and the sizes of it; the folder may hold nothing else.
    ///
    /// # Errors
    /// Those of [`ModelFolder::image_tokenizer`].
    pub fn image_tokenizer(&self, device: &Device) -> Result<(TokenizerConfig, ImageTokenizer)> {
        match self {
            Found::Folder(folder) => ModelFolder::at(folder).image_tokenizer(device),
            Found::Nano => {
                let ModelParts { config, image_tokenizer, .. } = nano::parts()?;
                let module = ImageTokenizer::new(&config.image_tokenizer, device)?;
                Ok((config.image_tokenizer, load(module, &image_tokenizer, keys::same)?))
            }
        }
    }
}

fn nano() -> Listed {
    let abilities = nano::parts().map(|parts| abilities(&parts.config, &parts.model, parts.vision.is_some()));
    Listed {
        name: nano::NAME.into(),
        kind: None,
        size: nano::size(),
        precision: nano::parts().map(|parts| precision(&parts.model)).unwrap_or_default(),
        abilities,
        licence: Some("Apache-2.0".into()),
    }
}

fn listed(name: String, folder: &Path) -> Listed {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    let origin = Origin::of(folder);
    let opened = ModelFolder::at(folder).parts();
    let precision = opened.as_ref().map(|parts| precision(&parts.model)).unwrap_or_default();
    let abilities = opened.map(|parts| abilities(&parts.config, &parts.model, parts.vision.is_some()));
    let licence = origin.as_ref().and_then(|origin| origin.licence.clone());
    Listed { name, kind: origin.map(|origin| origin.kind), size, precision, abilities, licence }
}

/// What a model of these sizes and weights can do.
fn abilities(config: &ModelConfig, model: &Checkpoint, has_encoder: bool) -> Vec<Ability> {
    let tower = has_encoder && model.contains("mm_projector.0.weight");
    let has_parts = |ability: &Ability| match ability {
        Ability::Draw => true,
        Ability::Edit => tower,
        Ability::Answer => tower || config.sees_codes,
    };
    let all = [Ability::Draw, Ability::Edit, Ability::Answer].into_iter();
    all.filter(|ability| config.can(*ability)).filter(has_parts).collect()
}

/// The type that most bytes of the layers have, in lower case: `bf16`, `q4_0`.
fn precision(model: &Checkpoint) -> String {
    let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
    for name in model.names().filter(|name| name.contains(".layers.")) {
        if let (Some(element_type), Some(shape)) = (model.element_type(name), model.shape(name)) {
            *bytes.entry(element_type.to_string()).or_default() += element_type.bytes(shape).unwrap_or(0);
        }
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(name, _)| name.to_lowercase()).unwrap_or_default()
}
