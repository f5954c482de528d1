//! Finds out what an edit changes, from the scenes before and after it.

use super::case::{Before, Case};
use crate::judge::{Detection, iou, same_place};
use crate::world::{EditKind, Object, Scene, Style, Truth};

/// One object of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    pub truth: Truth,
    /// The object of the scene, if the scene is known.
    object: Option<Object>,
}

/// One requested change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new object appears. It is `placed` if the instruction says where.
    Comes { thing: Thing, placed: bool },
    /// An object disappears.
    Goes(Thing),
    /// An object changes.
    Becomes { from: Thing, to: Thing },
    /// The background changes.
    Background,
    /// The style of the picture changes.
    Style,
}

/// The changes that a case asks for, and what must stay as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// The objects that must stay, as the edited picture should show them.
    pub kept: Vec<Thing>,
}

impl Change {
    /// The object that the edited picture should show for it.
    pub fn becomes(&self) -> Option<&Thing> {
        match self {
            Change::Comes { thing, .. } | Change::Becomes { to: thing, .. } => Some(thing),
            Change::Goes(_) | Change::Background | Change::Style => None,
        }
    }
}

/// Words with which an instruction says where an object should be.
const PLACES: [&str; 17] = [
    "left", "right", "above", "below", "over", "under", "beneath", "higher", "lower", "top", "bottom",
    "center", "middle", "corner", "beside", "next", "upper",
];

impl Thing {
    fn of_scene(scene: &Scene, size: u32) -> Vec<Self> {
        let truths = Truth::of(scene, size, size).into_iter().zip(&scene.objects);
        truths.map(|(truth, object)| Self { truth, object: Some(object.clone()) }).collect()
    }

    fn of_detection(Detection { class, color, bbox, .. }: &Detection) -> Self {
        Self { truth: Truth { class: *class, color: *color, bbox: *bbox }, object: None }
    }

    /// The object of the scene, if the scene is known.
    pub fn object(&self) -> Option<&Object> {
        self.object.as_ref()
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.object, &other.object) {
            (Some(a), Some(b)) => a == b,
            _ => self.looks_like(other) && iou(&self.truth.bbox, &other.truth.bbox) > 0.5,
        }
    }

    fn stands_where(&self, other: &Self) -> bool {
        match (&self.object, &other.object) {
            (Some(a), Some(b)) => a.center == b.center,
            _ => same_place(&self.truth.bbox, &other.truth.bbox),
        }
    }

    fn looks_like(&self, other: &Self) -> bool {
        self.truth.class == other.truth.class && self.truth.color == other.truth.color
    }

    /// Whether this is the same object as `other`, mirrored or turned. Without both scene objects this is unknown, and
    /// the result is false.
    pub fn is_turned_from(&self, other: &Self) -> bool {
        let pose = |object: &Object| (object.flipped, object.rotation);
        matches!((&self.object, &other.object), (Some(a), Some(b)) if a.class == b.class && pose(a) != pose(b))
    }

    /// Whether the size differs from that of `other` by more than the judge's error.
    pub fn is_resized_from(&self, other: &Self) -> bool {
        match (&self.object, &other.object) {
            (Some(a), Some(b)) => a.size != b.size,
            _ => (length(&self.truth.bbox) / length(&other.truth.bbox)).ln().abs() > 0.2,
        }
    }

    /// Whether the place differs from that of `other` by more than the judge's error.
    pub fn is_moved_from(&self, other: &Self) -> bool {
        !self.stands_where(other)
    }
}

/// Whether an instruction says where a new object should be. The place follows the object's name, before the
/// instruction goes on to something else.
fn says_where(instruction: &str, name: &str) -> bool {
    let words = instruction.to_lowercase();
    let rest = words.split_once(name).map_or(&words[..], |(_, rest)| rest);
    let part = [" and ", " then "].iter().fold(rest, |part, end| part.split(end).next().unwrap_or(part));
    part.split(|c: char| !c.is_alphabetic()).any(|word| PLACES.contains(&word))
}

/// The diagonal of a box `[left, top, right, bottom]`.
pub fn length(bbox: &[f32; 4]) -> f32 {
    (bbox[2] - bbox[0]).hypot(bbox[3] - bbox[1]).max(f32::MIN_POSITIVE)
}

