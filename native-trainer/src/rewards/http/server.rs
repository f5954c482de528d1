//! Serving rewards.

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use tiny_http::{Header, Method, Request, Response};

use super::contract::{Failure, Health, ScoreRequest, ScoreResponse, VERSION, WireScore, WireScores};
use crate::rewards::{Item, Missing, Reward, Score};

/// The largest request, in bytes.
const MAX_REQUEST: u64 = 256 << 20;
/// The most items of a request.
const MAX_ITEMS: usize = 4096;
/// Requests that are read and answered at once; scoring itself takes turns.
const WORKERS: usize = 4;
/// How long a worker waits for a request before it looks whether to stop.
const WAIT: Duration = Duration::from_millis(200);

/// A server of rewards by the [contract](super::contract). A client that keeps idle connections open may delay others:
/// close each after its answer.
pub struct Server {
    inner: tiny_http::Server,
    rewards: Vec<Box<dyn Reward>>,
    /// Rewards compute on all cores: one request at a time.
    turn: Mutex<()>,
}

/// An answer: status and body.
type Answer = (u16, Vec<u8>);

impl Server {
    /// Listens at `host`:`port`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address cannot be listened at, there are no rewards, or two have one name.
    pub fn bind(host: &str, port: u16, rewards: Vec<Box<dyn Reward>>) -> Result<Self> {
        let names: BTreeSet<&str> = rewards.iter().map(|reward| reward.name()).collect();
        ensure!(!rewards.is_empty(), "there are no rewards to serve");
        ensure!(names.len() == rewards.len(), "two rewards have one name; serve each once");
        let inner = tiny_http::Server::http((host, port))
            .map_err(|e| anyhow!("{e}"))
            .with_context(|| format!("cannot listen at {host}:{port}; choose another --port"))?;
        Ok(Self { inner, rewards, turn: Mutex::new(()) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where it does not listen at an IP address.
    pub fn address(&self) -> Result<SocketAddr> {
        self.inner.server_addr().to_ip().context("the server has no IP address")
    }

    /// Serves until `stop` says so.
    pub fn run(&self, stop: impl Fn() -> bool + Sync) {
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while !stop() {
                        if let Ok(Some(request)) = self.inner.recv_timeout(WAIT) {
                            self.serve(request);
                        }
                    }
                });
            }
        });
    }

    fn serve(&self, mut request: Request) {
        let path = request.url().split('?').next().unwrap_or_default().to_owned();
        let (status, body) = match (request.method(), path.as_str()) {
            (Method::Get, "/health") => {
                let rewards = self.rewards.iter().map(|reward| reward.name().to_owned()).collect();
                json(200, &Health { version: VERSION, rewards })
            }
            (Method::Post, "/v1/score") => {
                let mut body = Vec::new();
                match request.as_reader().take(MAX_REQUEST + 1).read_to_end(&mut body) {
                    Err(e) => failure(400, format!("the request broke off: {e}")),
                    Ok(_) if body.len() as u64 > MAX_REQUEST => failure(
                        400,
                        format!("the request has more than {MAX_REQUEST} bytes; send fewer items"),
                    ),
                    Ok(_) => self.score(&body),
                }
            }
            (_, "/health" | "/v1/score") => failure(400, "use GET /health or POST /v1/score".into()),
            _ => failure(404, format!("there is no {path}; use GET /health or POST /v1/score")),
        };
        let mut response = Response::new(status.into(), vec![], Cursor::new(body), None, None);
        if let Ok(header) = Header::from_bytes("content-type", "application/json") {
            response.add_header(header);
        }
        // A client that has gone away needs no answer.
        let _ = request.respond(response);
    }

    fn score(&self, body: &[u8]) -> Answer {
        let request: ScoreRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(e) => return failure(400, format!("the request is not understood: {e}")),
        };
        if request.version != VERSION {
            return failure(400, format!("the request is of version {}, not {VERSION}", request.version));
        }
        if request.items.len() > MAX_ITEMS {
            return failure(400, format!("{} items are more than {MAX_ITEMS}", request.items.len()));
        }
        let opened: Vec<Result<Item, Missing>> =
            request.items.iter().map(|item| item.open().map_err(Missing::from)).collect();
        let items: Vec<Item> = opened.iter().filter_map(|item| item.as_ref().ok()).cloned().collect();
        let mut rewards = Vec::with_capacity(request.rewards.len());
        for name in request.rewards {
            let Some(reward) = self.rewards.iter().find(|reward| reward.name() == name) else {
                return failure(404, format!("there is no reward {name}; GET /health lists all"));
            };
            let scores = {
                let _turn = self.turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                reward.score(&items)
            };
            let mut scores = scores.into_iter();
            let none = || Err(Missing("the reward gave no score".into()));
            let scores = opened.iter().map(|item| match item {
                Ok(_) => scores.next().unwrap_or_else(none),
                Err(missing) => Err(missing.clone()),
            });
            rewards.push(WireScores { name, scores: scores.map(finite).collect() });
        }
        json(200, &ScoreResponse { version: VERSION, rewards })
    }
}

/// JSON has no NaN.
fn finite(score: Score) -> WireScore {
    match score {
        Ok(score) if !score.is_finite() => WireScore::Error(format!("the score is {score}")),
        score => score.into(),
    }
}

fn failure(status: u16, error: String) -> Answer {
    json(status, &Failure { version: VERSION, error })
}

fn json(status: u16, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(e) => (500, e.to_string().into_bytes()),
    }
}
