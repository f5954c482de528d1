//! Cases: a picture, an instruction, and the wanted result.

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use rayon::prelude::*;
use serde::Deserialize;
use std::fs;
use std::path::Path;
use unigen_core::picture::Picture;
use unigen_training::data::rng_at;

use crate::world::{Domain, Edit, EditKind, Scene, sample_edit};

/// One edit to be judged.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: EditKind,
    pub before: Before,
    pub instruction: String,
    /// The scene that the edited picture should show.
    pub wanted: Scene,
}

/// The picture to edit.
#[derive(Clone, Debug)]
pub enum Before {
    Scene(Scene),
    /// A picture of any size. The judge detects what it shows.
    Picture(RgbImage),
}

/// `each` edits of every kind of scenes of a split, with seeds derived from `seed`.
pub fn held_out_cases(domain: impl Into<Domain>, seed: u64, each: u64) -> Vec<Case> {
    let domain = domain.into();
    let wanted: Vec<(u64, EditKind)> =
        EditKind::ALL.into_iter().flat_map(|kind| (0..each).map(move |index| (index, kind))).collect();
    let case = |(index, kind): (u64, EditKind)| {
        // Each kind has its own stream, so more cases per kind do not change the first ones.
        let mut rng = rng_at(seed, kind as u64 + EditKind::ALL.len() as u64 * index);
        Case::from(sample_edit(&mut rng, domain, kind))
    };
    wanted.into_par_iter().map(case).collect()
}

impl From<Edit> for Case {
    fn from(edit: Edit) -> Self {
        let Edit { kind, before, instruction, after, .. } = edit;
        Self { kind, before: Before::Scene(before), instruction, wanted: after }
    }
}

/// One line of a file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "type")]
    kind: EditKind,
    before: LineBefore,
    instruction: String,
    wanted: Scene,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LineBefore {
    Picture(String),
    Scene(Scene),
}

/// Reads cases, one JSON object per line, and skips empty lines. `type` is one of ImgEdit's nine, `before` is a scene
/// or the path of a picture relative to the file's folder, and `wanted` is the requested scene:
///
/// ```json
/// {"type": "adjust", "instruction": "paint the dog blue", "before": "dog.png", "wanted": {"objects": [
///   {"class": "dog", "color": "blue", "center": [0.5, 0.5], "size": 0.6}], "background": {"plain": "white"}, "style": "plain"}}
/// ```
///
/// # Errors
/// Errors name the file and the line (from 1), and say what is wrong.
pub fn read_cases(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    let cases = lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
        case(line, folder).with_context(|| format!("{}, line {number}", path.display()))
    });
    let cases = cases.collect::<Result<Vec<_>>>()?;
    ensure!(!cases.is_empty(), "{} has no cases; write one JSON object per line", path.display());
    Ok(cases)
}

fn case(line: &str, folder: &Path) -> Result<Case> {
    let Line { kind, before, instruction, wanted } = serde_json::from_str(line).context(
        "this is not an edit; it needs \"type\", \"before\" (a scene or the path of a picture), \"instruction\" and \"wanted\" (a scene)",
    )?;
    ensure!(!instruction.trim().is_empty(), "the instruction is empty; say what to change");
    let before = match before {
        LineBefore::Scene(scene) => Before::Scene(scene),
        LineBefore::Picture(name) => {
            let file = folder.join(name);
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let picture = Picture::decode(&bytes).with_context(|| file.display().to_string())?;
            Before::Picture(picture)
        }
    };
    Ok(Case { kind, before, instruction, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Split;

    #[test]
    fn there_are_as_many_of_each_kind_and_more_leave_the_first() {
        let (few, many) = (held_out_cases(Split::Test, 3, 2), held_out_cases(Split::Test, 3, 3));
        assert_eq!((few.len(), many.len()), (18, 27));
        for kind in EditKind::ALL {
            let words = |cases: &[Case]| -> Vec<String> {
                cases.iter().filter(|c| c.kind == kind).map(|c| c.instruction.clone()).collect()
            };
            assert_eq!(words(&many)[..2], words(&few));
        }
        assert!(many.iter().all(|case| Split::Test.allows(&case.wanted)));
    }

    #[test]
    fn files_of_cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cases.jsonl");
        RgbImage::new(9, 7).save(folder.path().join("a.png")).unwrap();
        let scene = r#"{"objects":[{"class":"dog","color":"blue","center":[0.5,0.5],"size":0.6}],"background":{"plain":"white"},"style":"plain"}"#;
        let line = |before: &str| {
            format!(
                r#"{{"type":"adjust","instruction":"paint the dog blue","before":{before},"wanted":{scene}}}"#
            )
        };
        fs::write(&file, format!("{}\n\n{}\n", line("\"a.png\""), line(scene))).unwrap();
        let cases = read_cases(&file).unwrap();
        assert!(matches!(&cases[0].before, Before::Picture(picture) if picture.dimensions() == (9, 7)));
        assert!(matches!(&cases[1].before, Before::Scene(before) if *before == cases[1].wanted));
        let fails = |text: String, words: &[&str]| {
            fs::write(&file, text).unwrap();
            let error = format!("{:#}", read_cases(&file).unwrap_err());
            words.iter().for_each(|word| assert!(error.contains(word), "{error}"));
        };
        fails(format!("{}\n{}", line(scene), line("\"b.png\"")), &["line 2", "cannot read", "b.png"]);
        fails(line(scene).replace("adjust", "adjusted"), &["cases.jsonl", "line 1", "adjusted"]);
        fails(line(scene).replace("paint the dog blue", " "), &["line 1", "instruction is empty"]);
        fails(line(scene).replace("wanted", "want"), &["line 1", "want"]);
        fails("\n".into(), &["no cases"]);
    }
}
