//! One file, whole and unharmed, over a network that may fail.

use super::hub::{File, unreachable};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use unigen_core::{Error, ErrorKind, Result};
use ureq::config::RedirectAuthHeaders;
use ureq::{Agent, ResponseExt};

/// Until somebody answers.
const ANSWER: Duration = Duration::from_secs(60);
/// How long one answer may take. A longer file continues with the next request, so that a server that falls silent is noticed.
const BODY: Duration = Duration::from_secs(300);
/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;

/// How often a request is repeated that brings nothing, and after how long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Repetitions in a row.
    pub tries: u32,
    /// The wait before the first; each further one is twice as long.
    pub first: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 5, first: Duration::from_secs(1) }
    }
}

impl Patience {
    /// How long to wait after as many `tries` that brought nothing; nothing where it is time to give up.
    pub fn wait(self, tries: u32) -> Option<Duration> {
        (tries < self.tries).then(|| self.first * (1 << tries.min(6)))
    }
}

/// Downloads.
pub struct Download {
    agent: Agent,
    token: Option<String>,
    pub(super) patience: Patience,
}

/// A request that did not bring the whole file.
enum Failed {
    /// Another may.
    Again(Error),
    /// No other will.
    Final(Error),
}

impl Download {
    /// Downloads that show `token` to the first server, and to no other that it sends them to.
    pub fn new(token: Option<String>, patience: Patience) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(ANSWER))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(BODY))
            .user_agent(concat!("unigen/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), token, patience }
    }

    /// Brings the content of `url` into the file `to`, which then is whole. What came before an interruption lies in
    /// `to.part`, and the next call continues it.
    ///
    /// # Errors
    /// See [`Hub::bring`](super::hub::Hub::bring).
    pub fn to(
        &self,
        to: &Path,
        url: &str,
        file: &File,
        heard: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut name = to.as_os_str().to_owned();
        name.push(".part");
        let (place, path) = (file.name.as_str(), Path::new(&name));
        let unwritable = |e: io::Error| unwritable(path, &e);
        let mut part =
            fs::OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unwritable)?;
        if part.try_lock().is_err() {
            return Err(Error::new(
                ErrorKind::Io,
                path.display(),
                "another program is downloading this file",
            )
            .fix("wait until it has ended"));
        }
        let mut told = part.metadata().map_err(unwritable)?.len();
        if file.size.is_some_and(|size| told > size) {
            part.set_len(0).map_err(unwritable)?;
            told = 0;
        }
        heard(told)?;
        let mut tries = 0;
        while file.size != Some(told) {
            let before = told;
            match self.request(&mut part, path, url, file, &mut told, heard) {
                Ok(()) => break,
                Err(Failed::Final(error)) => return Err(error),
                // What brings the file nearer may go on for ever.
                Err(Failed::Again(_)) if told > before => tries = 0,
                Err(Failed::Again(error)) => match self.patience.wait(tries) {
                    Some(time) => {
                        tries += 1;
                        sleep(time);
                    }
                    None => return Err(error),
                },
            }
        }
        part.sync_all().map_err(unwritable)?;
        if let Some(wanted) = &file.sha256 {
            let found = sha256(&mut part).map_err(unwritable)?;
            if found != wanted.to_ascii_lowercase() {
                // It would not become right by continuing it.
                part.set_len(0).map_err(unwritable)?;
                let what = format!("came damaged: its SHA-256 is {found}, but the Hub lists {wanted}");
                return Err(Error::new(ErrorKind::Io, place, what).fix("try again: it is downloaded anew"));
            }
        }
        fs::rename(path, to).map_err(unwritable)
    }

    /// One request, which continues `part` at its end. `told` counts its bytes.
    fn request(
        &self,
        part: &mut fs::File,
        path: &Path,
        url: &str,
        file: &File,
        told: &mut u64,
        heard: &mut dyn FnMut(u64) -> Result<()>,
    ) -> std::result::Result<(), Failed> {
        // Packed, the bytes would be others than those that the range counts.
        let mut request = self.agent.get(url).header("accept-encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if *told > 0 {
            request = request.header("range", format!("bytes={told}-"));
        }
        let again = |why: String| Failed::Again(unreachable(&file.name, &why));
        let mut answer = request.call().map_err(|e| again(e.to_string()))?;
        let sent_elsewhere =
            answer.get_uri().host() != url.parse::<ureq::http::Uri>().ok().as_ref().and_then(|u| u.host());
        match answer.status().as_u16() {
            206 if range_start(answer.headers()) == Some(*told) => {}
            // The whole file, whatever was asked for.
            200 => {
                part.set_len(0).map_err(|e| Failed::Final(unwritable(path, &e)))?;
                *told = 0;
            }
            206 | 416 => {
                part.set_len(0).map_err(|e| Failed::Final(unwritable(path, &e)))?;
                *told = 0;
                return Err(again("the server continues elsewhere than asked".into()));
            }
            status => {
                let (error, may_help) = refused(&file.name, status);
                // A signed address expires; the first server signs a new one.
                return Err(if may_help || sent_elsewhere {
                    Failed::Again(error)
                } else {
                    Failed::Final(error)
                });
            }
        }
        let (mut body, mut buffer) = (answer.body_mut().as_reader(), vec![0; BUFFER]);
        loop {
            let read = body.read(&mut buffer).map_err(|e| again(e.to_string()))?;
            if read == 0 {
                return match file.size {
                    Some(size) if size != *told => Err(again(format!("{told} of {size} bytes came"))),
                    _ => Ok(()),
                };
            }
            part.write_all(&buffer[..read]).map_err(|e| Failed::Final(unwritable(path, &e)))?;
            *told += read as u64;
            heard(*told).map_err(Failed::Final)?;
        }
    }
}

/// The error of a status that is no success, and whether another request may help.
pub fn refused(place: &str, status: u16) -> (Error, bool) {
    let (what, fix, again) = match status {
        401 => (
            "the server wants to know who asks, or there is no such repository",
            "check the name; for a private or gated one, set HF_TOKEN to a token of yours",
            false,
        ),
        403 => (
            "the server refuses",
            "open its page in a browser and accept its conditions, then set HF_TOKEN to a token of yours",
            false,
        ),
        404 => ("there is no such repository or file", "check the name", false),
        408 | 429 | 500.. => {
            ("the server is busy or out of order", "try again later, and it continues", true)
        }
        _ => (
            "the server answers in a way that is not expected",
            "check HF_ENDPOINT, which names the server",
            false,
        ),
    };
    (Error::new(ErrorKind::Io, place, format!("{what} (status {status})")).fix(fix), again)
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, path.display(), format!("cannot be written: {error}"))
        .fix("free some disk space, or set HF_HOME to another folder, then call it again: it continues")
}

/// Where the range begins that a partial answer holds.
fn range_start(headers: &ureq::http::HeaderMap) -> Option<u64> {
    let range = headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// The hash of the whole file, in hexadecimal digits.
fn sha256(file: &mut fs::File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&buffer[..read]),
        }
    }
}
