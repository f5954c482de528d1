//! Group-relative policy optimisation of masked decoding (GRPO, arXiv 2402.03300; for masked models Mask-GRPO, arXiv
//! 2510.13418; for generation and editing together UniGen-1.5, arXiv 2511.14760, section 3.4).
//!
//! Of each input several samples are drawn and scored; those above their group's mean become likelier, the others less
//! likely, and the policy stays near the one it began as:
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

pub use advantage::{Advantages, advantages, flat_share, widest, with_consistency};
pub use consistency::consistency;
pub use hacking::hacked;
pub use input::{Input, Mix, Task};
pub use objective::{Objective, Terms};
pub use replay::{Pass, Replayed, passes};
pub use rollout::{Rollout, Sampling};
