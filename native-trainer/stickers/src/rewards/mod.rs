//! Small rewards for the sticker world ("nano rewards"), trained together by the stage `rewards`:
//!
//! | Reward | Stands in for | Trained on |
//! |---|---|---|
//! | contrastive | CLIP | pictures and their captions |
//! | preference | HPSv2 | pairs of a better and a worse picture |
//! | matcher | ORM, which answers yes or no | right and subtly wrong descriptions |
//! | verifier | UnifiedReward | what scenes show; it checks a description's facts one by one |
//!
//! The first three share the image tower of the [`Scorer`]. The [`Verifier`] is a separate network. The detector that
//! judges evaluations is not one of these rewards.

mod agreement;
mod damage;
mod networks;
mod open;
mod pairs;
mod reward;
mod scorer;
mod stage;
mod verifier;

pub use agreement::{Agreement, HeldOut};
pub use damage::Damage;
pub use networks::{NanoConfig, NanoRewards};
pub use open::open;
pub use pairs::{Pair, pair_at};
pub use reward::{NanoReward, Nets, Role};
pub use scorer::{Scorer, TowerConfig};
pub use stage::{RewardsStage, Settings};
pub use verifier::{Seen, Verifier};
