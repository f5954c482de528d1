//! Training of unified multimodal models, after UniGen-1.5 (arXiv 2511.14760): a training loop that resumes with the
//! same bits, and the stages that run in it. Traits describe the training data ([`data`], [`world`]). A user's own
//! files implement them, and so does a world that draws its own pictures.

pub mod batch;
pub mod data;
pub mod estimate;
pub mod optimizer;
pub mod rl;
#[cfg(test)]
mod shapes;
pub mod stages;
pub mod train;
pub mod validation;
pub mod world;
