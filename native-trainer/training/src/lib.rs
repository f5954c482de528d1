//! Training of unified multimodal models, after UniGen-1.5 (arXiv 2511.14760): a loop that resumes with the same bits, and
//! stages over it. What they learn from are traits ([`data`], [`world`]): a user's own files, or a world whose pictures are
//! drawn.

pub mod batch;
pub mod data;
pub mod optimizer;
pub mod rl;
#[cfg(test)]
mod shapes;
pub mod stages;
pub mod train;
pub mod validation;
pub mod world;
