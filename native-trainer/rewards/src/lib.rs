//! Rewards score how well a picture shows what a description says. One kind of score serves both tasks: for a
//! generated picture the description is its prompt, for an edit it describes the wanted picture (UniGen-1.5, arXiv
//! 2511.14760, section 3.4).

pub mod clip;
mod ensemble;
pub mod http;
mod normalise;
mod settings;

pub use ensemble::{Ensemble, Member, RewardScores, Scored, Summary};
pub use normalise::{Deviation, Groups, deviation, normalised};
pub use settings::{NoWorld, OpenReward, RewardKind, RewardSettings, RewardSource, open};

use image::RgbImage;

/// A picture and what it should show.
#[derive(Debug, Clone)]
pub struct Item {
    pub image: RgbImage,
    /// What the picture should show: the prompt, or for an edit the description of the wanted picture.
    pub description: String,
    /// For an edit, the picture that was edited.
    pub before: Option<RgbImage>,
}

/// Scores pictures. A higher score is better. Each reward has its own unit and range.
pub trait Reward: Send + Sync {
    /// The name in logs, without spaces.
    fn name(&self) -> &str;

    /// One score per item, in the order of the items. Each is finite, or missing for a reason. If some items fail,
    /// the others still have their scores.
    fn score(&self, items: &[Item]) -> Vec<Score>;

    /// Whether scoring mostly waits for another machine, so that this one can do other work meanwhile.
    fn waits(&self) -> bool {
        false
    }
}

/// A score, or the reason why there is none. A missing score is not a zero.
pub type Score = Result<f32, Missing>;

/// Why a score is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

impl From<anyhow::Error> for Missing {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// Scores items in batches of `size`. An item whose picture has no pixels has no score. If a batch fails, none of its
/// items has a score.
pub fn in_batches(
    items: &[Item],
    size: usize,
    score: impl Fn(&[&Item]) -> anyhow::Result<Vec<Score>>,
) -> Vec<Score> {
    let mut scores: Vec<Score> = vec![Err(Missing("the picture has no pixels".into())); items.len()];
    let whole: Vec<usize> = (0..items.len()).filter(|&i| !items[i].image.is_empty()).collect();
    for places in whole.chunks(size) {
        let batch: Vec<&Item> = places.iter().map(|&i| &items[i]).collect();
        let found = score(&batch).unwrap_or_else(|error| vec![Err(error.into()); batch.len()]);
        for (&place, score) in places.iter().zip(found) {
            scores[place] = score;
        }
    }
    scores
}
