//! A client that repeats failed requests.

use anyhow::{Context, Result, anyhow, ensure};
use backon::{ExponentialBuilder, Retryable};
use futures_util::{StreamExt, stream};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

use super::contract::Failure;
use crate::Missing;
use unigen_core::json;

/// The runtime of all clients. It only moves bytes, so one thread is enough.
static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());

/// Timeouts, retries and parallelism of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Seconds until an unanswered request counts as failed; a day at most.
    pub timeout: f64,
    /// How often a failed request is repeated.
    pub retries: u32,
    /// Seconds before the first repetition. Each further one waits twice as long, a minute at most.
    pub backoff: f64,
    /// Number of requests in flight, at least 1.
    pub concurrency: usize,
    /// Number of items in a request to a reward server, at least 1. A judge gets one item per request.
    pub batch: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { timeout: 120.0, retries: 3, backoff: 1.0, concurrency: 8, batch: 16 }
    }
}

impl HttpSettings {
    /// # Errors
    /// The error names the setting that is out of range.
    fn check(&self) -> Result<()> {
        let Self { timeout, backoff, concurrency, batch, .. } = *self;
        let (day, minute) = (LONGEST_TIMEOUT.as_secs_f64(), LONGEST_WAIT.as_secs_f64());
        ensure!(
            timeout > 0.0 && timeout <= day,
            "http.timeout is {timeout}; it must be above 0 and at most {day} seconds"
        );
        ensure!(
            (0.0..=minute).contains(&backoff),
            "http.backoff is {backoff}; it must be from 0 to {minute} seconds"
        );
        ensure!(concurrency > 0, "http.concurrency is 0; choose 1 at least");
        ensure!(batch > 0, "http.batch is 0; choose 1 at least");
        Ok(())
    }
}

/// The longest allowed timeout of a request.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 16 << 20;
/// An error shows this many bytes of an answer that cannot be read.
const SHOWN: usize = 200;

pub(super) struct Client {
    http: reqwest::Client,
    runtime: &'static Runtime,
    settings: HttpSettings,
    /// Sent as a bearer token.
    key: Option<String>,
}

/// A failed try.
struct Failed {
    why: String,
    /// Whether another try might succeed.
    again: bool,
}

impl Client {
    /// # Errors
    /// If a setting is out of range, or the system lacks what a client needs, such as threads.
    pub fn new(settings: &HttpSettings, key: Option<String>) -> Result<Self> {
        settings.check()?;
        let runtime = RUNTIME.as_ref().map_err(|e| anyhow!("cannot start a client: {e}"))?;
        let timeout = Duration::try_from_secs_f64(settings.timeout)?;
        Ok(Self { http: http(Some(timeout))?, runtime, settings: settings.clone(), key })
    }

    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Runs `job` for each of `items`, [`HttpSettings::concurrency`] of them at a time, and returns the results in
    /// order.
    pub fn each<'a, I: Sync, T: Send, F: Future<Output = T>>(
        &self,
        items: &'a [I],
        job: impl Fn(&'a I) -> F + Sync,
    ) -> Vec<T> {
        let at_once = self.settings.concurrency.min(items.len().max(1));
        self.wait(|| stream::iter(items).map(&job).buffered(at_once).collect())
    }

    /// The result of a future. It runs on a thread of its own, so the caller may be in any runtime.
    fn wait<T: Send, F: Future<Output = T>>(&self, future: impl FnOnce() -> F + Send) -> T {
        let wait = || self.runtime.block_on(future());
        thread::scope(|scope| scope.spawn(wait).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The answer at `url`, as from [`Self::post`]. This call blocks.
    pub fn get<T: DeserializeOwned + Send>(&self, url: &str) -> Result<T, Missing> {
        self.wait(|| self.patiently(url, move || self.http.get(url)))
    }

    /// The answer to `body` at `url`, after as many tries as are allowed. A request is not repeated if the server
    /// refuses it for good (status 400 to 499 except 408 and 429) or if the answer cannot be read.
    pub async fn post<T: DeserializeOwned>(&self, url: &str, body: &impl Serialize) -> Result<T, Missing> {
        let body = serde_json::to_vec(body)
            .map_err(|e| Missing(format!("{url}: cannot encode the request: {e}")))?;
        let post = || self.http.post(url).header("content-type", "application/json").body(body.clone());
        self.patiently(url, post).await
    }

    /// The answer to a request, which is made again for each of as many tries as are allowed.
    async fn patiently<T: DeserializeOwned>(
        &self,
        url: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, Missing> {
        let first = Duration::try_from_secs_f64(self.settings.backoff).unwrap_or_default();
        let patience = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(LONGEST_WAIT)
            .with_factor(2.0)
            .with_max_times(self.settings.retries as usize);
        let tries = AtomicU32::new(0);
        let attempt = || {
            tries.fetch_add(1, Ordering::Relaxed);
            self.attempt(request())
        };
        let answer = attempt.retry(patience).when(|failed: &Failed| failed.again).await;
        answer.map_err(|Failed { why, .. }| {
            let times = match tries.load(Ordering::Relaxed) {
                1 => "once".into(),
                tries => format!("{tries} times"),
            };
            Missing(format!("{url}: {why} (asked {times})"))
        })
    }

    async fn attempt<T: DeserializeOwned>(&self, mut request: RequestBuilder) -> Result<T, Failed> {
        let failed = |why: String, again| Failed { why, again };
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let mut answer = request.send().await.map_err(|e| {
            // If the request cannot be built, the address or the key is wrong.
            let again = !e.is_builder();
            failed(format!("no answer: {}", reason(e)), again)
        })?;
        let status = answer.status();
        let mut text = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(part)) if text.len() + part.len() <= MAX_ANSWER => text.extend_from_slice(&part),
                Ok(Some(_)) => {
                    return Err(failed(format!("the answer has more than {MAX_ANSWER} bytes"), false));
                }
                Ok(None) => break,
                Err(e) => return Err(failed(format!("the answer broke off: {}", reason(e)), true)),
            }
        }
        if !status.is_success() {
            let why = match serde_json::from_slice::<Failure>(&text) {
                Ok(failure) => failure.error,
                Err(_) => shown(&text),
            };
            let status = status.as_u16();
            let again = matches!(status, 408 | 429 | 500..);
            return Err(failed(format!("status {status}: {why}"), again));
        }
        json::from_slice(&text)
            .map_err(|e| failed(format!("cannot read the answer: {e}: {}", shown(&text)), false))
    }
}

/// An HTTP client. For TLS it uses Mozilla's root certificates, since a bare container has none of its own.
pub(super) fn http(timeout: Option<Duration>) -> Result<reqwest::Client> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    if let Some(timeout) = timeout {
        client = client.timeout(timeout);
    }
    client.build().context("cannot make an HTTP client")
}

/// The reason of a failed request, with its causes.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "timeout".into();
    }
    format!("{:#}", anyhow::Error::from(error.without_url()))
}

/// The part of a text that an error shows.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let end = text.floor_char_boundary(SHOWN);
    if end < text.len() { format!("{}..", &text[..end]) } else { text.into_owned() }
}
