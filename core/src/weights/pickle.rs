//! What `torch.save` pickles of a state dict, read without running anything: dictionaries with tensors in them. Whatever
//! else an object holds is passed over.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A tensor as the pickle describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    /// `FloatStorage`, `HalfStorage`, ..
    pub storage_type: String,
    /// Name of the storage's entry.
    pub storage: Rc<str>,
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

/// Tuples in tuples, dictionaries in dictionaries: a checkpoint of a training run has three or four levels.
const MAX_DEPTH: usize = 16;
/// The most values of a pickle. A tensor takes some twenty; a large checkpoint has a thousand tensors.
const MAX_VALUES: usize = 1 << 21;
/// A dictionary or a name may be mentioned in many places, so a short pickle can stand for many long paths. Together they may
/// have this many bytes for each byte of the pickle.
const PATH_BYTES: usize = 16;
/// The most bytes of a Python name.
const MAX_NAME: usize = 128;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;

/// What is wrong with a pickle.
pub(super) type Fault = String;
type Result<T> = std::result::Result<T, Fault>;

const DAMAGED: &str = "data.pkl is damaged: it uses a value that it does not have";
const DEEP: &str = "data.pkl is nested too deeply";
const TRUNCATED: &str = "data.pkl is truncated";

#[derive(Debug, Clone)]
enum Value {
    Int(i64),
    Text(Rc<str>),
    /// A Python name, `module.name`.
    Global(Rc<str>),
    /// A tuple, or what was made of one, and how deeply it is nested.
    Items(Role, usize, Rc<[Value]>),
    /// The number of a dictionary: wherever it is mentioned, it is the same one.
    Dict(usize),
    /// Anything that no state dict needs.
    Other,
}

/// What a tuple stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Tuple,
    /// `("storage", type, key, location, elements)`.
    Storage,
    /// The arguments of `_rebuild_tensor_v2`.
    Tensor,
}

impl Value {
    fn tuple(items: Vec<Value>) -> Result<Self> {
        let depth = |item: &Value| if let Value::Items(_, depth, _) = item { *depth } else { 0 };
        match 1 + items.iter().map(depth).max().unwrap_or(0) {
            depth if depth > MAX_DEPTH => Err(DEEP.into()),
            depth => Ok(Value::Items(Role::Tuple, depth, items.into())),
        }
    }

    /// The same items in another role; nothing for a value that has none.
    fn as_role(&self, role: Role) -> Value {
        match self {
            Value::Items(Role::Tuple, depth, items) => Value::Items(role, *depth, items.clone()),
            _ => Value::Other,
        }
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        let Value::Items(Role::Tuple, _, items) = self else { return None };
        let size = |item: &Value| if let Value::Int(n) = item { (*n).try_into().ok() } else { None };
        (items.len() <= MAX_DIMENSIONS).then(|| items.iter().map(size).collect())?
    }
}

/// The tensors in a pickle, under their dotted path.
///
/// # Errors
/// Where the bytes are no pickle of protocol 2 to 4, or hold no tensor.
pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Saved>> {
    let mut machine =
        Machine { bytes, values: 0, stack: vec![], marks: vec![], memo: HashMap::new(), dicts: vec![] };
    let root = machine.run()?;
    let budget = PATH_BYTES * bytes.len();
    let mut search = Search { dicts: &machine.dicts, budget, found: BTreeMap::new() };
    search.visit(&root, &mut String::new(), 0)?;
    if search.found.is_empty() {
        return Err("it holds no tensors".into());
    }
    Ok(search.found)
}

/// The walk through dictionaries.
struct Search<'a> {
    dicts: &'a [Vec<(Value, Value)>],
    /// Bytes of paths that may still be met.
    budget: usize,
    found: BTreeMap<String, Saved>,
}

impl Search<'_> {
    fn visit(&mut self, value: &Value, path: &mut String, depth: usize) -> Result<()> {
        let dict = match value {
            Value::Items(Role::Tensor, _, arguments) => {
                if let Some(tensor) = rebuilt(arguments) {
                    self.found.insert(path.clone(), tensor);
                }
                return Ok(());
            }
            Value::Dict(dict) => &self.dicts[*dict],
            _ => return Ok(()),
        };
        if depth == MAX_DEPTH {
            return Err(DEEP.into());
        }
        for (key, value) in dict {
            let length = path.len();
            // Entries without a name count as well.
            let name = if let Value::Text(name) = key { name } else { "" };
            let spent = length + name.len() + 1;
            self.budget = self.budget.checked_sub(spent).ok_or("data.pkl repeats itself without end")?;
            if !matches!(key, Value::Text(_)) {
                continue;
            }
            if length > 0 {
                path.push('.');
            }
            path.push_str(name);
            self.visit(value, path, depth + 1)?;
            path.truncate(length);
        }
        Ok(())
    }
}

