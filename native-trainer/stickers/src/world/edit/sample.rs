//! Draws random edits.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use unigen_training::data::rng_at;

use super::{EditKind, chinese, instruct::take, step::Step};
use crate::world::{Domain, Scene, chinese::CHINESE, random::pick, sample::Cast, worded};

/// An edit with its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub kind: EditKind,
    pub before: Scene,
    pub instruction: String,
    pub after: Scene,
    /// A caption of the scene after the edit.
    pub description: String,
}

/// Edit `index` of a stream of all kinds.
pub fn edit_at(domain: impl Into<Domain>, seed: u64, index: u64) -> Edit {
    edit_of(&EditKind::ALL, domain, seed, index)
}

/// Edit `index` of a stream of `kinds`, which must not be empty. All kinds come equally often; a kind that is named
/// twice comes twice as often.
pub fn edit_of(kinds: &[EditKind], domain: impl Into<Domain>, seed: u64, index: u64) -> Edit {
    let rng = &mut rng_at(seed, index);
    let kind = pick(rng, kinds);
    sample_edit(rng, domain, kind)
}

/// An edit of a kind. Neither of its scenes shows a combination that is held out for another split, and at least one of
/// them belongs to this split.
pub fn sample_edit(rng: &mut impl Rng, domain: impl Into<Domain>, kind: EditKind) -> Edit {
    let domain @ Domain { scope, split } = domain.into();
    loop {
        let Some(before) = sample_before(rng, domain, kind) else { continue };
        let Some(Step { instruction, after, .. }) = take(rng, domain, kind, &before) else { continue };
        let allowed = split.allows(&before) && split.allows(&after);
        if allowed && (split.owns(&before) || split.owns(&after)) {
            let description = worded(scope, &after, rng);
            let chinese = scope.chinese && rng.random_bool(CHINESE);
            let instruction = chinese
                .then(|| chinese::instruction(kind, &before, &after, rng))
                .flatten()
                .unwrap_or(instruction);
            return Edit { kind, before, instruction, after, description };
        }
    }
}

/// A scene that leaves room for the edit.
fn sample_before(rng: &mut impl Rng, domain: Domain, kind: EditKind) -> Option<Scene> {
    use EditKind::*;
    let cast = match (kind, rng.random_range(0..100)) {
        (Add, 0..45) => Cast::Two(None),
        (Add, 45..80) => Cast::Mixed(3),
        (Add, _) => Cast::Mixed(4),
        (Remove | Extract, 0..50) => Cast::Two(None),
        (Remove | Extract, 50..80) => Cast::Mixed(rng.random_range(3..=4)),
        (Remove, 80..93) => Cast::Same(rng.random_range(2..=4)),
        (Compose, 0..60) => Cast::Two(None),
        (Compose, 60..85) => Cast::Mixed(3),
        (_, 0..45) => Cast::One,
        (_, 45..80) => Cast::Two(None),
        (_, 80..90) => Cast::Same(rng.random_range(2..=3)),
        _ => Cast::Mixed(3),
    };
    let mut scene = cast.stage(rng, domain)?;
    if kind == Add {
        scene.objects.pop();
    }
    Some(scene)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::world::{Background, Split, Tint};

    fn edits(kind: EditKind) -> impl Iterator<Item = Edit> {
        (0..400).map(move |index| sample_edit(&mut rng_at(11, index), Split::Train, kind))
    }

    /// The objects of one scene that the other lacks.
    fn missing(from: &Scene, to: &Scene) -> usize {
        from.objects.iter().filter(|object| !to.objects.contains(object)).count()
    }

    #[test]
    fn edits_are_clear_worded_and_deterministic() {
        for kind in EditKind::ALL {
            let mut wordings = HashSet::new();
            for edit in edits(kind) {
                assert!(edit.before.is_clear() && edit.after.is_clear(), "{edit:?}");
                assert_ne!(edit.before, edit.after);
                assert!(!edit.instruction.contains(['{', '}']) && !edit.instruction.contains("  "));
                assert_eq!(edit.instruction, edit.instruction.to_lowercase());
                wordings.insert(edit.instruction);
            }
            assert!(wordings.len() > 30, "{kind:?}: only {} wordings", wordings.len());
        }
        assert_eq!(edit_at(Split::Test, 1, 2), edit_at(Split::Test, 1, 2));
    }

    #[test]
    fn adding_and_removing_leave_the_rest() {
        for edit in edits(EditKind::Add) {
            assert_eq!((missing(&edit.before, &edit.after), missing(&edit.after, &edit.before)), (0, 1));
            assert_eq!(
                (edit.before.background, edit.before.style),
                (edit.after.background, edit.after.style)
            );
        }
        for edit in edits(EditKind::Remove) {
            assert!(missing(&edit.before, &edit.after) >= 1 && missing(&edit.after, &edit.before) == 0);
            assert_eq!(
                (edit.before.background, edit.before.style),
                (edit.after.background, edit.after.style)
            );
        }
    }

    #[test]
    fn changes_keep_place_and_number() {
        for kind in [EditKind::Replace, EditKind::Adjust, EditKind::Action] {
            for edit in edits(kind) {
                assert_eq!(edit.before.objects.len(), edit.after.objects.len());
                assert_eq!(
                    (edit.before.background, edit.before.style),
                    (edit.after.background, edit.after.style)
                );
                for (old, new) in
                    edit.before.objects.iter().zip(&edit.after.objects).filter(|(old, new)| old != new)
                {
                    assert_eq!(kind == EditKind::Replace, old.class != new.class);
                    assert!(kind == EditKind::Action || old.center == new.center);
                    assert!(kind != EditKind::Action || (old.color, old.size) == (new.color, new.size));
                }
            }
        }
    }

    #[test]
    fn background_and_style_leave_the_objects() {
        for edit in edits(EditKind::Background) {
            assert_eq!((&edit.before.objects, edit.before.style), (&edit.after.objects, edit.after.style));
        }
        for edit in edits(EditKind::Style) {
            assert_eq!(
                (&edit.before.objects, edit.before.background),
                (&edit.after.objects, edit.after.background)
            );
        }
    }

    #[test]
    fn extracting_leaves_one_object_on_white() {
        for edit in edits(EditKind::Extract) {
            assert_eq!(edit.after.background, Background::Plain(Tint::White));
            assert_eq!(edit.after.objects.len(), 1);
            assert!(edit.before.objects.contains(&edit.after.objects[0]));
        }
    }

    #[test]
    fn edits_keep_to_their_split() {
        for index in 0..60 {
            for split in [Split::Validation, Split::Test] {
                let edit = edit_at(split, 5, index);
                assert!(split.allows(&edit.before) && split.allows(&edit.after));
                assert!(split.owns(&edit.before) || split.owns(&edit.after));
            }
            let edit = edit_at(Split::Train, 5, index);
            assert!(Split::Train.admits(&edit.before) && Split::Train.admits(&edit.after));
        }
    }
}
