//! GenEval (Ghosh et al. 2023, arXiv 2310.11513): its prompts, its rules and its scores. The rules are those of
//! `evaluate_images.py`; what detects the objects and their colours is up to the caller.

use std::{fmt, io::BufRead};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::data::stickers::{Class, Color, Relation, relations};

/// A detection counts above this score.
pub const THRESHOLD: f32 = 0.3;
/// A detection counts above this score where objects are counted.
pub const COUNTING_THRESHOLD: f32 = 0.9;
/// At most so many detections of a class are looked at.
pub const MAX_OBJECTS: usize = 16;

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
    pub class: Class,
    /// At least so many are wanted; in `exclude`, so many are too many.
    pub count: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// Where these objects are, seen from those of an earlier clause of this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(Relation, usize)>,
}

impl Clause {
    /// So many objects of a class.
    pub fn new(class: Class, count: usize) -> Self {
        Clause { class, count, color: None, position: None }
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

/// Reads prompts in the format of `evaluation_metadata.jsonl`; empty lines are skipped.
///
/// # Errors
/// With the number of the first line (from 1) that cannot be used, and why.
pub fn read_prompts(reader: impl BufRead) -> Result<Vec<Prompt>, PromptError> {
    let mut prompts = Vec::new();
    for (line, text) in (1..).zip(reader.lines()) {
        let text = text.map_err(|cause| PromptError::Read { line, cause })?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        let prompt: Prompt =
            serde_json::from_str(text).map_err(|cause| PromptError::Parse { line, cause })?;
        prompt.check().map_err(|what| PromptError::Invalid { line, what })?;
        prompts.push(prompt);
    }
    if prompts.is_empty() { Err(PromptError::Empty) } else { Ok(prompts) }
}

impl Prompt {
    fn check(&self) -> Result<(), String> {
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

/// An object found in a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub class: Class,
    /// 0 to 1.
    pub score: f32,
    /// The colour it is classified as, if that was done.
    pub color: Option<Color>,
    /// `[left, top, right, bottom]` in any unit, y down.
    pub bbox: [f32; 4],
}

/// Whether a picture shows what its prompt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub correct: bool,
    /// What is wrong, one line each; empty if nothing is.
    pub reason: String,
}

/// GenEval's rules on the detections in one picture.
pub fn judge(prompt: &Prompt, detections: &[Detection]) -> Verdict {
    let threshold = if prompt.tag == Tag::Counting { COUNTING_THRESHOLD } else { THRESHOLD };
    let found = |class: Class| {
        let mut found: Vec<&Detection> = detections
            .iter()
            .filter(|detection| detection.class == class && detection.score > threshold)
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MAX_OBJECTS);
        found
    };
    let mut reasons = Vec::new();
    // The objects that fulfil each clause, if they do.
    let mut matched: Vec<Option<Vec<&Detection>>> = Vec::with_capacity(prompt.include.len());
    for clause in &prompt.include {
        let mut objects = found(clause.class);
        objects.truncate(clause.count);
        let verdict = judge_clause(clause, &objects, &matched);
        matched.push(verdict.is_ok().then_some(objects));
        reasons.extend(verdict.err().into_iter().flatten());
    }
    for clause in &prompt.exclude {
        let count = found(clause.class).len();
        if count >= clause.count {
            reasons.push(format!("expected {}<{}, found {count}", clause.class, clause.count));
        }
    }
    Verdict { correct: reasons.is_empty(), reason: reasons.join("\n") }
}

/// Checks the most confident objects of a clause's class, at most as many as it wants.
fn judge_clause(
    clause: &Clause,
    objects: &[&Detection],
    matched: &[Option<Vec<&Detection>>],
) -> Result<(), Vec<String>> {
    let Clause { class, count, .. } = clause;
    if objects.len() < *count {
        return Err(vec![format!("expected {class}>={count}, found {}", objects.len())]);
    }
    if let Some(color) = clause.color {
        let right = objects.iter().filter(|object| object.color == Some(color)).count();
        if right < *count {
            let colors: Vec<_> =
                objects.iter().map(|object| object.color.map_or("none", Color::name)).collect();
            return Err(vec![format!(
                "expected {color} {class}>={count}, found {right}; colors {}",
                colors.join(", ")
            )]);
        }
    }
    if let Some((relation, target)) = clause.position {
        let Some(targets) = matched.get(target).and_then(Option::as_ref) else {
            return Err(vec![format!("no target for {class} to be {}", relation.name())]);
        };
        for (object, target) in
            objects.iter().flat_map(|object| targets.iter().map(move |target| (object, target)))
        {
            let held = relations(&object.bbox, &target.bbox);
            if !held.contains(&relation) {
                let held = held.into_iter().map(Relation::name).collect::<Vec<_>>().join(" and ");
                let held = if held.is_empty() { "no relation to" } else { &held };
                return Err(vec![format!(
                    "expected {class} {} target, found {held} target",
                    relation.name()
                )]);
            }
        }
    }
    Ok(())
}

/// How often pictures were right, task by task. Serialises as `{"single_object": {"score": .., "images": ..}, ..}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Right and all pictures of each tag in [`Tag::ALL`]'s order.
    counts: [(usize, usize); 6],
}

