//! A reward of a server.

use anyhow::{Context, Result, ensure};

use super::client::{Client, HttpSettings};
use super::contract::{
    HEALTH, Health, SCORE, ScoreRequest, ScoreResponse, TOKEN, VERSION, WireFound, WireItem, WireScore,
};
use crate::{Item, Missing, Reward, Score};

/// A reward of a [`super::Server`], or of any other server that keeps the [contract](super::contract).
pub struct RemoteReward {
    name: String,
    /// Address of the server.
    at: String,
    /// URL of its scores.
    url: String,
    client: Client,
}

impl RemoteReward {
    /// The reward `name` of the server at `url`, such as `http://rewards:8600`. This sends no request.
    ///
    /// # Errors
    /// If a setting is out of range, or the system lacks what a client needs.
    pub fn new(name: &str, url: &str, settings: &HttpSettings) -> Result<Self> {
        let at = url.trim_end_matches('/').to_owned();
        let url = format!("{at}{SCORE}");
        Ok(Self { name: name.into(), at, url, client: Client::new(settings, std::env::var(TOKEN).ok())? })
    }

    /// Asks the server whether it has the reward.
    ///
    /// # Errors
    /// If it does not answer, keeps another version of the contract, or lacks the reward.
    pub fn check(&self) -> Result<()> {
        let url = format!("{}{HEALTH}", self.at);
        let health: Health = self
            .client
            .get(&url)
            .context("cannot use the reward server; is `unigen serve-rewards` running there?")?;
        ensure!(
            health.version == VERSION,
            "{url}: the server keeps version {} of the contract, not {VERSION}; run the same version of unigen on both sides",
            health.version
        );
        ensure!(
            health.rewards.contains(&self.name),
            "{url}: the server has no reward {}; it has {}",
            self.name,
            health.rewards.join(", ")
        );
        Ok(())
    }

    /// The scores of one request's items, or the reason why all are missing.
    async fn ask(&self, items: &[Item]) -> Result<Vec<Score>, Missing> {
        let opened = items.iter().map(WireItem::new).collect::<Result<Vec<_>>>()?;
        let request = ScoreRequest { version: VERSION, rewards: vec![self.name.clone()], items: opened };
        let response: ScoreResponse = self.client.post(&self.url, &request).await?;
        let wrong = |what: String| Err(Missing(format!("{}: {what}", self.url)));
        if response.version != VERSION {
            return wrong(format!("the answer is of version {}, not {VERSION}", response.version));
        }
        let Some(reward) = response.rewards.into_iter().find(|reward| reward.name == self.name) else {
            return wrong(format!("the answer lacks the reward {}", self.name));
        };
        match reward.found {
            WireFound::Error(why) => wrong(why),
            WireFound::Scores(scores) if scores.len() != items.len() => {
                wrong(format!("{} scores came back for {} items", scores.len(), items.len()))
            }
            WireFound::Scores(scores) => {
                let read = |score| match score {
                    WireScore::Unreadable(what) => Err(Missing(format!("{}: {what}", self.url))),
                    score => Score::from(score),
                };
                Ok(scores.into_iter().map(read).collect())
            }
        }
    }
}

impl Reward for RemoteReward {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        let batches: Vec<&[Item]> = items.chunks(self.client.settings().batch).collect();
        let answers = self.client.each(&batches, |batch| async {
            self.ask(batch).await.unwrap_or_else(|why| vec![Err(why); batch.len()])
        });
        answers.into_iter().flatten().collect()
    }

    fn waits(&self) -> bool {
        true
    }
}
