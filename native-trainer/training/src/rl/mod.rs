//! Group-relative policy optimisation of masked decoding (GRPO, arXiv 2402.03300; for masked models Mask-GRPO, arXiv
//! 2510.13418; for generation and editing together UniGen-1.5, arXiv 2511.14760, section 3.4).
//!
//! Several samples of each input are drawn and scored. Samples above the mean of their group become likelier and the
//! others less likely, while the policy stays near the reference, which is the model at the start:
//!
//! ```text
//! mix -> rollout -> rewards -> advantage ┐
//!           └────────────────> replay ───┴─> objective -> gradient
//! ```

mod advantage;
mod consistency;
mod hacking;
mod input;
mod objective;
mod replay;
mod rollout;
mod view;

pub use advantage::{Advantages, advantages, best_of, flat_share, taught, widest, with_consistency};
pub use consistency::consistency;
pub use hacking::hacked;
pub use input::{Input, Mix, Task};
pub use objective::{Objective, Ratio, Terms, Tokens};
pub use replay::{Pass, Replayed, passes};
pub use rollout::{Rollout, Sampling};
pub use view::{Estimator, Masks, View, step_views};
