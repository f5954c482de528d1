//! What comes of an arm.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::estimate::Cases;
use super::settings::Arm;

/// What came of one arm with one seed. Arms with the same seed have the same cases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Whether each picture is right, 0 or 1, by tag.
    pub geneval: Cases,
    /// The score of each edit, 1 to 5, by kind.
    pub imgedit: Cases,
    /// Of ImgEdit's scores, the one for leaving the rest as it was, 1 to 5.
    pub preservation: Cases,
    /// What its training was like; none where it had none.
    pub training: Option<Training>,
}

/// What reinforcement learning was like in one arm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Of each update with edits, the share of their groups whose samples all had the same rewards, 0 to 1.
    pub flat_edits: Cases,
    /// Of each update with edits, the standard deviation of the rewards within their groups, the rewards' weighted mean.
    pub spread_edits: Cases,
    /// Mean reward over the first and the last tenth of the updates.
    pub reward: [f64; 2],
    /// Seconds of its updates, rollouts and rewards among them.
    pub seconds: f64,
}

/// Scores by arm and seed.
pub type Results = BTreeMap<(Arm, u64), Scores>;
