//! A server of rewards.

use anyhow::{Context, Result, ensure};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc::channel};
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};

use super::contract::{
    Failure, HEALTH, Health, SCORE, ScoreRequest, ScoreResponse, TOKEN, VERSION, WireFound, WireScore,
    WireScores,
};
use crate::{Item, Missing, Reward, Score};
use unigen_runs::pool;

/// Largest size of a request in bytes.
pub(super) const MAX_REQUEST: usize = 64 << 20;
/// Largest size of all requests together that are being read or wait to be scored. Further requests are read later.
const MAX_REQUESTS: usize = 4 * MAX_REQUEST;
/// Largest number of items in a request.
pub(super) const MAX_ITEMS: usize = 4096;
/// Largest number of pixels of a picture, and of all pictures of a request together.
pub(super) const MAX_PIXELS: [u64; 2] = [16 << 20, 64 << 20];
/// Largest number of connections at once. Further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request, and its body.
const HEAD: Duration = Duration::from_secs(30);
const BODY: Duration = Duration::from_secs(120);
/// How often the server checks whether to stop.
const POLL: Duration = Duration::from_millis(200);
/// How long a stopping server waits, after the last scores, for clients that send or receive slowly.
const GRACE: Duration = Duration::from_secs(5);

/// A server of rewards that keeps the [contract](super::contract).
pub struct Server {
    listener: TcpListener,
    served: Served,
}

#[derive(Clone)]
struct Served {
    names: Arc<[String]>,
    /// One request is scored at a time, since rewards compute on all cores.
    rewards: Arc<Mutex<Vec<Box<dyn Reward>>>>,
    /// The free part of [`MAX_REQUESTS`], in kilobytes.
    room: Arc<Semaphore>,
    /// The bearer token that clients must send.
    token: Option<Arc<str>>,
}

impl Server {
    /// Listens on `host`:`port`; port 0 takes a free port. If there is a `token`, only clients that send it are
    /// served.
    ///
    /// # Errors
    /// If the server cannot listen on the address, if there are no rewards, or if two have the same name.
    pub fn bind(host: &str, port: u16, rewards: Vec<Box<dyn Reward>>, token: Option<&str>) -> Result<Self> {
        let names: BTreeSet<&str> = rewards.iter().map(|reward| reward.name()).collect();
        ensure!(!rewards.is_empty(), "there are no rewards to serve");
        ensure!(names.len() == rewards.len(), "two rewards have the same name; serve each one once");
        let listener = TcpListener::bind((host, port))
            .with_context(|| format!("cannot listen on {host}:{port}; choose another --host or --port"))?;
        // Tokio requires this.
        listener.set_nonblocking(true)?;
        let names = rewards.iter().map(|reward| reward.name().to_owned()).collect();
        let room = Arc::new(Semaphore::new(MAX_REQUESTS >> 10));
        let token = token.map(Arc::from);
        Ok(Self { listener, served: Served { names, rewards: Arc::new(Mutex::new(rewards)), room, token } })
    }

    /// The address that the server listens on.
    ///
    /// # Errors
    /// If the system does not tell the address.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` returns true. It then accepts no more requests, answers those it has, and returns.
    ///
    /// # Errors
    /// If the system lacks a resource that the server needs, such as threads.
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
            let (app, open) = (app(self.served), GracefulShutdown::new());
            let stopping = async {
                while !stop() {
                    sleep(POLL).await;
                }
            };
            tokio::select! {
                () = accept(&listener, &app, &open) => {}
                () = stopping => {}
            }
            drop(listener);
            let patience = async {
                // The lock is fair, so this one comes after all requests that wait for it.
                drop(rewards.lock().await);
                sleep(GRACE).await;
            };
            tokio::select! {
                () = open.shutdown() => {}
                () = patience => {}
            }
            Ok(())
        })
    }
}

/// Accepts connections for ever, [`MAX_CONNECTIONS`] at once.
async fn accept(listener: &tokio::net::TcpListener, app: &Router, open: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // The system lacks a resource, such as files. It is free again when open connections end.
            sleep(POLL).await;
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client may break off its connection.
            let _ = connection.await;
            drop(place);
        });
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
        .layer(middleware::from_fn_with_state(served.clone(), admitted))
        .with_state(served)
}

