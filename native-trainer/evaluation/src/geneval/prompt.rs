//! GenEval's prompts: a text, and what a picture for it has to show.

use serde::{Deserialize, Serialize};
use std::{fmt, io::BufRead};
use thiserror::Error;

use super::Relation;
use crate::vocabulary::{Vocabulary, unknown};

/// One of GenEval's six tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    SingleObject,
    TwoObject,
    Counting,
    Colors,
    Position,
    ColorAttr,
}

impl Tag {
    /// All six in GenEval's order.
    pub const ALL: [Tag; 6] =
        [Tag::SingleObject, Tag::TwoObject, Tag::Counting, Tag::Colors, Tag::Position, Tag::ColorAttr];

    /// The name in GenEval's files, such as `color_attr`.
    pub fn name(self) -> &'static str {
        match self {
            Tag::SingleObject => "single_object",
            Tag::TwoObject => "two_object",
            Tag::Counting => "counting",
            Tag::Colors => "colors",
            Tag::Position => "position",
            Tag::ColorAttr => "color_attr",
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a picture has to show, or must not show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clause {
    pub class: String,
    /// The least number of objects that a picture has to show. In `exclude`, this many are too many.
    pub count: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Where these objects are, seen from those of an earlier clause of this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(Relation, usize)>,
}

impl Clause {
    /// A clause for `count` objects of a class.
    pub fn new(class: impl Into<String>, count: usize) -> Self {
        Clause { class: class.into(), count, color: None, position: None }
    }
}

/// One line of GenEval's `evaluation_metadata.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub tag: Tag,
    pub include: Vec<Clause>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Clause>,
    pub prompt: String,
}

/// Why a file of prompts cannot be used.
#[derive(Debug, Error)]
pub enum PromptError {
    #[error("line {line} of the GenEval prompts cannot be read: {cause}")]
    Read { line: usize, cause: std::io::Error },
    #[error("line {line} of the GenEval prompts is not a GenEval prompt: {cause}")]
    Parse { line: usize, cause: serde_json::Error },
    #[error("line {line} of the GenEval prompts: {what}")]
    Invalid { line: usize, what: String },
    #[error(
        "the file of GenEval prompts is empty; each line should be like {{\"tag\": \"single_object\", \"include\": [{{\"class\": \"bench\", \"count\": 1}}], \"prompt\": \"a photo of a bench\"}}"
    )]
    Empty,
}

/// Reads prompts in the format of `evaluation_metadata.jsonl` for a detector that knows `names`. Skips empty lines.
///
/// # Errors
/// Gives the number of the first line (from 1) that cannot be used, and the reason.
pub fn read_prompts(reader: impl BufRead, names: Vocabulary) -> Result<Vec<Prompt>, PromptError> {
    let mut prompts = Vec::new();
    for (line, text) in (1..).zip(reader.lines()) {
        let text = text.map_err(|cause| PromptError::Read { line, cause })?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let prompt: Prompt =
            serde_json::from_str(text).map_err(|cause| PromptError::Parse { line, cause })?;
        prompt.check(names).map_err(|what| PromptError::Invalid { line, what })?;
        prompts.push(prompt);
    }
    if prompts.is_empty() { Err(PromptError::Empty) } else { Ok(prompts) }
}

impl Prompt {
    /// Refuses a prompt with names that are not among `names`.
    pub(super) fn check(&self, names: Vocabulary) -> Result<(), String> {
        for Clause { class, color, .. } in self.include.iter().chain(&self.exclude) {
            if !names.classes.contains(&class.as_str()) {
                return Err(unknown("class", class, names.classes));
            }
            if let Some(color) = color
                && !names.colors.contains(&color.as_str())
            {
                return Err(unknown("color", color, names.colors));
            }
        }
        if self.include.is_empty() {
            return Err("\"include\" is empty, so every picture would be right".to_owned());
        }
        for (index, clause) in self.include.iter().enumerate() {
            if clause.count == 0 {
                return Err(format!("\"include\" wants 0 of {}; use \"exclude\" with count 1", clause.class));
            }
            if let Some((_, target)) = clause.position
                && target >= index
            {
                return Err(format!(
                    "the position of {} refers to clause {target}, not an earlier one",
                    clause.class
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Vocabulary = Vocabulary { classes: &["bench", "car", "tv remote"], colors: &["red"] };

    #[test]
    fn bad_lines_are_named() {
        let good = r#"{"tag":"single_object","include":[{"class":"bench","count":1}],"prompt":"a photo of a bench"}"#;
        let error = |line: &str| {
            let text = format!("{good}\n\n{line}\n");
            read_prompts(text.as_bytes(), NAMES).expect_err("bad").to_string()
        };
        assert!(error("{").contains("line 3"));
        let unicorn = error(&good.replace("bench\",\"count", "unicorn\",\"count"));
        assert!(unicorn.contains("line 3") && unicorn.contains("unknown class \"unicorn\""), "{unicorn}");
        let remote = error(&good.replace("bench\",\"count", "remote\",\"count"));
        assert!(remote.contains("did you mean \"tv remote\"?"), "{remote}");
        let mauve = error(&good.replace("\"count\":1", "\"count\":1,\"color\":\"mauve\""));
        assert!(mauve.contains("unknown color \"mauve\""), "{mauve}");
        let excluded = good.replace("],", "],\"exclude\":[{\"class\":\"unicorn\",\"count\":1}],");
        assert!(error(&excluded).contains("unknown class \"unicorn\""));
        assert!(
            error(&good.replace("\"count\":1", "\"count\":1,\"position\":[\"above\",0]")).contains("earlier")
        );
        assert!(error(&good.replace("single_object", "triple_object")).contains("triple_object"));
        assert!(matches!(read_prompts(&b"\n"[..], NAMES), Err(PromptError::Empty)));
    }
}
