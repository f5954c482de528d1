//! Edits of scenes to train on.

use anyhow::{Context, Result};
use rand::RngExt;
use unigen_evaluation::unknown;
use unigen_training::data::{Edit, Edits, rng_at};

use crate::pictures::scope_name;
use crate::world::{self, Domain, EditKind, Renderer, Scope, Split, description, edit_of};

/// The kinds of edit with the given `names`, or all kinds if `names` is empty.
///
/// # Errors
/// If there is no such kind.
fn kinds(names: &[String]) -> Result<Vec<EditKind>> {
    if names.is_empty() {
        return Ok(EditKind::ALL.into());
    }
    let kind = |name: &String| {
        let known = || unknown("kind of edit", name, &EditKind::ALL.map(EditKind::name));
        EditKind::from_name(name).with_context(known)
    };
    names.iter().map(kind).collect()
}

/// Draws an edit as pictures of `size` pixels a side.
fn drawn(renderer: &Renderer, edit: world::Edit, description: String, size: u32) -> Edit {
    let [before, after] = [&edit.before, &edit.after].map(|scene| renderer.render(scene, size, size));
    Edit { before, instruction: edit.instruction, after, description }
}

/// An endless stream of edits of scenes of a domain. Captions describe the results.
pub struct SceneEdits {
    renderer: Renderer,
    domain: Domain,
    seed: u64,
    kinds: Vec<EditKind>,
}

impl SceneEdits {
    /// Edits of the kinds with the given `names`, or of all kinds if `names` is empty. All come equally often; a kind
    /// that is named twice comes twice as often.
    ///
    /// # Errors
    /// If there is no such kind.
    pub fn new(domain: impl Into<Domain>, seed: u64, names: &[String]) -> Result<Self> {
        Ok(Self { kinds: kinds(names)?, ..Self::all(domain, seed) })
    }

    /// Edits of all kinds.
    pub fn all(domain: impl Into<Domain>, seed: u64) -> Self {
        Self { renderer: Renderer::new(), domain: domain.into(), seed, kinds: EditKind::ALL.into() }
    }
}

impl Edits for SceneEdits {
    fn name(&self) -> String {
        let Domain { scope, split } = self.domain;
        format!("edits {} {split:?} {:?}{}", self.seed, self.kinds, scope_name(scope))
    }

    fn count(&self) -> Option<u64> {
        None
    }

    fn read(&self, index: u64, size: u32) -> Result<Edit> {
        let edit = edit_of(&self.kinds, self.domain, self.seed, index);
        let description = edit.description.clone();
        Ok(drawn(&self.renderer, edit, description, size))
    }
}

/// Edits of training scenes that change the scene's full description. Other edits (another size, a move within a third
/// of the picture) have a description that is already true before the edit. Rewards follow the description, so they
/// would teach a model not to make such edits. The results have full descriptions, since the caption of every second
/// edit is already true before it.
pub struct DescribedEdits {
    renderer: Renderer,
    scope: Scope,
    seed: u64,
    kinds: Vec<EditKind>,
}

impl DescribedEdits {
    /// Edits of the kinds with the given `names`, as in [`SceneEdits::new`].
    ///
    /// # Errors
    /// If there is no such kind.
    pub fn new(scope: Scope, seed: u64, names: &[String]) -> Result<Self> {
        Ok(Self { renderer: Renderer::new(), scope, seed, kinds: kinds(names)? })
    }

    fn edit(&self, index: u64) -> world::Edit {
        let rng = &mut rng_at(self.seed, index);
        let domain = Domain { scope: self.scope, split: Split::Train };
        loop {
            let edit = edit_of(&self.kinds, domain, rng.random(), index);
            if description(&edit.before) != description(&edit.after) {
                return edit;
            }
        }
    }
}

impl Edits for DescribedEdits {
    fn name(&self) -> String {
        format!("described edits {} {:?}{}", self.seed, self.kinds, scope_name(self.scope))
    }

    fn count(&self) -> Option<u64> {
        None
    }

    fn read(&self, index: u64, size: u32) -> Result<Edit> {
        let edit = self.edit(index);
        let description = description(&edit.after);
        Ok(drawn(&self.renderer, edit, description, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_edit_is_scored_by_is_not_true_before_it() {
        let of = |kind: EditKind, number| {
            DescribedEdits::new(Scope::default(), 3, &[kind.name().to_owned()]).unwrap().edit(number)
        };
        for kind in EditKind::ALL {
            let edits: Vec<world::Edit> = (0..40).map(|number| of(kind, number)).collect();
            assert!(edits.iter().all(|edit| edit.kind == kind));
            assert!(
                edits.iter().all(|edit| description(&edit.before) != description(&edit.after)),
                "{kind:?}"
            );
            assert_eq!(edits, (0..40).map(|number| of(kind, number)).collect::<Vec<_>>());
            assert_ne!(edits[0], edits[1]);
        }
    }

    /// The name identifies a cache of image codes, so it must not change.
    #[test]
    fn names_stay_what_they_are() {
        let name = |split, kinds: &[&str]| {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            SceneEdits::new(split, 5, &kinds).unwrap().name()
        };
        assert_eq!(name(Split::Train, &["add", "remove", "add"]), "edits 5 Train [Add, Remove, Add]");
        let all = "[Add, Remove, Replace, Adjust, Background, Style, Extract, Action, Compose]";
        assert_eq!(name(Split::Validation, &[]), format!("edits 5 Validation {all}"));
    }

    #[test]
    fn kinds_that_do_not_exist_are_named() {
        let error = SceneEdits::new(Split::Train, 1, &["adjusted".into()]).err().unwrap().to_string();
        assert!(error.contains("\"adjusted\"") && error.contains("adjust, background"), "{error}");
    }

    #[test]
    fn an_edit_is_drawn_as_its_scenes() {
        let edits = SceneEdits::all(Split::Validation, 2);
        let Edit { before, instruction, after, description } = edits.read(4, 24).unwrap();
        let edit = world::edit_at(Split::Validation, 2, 4);
        let [old, new] = [&edit.before, &edit.after].map(|scene| Renderer::new().render(scene, 24, 24));
        assert_eq!((before, after), (old, new));
        assert_eq!((instruction, description), (edit.instruction, edit.description));
    }
}
