//! The list of published models that `unigen pull` knows by name: `models/published.toml`.

use serde::Deserialize;
use unigen_core::{Error, ErrorKind, Result};

/// The list, inside the program.
const LIST: &str = include_str!("../../../../models/published.toml");

/// How a model is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Show-o checkpoint, an image tokenizer and a text tokenizer.
    ShowO,
    /// A UniGen checkpoint, an image tokenizer, a vision tower and a text tokenizer.
    Unigen,
    /// A language model with its tokenizer, an image tokenizer and a vision tower.
    Parts,
}

/// A model that can be pulled: repositories of the Hub, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// What the user calls it, and what its folder is called.
    pub name: String,
    /// How it is put together.
    pub kind: Kind,
    /// Repository of the checkpoint, or of the language model.
    pub checkpoint: String,
    /// The file of its weights, where the repository has several to choose from.
    pub file: Option<String>,
    /// Repository of the image tokenizer.
    pub image_tokenizer: String,
    /// Repository of the understanding encoder.
    pub vision: Option<String>,
    /// Repository of the text tokenizer, where it is not the checkpoint's.
    pub tokenizer: Option<String>,
    /// Whether it draws as Show-o-Turbo does.
    #[serde(default)]
    pub turbo: bool,
    /// Side of its pictures in pixels, where the checkpoint does not say.
    pub image_size: Option<usize>,
    /// The licence that is known of it, where its card does not say.
    pub licence: Option<String>,
    /// What it is and does, in a few words.
    pub about: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    model: Vec<Published>,
}

impl Published {
    /// All models of the list.
    ///
    /// # Errors
    /// `Config` where the list is broken, which a test rules out.
    pub fn all() -> Result<Vec<Self>> {
        Self::read(LIST)
    }

    /// The models of a list in TOML.
    ///
    /// # Errors
    /// `Config` where it is no such list.
    pub fn read(list: &str) -> Result<Vec<Self>> {
        let list: List =
            toml::from_str(list).map_err(|e| Error::new(ErrorKind::Config, "published.toml", e))?;
        Ok(list.model)
    }

    /// The model `name` of the list.
    ///
    /// # Errors
    /// `Config` where there is none, with the names that there are.
    pub fn named(name: &str) -> Result<Self> {
        let all = Self::all()?;
        let names: Vec<String> = all.iter().map(|model| model.name.clone()).collect();
        all.into_iter().find(|model| model.name == name).ok_or_else(|| {
            let names = names.join(", ");
            Error::new(ErrorKind::Config, name, "is not in the list of published models")
                .fix(format!("name one of {names}, or a repository of the Hub as owner/name, with --kind"))
        })
    }

    /// The repository `checkpoint`, with the other parts that models of this `kind` have.
    pub fn like(kind: Kind, checkpoint: &str) -> Self {
        let name = checkpoint.rsplit('/').next().unwrap_or(checkpoint);
        Self {
            name: name.to_lowercase(),
            kind,
            checkpoint: checkpoint.into(),
            file: None,
            image_tokenizer: "showlab/magvitv2".into(),
            vision: None,
            tokenizer: (kind == Kind::ShowO).then(|| "microsoft/phi-1_5".into()),
            turbo: false,
            image_size: None,
            licence: None,
            about: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_list_is_sound() {
        let all = Published::all().unwrap();
        let names: HashSet<&String> = all.iter().map(|model| &model.name).collect();
        assert_eq!(names.len(), all.len());
        for model in &all {
            assert!(model.kind != Kind::Unigen || model.tokenizer.is_some(), "{}", model.name);
            assert!(!model.name.contains('/') && !model.about.is_empty(), "{}", model.name);
            assert_eq!(Published::named(&model.name).unwrap(), *model);
        }
        let error = Published::named("show-o-1024").unwrap_err().to_string();
        assert!(error.contains("show-o-turbo-512") && error.contains("owner/name"), "{error}");
    }
}
