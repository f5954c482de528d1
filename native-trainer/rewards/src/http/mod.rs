//! Rewards on other machines: large judges behind an OpenAI-compatible chat endpoint, and our own rewards behind a
//! small contract. Any failure gives a missing score with its reason, never a score.

mod chat;
mod client;
pub mod contract;
mod judge;
mod remote;
mod server;
mod thoughts;

#[cfg(test)]
mod tests;

pub use chat::{Chat, Message};
pub use client::HttpSettings;
pub use judge::{Judge, Question};
pub use remote::RemoteReward;
pub use server::Server;
