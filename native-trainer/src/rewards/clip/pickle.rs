//! What `torch.save` pickles of a state dict, read without running anything: dictionaries with tensors in them. Whatever
//! else an object holds is passed over.

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A tensor as the pickle describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// `FloatStorage`, `HalfStorage`, ..
    pub storage_type: String,
    /// Name of the storage's entry.
    pub storage: String,
    /// First element in the storage.
    pub offset: u64,
    pub shape: Vec<usize>,
    /// Elements between neighbours along each dimension.
    pub stride: Vec<usize>,
}

impl Saved {
    /// Whether the elements lie one after the other, row-major.
    pub fn is_contiguous(&self) -> bool {
        let mut wanted = 1_usize;
        self.shape.len() == self.stride.len()
            && self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == wanted;
                wanted = wanted.saturating_mul(size);
                fits
            })
    }
}

/// Tuples in tuples in dictionaries: a state dict has four levels.
const MAX_DEPTH: usize = 32;
/// The most tensors of a checkpoint.
const MAX_TENSORS: usize = 1 << 20;

#[derive(Debug, Clone)]
enum Value {
    Int(i64),
    Text(Rc<str>),
    /// A Python name, `module.name`.
    Global(Rc<str>),
    Tuple(usize, Rc<Vec<Value>>),
    Dict(usize, Rc<Vec<(Value, Value)>>),
    Storage(Rc<[Value]>),
    Tensor(Rc<Saved>),
    /// Anything that no state dict needs.
    Other,
}

impl Value {
    fn depth(&self) -> usize {
        match self {
            Value::Tuple(depth, _) | Value::Dict(depth, _) => *depth,
            _ => 0,
        }
    }

    fn tuple(items: Vec<Value>) -> Result<Self> {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        ensure!(depth <= MAX_DEPTH, "data.pkl is nested too deeply");
        Ok(Value::Tuple(depth, Rc::new(items)))
    }

    /// Puts pairs into a dictionary; another object lets them go.
    fn insert(&mut self, pairs: Vec<Value>) -> Result<()> {
        if let Value::Dict(depth, items) = self {
            *depth = (*depth).max(1 + pairs.iter().map(Value::depth).max().unwrap_or(0));
            ensure!(*depth <= MAX_DEPTH, "data.pkl is nested too deeply");
            let mut pairs = pairs.into_iter();
            let items = Rc::make_mut(items);
            while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                items.push((key, value));
            }
        }
        Ok(())
    }

    fn empty_dict() -> Self {
        Value::Dict(1, Rc::default())
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        let Value::Tuple(_, items) = self else { return None };
        items.iter().map(|item| if let Value::Int(n) = item { (*n).try_into().ok() } else { None }).collect()
    }
}

/// The tensors in a pickle, under their dotted path.
///
/// # Errors
/// Where the bytes are no pickle of protocol 2 to 4, or hold no tensor.
pub fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Saved>> {
    let root = Machine { bytes, stack: vec![], marks: vec![], memo: HashMap::new() }.run()?;
    let mut found = BTreeMap::new();
    collect(&root, String::new(), &mut found)?;
    ensure!(!found.is_empty(), "it holds no tensors");
    Ok(found)
}

