//! TensorBoard event files, without a library: TFRecord frames (tensorflow/core/lib/io/record_writer.h) around the
//! protobuf messages `Event` and `Summary` (tensorflow/core/util/event.proto, framework/summary.proto).

use anyhow::Result;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use unigen_core::files::write_atomic;

/// Appends events to a new event file. Every call flushes, so that a running TensorBoard sees the event.
pub struct EventWriter {
    file: BufWriter<File>,
}

impl EventWriter {
    /// Creates an event file in `folder` at `time` (seconds since 1970). TensorBoard reads the files of a folder in
    /// the order of their names, which is the order of their times.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn create(folder: &Path, time: f64) -> io::Result<Self> {
        let path = folder.join(format!("events.out.tfevents.{time:020.9}.unigen"));
        let mut writer = Self { file: BufWriter::new(File::create_new(path)?) };
        writer.append(&Message::default().double(1, time).bytes(3, b"brain.Event:2"))?;
        Ok(writer)
    }

    /// Adds named numbers in single precision.
    ///
    /// # Errors
    /// If writing fails.
    pub fn scalars(&mut self, step: u64, time: f64, scalars: &[(&str, f64)]) -> io::Result<()> {
        let summary = scalars.iter().fold(Message::default(), |summary, &(tag, value)| {
            let value = Message::default().bytes(1, tag.as_bytes()).float(2, value as f32);
            summary.bytes(1, &value.0)
        });
        self.append(&event(step, time, &summary))
    }

    /// Adds an RGB image of `(width, height)` pixels, encoded as PNG.
    ///
    /// # Errors
    /// If writing fails.
    pub fn image(&mut self, step: u64, time: f64, tag: &str, size: (u32, u32), png: &[u8]) -> io::Result<()> {
        const RGB: u64 = 3;
        let (width, height) = size;
        let image =
            Message::default().varint(1, height.into()).varint(2, width.into()).varint(3, RGB).bytes(4, png);
        let value = Message::default().bytes(1, tag.as_bytes()).bytes(4, &image.0);
        self.append(&event(step, time, &Message::default().bytes(1, &value.0)))
    }

    fn append(&mut self, event: &Message) -> io::Result<()> {
        write_record(&mut self.file, &event.0)?;
        self.file.flush()
    }
}

/// Rewrites the event files of `folder` with only the events whose step is kept, and removes files that become empty.
/// Reading a file stops at a record that a crash cut short.
///
/// # Errors
/// If the folder cannot be read or written.
pub fn keep_events(folder: &Path, keep: impl Fn(u64) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "unigen") {
            continue;
        }
        let mut kept = 0;
        write_atomic(&path, |out| {
            let mut file = BufReader::new(File::open(&path)?);
            while let Some(event) = read_record(&mut file)? {
                let step = step_of(&event);
                if step.is_none_or(&keep) {
                    write_record(out, &event)?;
                    kept += usize::from(step.is_some());
                }
            }
            Ok(())
        })?;
        if kept == 0 {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn event(step: u64, time: f64, summary: &Message) -> Message {
    Message::default().double(1, time).varint(2, step).bytes(5, &summary.0)
}

/// Writes a record: its length, the checksum of the length, the data, and the checksum of the data, little-endian.
fn write_record(out: &mut (impl Write + ?Sized), data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length))?;
    out.write_all(data)?;
    out.write_all(&masked_crc(data))
}

/// The next record, or `None` if the file ends or is damaged.
fn read_record(file: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    match checked(file, 8)?.and_then(|length| length.try_into().ok()) {
        Some(length) => checked(file, u64::from_le_bytes(length)),
        None => Ok(None),
    }
}

/// The next `length` bytes, or `None` if they are incomplete or do not match the checksum after them.
fn checked(file: &mut impl Read, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut data = Vec::new();
    file.take(length.saturating_add(4)).read_to_end(&mut data)?;
    let Some((body, checksum)) = data.split_last_chunk() else { return Ok(None) };
    let sound = body.len() as u64 == length && *checksum == masked_crc(body);
    data.truncate(body.len());
    Ok(sound.then_some(data))
}

