//! Pulls from servers on this machine: one that behaves like the Hub, and what it does on bad days.

use super::*;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Route, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use unigen_core::{Error, ErrorKind};
use unigen_models::pull::{Hub as Client, Kind, Patience, Published, Pull};
use unigen_models::{Origin, Source};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

/// What a server does wrong.
#[derive(Default)]
struct Mood {
    /// Says 503 to as many requests.
    busy: AtomicUsize,
    /// Ends as many answers in their middle.
    cut: AtomicUsize,
    /// Sends the whole file, whatever range is asked for.
    ignores_ranges: bool,
    /// Changes a byte of every large file.
    damages: bool,
    /// Wants a token.
    private: bool,
}

/// A server that lists the folders of `hub` as repositories `tiny/NAME`, and sends large files from an address of another host.
struct Server {
    hub: Hub,
    mood: Mood,
    /// Where signed addresses lead.
    signed: Mutex<String>,
    /// Requests for large files, with the range of each.
    asked: Mutex<Vec<Option<String>>>,
    /// How often a token came to a signed address.
    leaked: AtomicUsize,
}

/// Counts down; true as long as there was something left.
fn takes(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors")
}

impl Server {
    fn bytes(&self, repository: &str, file: &str) -> Option<Vec<u8>> {
        fs::read(self.hub.path().join(repository).join(file)).ok()
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<StatusCode> {
        if takes(&self.mood.busy) {
            return Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        let known =
            headers.get(header::AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}"));
        (self.mood.private && !known).then_some(StatusCode::UNAUTHORIZED)
    }
}

async fn list(
    State(server): State<Arc<Server>>,
    Route(repository): Route<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(status) = server.refusal(&headers) {
        return status.into_response();
    }
    let folder = server.hub.path().join(&repository);
    if !folder.is_dir() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let siblings = names(&folder).into_iter().map(|file| {
        let bytes = server.bytes(&repository, &file).unwrap();
        match is_large(&file) {
            true => json!({ "rfilename": file, "size": bytes.len(), "lfs": { "sha256": sha256(&bytes) } }),
            false => json!({ "rfilename": file, "size": bytes.len() }),
        }
    });
    let siblings: Vec<_> = siblings.collect();
    let card = json!({ "license": "apache-2.0" });
    axum::Json(json!({ "sha": COMMIT, "siblings": siblings, "cardData": card })).into_response()
}

async fn resolve(
    State(server): State<Arc<Server>>,
    Route((repository, revision, file)): Route<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(revision, COMMIT);
    if let Some(status) = server.refusal(&headers) {
        return status.into_response();
    }
    if is_large(&file) {
        let signed = server.signed.lock().unwrap().clone();
        return Redirect::temporary(&format!("{signed}/{repository}/{file}?signature=x")).into_response();
    }
    server
        .bytes(&repository, &file)
        .map_or(StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

async fn signed(
    State(server): State<Arc<Server>>,
    Route((repository, file)): Route<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        server.leaked.fetch_add(1, Ordering::SeqCst);
    }
    let mut bytes = server.bytes(&repository, &file).unwrap();
    if server.mood.damages {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let range = headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let wanted = range.as_deref().map_or(0, |range| {
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    server.asked.lock().unwrap().push(range);
    let (all, start) = (bytes.len(), if server.mood.ignores_ranges { 0 } else { wanted });
    let rest = bytes.split_off(start);
    let answer = Response::builder()
        .status(if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::CONTENT_LENGTH, rest.len())
        .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{all}", all - 1));
    let body = match takes(&server.mood.cut) {
        true => {
            let half = Bytes::from(rest[..rest.len() / 2].to_vec());
            let end = async {
                // What came before must be sent first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut"))
            };
            Body::from_stream(stream::once(async { Ok(half) }).chain(stream::once(end)))
        }
        false => Body::from(rest),
    };
    answer.body(body).unwrap()
}

/// A server in this mood, its address, and what keeps it alive.
fn server(mood: Mood) -> (String, Arc<Server>, Runtime) {
    let server = Server {
        hub: Hub::new(),
        mood,
        signed: Mutex::default(),
        asked: Mutex::default(),
        leaked: AtomicUsize::new(0),
    };
    let (server, runtime) = (Arc::new(server), Runtime::new().unwrap());
    let hub = Router::new()
        .route("/api/models/tiny/{repository}/revision/main", get(list))
        .route("/tiny/{repository}/resolve/{revision}/{file}", get(resolve))
        .with_state(server.clone());
    let store = Router::new().route("/{repository}/{file}", get(signed)).with_state(server.clone());
    let serve = |host: &str, router: Router| {
        let listener = runtime.block_on(TcpListener::bind((host, 0))).unwrap();
        let address = format!("http://{host}:{}", listener.local_addr().unwrap().port());
        runtime.spawn(async { axum::serve(listener, router).await.unwrap() });
        address
    };
    *server.signed.lock().unwrap() = serve("127.0.0.1", store);
    (serve("localhost", hub), server, runtime)
}

fn client(endpoint: &str, cache: &Path, token: Option<&str>) -> Client {
    let patience = Patience { tries: 2, first: Duration::from_millis(1) };
    Client::at(endpoint, cache, token.map(String::from), patience).unwrap()
}

/// The tiny parts, as a user names them.
fn tiny() -> Published {
    Published {
        image_tokenizer: "tiny/magvitv2".into(),
        vision: Some("tiny/siglip2".into()),
        image_size: Some(16),
        ..Published::like(Kind::Parts, "tiny/qwen2")
    }
}

/// Pulls the tiny parts into `folder`.
fn pull(endpoint: &str, folder: &Path, token: Option<&str>) -> Result<()> {
    let hub = client(endpoint, &folder.join("cache"), token);
    let import = Pull::list(&hub, tiny())?.import(&hub, &mut |_| Ok(()))?;
    import.write(&folder.join("model"), Storage::default(), &|_, _| Ok(()))
}

/// Checks that the model in `folder` is that of the server's own folders.
fn is_the_servers(server: &Server, folder: &Path) {
    let local = written(parts(server.hub.path()).read(), Storage::default());
    for file in ["model.safetensors", "image_tokenizer.safetensors", "vision.safetensors", "tokenizer.json"] {
        let [pulled, local] =
            [folder, local.path()].map(|path| fs::read(path.join("model").join(file)).unwrap());
        assert!(pulled == local, "{file}");
    }
}

#[test]
fn a_model_is_pulled_whole() {
    let (endpoint, server, _runtime) = server(Mood::default());
    let folder = tempfile::tempdir().unwrap();
    let hub = client(&endpoint, &folder.path().join("cache"), Some(TOKEN));
    let listed = Pull::list(&hub, tiny()).unwrap();
    let sizes: HashMap<&str, u64> = listed.repositories().map(|(name, .., size)| (name, size)).collect();
    let folders = server.hub.path().join("qwen2");
    let on_disk: u64 =
        names(&folders).iter().map(|file| fs::metadata(folders.join(file)).unwrap().len()).sum();
    assert_eq!(sizes["tiny/qwen2"], on_disk);
    assert_eq!(listed.licence(), Some("apache-2.0"));
    let mut heard = vec![];
    let import = listed.import(&hub, &mut |there| {
        heard.push(there);
        Ok(())
    });
    let model = folder.path().join("model");
    import.unwrap().write(&model, Storage::default(), &|_, _| Ok(())).unwrap();
    assert!(heard.is_sorted() && heard.last() == Some(&listed.size()));
    is_the_servers(&server, folder.path());
    let origin = Origin::of(&model).unwrap();
    assert_eq!(origin.licence.as_deref(), Some("apache-2.0"));
    let wanted = Source::Repository { repository: "tiny/qwen2".into(), commit: COMMIT.into() };
    assert_eq!(origin.parts["decoder"], wanted);
    // The token stayed with the Hub, and what is in the cache is not asked for again.
    assert_eq!(server.leaked.load(Ordering::SeqCst), 0);
    let asked = server.asked.lock().unwrap().len();
    listed.import(&hub, &mut |_| Ok(())).unwrap();
    assert!(asked == 4 && server.asked.lock().unwrap().len() == asked);
}

#[test]
fn one_of_several_files_is_chosen_by_its_name() {
    let (endpoint, server, _runtime) = server(Mood::default());
    let (folder, unigen) = (tempfile::tempdir().unwrap(), server.hub.path().join("unigen"));
    // The other file is no model.
    fs::rename(unigen.join("model.safetensors"), unigen.join("f16.safetensors")).unwrap();
    fs::write(unigen.join("q4.safetensors"), "other").unwrap();
    let model = |file: Option<&str>| Published {
        image_tokenizer: "tiny/magvitv2".into(),
        vision: Some("tiny/siglip2".into()),
        tokenizer: Some("tiny/phi".into()),
        image_size: Some(16),
        file: file.map(String::from),
        ..Published::like(Kind::Unigen, "tiny/unigen")
    };
    let hub = client(&endpoint, &folder.path().join("cache"), None);
    for file in [None, Some("q8.safetensors")] {
        let error = Pull::list(&hub, model(file)).err().unwrap().to_string();
        for word in ["tiny/unigen", "f16.safetensors (", "q4.safetensors (", "--file"] {
            assert!(error.contains(word), "{error}");
        }
    }
    assert!(Pull::list(&hub, model(Some("q4.safetensors"))).unwrap().import(&hub, &mut |_| Ok(())).is_err());
    // The one that came before lies beside it in the cache.
    let import = Pull::list(&hub, model(Some("f16.safetensors"))).unwrap().import(&hub, &mut |_| Ok(()));
    import.unwrap().write(&folder.path().join("model"), Storage::default(), &|_, _| Ok(())).unwrap();
}

#[test]
fn broken_connections_continue() {
    // A server that begins anew brings the file no nearer when it is cut again.
    for (ignores_ranges, cuts) in [(false, 7), (true, 3)] {
        let mood = Mood { cut: cuts.into(), busy: 2.into(), ignores_ranges, ..Mood::default() };
        let (endpoint, server, _runtime) = server(mood);
        let folder = tempfile::tempdir().unwrap();
        pull(&endpoint, folder.path(), None).unwrap();
        assert!(server.asked.lock().unwrap().iter().flatten().count() > 0);
        is_the_servers(&server, folder.path());
    }
}

#[test]
fn a_pull_that_was_stopped_continues() {
    let (endpoint, server, _runtime) = server(Mood::default());
    let folder = tempfile::tempdir().unwrap();
    let hub = client(&endpoint, &folder.path().join("cache"), None);
    let listed = Pull::list(&hub, tiny()).unwrap();
    let mut calls = 0;
    let stopped = listed.import(&hub, &mut |_| {
        calls += 1;
        if calls > 2 { Err(Error::new(ErrorKind::Cancelled, "pull", "stopped")) } else { Ok(()) }
    });
    assert_eq!(stopped.err().unwrap().kind, ErrorKind::Cancelled);
    pull(&endpoint, folder.path(), None).unwrap();
    is_the_servers(&server, folder.path());
}

/// Pulls, which must fail with all of `words`.
#[track_caller]
fn fails(mood: Mood, change: impl FnOnce(&Path), words: &[&str]) {
    let (endpoint, server, _runtime) = server(mood);
    change(server.hub.path());
    let folder = tempfile::tempdir().unwrap();
    let error = pull(&endpoint, folder.path(), None).expect_err("must fail");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!error.fix.is_empty() && !folder.path().join("model").exists(), "{text}");
}

#[test]
fn refusals_are_explained() {
    fails(Mood { private: true, ..Mood::default() }, |_| (), &["tiny/qwen2", "401", "HF_TOKEN"]);
    fails(Mood { busy: 99.into(), ..Mood::default() }, |_| (), &["503", "try again later"]);
    let no_folder = |hub: &Path| fs::remove_dir_all(hub.join("siglip2")).unwrap();
    fails(Mood::default(), no_folder, &["tiny/siglip2", "404", "check the name"]);
    let remove = |name: &'static str| move |hub: &Path| fs::remove_file(hub.join(name)).unwrap();
    fails(Mood::default(), remove("qwen2/tokenizer.json"), &["tiny/qwen2", "lists no tokenizer.json"]);
    fails(Mood::default(), remove("siglip2/model.safetensors"), &["tiny/siglip2", "lists no weights"]);
    let (endpoint, _server, _runtime) = server(Mood { private: true, ..Mood::default() });
    let folder = tempfile::tempdir().unwrap();
    pull(&endpoint, folder.path(), Some(TOKEN)).unwrap();
}

#[test]
fn damaged_files_are_not_taken() {
    fails(Mood { damages: true, ..Mood::default() }, |_| (), &[".safetensors", "damaged", "SHA-256"]);
}

#[test]
fn a_server_that_is_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens at this port.
    let error = pull("http://127.0.0.1:9", folder.path(), None).unwrap_err().to_string();
    assert!(error.contains("does not answer") && error.contains("network"), "{error}");
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