/// The stack machine of Python's pickletools.
struct Machine<'a> {
    bytes: &'a [u8],
    /// How many values were made so far.
    values: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                // PROTO; FRAME
                0x80 => _ = self.take(1)?,
                0x95 => _ = self.take(8)?,
                b'(' => {
                    self.count()?;
                    self.marks.push(self.stack.len());
                }
                b'}' => {
                    let dict = self.dict();
                    self.push(dict)?;
                }
                b')' => self.push(Value::tuple(vec![])?)?,
                // NONE, NEWTRUE, NEWFALSE, EMPTY_LIST, EMPTY_SET
                b'N' | 0x88 | 0x89 | b']' | 0x8f => self.push(Value::Other)?,
                b'J' => self.int(4)?,
                b'K' => self.int(1)?,
                b'M' => self.int(2)?,
                0x8a => {
                    let length = self.take(1)?[0].into();
                    self.int(length)?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other)?;
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                // BINBYTES, SHORT_BINBYTES, BINSTRING, SHORT_BINSTRING
                b'B' | b'T' => self.skip(4)?,
                b'C' | b'U' => self.skip(1)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.name(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err("data.pkl is damaged: a name is no text".into());
                    };
                    self.name(&module, &name)?;
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let at = self.stack.len().checked_sub(count).ok_or(DAMAGED)?;
                    let items = self.stack.split_off(at);
                    self.push(Value::tuple(items)?)?;
                }
                b't' => {
                    let items = self.marked()?;
                    self.push(Value::tuple(items)?)?;
                }
                // APPENDS, ADDITEMS; APPEND
                b'e' | 0x90 => _ = self.marked()?,
                b'a' => _ = self.pop()?,
                b'u' => {
                    let pairs = self.marked()?;
                    self.insert(pairs)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(vec![key, value])?;
                }
                b'q' => self.put(1)?,
                b'r' => self.put(4)?,
                0x94 => {
                    let place = self.memo.len() as u32;
                    self.remember(place)?;
                }
                b'h' => self.get(1)?,
                b'j' => self.get(4)?,
                b'Q' => {
                    let storage = self.pop()?.as_role(Role::Storage);
                    self.push(storage)?;
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    let value = self.call(&callee, &arguments);
                    self.push(value)?;
                }
                // BUILD: the state of an object that is none of ours.
                b'b' => _ = self.pop()?,
                other => {
                    return Err(format!("data.pkl uses the opcode {other:#x}, which no state dict needs"));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(TRUNCATED)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// A number of bytes that follow.
    fn length(&mut self, width: usize) -> Result<usize> {
        self.number(width)?.try_into().map_err(|_| TRUNCATED.into())
    }

    /// One more value. A byte of a pickle may make one, of many more bytes here.
    fn count(&mut self) -> Result<()> {
        self.values += 1;
        match self.values > MAX_VALUES {
            true => Err(format!("data.pkl has more than {MAX_VALUES} values")),
            false => Ok(()),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// A little-endian integer: one and two bytes without sign, others with.
    fn int(&mut self, width: usize) -> Result<()> {
        if width > 8 {
            return Err(format!("data.pkl has an integer of {width} bytes"));
        }
        let value = self.number(width)?;
        let unused = 64 - 8 * width as u32;
        let value = if matches!(width, 0..=2) { value as i64 } else { (value << unused) as i64 >> unused };
        self.push(Value::Int(value))
    }

    fn text(&mut self, width: usize) -> Result<()> {
        let length = self.length(width)?;
        let text = String::from_utf8_lossy(self.take(length)?).into();
        self.push(Value::Text(text))
    }

    fn skip(&mut self, width: usize) -> Result<()> {
        let length = self.length(width)?;
        self.take(length)?;
        self.push(Value::Other)
    }

    fn name(&mut self, module: &str, name: &str) -> Result<()> {
        if module.len() + name.len() >= MAX_NAME {
            return Err(format!("data.pkl has a Python name of more than {MAX_NAME} bytes"));
        }
        self.push(Value::Global(format!("{module}.{name}").into()))
    }

    fn line(&mut self) -> Result<String> {
        let length = self.bytes.iter().position(|&byte| byte == b'\n').ok_or(TRUNCATED)?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().ok_or_else(|| DAMAGED.into())
    }

    fn marked(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or(DAMAGED)?;
        Ok(self.stack.split_off(mark))
    }

    fn dict(&mut self) -> Value {
        self.dicts.push(vec![]);
        Value::Dict(self.dicts.len() - 1)
    }

    /// Puts pairs into the dictionary on the stack; another object lets them go.
    fn insert(&mut self, pairs: Vec<Value>) -> Result<()> {
        if let Value::Dict(dict) = self.stack.last().ok_or(DAMAGED)? {
            let mut pairs = pairs.into_iter();
            while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
                self.dicts[*dict].push((key, value));
            }
        }
        Ok(())
    }

    fn put(&mut self, width: usize) -> Result<()> {
        let place = self.number(width)? as u32;
        self.remember(place)
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        self.count()?;
        let value = self.stack.last().ok_or(DAMAGED)?.clone();
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<()> {
        let place = self.number(width)? as u32;
        let value = self.memo.get(&place).ok_or(DAMAGED)?.clone();
        self.push(value)
    }

    /// What a call gives, for the calls that state dicts hold.
    fn call(&mut self, callee: &Value, arguments: &Value) -> Value {
        let Value::Global(callee) = callee else { return Value::Other };
        match &**callee {
            "collections.OrderedDict" => self.dict(),
            "torch._utils._rebuild_tensor_v2" => arguments.as_role(Role::Tensor),
            // A parameter is its tensor.
            "torch._utils._rebuild_parameter" => match arguments {
                Value::Items(Role::Tuple, _, items) => items.first().cloned().unwrap_or(Value::Other),
                _ => Value::Other,
            },
            _ => Value::Other,
        }
    }
}

/// `_rebuild_tensor_v2(("storage", type, key, location, elements), offset, shape, stride, ..)`.
fn rebuilt(arguments: &[Value]) -> Option<Saved> {
    let [Value::Items(Role::Storage, _, storage), Value::Int(offset), shape, stride, ..] = arguments else {
        return None;
    };
    let [_, Value::Global(kind), Value::Text(key), ..] = &**storage else { return None };
    Some(Saved {
        storage_type: kind.rsplit('.').next()?.to_owned(),
        storage: key.clone(),
        offset: (*offset).try_into().ok()?,
        shape: shape.sizes()?,
        stride: stride.sizes()?,
    })
}