/// CRC-32C, rotated and offset, so that the checksum of data with embedded checksums stays strong.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The step of an event, which [`event`] writes after the time. `None` for the header of a file.
fn step_of(event: &[u8]) -> Option<u64> {
    let digits = event.get(9..)?.strip_prefix(&[2 << 3])?;
    let end = digits.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    Some(digits[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

/// A protobuf message under construction. Fields are appended in the order of the calls.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.number(value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.0.push(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.number(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn float(mut self, field: u8, value: f32) -> Self {
        self.0.push(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An event as an independent decoder sees it.
    #[derive(Debug, Default, PartialEq)]
    pub struct Seen {
        pub version: Option<String>,
        pub step: u64,
        pub scalar: Option<(String, f32)>,
        pub image: Option<(String, u64, u64, Vec<u8>)>,
    }

    /// Every event of every file of `folder`.
    pub fn read(folder: &Path) -> Vec<Seen> {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().flat_map(|path| decode(&fs::read(path).unwrap())).collect()
    }

    fn decode(mut file: &[u8]) -> Vec<Seen> {
        let mut events = Vec::new();
        while let Some(event) = read_record(&mut file).unwrap() {
            let mut seen = Seen::default();
            let mut values = Vec::new();
            for (field, number, data) in fields(&event) {
                match field {
                    1 => assert_eq!(data.len(), 8),
                    2 => seen.step = number,
                    3 => seen.version = Some(text(data)),
                    5 => values.extend(fields(data)),
                    _ => panic!("field {field}"),
                }
            }
            for (_, _, value) in &values {
                let part = |wanted| fields(value).find(|&(field, ..)| field == wanted);
                let tag = text(part(1).unwrap().2);
                if let Some((.., float)) = part(2) {
                    seen.scalar = Some((tag.clone(), f32::from_le_bytes(float.try_into().unwrap())));
                }
                if let Some((.., image)) = part(4) {
                    let [height, width, _, png] = fields(image).collect::<Vec<_>>().try_into().unwrap();
                    seen.image = Some((tag, width.1, height.1, png.2.to_vec()));
                }
            }
            events.push(seen);
        }
        events
    }

    fn text(data: &[u8]) -> String {
        String::from_utf8(data.to_vec()).unwrap()
    }

    /// For each field of a message: its number, its value if it is a varint, and otherwise its bytes.
    fn fields(mut data: &[u8]) -> impl Iterator<Item = (u8, u64, &[u8])> {
        fn varint(data: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = data[0];
                *data = &data[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        std::iter::from_fn(move || {
            let (&key, rest) = data.split_first()?;
            data = rest;
            let length = match key & 7 {
                0 => return Some((key >> 3, varint(&mut data), &[][..])),
                1 => 8,
                2 => varint(&mut data) as usize,
                5 => 4,
                wire => panic!("wire type {wire}"),
            };
            let (value, rest) = data.split_at(length);
            data = rest;
            Some((key >> 3, 0, value))
        })
    }

    fn filled() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 1e9).unwrap();
        writer.scalars(0, 1e9, &[("loss", 2.5)]).unwrap();
        writer.image(300, 1e9, "sample", (5, 7), b"png").unwrap();
        writer.scalars(301, 1e9, &[("loss", 1.5)]).unwrap();
        folder
    }

    #[test]
    fn writes_what_a_decoder_reads() {
        let seen = read(filled().path());
        assert_eq!(seen[0].version.as_deref(), Some("brain.Event:2"));
        assert_eq!((seen[1].step, &seen[1].scalar), (0, &Some(("loss".to_owned(), 2.5))));
        assert_eq!(
            (seen[2].step, &seen[2].image),
            (300, &Some(("sample".to_owned(), 5, 7, b"png".to_vec())))
        );
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn keeps_only_wanted_whole_events() {
        let folder = filled();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&path).unwrap();
        let before = read(folder.path());
        keep_events(folder.path(), |step| step <= 300).unwrap();
        assert_eq!(read(folder.path()), before[..3]);
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        keep_events(folder.path(), |_| true).unwrap();
        assert_eq!(read(folder.path()), before[..3]);
        keep_events(folder.path(), |_| false).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn checksum_of_a_known_record() {
        // The header that TensorFlow writes is 24 bytes long.
        let mut record = Vec::new();
        write_record(&mut record, &[0; 24]).unwrap();
        assert_eq!(record[..12], [0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
    }

    proptest! {
        #[test]
        fn steps_come_back(step: u64, time: f64) {
            prop_assert_eq!(step_of(&event(step, time, &Message::default()).0), Some(step));
            prop_assert_eq!(step_of(&Message::default().double(1, time).bytes(3, b"brain.Event:2").0), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            prop_assert!(read_record(&mut &bytes[..]).unwrap().is_none());
            step_of(&bytes);
        }
    }
}
