//! A web server for this machine alone: the right types, parts of files, and the headers that browsers want.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tiny_http::{Header, Method, Request, Response, StatusCode};

/// How many requests are answered at once.
const THREADS: usize = 4;

/// Serves a folder on the loopback address.
pub struct Server {
    inner: Arc<tiny_http::Server>,
    root: PathBuf,
    port: u16,
}

impl Server {
    /// Takes `port`, or any free one where that is taken.
    pub fn start(root: &Path, port: u16) -> Result<Self> {
        let listen = |port| tiny_http::Server::http(("127.0.0.1", port));
        let inner =
            listen(port).or_else(|_| listen(0)).map_err(|e| anyhow!("cannot serve on 127.0.0.1: {e}"))?;
        let address = inner.server_addr().to_ip().context("the server has no address")?;
        Ok(Self { inner: Arc::new(inner), root: root.to_owned(), port: address.port() })
    }

    /// The address of the folder.
    pub fn url(&self) -> String {
        // Browsers trust localhost as they trust https.
        format!("http://localhost:{}/", self.port)
    }

    /// Answers requests until the process ends.
    pub fn run(self) -> Result<()> {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Ok(request) = self.inner.recv() {
                        // A visitor who has gone needs no answer.
                        let _ = self.answer(request);
                    }
                });
            }
        });
        Ok(())
    }

    fn answer(&self, request: Request) -> std::io::Result<()> {
        if !matches!(request.method(), Method::Get | Method::Head) {
            return request.respond(Response::empty(StatusCode(405)));
        }
        let path = resolve(&self.root, request.url());
        let Some((path, mut file)) = path.and_then(|path| File::open(&path).ok().map(|file| (path, file)))
        else {
            return request.respond(Response::from_string("not found").with_status_code(404));
        };
        let size = file.metadata()?.len();
        let asked = request.headers().iter().find(|header| header.field.equiv("Range"));
        let range = asked.map(|header| part(header.value.as_str(), size));
        let (status, range) = match range {
            None => (200, 0..size),
            Some(Some(range)) => (206, range),
            Some(None) => {
                let range = header("Content-Range", &format!("bytes */{size}"));
                return request.respond(Response::empty(StatusCode(416)).with_header(range));
            }
        };
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end - range.start;
        let mut headers = vec![
            header("Content-Type", media_type(&path)),
            header("Accept-Ranges", "bytes"),
            header("Cache-Control", "no-cache"),
            header("Cross-Origin-Opener-Policy", "same-origin"),
            header("Cross-Origin-Embedder-Policy", "require-corp"),
        ];
        if status == 206 {
            let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            headers.push(header("Content-Range", &value));
        }
        let body = file.take(length);
        let length = usize::try_from(length).ok();
        request.respond(
            Response::new(StatusCode(status), headers, body, length, None).with_chunked_threshold(usize::MAX),
        )
    }
}

/// The file in `root` that an address names; nothing outside of it.
fn resolve(root: &Path, url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?.trim_start_matches('/');
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let file = root.join(relative);
    let file = if file.is_dir() { file.join("index.html") } else { file };
    file.is_file().then_some(file)
}

/// The bytes that a `Range` header asks for of a file of `size`; nothing where there are none such.
fn part(header: &str, size: u64) -> Option<Range<u64>> {
    let (start, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start.parse::<u64>(), end.parse::<u64>()) {
        (Ok(start), Ok(end)) => start..end.saturating_add(1).min(size),
        (Ok(start), Err(_)) if end.is_empty() => start..size,
        (Err(_), Ok(last)) if start.is_empty() => size.saturating_sub(last)..size,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A header of this program's own making, which is always valid.
fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap_or_else(|()| unreachable!("{name}: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn ranges_are_of_the_file() {
        for (asked, wanted) in [
            ("bytes=0-4", Some(0..5)),
            ("bytes=3-", Some(3..10)),
            ("bytes=-4", Some(6..10)),
            ("bytes=8-99", Some(8..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=a-b", None),
            ("lines=0-4", None),
        ] {
            assert_eq!(part(asked, 10), wanted, "{asked}");
        }
    }

    #[test]
    fn serves_its_folder_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("site");
        std::fs::create_dir(&root)?;
        std::fs::write(folder.path().join("secret"), "no")?;
        std::fs::write(root.join("index.html"), "hello")?;
        std::fs::write(root.join("a.wasm"), "0123456789")?;
        let server = Server::start(&root, 0)?;
        let port = server.port;
        std::thread::spawn(move || server.run());
        let ask = |path: &str, range: &str| -> Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{range}Connection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let whole = ask("/", "")?;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("\r\n\r\nhello"), "{whole}");
        assert!(whole.contains("text/html") && whole.contains("Cross-Origin-Opener-Policy"), "{whole}");
        let part = ask("/a.wasm?v=1", "Range: bytes=4-\r\n")?;
        assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n456789"), "{part}");
        assert!(part.contains("bytes 4-9/10") && part.contains("application/wasm"), "{part}");
        assert!(ask("/a.wasm", "Range: bytes=10-\r\n")?.starts_with("HTTP/1.1 416"));
        for path in ["/../secret", "/absent", "//etc/passwd", "/a.wasm/.."] {
            let answer = ask(path, "")?;
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        Ok(())
    }
}
