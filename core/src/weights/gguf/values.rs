//! The fields and key-value pairs of a GGUF file's header.

use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;

#[derive(Clone)]
pub enum Value {
    /// A whole number, or 0 or 1 for a truth value.
    Int(i128),
    Float(f64),
    Text(String),
    /// Elements of the type, as many, and their bytes in the file.
    Array(u32, usize, Bytes),
}

/// Little-endian fields, one after the other.
pub struct Reader<'a> {
    pub place: &'a str,
    pub bytes: &'a Bytes,
    /// The first byte that is not read yet.
    pub at: usize,
}

impl Reader<'_> {
    pub fn broken(&self, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Weights, self.place, what).fix("download or convert the file again")
    }

    fn take(&mut self, count: usize) -> Result<Bytes> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            self.broken(format!("truncated: {} bytes end within the header", self.bytes.len()))
        })?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&taken);
        Ok(bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `least` bytes each, which the rest of the file must have.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u64()?;
        let fits = usize::try_from(count).ok().filter(|&n| n <= (self.bytes.len() - self.at) / least);
        fits.ok_or_else(|| {
            self.broken(format!("truncated or damaged: {count} things cannot follow in the header"))
        })
    }

    pub fn text(&mut self) -> Result<String> {
        let length = self.count(1)?;
        let text = self.take(length)?;
        String::from_utf8(text.to_vec()).map_err(|_| self.broken("a text in the header is not UTF-8"))
    }

    pub fn value(&mut self, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Int(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(shortest(f32::from_le_bytes(self.array()?))),
            7 => Value::Int((self.array::<1>()? != [0]).into()),
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, start) = (self.u32()?, self.at + 8);
                let width = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    8 | 10..=12 => 8,
                    9 => return Err(self.broken("an array of arrays in the header")),
                    kind => {
                        return Err(self.broken(format!("a value of the unknown type {kind} in the header")));
                    }
                };
                let count = self.count(width)?;
                if kind == 8 {
                    for _ in 0..count {
                        let length = self.count(1)?;
                        self.take(length)?;
                    }
                } else {
                    self.take(count * width)?;
                }
                Value::Array(kind, count, self.bytes.slice(start..self.at))
            }
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            kind => return Err(self.broken(format!("a value of the unknown type {kind} in the header"))),
        })
    }
}

/// The number that someone wrote to get this `f32`: 1e-6, not 9.999999974752427e-7.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}
