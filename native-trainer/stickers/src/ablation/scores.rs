//! The results of an arm.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::estimate::Cases;
use super::settings::Arm;

/// The results of one arm with one seed. Arms with the same seed have the same cases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Whether each picture is right, 0 or 1, by tag.
    pub geneval: Cases,
    /// The score of each edit, 1 to 5, by kind.
    pub imgedit: Cases,
    /// ImgEdit's score for preserving the rest of each picture, 1 to 5, by kind.
    pub preservation: Cases,
    /// Measurements of the arm's training. None if it had none.
    pub training: Option<Training>,
}

/// Measurements of reinforcement learning in one arm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// For each update with edits, the share of edit groups whose samples all had the same rewards, 0 to 1.
    pub flat_edits: Cases,
    /// For each update with edits, the standard deviation of each reward within the edit groups, as a weighted mean
    /// over the rewards.
    pub spread_edits: Cases,
    /// Mean rewards over the first and the last tenth of the updates.
    pub reward: [f64; 2],
    /// Seconds that the updates took, rollouts and rewards included.
    pub seconds: f64,
}

/// Scores by arm and seed.
pub type Results = BTreeMap<(Arm, u64), Scores>;
