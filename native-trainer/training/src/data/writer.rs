//! Writes WebDataset shards.

use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes samples into `DIR/PREFIX-000000.tar`, `DIR/PREFIX-000001.tar` and so on. A shard gets its final name when
/// it is complete.
pub struct ShardWriter {
    dir: PathBuf,
    prefix: String,
    per_shard: usize,
    shard: usize,
    written: usize,
    tar: Option<tar::Builder<BufWriter<File>>>,
}

impl ShardWriter {
    /// Writes into the folder `dir`, which is created if needed, with at most `per_shard` samples in each shard.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn create(dir: &Path, prefix: &str, per_shard: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (dir, prefix) = (dir.to_owned(), prefix.to_owned());
        Ok(ShardWriter { dir, prefix, per_shard: per_shard.max(1), shard: 0, written: 0, tar: None })
    }

    /// Adds a sample: an encoded PNG, its caption, and its other data as JSON.
    ///
    /// # Errors
    /// If the shard cannot be written. Earlier shards stay complete.
    pub fn write(&mut self, key: &str, png: &[u8], caption: &str, json: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_vec(json)?;
        let tar = match &mut self.tar {
            Some(tar) => tar,
            none => none.insert(tar::Builder::new(BufWriter::new(File::create(part(
                &self.dir,
                &self.prefix,
                self.shard,
            ))?))),
        };
        for (extension, bytes) in [("png", png), ("txt", caption.as_bytes()), ("json", &json)] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{key}.{extension}"), bytes)?;
        }
        self.written += 1;
        if self.written == self.per_shard { self.close_shard() } else { Ok(()) }
    }

    /// Closes the last shard.
    ///
    /// # Errors
    /// If the shard cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.close_shard()
    }

    fn close_shard(&mut self) -> io::Result<()> {
        if let Some(tar) = self.tar.take() {
            let mut file = tar.into_inner()?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(
                part(&self.dir, &self.prefix, self.shard),
                whole(&self.dir, &self.prefix, self.shard),
            )?;
            self.shard += 1;
            self.written = 0;
        }
        Ok(())
    }
}

impl Drop for ShardWriter {
    /// Removes an unfinished shard.
    fn drop(&mut self) {
        if self.tar.take().is_some() {
            // A file that cannot be removed is left behind.
            let _ = fs::remove_file(part(&self.dir, &self.prefix, self.shard));
        }
    }
}

fn whole(dir: &Path, prefix: &str, shard: usize) -> PathBuf {
    dir.join(format!("{prefix}-{shard:06}.tar"))
}

fn part(dir: &Path, prefix: &str, shard: usize) -> PathBuf {
    dir.join(format!("{prefix}-{shard:06}.tar.part"))
}
