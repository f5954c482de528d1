//! What a WebP file claims: its decoder makes room for notes and frames of any size before it reads them.

/// Whether no lossy frame in the file is larger than the canvas, `width` x `height`.
pub(super) fn fits(bytes: &[u8], canvas: (u32, u32)) -> bool {
    // "RIFF", the length of all, "WEBP".
    chunks(bytes.get(12..).unwrap_or_default()).all(|(name, content)| match name {
        b"VP8 " => fits_frame(content, canvas),
        // Place and duration of a frame of an animation come before its own chunks.
        b"ANMF" => chunks(content.get(16..).unwrap_or_default())
            .all(|(name, content)| name != b"VP8 " || fits_frame(content, canvas)),
        _ => true,
    })
}

/// Whether the profile and other notes end within the file.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let notes = [b"ICCP", b"EXIF", b"XMP "];
    headers(bytes.get(12..).unwrap_or_default())
        .all(|(name, length, rest)| length <= rest.len() || !notes.contains(&name))
}

/// Names and contents, as far as they go.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    headers(bytes).map(|(name, length, rest)| (name, &rest[..length.min(rest.len())]))
}

/// Names, lengths, and all that follows.
fn headers(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], usize, &[u8])> {
    std::iter::from_fn(move || {
        let (name, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        // An odd length is followed by a byte that fills it up.
        bytes = rest.get(length.saturating_add(length % 2)..).unwrap_or_default();
        Some((name, length, rest))
    })
}

/// The size of a key frame, 14 bits each, comes after three bytes of flags and three that begin it (RFC 6386, section 9.1).
fn fits_frame(frame: &[u8], (width, height): (u32, u32)) -> bool {
    let Some(&[w, v, h, g]) = frame.get(6..10) else { return true };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    side(w, v) <= width && side(h, g) <= height
}
