//! Small rewards for the sticker world ("nano rewards"), trained together by the stage `rewards`:
//!
//! | Reward | In the role of | Trained on |
//! |---|---|---|
//! | contrastive | CLIP | pictures and their captions |
//! | preference | HPSv2 | pairs of a better and a worse picture |
//! | matcher | ORM, which answers yes or no | right and subtly wrong descriptions |
//! | verifier | UnifiedReward | what scenes show; it checks a description's facts one by one |
//!
//! The first three share the image tower of the [`Scorer`]; the [`Verifier`] is a network of its own. The detector that
//! judges evaluations is none of them.

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
