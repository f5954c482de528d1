//! Counts how often pictures are right.

use serde::{Serialize, Serializer};

use super::Tag;

/// How often pictures were right, task by task. Serialises as `{"single_object": {"score": .., "images": ..}, ..}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// The numbers of right pictures and of all pictures, for each tag in the order of [`Tag::ALL`].
    counts: [(usize, usize); 6],
}

impl Scores {
    /// Counts one picture.
    pub fn add(&mut self, tag: Tag, correct: bool) {
        let (right, all) = &mut self.counts[tag as usize];
        *right += usize::from(correct);
        *all += 1;
    }

    /// The share of right pictures of a tag, 0 to 1. None if the tag has no pictures.
    pub fn tag(&self, tag: Tag) -> Option<f64> {
        let (right, all) = self.counts[tag as usize];
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// GenEval's overall score: the unweighted mean over the tags that have pictures, 0 to 1. None without pictures.
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
