//! GenEval's rules, which decide whether the objects detected in a picture are what its prompt asks for.

use serde::{Deserialize, Serialize};

use super::{Clause, Prompt, Relation, Tag, relations};
use crate::detect::Detection;

/// A detection counts if its score is above this.
pub const THRESHOLD: f32 = 0.3;
/// The same threshold for prompts that count objects.
pub const COUNTING_THRESHOLD: f32 = 0.9;
/// The rules look at no more than this many detections per class.
pub const MAX_OBJECTS: usize = 16;

/// Whether a picture shows what its prompt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub correct: bool,
    /// What is wrong, one line for each fault. Empty if nothing is wrong.
    pub reason: String,
}

/// Applies GenEval's rules to the detections in one picture.
pub fn judge(prompt: &Prompt, detections: &[Detection]) -> Verdict {
    let threshold = if prompt.tag == Tag::Counting { COUNTING_THRESHOLD } else { THRESHOLD };
    let found = |class: &str| {
        let mut found: Vec<&Detection> = detections
            .iter()
            .filter(|detection| detection.class == class && detection.score > threshold)
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MAX_OBJECTS);
        found
    };
    let mut reasons = Vec::new();
    // For each clause, the objects that fulfil it, if any.
    let mut matched: Vec<Option<Vec<&Detection>>> = Vec::with_capacity(prompt.include.len());
    for clause in &prompt.include {
        let mut objects = found(&clause.class);
        objects.truncate(clause.count);
        let verdict = judge_clause(clause, &objects, &matched);
        matched.push(verdict.is_ok().then_some(objects));
        reasons.extend(verdict.err().into_iter().flatten());
    }
    for clause in &prompt.exclude {
        let count = found(&clause.class).len();
        if count >= clause.count {
            reasons.push(format!("expected {}<{}, found {count}", clause.class, clause.count));
        }
    }
    Verdict { correct: reasons.is_empty(), reason: reasons.join("\n") }
}

/// Checks the most confident objects of the clause's class, at most as many as the clause asks for.
fn judge_clause(
    clause: &Clause,
    objects: &[&Detection],
    matched: &[Option<Vec<&Detection>>],
) -> Result<(), Vec<String>> {
    let Clause { class, count, .. } = clause;
    if objects.len() < *count {
        return Err(vec![format!("expected {class}>={count}, found {}", objects.len())]);
    }
    if let Some(color) = &clause.color {
        let right = objects.iter().filter(|object| object.color.as_ref() == Some(color)).count();
        if right < *count {
            let colors: Vec<_> =
                objects.iter().map(|object| object.color.as_deref().unwrap_or("none")).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(json: &str) -> Prompt {
        serde_json::from_str(json).expect("a valid prompt")
    }

    fn at(class: &str, score: f32, color: Option<&str>, [x, y]: [f32; 2]) -> Detection {
        let (class, color) = (class.to_owned(), color.map(str::to_owned));
        Detection { class, score, color, bbox: [x - 10., y - 10., x + 10., y + 10.] }
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
        let (red, blue) = (Some("red"), Some("blue"));
        assert!(judge(&prompt, &[at("car", 0.5, blue, [9., 9.]), at("car", 0.8, red, [50., 50.])]).correct);
        assert!(!judge(&prompt, &[at("car", 0.9, blue, [9., 9.]), at("car", 0.8, red, [50., 50.])]).correct);
    }

    #[test]
    fn both_colors_of_a_pair_must_be_right() {
        let json = r#"{"tag":"color_attr","include":[{"class":"car","count":1,"color":"red"},{"class":"dog","count":1,"color":"blue"}],"prompt":"a photo of a red car and a blue dog"}"#;
        let prompt = prompt(json);
        let scene = |car, dog| [at("car", 0.9, Some(car), [9., 9.]), at("dog", 0.9, Some(dog), [50., 50.])];
        assert!(judge(&prompt, &scene("red", "blue")).correct);
        assert!(!judge(&prompt, &scene("blue", "red")).correct);
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
}
