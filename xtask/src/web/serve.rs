//! A web server for this machine alone, with the headers that browsers need.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use tokio::runtime::Runtime;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// These headers make browsers see new files at once, and let the page share memory between threads.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-embedder-policy"), HeaderValue::from_static("require-corp")),
];

/// Serves a folder on the loopback address.
pub struct Server {
    listener: TcpListener,
    root: PathBuf,
    port: u16,
}

impl Server {
    /// Listens on `port`, or on any free port if that one is taken.
    pub fn start(root: &Path, port: u16) -> Result<Self> {
        let listen = |port| TcpListener::bind(("127.0.0.1", port));
        let listener = listen(port).or_else(|_| listen(0)).context("cannot serve on 127.0.0.1")?;
        // Tokio needs a non-blocking listener.
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, root: root.to_owned(), port })
    }

    /// The address of the folder.
    pub fn url(&self) -> String {
        // Browsers trust localhost like https.
        format!("http://localhost:{}/", self.port)
    }

    /// Answers requests until the process ends.
    pub fn run(self) -> Result<()> {
        let files = Router::new().fallback_service(ServeDir::new(&self.root));
        let app = HEADERS
            .into_iter()
            .fold(files, |app, (name, value)| app.layer(SetResponseHeaderLayer::overriding(name, value)));
        Runtime::new().context("cannot start the server")?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            Ok(axum::serve(listener, app).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn serves_its_folder_and_nothing_else() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("site");
        std::fs::create_dir(&root)?;
        std::fs::write(folder.path().join("secret"), "no")?;
        std::fs::write(root.join("index.html"), "hello")?;
        std::fs::write(root.join("manifest.webmanifest"), "{}")?;
        std::fs::write(root.join("a.js"), "1")?;
        std::fs::write(root.join("a.wasm"), "0123456789")?;
        let server = Server::start(&root, 0)?;
        let port = server.port;
        std::thread::spawn(move || server.run());
        let request = |method: &str, path: &str, range: &str| -> Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n{range}Connection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let ask = |path: &str, range: &str| request("GET", path, range);
        let whole = ask("/", "")?;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("\r\n\r\nhello"), "{whole}");
        assert!(whole.contains("text/html") && whole.contains("accept-ranges: bytes"), "{whole}");
        for (name, value) in HEADERS {
            assert!(whole.contains(&format!("{name}: {}", value.to_str()?)), "{whole}");
        }
        let head = request("HEAD", "/a.wasm", "")?;
        assert!(head.contains("content-length: 10") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(request("POST", "/", "")?.starts_with("HTTP/1.1 405"));
        for (path, kind) in [
            ("/a.wasm", "application/wasm"),
            ("/a.js", "text/javascript"),
            ("/manifest.webmanifest", "application/manifest+json"),
        ] {
            assert!(ask(path, "")?.contains(&format!("content-type: {kind}")), "{path}");
        }
        for (range, part, bytes) in
            [("0-4", "01234", "0-4"), ("4-", "456789", "4-9"), ("-4", "6789", "6-9"), ("8-99", "89", "8-9")]
        {
            let answer = ask("/a.wasm?v=1", &format!("Range: bytes={range}\r\n"))?;
            assert!(answer.starts_with("HTTP/1.1 206"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{part}")), "{answer}");
            assert!(answer.contains(&format!("content-range: bytes {bytes}/10")), "{answer}");
        }
        for range in ["bytes=10-", "bytes=5-4", "bytes=a-b"] {
            let answer = ask("/a.wasm", &format!("Range: {range}\r\n"))?;
            assert!(answer.starts_with("HTTP/1.1 416"), "{range}: {answer}");
        }
        for path in ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "/absent", "//etc/passwd", "/a.wasm/.."]
        {
            let answer = ask(path, "")?;
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        Ok(())
    }
}
