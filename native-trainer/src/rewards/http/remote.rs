//! A reward that a server has.

use anyhow::Result;

use super::client::{Client, HttpSettings};
use super::contract::{ScoreRequest, ScoreResponse, VERSION, WireItem};
use crate::rewards::{Item, Missing, Reward, Score};

/// A reward of a [`super::Server`], or of any other that keeps the [contract](super::contract).
pub struct RemoteReward {
    name: String,
    url: String,
    client: Client,
}

impl RemoteReward {
    /// The reward `name` of the server at `url`, such as `http://rewards:8600`. Nothing is asked yet.
    ///
    /// # Errors
    /// Where the system lacks what a client needs.
    pub fn new(name: &str, url: &str, settings: &HttpSettings) -> Result<Self> {
        let url = format!("{}/v1/score", url.trim_end_matches('/'));
        Ok(Self { name: name.into(), url, client: Client::new(settings, None)? })
    }

    /// Scores of the items of one request, or why all are missing.
    async fn ask(&self, items: &[Item]) -> Result<Vec<Score>, Missing> {
        let opened = items.iter().map(WireItem::new).collect::<Result<Vec<_>>>()?;
        let request = ScoreRequest { version: VERSION, rewards: vec![self.name.clone()], items: opened };
        let response: ScoreResponse = self.client.post(&self.url, &request).await?;
        let wrong = |what: String| Err(Missing(format!("{}: {what}", self.url)));
        if response.version != VERSION {
            return wrong(format!("the answer is of version {}, not {VERSION}", response.version));
        }
        let Some(found) = response.rewards.into_iter().find(|reward| reward.name == self.name) else {
            return wrong(format!("the answer lacks the reward {}", self.name));
        };
        if found.scores.len() != items.len() {
            return wrong(format!("{} scores came back for {} items", found.scores.len(), items.len()));
        }
        Ok(found.scores.into_iter().map(Score::from).collect())
    }
}

impl Reward for RemoteReward {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        let batches: Vec<&[Item]> = items.chunks(self.client.settings().batch.max(1)).collect();
        let answers = self.client.each(&batches, |batch| async {
            self.ask(batch).await.unwrap_or_else(|why| vec![Err(why); batch.len()])
        });
        answers.into_iter().flatten().collect()
    }

    fn waits(&self) -> bool {
        true
    }
}
