//! What a TIFF file lists beside its pixels: its decoder makes room for the values of an entry before it reads them.

/// Whether the first picture's entries have no more values than the file has bytes.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    entries(bytes)
        .is_some_and(|mut entries| entries.all(|bytes_of_values| bytes_of_values <= bytes.len() as u64))
}

/// The bytes that the values of each entry take; `None` where the file ends before its list of entries does. TIFF 6.0, section 2;
/// BigTIFF has wider numbers.
fn entries(bytes: &[u8]) -> Option<impl Iterator<Item = u64>> {
    let little = bytes.starts_with(b"II");
    let number = move |at: u64, size: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let digits = bytes.get(at..at.checked_add(size)?)?.iter().map(|&digit| u64::from(digit));
        let add = |number: u64, digit: u64| number << 8 | digit;
        Some(if little { digits.rev().fold(0, add) } else { digits.fold(0, add) })
    };
    let big = number(2, 2)? == 43;
    let (offset, counter, entry, wide) = if big { (8, 8, 20, 8) } else { (4, 2, 12, 4) };
    let start = number(offset, wide)?;
    let count = number(start, counter)?;
    let first = start.checked_add(counter as u64)?;
    // The list itself lies in the file.
    number(first.checked_add(count.checked_mul(entry)?)?.checked_sub(1)?, 1)?;
    Some((0..count).map(move |i| {
        let at = first + i * entry;
        let size = match number(at + 2, 2) {
            Some(3 | 8) => 2,
            Some(4 | 9 | 11 | 13) => 4,
            Some(5 | 10 | 12 | 16..=18) => 8,
            _ => 1,
        };
        number(at + 4, wide).unwrap_or(u64::MAX).saturating_mul(size)
    }))
}
