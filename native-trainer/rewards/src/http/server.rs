//! Serving rewards.

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc::channel};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, oneshot};
use tokio::time::sleep;

use super::contract::{
    Failure, HEALTH, Health, SCORE, ScoreRequest, ScoreResponse, VERSION, WireFound, WireScore, WireScores,
};
use crate::{Item, Missing, Reward, Score};
use unigen_runs::pool;

/// The largest request, in bytes.
pub(super) const MAX_REQUEST: usize = 256 << 20;
/// The most items of a request.
const MAX_ITEMS: usize = 4096;
/// How often the server looks whether to stop.
const LOOK: Duration = Duration::from_millis(200);
/// How long a server that is to stop waits, after the last scores, for clients that are slow to send or to take.
const GRACE: Duration = Duration::from_secs(5);

/// A server of rewards by the [contract](super::contract).
pub struct Server {
    listener: TcpListener,
    served: Served,
}

#[derive(Clone)]
struct Served {
    names: Arc<[String]>,
    /// Rewards compute on all cores: one request at a time.
    rewards: Arc<Mutex<Vec<Box<dyn Reward>>>>,
}

impl Server {
    /// Listens at `host`:`port`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address cannot be listened at, there are no rewards, or two have one name.
    pub fn bind(host: &str, port: u16, rewards: Vec<Box<dyn Reward>>) -> Result<Self> {
        let names: BTreeSet<&str> = rewards.iter().map(|reward| reward.name()).collect();
        ensure!(!rewards.is_empty(), "there are no rewards to serve");
        ensure!(names.len() == rewards.len(), "two rewards have one name; serve each once");
        let listener = TcpListener::bind((host, port))
            .with_context(|| format!("cannot listen at {host}:{port}; choose another --port"))?;
        // As tokio wants it.
        listener.set_nonblocking(true)?;
        let names = rewards.iter().map(|reward| reward.name().to_owned()).collect();
        Ok(Self { listener, served: Served { names, rewards: Arc::new(Mutex::new(rewards)) } })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` says so; then takes no more requests, answers those that it has, and returns.
    ///
    /// # Errors
    /// Where the system lacks what a server needs, such as threads.
    pub fn run(self, stop: impl Fn() -> bool + Send) -> Result<()> {
        let (results, ended) = channel();
        thread::scope(|scope| {
            scope.spawn(move || results.send(self.serve(stop)));
            pool::receive(&ended).context("the server has ended; its message is above")?
        })
    }

    /// [`Self::run`] on the calling thread.
    fn serve(self, stop: impl Fn() -> bool) -> Result<()> {
        Runtime::new().context("cannot start the server")?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            let rewards = self.served.rewards.clone();
            let (stopping, stopped) = oneshot::channel::<()>();
            let serving = axum::serve(listener, app(self.served)).with_graceful_shutdown(async {
                // A sender that is gone says the same.
                let _ = stopped.await;
            });
            let leaving = async {
                while !stop() {
                    sleep(LOOK).await;
                }
                drop(stopping);
                // Turns are taken in order: this one comes after all requests that wait for theirs.
                drop(rewards.lock().await);
                sleep(GRACE).await;
            };
            tokio::select! {
                served = serving.into_future() => Ok(served?),
                () = leaving => Ok(()),
            }
        })
    }
}

fn app(served: Served) -> Router {
    Router::new()
        .route(HEALTH, get(health))
        .route(SCORE, post(score))
        .method_not_allowed_fallback(async || {
            Refused(StatusCode::BAD_REQUEST, format!("use GET {HEALTH} or POST {SCORE}"))
        })
        .fallback(async |uri: Uri| {
            let why = format!("there is no {}; use GET {HEALTH} or POST {SCORE}", uri.path());
            Refused(StatusCode::NOT_FOUND, why)
        })
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(served)
}

/// A request that is not served: the status, and why.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Failure { version: VERSION, error: self.1 })).into_response()
    }
}

async fn health(State(served): State<Served>) -> Json<Health> {
    Json(Health { version: VERSION, rewards: served.names.to_vec() })
}

async fn score(
    State(served): State<Served>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ScoreResponse>, Refused> {
    let bad = |why: String| Refused(StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            bad(format!("the request has more than {MAX_REQUEST} bytes; send fewer items"))
        }
        _ => bad(format!("the request broke off: {e}")),
    })?;
    let request: ScoreRequest =
        serde_json::from_slice(&body).map_err(|e| bad(format!("the request is not understood: {e}")))?;
    drop(body);
    if request.version != VERSION {
        return Err(bad(format!("the request is of version {}, not {VERSION}", request.version)));
    }
    if request.items.len() > MAX_ITEMS {
        return Err(bad(format!("{} items are more than {MAX_ITEMS}", request.items.len())));
    }
    // The turn goes along: scoring that has begun ends before another begins, also where the client has gone.
    let rewards = served.rewards.lock_owned().await;
    let scored = tokio::task::spawn_blocking(move || scores(&rewards, request)).await;
    scored.map(Json).map_err(|e| Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("scoring failed: {e}")))
}

/// The answer to a request.
fn scores(rewards: &[Box<dyn Reward>], request: ScoreRequest) -> ScoreResponse {
    let opened: Vec<Result<Item, Missing>> =
        request.items.iter().map(|item| item.open().map_err(Missing::from)).collect();
    let items: Vec<Item> = opened.iter().filter_map(|item| item.as_ref().ok()).cloned().collect();
    let scored = request.rewards.into_iter().map(|name| {
        let found = match scores_of(rewards, &name, &items) {
            Err(why) => WireFound::Error(why),
            Ok(scores) => {
                let mut scores = scores.into_iter();
                // As many as there are items that could be opened.
                let placed = opened.iter().filter_map(|item| match item {
                    Ok(_) => scores.next(),
                    Err(missing) => Some(Err(missing.clone())),
                });
                WireFound::Scores(placed.map(finite).collect())
            }
        };
        WireScores { name, found }
    });
    ScoreResponse { version: VERSION, rewards: scored.collect() }
}

/// One score an item by the reward `name`, or why it has none at all.
fn scores_of(rewards: &[Box<dyn Reward>], name: &str, items: &[Item]) -> Result<Vec<Score>, String> {
    let reward = rewards.iter().find(|reward| reward.name() == name);
    let reward = reward.ok_or_else(|| format!("there is no reward {name}; GET {HEALTH} lists all"))?;
    let scores = catch_unwind(AssertUnwindSafe(|| reward.score(items)));
    let scores = scores.map_err(|_| "the reward has panicked; the server's output says why".to_owned())?;
    if scores.len() != items.len() {
        return Err(format!("the reward gave {} scores for {} items", scores.len(), items.len()));
    }
    Ok(scores)
}

/// JSON has no NaN.
fn finite(score: Score) -> WireScore {
    match score {
        Ok(score) if !score.is_finite() => WireScore::Error(format!("the score is {score}")),
        score => score.into(),
    }
}
