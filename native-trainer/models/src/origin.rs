//! Where a model comes from, kept in its folder.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use unigen_core::Result;
use unigen_core::config::Config;

/// Where the parts of an imported model come from: its `origin.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What was imported: `parts`, `unigen` or `show-o`.
    pub kind: String,
    /// The licence of the weights, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The source of each part: `decoder`, `vision`, `image_tokenizer`, `tokenizer`.
    #[serde(default)]
    pub parts: BTreeMap<String, Source>,
}

/// Where one part comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A repository of the Hub at one commit.
    Repository {
        /// `owner/name`
        repository: String,
        /// The commit's hash.
        commit: String,
    },
    /// A file or folder of the machine that imported it.
    Path {
        /// As the user gave it.
        path: String,
    },
}

impl Source {
    /// A file or folder.
    pub fn path(path: &Path) -> Self {
        Self::Path { path: path.display().to_string() }
    }
}

impl Origin {
    /// Its name in the model folder.
    pub const FILE: &str = "origin.json";

    /// The origin of the model in `folder`; nothing where nobody has noted it.
    pub fn of(folder: &Path) -> Option<Self> {
        Self::read(&folder.join(Self::FILE)).ok()
    }
}

impl Config for Origin {
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}