impl Changes {
    /// What `case` asks for, in pictures of `size` pixels a side. `seen` is what the judge sees in the picture before.
    /// `behind` says whether the background differs from the wanted one, for a picture whose scene is not known.
    pub fn of(case: &Case, size: u32, seen: &[Detection], behind: impl FnOnce() -> bool) -> Self {
        let wanted = Thing::of_scene(&case.wanted, size);
        let mut found = Self::default();
        let mut old = match &case.before {
            Before::Scene(before) => {
                let styled = before.style != case.wanted.style;
                found.changes.extend(styled.then_some(Change::Style));
                found
                    .changes
                    .extend((before.background != case.wanted.background).then_some(Change::Background));
                Thing::of_scene(before, size)
            }
            Before::Picture(_) => {
                let styled = case.kind == EditKind::Style && case.wanted.style != Style::Plain;
                found.changes.extend(styled.then_some(Change::Style));
                found.changes.extend((!styled && behind()).then_some(Change::Background));
                seen.iter().map(Thing::of_detection).collect()
            }
        };
        let mut take = |fits: &dyn Fn(&Thing) -> bool| old.iter().position(fits).map(|at| old.remove(at));
        let mut new = Vec::new();
        for thing in wanted {
            match take(&|other| other.is(&thing)) {
                Some(_) => found.kept.push(thing),
                None => new.push(thing),
            }
        }
        // A new object in the place of an old one is a change of it. A new object that looks like one that disappeared
        // is a move.
        for test in [Thing::stands_where, Thing::looks_like] {
            new.retain(|thing| match take(&|other| test(other, thing)) {
                Some(from) => {
                    found.changes.push(Change::Becomes { from, to: thing.clone() });
                    false
                }
                None => true,
            });
        }
        found.changes.extend(new.into_iter().map(|thing| {
            let placed = says_where(&case.instruction, thing.truth.class.name());
            Change::Comes { thing, placed }
        }));
        found.changes.extend(old.into_iter().map(Change::Goes));
        found
    }

    /// The boxes of everything that changes, before and after.
    pub fn boxes(&self) -> impl Iterator<Item = [f32; 4]> {
        let boxes = |change: &Change| match change {
            Change::Comes { thing, .. } | Change::Goes(thing) => vec![thing.truth.bbox],
            Change::Becomes { from, to } => vec![from.truth.bbox, to.truth.bbox],
            Change::Background | Change::Style => vec![],
        };
        self.changes.iter().flat_map(boxes)
    }

    /// The objects that the edited picture should show.
    pub fn wanted(&self) -> impl Iterator<Item = &Thing> {
        self.kept.iter().chain(self.changes.iter().filter_map(Change::becomes))
    }

    /// Whether a change is asked for.
    pub fn has(&self, wanted: &Change) -> bool {
        self.changes.contains(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::held_out_cases;
    use super::*;
    use crate::world::Split;

    /// Names of the changes that edits of one kind make.
    fn names(kind: EditKind) -> Vec<Vec<&'static str>> {
        let cases = held_out_cases(Split::Train, 5, 40);
        let name = |change: &Change| match change {
            Change::Comes { .. } => "comes",
            Change::Goes(_) => "goes",
            Change::Becomes { .. } => "becomes",
            Change::Background => "background",
            Change::Style => "style",
        };
        let of = cases.iter().filter(|case| case.kind == kind);
        of.map(|case| Changes::of(case, 96, &[], || false).changes.iter().map(name).collect()).collect()
    }

    #[test]
    fn every_kind_changes_what_it_should() {
        use EditKind::*;
        for (kind, wanted) in [(Add, "comes"), (Remove, "goes"), (Background, "background"), (Style, "style")]
        {
            assert!(names(kind).iter().all(|names| !names.is_empty() && names.iter().all(|n| *n == wanted)));
        }
        for kind in [Replace, Adjust, Action] {
            assert!(
                names(kind).iter().all(|names| !names.is_empty() && names.iter().all(|n| *n == "becomes"))
            );
        }
        assert!(names(Extract).iter().all(|names| names.iter().all(|n| ["goes", "background"].contains(n))));
        // An object that disappears while a like one appears was moved.
        let both = names(Compose).iter().filter(|names| names.len() > 1).count();
        assert!(both >= 36, "{both} of 40");
    }

    #[test]
    fn places_of_new_things() {
        assert!(says_where("add a dog left of the cat", "dog"));
        assert!(!says_where("add a dog", "dog"));
        assert!(!says_where("remove the cat on the left and add a dog", "dog"));
        assert!(!says_where("add a dog and remove the cat on the left", "dog"));
    }

    /// The judge's detections stand in for an unknown scene.
    #[test]
    fn a_picture_is_known_by_what_is_seen_in_it() {
        for case in held_out_cases(Split::Train, 6, 10) {
            let Before::Scene(before) = &case.before else { panic!("a scene") };
            let seen: Vec<Detection> = Truth::of(before, 96, 96)
                .into_iter()
                .map(|truth| Detection {
                    class: truth.class,
                    score: 0.9,
                    color: truth.color,
                    bbox: truth.bbox,
                })
                .collect();
            let known = Changes::of(&case, 96, &[], || false);
            let picture = Case { before: Before::Picture(image::RgbImage::new(1, 1)), ..case.clone() };
            let behind = before.background != case.wanted.background;
            let seen = Changes::of(&picture, 96, &seen, || behind);
            if matches!(
                case.kind,
                EditKind::Add | EditKind::Remove | EditKind::Replace | EditKind::Background
            ) {
                assert_eq!(known.changes.len(), seen.changes.len(), "{case:?}");
                assert_eq!(known.kept.len(), seen.kept.len(), "{case:?}");
            }
        }
    }
}