/// Serves only clients with the token, if there is one.
async fn admitted(State(served): State<Served>, request: Request, next: Next) -> Result<Response, Refused> {
    if let Some(token) = &served.token {
        let sent = request.headers().get(AUTHORIZATION).map(|sent| sent.as_bytes());
        let sent = sent.and_then(|sent| sent.strip_prefix(b"Bearer ")).unwrap_or_default();
        // The comparison takes equally long for every token of this length.
        let differ = sent.iter().zip(token.as_bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
        if sent.len() != token.len() || differ != 0 {
            let why = format!(
                "the server requires a token; set the environment variable {TOKEN} where training runs"
            );
            return Err(Refused(StatusCode::UNAUTHORIZED, why));
        }
    }
    Ok(next.run(request).await)
}

/// A refused request: the status and the reason.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Failure { version: VERSION, error: self.1 })).into_response()
    }
}

async fn health(State(served): State<Served>) -> Json<Health> {
    Json(Health { version: VERSION, rewards: served.names.to_vec() })
}

async fn score(State(served): State<Served>, request: Request) -> Result<Json<ScoreResponse>, Refused> {
    let bad = |why: String| Refused(StatusCode::BAD_REQUEST, why);
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(MAX_REQUEST);
    if length > MAX_REQUEST {
        pass_over(request.into_body()).await;
        return Err(bad(format!("the request has more than {MAX_REQUEST} bytes; send fewer items")));
    }
    let room = served.room.acquire_many_owned((length >> 10) as u32 + 1).await;
    let body = timeout(BODY, to_bytes(request.into_body(), MAX_REQUEST)).await.map_err(|_| {
        let why = format!("the request was not complete after {} s", BODY.as_secs());
        Refused(StatusCode::REQUEST_TIMEOUT, why)
    })?;
    let body = body.map_err(|e| bad(format!("the request broke off: {e}")))?;
    let request = ScoreRequest::read(&body).map_err(|e| bad(format!("{e:#}")))?;
    drop(body);
    // The lock moves into the task, so that scoring ends before the next one begins, even if the client has gone.
    let rewards = served.rewards.lock_owned().await;
    let scored = tokio::task::spawn_blocking(move || {
        let _room = room;
        scores(&rewards, request)
    });
    let scored = scored.await;
    scored.map(Json).map_err(|e| Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("scoring failed: {e}")))
}

/// Reads the rest of a request for a limited time, since a client reads the answer only when it has sent everything.
async fn pass_over(body: Body) {
    let mut parts = body.into_data_stream();
    let all = async {
        let mut left = 4 * MAX_REQUEST;
        while let Some(Ok(part)) = parts.next().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that is slower loses the connection.
    let _ = timeout(HEAD, all).await;
}

/// The answer to a request.
fn scores(rewards: &[Box<dyn Reward>], request: ScoreRequest) -> ScoreResponse {
    let ScoreRequest { rewards: names, items: wire, .. } = request;
    let [_, mut room] = MAX_PIXELS;
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for item in wire {
        match item.open(&mut room) {
            Ok(item) => {
                items.push(item);
                missing.push(None);
            }
            Err(why) => missing.push(Some(Missing::from(why))),
        }
    }
    let scored = names.into_iter().map(|name| {
        let found = match scores_of(rewards, &name, &items) {
            Err(why) => WireFound::Error(why),
            Ok(scores) => {
                let mut scores = scores.into_iter();
                // The scores of the items that could be opened, in their places.
                let placed = missing.iter().filter_map(|missing| match missing {
                    None => scores.next(),
                    Some(missing) => Some(Err(missing.clone())),
                });
                WireFound::Scores(placed.map(finite).collect())
            }
        };
        WireScores { name, found }
    });
    ScoreResponse { version: VERSION, rewards: scored.collect() }
}

/// One score per item by the reward `name`, or the reason why it has none.
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