fn collect(value: &Value, path: String, found: &mut BTreeMap<String, Saved>) -> Result<()> {
    match value {
        Value::Tensor(tensor) => {
            found.insert(path, (**tensor).clone());
            ensure!(found.len() <= MAX_TENSORS, "it holds more than {MAX_TENSORS} tensors");
        }
        Value::Dict(_, items) => {
            for (key, value) in items.iter() {
                if let Value::Text(key) = key {
                    collect(
                        value,
                        if path.is_empty() { key.to_string() } else { format!("{path}.{key}") },
                        found,
                    )?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// The stack machine of Python's pickletools.
struct Machine<'a> {
    bytes: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Value> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                // PROTO; FRAME
                0x80 => _ = self.take(1)?,
                0x95 => _ = self.take(8)?,
                b'(' => self.marks.push(self.stack.len()),
                b'}' => self.stack.push(Value::empty_dict()),
                b')' => self.stack.push(Value::tuple(vec![])?),
                // NONE, NEWTRUE, NEWFALSE, EMPTY_LIST, EMPTY_SET
                b'N' | 0x88 | 0x89 | b']' | 0x8f => self.stack.push(Value::Other),
                b'J' => self.int(4)?,
                b'K' => self.int(1)?,
                b'M' => self.int(2)?,
                0x8a => {
                    let length = self.take(1)?[0].into();
                    self.int(length)?;
                }
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                // BINBYTES, SHORT_BINBYTES, BINSTRING, SHORT_BINSTRING
                b'B' | b'T' => self.skip(4)?,
                b'C' | b'U' => self.skip(1)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(Value::Global(format!("{module}.{name}").into()));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        bail!("data.pkl is damaged: a name is no text");
                    };
                    self.stack.push(Value::Global(format!("{module}.{name}").into()));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let at = self.stack.len().checked_sub(count).context(DAMAGED)?;
                    let tuple = Value::tuple(self.stack.split_off(at))?;
                    self.stack.push(tuple);
                }
                b't' => {
                    let tuple = Value::tuple(self.marked()?)?;
                    self.stack.push(tuple);
                }
                // APPENDS, ADDITEMS; APPEND
                b'e' | 0x90 => _ = self.marked()?,
                b'a' => _ = self.pop()?,
                b'u' => {
                    let pairs = self.marked()?;
                    self.top()?.insert(pairs)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.top()?.insert(vec![key, value])?;
                }
                b'q' => self.put(1)?,
                b'r' => self.put(4)?,
                0x94 => {
                    let (place, value) = (self.memo.len() as u32, self.top()?.clone());
                    self.memo.insert(place, value);
                }
                b'h' => self.get(1)?,
                b'j' => self.get(4)?,
                b'Q' => {
                    let id = self.pop()?;
                    let storage = match id {
                        Value::Tuple(_, items) => Value::Storage(items.as_slice().into()),
                        _ => Value::Other,
                    };
                    self.stack.push(storage);
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    self.stack.push(call(&callee, &arguments));
                }
                // BUILD: the state of an object that is none of ours.
                b'b' => _ = self.pop()?,
                other => bail!("data.pkl uses the opcode {other:#x}, which no state dict needs"),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).context("data.pkl is truncated")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A little-endian integer: one and two bytes without sign, others with.
    fn int(&mut self, width: usize) -> Result<()> {
        ensure!(width <= 8, "data.pkl has an integer of {width} bytes");
        let value = self.number(width)?;
        let unused = 64 - 8 * width as u32;
        let value = if matches!(width, 0..=2) { value as i64 } else { (value << unused) as i64 >> unused };
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn skip(&mut self, width: usize) -> Result<()> {
        let length = self.number(width)? as usize;
        self.take(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let length = self.bytes.iter().position(|&byte| byte == b'\n').context("data.pkl is truncated")?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().context(DAMAGED)
    }

    fn top(&mut self) -> Result<&mut Value> {
        self.stack.last_mut().context(DAMAGED)
    }

    fn marked(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).context(DAMAGED)?;
        Ok(self.stack.split_off(mark))
    }

    fn put(&mut self, width: usize) -> Result<()> {
        let (place, value) = (self.number(width)? as u32, self.top()?.clone());
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<()> {
        let place = self.number(width)? as u32;
        let value = self.memo.get(&place).context(DAMAGED)?.clone();
        self.stack.push(value);
        Ok(())
    }
}

const DAMAGED: &str = "data.pkl is damaged: it uses a value that it does not have";

/// What a call gives, for the calls that state dicts hold.
fn call(callee: &Value, arguments: &Value) -> Value {
    let (Value::Global(callee), Value::Tuple(_, arguments)) = (callee, arguments) else {
        return Value::Other;
    };
    match &**callee {
        "collections.OrderedDict" => Value::empty_dict(),
        "torch._utils._rebuild_tensor_v2" => rebuilt(arguments).map_or(Value::Other, Value::Tensor),
        // A parameter is its tensor.
        "torch._utils._rebuild_parameter" => arguments.first().cloned().unwrap_or(Value::Other),
        _ => Value::Other,
    }
}

/// `_rebuild_tensor_v2(("storage", type, key, location, elements), offset, shape, stride, ..)`.
fn rebuilt(arguments: &[Value]) -> Option<Rc<Saved>> {
    let [Value::Storage(storage), Value::Int(offset), shape, stride, ..] = arguments else { return None };
    let [_, Value::Global(kind), Value::Text(key), ..] = &**storage else { return None };
    Some(Rc::new(Saved {
        storage_type: kind.rsplit('.').next()?.to_owned(),
        storage: key.to_string(),
        offset: (*offset).try_into().ok()?,
        shape: shape.sizes()?,
        stride: stride.sizes()?,
    }))
}
