//! What is held out of a user's own files for validation.

use anyhow::{Result, ensure};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::random::rng_at;

/// What is held out for validation. Nothing that is held out is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "it must be a share of the samples, from 0 to 0.5, or a list of files")]
pub enum HeldOut {
    /// A share of the samples, rounded to whole samples. The samples' names decide which they are, so a run that
    /// begins anew holds out the same ones.
    Share(f64),
    /// The samples of these files, in the formats of [`super::record`]. Each task takes those that it can use.
    Files(Vec<PathBuf>),
}

impl Default for HeldOut {
    fn default() -> Self {
        Self::Share(0.02)
    }
}

impl HeldOut {
    /// # Errors
    /// If the share is out of range.
    pub fn check(&self) -> Result<()> {
        if let Self::Share(share) = self {
            ensure!(
                (0.0..=0.5).contains(share),
                "data.validation is {share}; choose 0 to 0.5, or name files"
            );
        }
        Ok(())
    }
}

/// Samples to train on, and those that are held out, if there are any.
pub struct Split<T: ?Sized> {
    pub training: Arc<T>,
    pub held_out: Option<Arc<T>>,
}

/// For each sample whether it is held out. Samples of the same name, such as two captions of one picture, stay
/// together.
pub(super) fn drawn(names: impl Iterator<Item = String>, share: f64) -> Vec<bool> {
    let draws: Vec<u64> =
        names.map(|name| rng_at(0x5EED_0A17, u64::from(crc32c::crc32c(name.as_bytes()))).random()).collect();
    let different: BTreeSet<u64> = draws.iter().copied().collect();
    // Something always remains to train on.
    let count = ((share * different.len() as f64).round() as usize).min(different.len().saturating_sub(1));
    let bound = different.iter().nth(count).copied().unwrap_or(u64::MAX);
    draws.into_iter().map(|draw| draw < bound).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Files;
    use super::*;

    fn names(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("pictures/{number:05}.png"))
    }

    #[test]
    fn the_share_is_exact_and_names_decide() {
        for (count, share, wanted) in [
            (1000, 0.02, 20),
            (200, 0.02, 4),
            (8, 0.02, 0),
            (25, 0.02, 1),
            (8, 0.25, 2),
            (9, 0.0, 0),
            (0, 0.5, 0),
        ] {
            let held = drawn(names(count), share);
            assert_eq!(held.iter().filter(|held| **held).count(), wanted, "{share} of {count}");
        }
        // The order of the files does not matter.
        let held = drawn(names(100), 0.1);
        let mut reversed = drawn(names(100).collect::<Vec<_>>().into_iter().rev(), 0.1);
        reversed.reverse();
        assert_eq!(held, reversed);
        // One that is added does not move many others.
        let more = drawn(names(110), 0.1);
        let moved = held.iter().zip(&more).filter(|(a, b)| a != b).count();
        assert!(moved <= 3, "{moved}");
    }

    #[test]
    fn captions_of_one_picture_stay_together() {
        let twice = names(100).flat_map(|name| [name.clone(), name]);
        let held = drawn(twice, 0.1);
        assert_eq!(held.iter().filter(|held| **held).count(), 20);
        assert!(held.chunks(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_sample_is_trained_on_or_held_out() {
        let folder = tempfile::tempdir().unwrap();
        let (all, own) = (folder.path().join("all.jsonl"), folder.path().join("own.jsonl"));
        let line = |number: usize| format!("{{\"prompt\": \"prompt {number}\"}}\n");
        std::fs::write(&all, (0..50).map(line).collect::<String>()).unwrap();
        std::fs::write(&own, format!("{}{{\"image\": \"a.png\", \"caption\": \"a\"}}\n", line(77))).unwrap();
        let texts = |files: &Files| -> BTreeSet<String> {
            (0..files.len())
                .map(|index| files.usable(index, |record| record.text("prompt")).unwrap())
                .collect()
        };
        let split = |held_out: HeldOut| {
            Files::split(std::slice::from_ref(&all), "prompts", &held_out, "prompt").unwrap()
        };
        let Split { training, held_out } = split(HeldOut::Share(0.1));
        let (training, held_out) = (texts(&training), texts(&held_out.unwrap()));
        assert_eq!((training.len(), held_out.len()), (45, 5));
        assert!(training.is_disjoint(&held_out));
        let Split { training, held_out } = split(HeldOut::Files(vec![own]));
        assert_eq!((training.len(), texts(&held_out.unwrap()).len()), (50, 1), "a caption is no prompt");
        assert!(split(HeldOut::Share(0.0)).held_out.is_none());
        for share in [-0.1, 0.6, f64::NAN] {
            let error = Files::split(std::slice::from_ref(&all), "prompts", &HeldOut::Share(share), "prompt")
                .err()
                .unwrap();
            assert!(error.to_string().contains("data.validation is"), "{error}");
        }
    }

    #[test]
    fn settings_are_a_share_or_files() {
        #[derive(Deserialize)]
        struct Section {
            validation: HeldOut,
        }
        let read = |text: &str| toml::from_str::<Section>(text).map(|section| section.validation);
        assert_eq!(read("validation = 0.1").unwrap(), HeldOut::Share(0.1));
        assert_eq!(read("validation = 0").unwrap(), HeldOut::Share(0.0));
        assert_eq!(read("validation = [\"a.tar\"]").unwrap(), HeldOut::Files(vec!["a.tar".into()]));
        let error = read("validation = true").unwrap_err().to_string();
        assert!(error.contains("a share of the samples"), "{error}");
    }
}
