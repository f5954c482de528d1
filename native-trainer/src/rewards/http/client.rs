//! Requests that are tried again.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use ureq::Agent;

use super::contract::Failure;
use crate::rewards::Missing;

/// How patient a client is, and how much it asks at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Seconds until a request that is not answered counts as failed.
    pub timeout: f64,
    /// How often a failed request is tried again.
    pub retries: u32,
    /// Seconds before the first of these tries; each further one waits twice as long.
    pub backoff: f64,
    /// Requests on their way at once.
    pub concurrency: usize,
    /// Items in a request to a server of rewards; a judge gets one at a time.
    pub batch: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { timeout: 120.0, retries: 3, backoff: 1.0, concurrency: 8, batch: 16 }
    }
}

/// The longest wait between two tries, in seconds.
const LONGEST_WAIT: f64 = 60.0;
/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// So much of an answer that was not understood goes into the error.
const SHOWN: usize = 200;

pub(super) struct Client {
    agent: Agent,
    settings: HttpSettings,
    /// Sent as a bearer token.
    key: Option<String>,
}

/// A failed try.
struct Failed {
    why: String,
    /// Whether another try might do better.
    again: bool,
}

impl Client {
    pub fn new(settings: &HttpSettings, key: Option<String>) -> Self {
        // A timeout that is no length of time is none.
        let timeout = Duration::try_from_secs_f64(settings.timeout).ok();
        // A connection that idles keeps a thread of the server waiting, before which others may have to queue.
        let config = Agent::config_builder()
            .timeout_global(timeout)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build();
        Self { agent: config.into(), settings: settings.clone(), key }
    }

    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The answer to `body` at `url`, after as many tries as are allowed. What a server refuses for good (a status of 400
    /// to 499 but 408 and 429) and what is no answer are not asked for again.
    pub fn post<T: DeserializeOwned>(&self, url: &str, body: &impl Serialize) -> Result<T, Missing> {
        let body = serde_json::to_vec(body).map_err(|e| Missing(format!("{url}: cannot be asked: {e}")))?;
        let mut wait = self.settings.backoff;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(url, &body) {
                Ok(answer) => return Ok(answer),
                Err(Failed { again: true, .. }) if tries <= self.settings.retries => {
                    thread::sleep(Duration::try_from_secs_f64(wait.min(LONGEST_WAIT)).unwrap_or_default());
                    wait *= 2.0;
                }
                Err(Failed { why, .. }) => {
                    let times = if tries == 1 { "once".into() } else { format!("{tries} times") };
                    return Err(Missing(format!("{url}: {why} (asked {times})")));
                }
            }
        }
    }

    fn attempt<T: DeserializeOwned>(&self, url: &str, body: &[u8]) -> Result<T, Failed> {
        let failed = |why: String, again| Failed { why, again };
        let mut request = self.agent.post(url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut answer = request.send(body).map_err(|e| {
            let again = !matches!(e, ureq::Error::BadUri(_) | ureq::Error::Http(_));
            failed(format!("no answer: {e}"), again)
        })?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let text = text.map_err(|e| failed(format!("the answer broke off: {e}"), true))?;
        if !(200..300).contains(&status) {
            let why = match serde_json::from_slice::<Failure>(&text) {
                Ok(failure) => failure.error,
                Err(_) => shown(&text),
            };
            let again = matches!(status, 408 | 429 | 500..);
            return Err(failed(format!("status {status}: {why}"), again));
        }
        serde_json::from_slice(&text)
            .map_err(|e| failed(format!("the answer is not understood: {e}: {}", shown(&text)), false))
    }
}

fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let end = text.floor_char_boundary(SHOWN);
    if end < text.len() { format!("{}..", &text[..end]) } else { text.into_owned() }
}

/// `job` of every index below `count`, `at_once` of them at a time, in order.
pub(super) fn concurrently<T: Send>(count: usize, at_once: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, job(index)));
        }
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.clamp(1, count.max(1))).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, value)| value).collect()
}
