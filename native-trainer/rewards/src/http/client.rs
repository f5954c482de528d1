//! Requests that are tried again.

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

/// What all clients wait in. It only moves bytes, so one thread is enough.
static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());

/// How patient a client is, and how much it asks at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Seconds until a request that is not answered counts as failed; a day at most.
    pub timeout: f64,
    /// How often a failed request is tried again.
    pub retries: u32,
    /// Seconds before the first of these tries; each further one waits twice as long, a minute at most.
    pub backoff: f64,
    /// Requests on their way at once, 1 at least.
    pub concurrency: usize,
    /// Items in a request to a server of rewards, 1 at least; a judge gets one at a time.
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
            "http.timeout is {timeout}; it must be seconds above 0, up to {day}"
        );
        ensure!(
            (0.0..=minute).contains(&backoff),
            "http.backoff is {backoff}; it must be seconds from 0 to {minute}"
        );
        ensure!(concurrency > 0, "http.concurrency is 0; a request at a time is the least");
        ensure!(batch > 0, "http.batch is 0; an item a request is the least");
        Ok(())
    }
}

/// The longest that a request may take.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 16 << 20;
/// So much of an answer that was not understood goes into the error.
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
    /// Whether another try might do better.
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

    /// `job` of each of `items`, in their order, [`HttpSettings::concurrency`] of them at a time.
    pub fn each<'a, I: Sync, T: Send, F: Future<Output = T>>(
        &self,
        items: &'a [I],
        job: impl Fn(&'a I) -> F + Sync,
    ) -> Vec<T> {
        let at_once = self.settings.concurrency.min(items.len().max(1));
        self.wait(|| stream::iter(items).map(&job).buffered(at_once).collect())
    }

    /// What comes of a future, on a thread of its own, which may wait whatever runtime the caller may be in.
    fn wait<T: Send, F: Future<Output = T>>(&self, future: impl FnOnce() -> F + Send) -> T {
        let wait = || self.runtime.block_on(future());
        thread::scope(|scope| scope.spawn(wait).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The answer at `url`, as [`Self::post`] gets it; this waits for it.
    pub fn get<T: DeserializeOwned + Send>(&self, url: &str) -> Result<T, Missing> {
        self.wait(|| self.patiently(url, move || self.http.get(url)))
    }

    /// The answer to `body` at `url`, after as many tries as are allowed. What a server refuses for good (a status of 400
    /// to 499 but 408 and 429) and what is no answer are not asked for again.
    pub async fn post<T: DeserializeOwned>(&self, url: &str, body: &impl Serialize) -> Result<T, Missing> {
        let body = serde_json::to_vec(body).map_err(|e| Missing(format!("{url}: cannot be asked: {e}")))?;
        let post = || self.http.post(url).header("content-type", "application/json").body(body.clone());
        self.patiently(url, post).await
    }

    /// The answer to a request, made anew for each of as many tries as are allowed.
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
            // What cannot even be sent is the address or the key.
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
            .map_err(|e| failed(format!("the answer is not understood: {e}: {}", shown(&text)), false))
    }
}

/// Sends requests, over TLS with the root certificates of Mozilla: a bare container has none of its own.
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

/// Why a request failed, to its cause.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "timeout".into();
    }
    format!("{:#}", anyhow::Error::from(error.without_url()))
}

/// So much of a text as an error shows.
pub(super) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let end = text.floor_char_boundary(SHOWN);
    if end < text.len() { format!("{}..", &text[..end]) } else { text.into_owned() }
}