impl Scores {
    /// Counts one picture.
    pub fn add(&mut self, tag: Tag, correct: bool) {
        let (right, all) = &mut self.counts[tag as usize];
        *right += usize::from(correct);
        *all += 1;
    }

    /// The mean over the pictures of a tag, 0 to 1; None without any.
    pub fn tag(&self, tag: Tag) -> Option<f64> {
        let (right, all) = self.counts[tag as usize];
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// GenEval's overall score: the unweighted mean of the tags that have pictures, 0 to 1; None without any.
    pub fn overall(&self) -> Option<f64> {
        let tags: Vec<f64> = Tag::ALL.into_iter().filter_map(|tag| self.tag(tag)).collect();
        (!tags.is_empty()).then(|| tags.iter().sum::<f64>() / tags.len() as f64)
    }

    /// How many pictures of a tag were judged.
    pub fn images(&self, tag: Tag) -> usize {
        self.counts[tag as usize].1
    }

    /// How many pictures were judged.
    pub fn all_images(&self) -> usize {
        self.counts.iter().map(|(_, all)| all).sum()
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Score {
            score: Option<f64>,
            images: usize,
        }
        let score = |tag| (tag, Score { score: self.tag(tag), images: self.images(tag) });
        serializer.collect_map(Tag::ALL.map(score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> Class {
        Class::from_name(name).expect("a GenEval class")
    }

    fn prompt(json: &str) -> Prompt {
        read_prompts(json.as_bytes()).expect("a valid prompt").remove(0)
    }

    fn at(name: &str, score: f32, color: Option<Color>, [x, y]: [f32; 2]) -> Detection {
        Detection { class: class(name), score, color, bbox: [x - 10., y - 10., x + 10., y + 10.] }
    }

    #[test]
    fn single_objects_need_a_score_above_the_threshold() {
        let bench = prompt(
            r#"{"tag":"single_object","include":[{"class":"bench","count":1}],"prompt":"a photo of a bench"}"#,
        );
        assert!(judge(&bench, &[at("bench", 0.31, None, [50., 50.])]).correct);
        let verdict = judge(&bench, &[at("bench", 0.3, None, [50., 50.]), at("cat", 0.9, None, [9., 9.])]);
        assert_eq!(verdict, Verdict { correct: false, reason: "expected bench>=1, found 0".into() });
    }

    #[test]
    fn counting_wants_exactly_so_many_above_nine_tenths() {
        let json = r#"{"tag":"counting","include":[{"class":"zebra","count":3}],"exclude":[{"class":"zebra","count":4}],"prompt":"a photo of three zebras"}"#;
        let zebras =
            |scores: &[f32]| scores.iter().map(|s| at("zebra", *s, None, [50., 50.])).collect::<Vec<_>>();
        let prompt = prompt(json);
        assert!(judge(&prompt, &zebras(&[0.95, 0.91, 0.99, 0.9, 0.4])).correct);
        assert!(!judge(&prompt, &zebras(&[0.95, 0.9, 0.99])).correct);
        assert_eq!(judge(&prompt, &zebras(&[0.95; 4])).reason, "expected zebra<4, found 4");
        assert!(json.contains(&serde_json::to_string(&prompt.exclude).expect("plain data")));
    }

    #[test]
    fn colors_are_those_of_the_most_confident_object() {
        let json = r#"{"tag":"colors","include":[{"class":"car","count":1,"color":"red"}],"prompt":"a photo of a red car"}"#;
        let prompt = prompt(json);
        let (red, blue) = (Some(Color::Red), Some(Color::Blue));
        assert!(judge(&prompt, &[at("car", 0.5, blue, [9., 9.]), at("car", 0.8, red, [50., 50.])]).correct);
        assert!(!judge(&prompt, &[at("car", 0.9, blue, [9., 9.]), at("car", 0.8, red, [50., 50.])]).correct);
    }

    #[test]
    fn both_colors_of_a_pair_must_be_right() {
        let json = r#"{"tag":"color_attr","include":[{"class":"car","count":1,"color":"red"},{"class":"dog","count":1,"color":"blue"}],"prompt":"a photo of a red car and a blue dog"}"#;
        let prompt = prompt(json);
        let scene = |car, dog| [at("car", 0.9, Some(car), [9., 9.]), at("dog", 0.9, Some(dog), [50., 50.])];
        assert!(judge(&prompt, &scene(Color::Red, Color::Blue)).correct);
        assert!(!judge(&prompt, &scene(Color::Blue, Color::Red)).correct);
    }

    #[test]
    fn positions_follow_the_shrunk_offset() {
        let json = r#"{"tag":"position","include":[{"class":"teddy bear","count":1},{"class":"dog","count":1,"position":["right of",0]}],"prompt":"a photo of a dog right of a teddy bear"}"#;
        let prompt = prompt(json);
        let judge_at =
            |place| judge(&prompt, &[at("teddy bear", 0.9, None, [50., 50.]), at("dog", 0.9, None, place)]);
        assert!(judge_at([80., 50.]).correct);
        assert!(judge_at([80., 80.]).correct, "a diagonal is both right of and below");
        assert!(!judge_at([20., 50.]).correct);
        // Boxes of 20 shrink the offset by 4 per axis: 7 leaves 3, less than half of its length.
        assert!(!judge_at([57., 50.]).correct);
        assert!(judge_at([58.1, 50.]).correct);
        assert_eq!(judge(&prompt, &[at("dog", 0.9, None, [80., 50.])]).reason.lines().count(), 2);
    }

    #[test]
    fn relations_can_hold_both_or_not_at_all() {
        let unit = |x: f32, y: f32| [x - 1., y - 1., x + 1., y + 1.];
        assert_eq!(relations(&unit(0., 0.), &unit(0., 0.)), []);
        assert_eq!(relations(&unit(-9., -9.), &unit(0., 0.)), [Relation::Left, Relation::Above]);
        assert_eq!(relations(&unit(0.5, 9.), &unit(0., 0.)), [Relation::Below]);
    }

    #[test]
    fn bad_lines_are_named() {
        let good = r#"{"tag":"single_object","include":[{"class":"bench","count":1}],"prompt":"a photo of a bench"}"#;
        let error =
            |line: &str| read_prompts(format!("{good}\n\n{line}\n").as_bytes()).expect_err("bad").to_string();
        assert!(error("{").contains("line 3"));
        assert!(
            error(&good.replace("bench\",\"count", "unicorn\",\"count"))
                .contains("unknown class \"unicorn\"")
        );
        assert!(
            error(&good.replace("\"count\":1", "\"count\":1,\"position\":[\"above\",0]")).contains("earlier")
        );
        assert!(error(&good.replace("single_object", "triple_object")).contains("triple_object"));
        assert!(matches!(read_prompts(&b"\n"[..]), Err(PromptError::Empty)));
    }

    #[test]
    fn overall_is_the_mean_of_the_tags() {
        let mut scores = Scores::default();
        for correct in [true, true, true, false] {
            scores.add(Tag::SingleObject, correct);
        }
        scores.add(Tag::Position, false);
        assert_eq!(scores.tag(Tag::SingleObject), Some(0.75));
        assert_eq!(scores.tag(Tag::Colors), None);
        assert_eq!(scores.overall(), Some(0.375));
        assert_eq!((scores.images(Tag::SingleObject), scores.all_images()), (4, 5));
    }
}
