//! Boxes around objects.

/// A box `[left, top, right, bottom]`, 0 to 1, y down.
pub(super) type Bounds = [f32; 4];

/// Whether a box lies inside the canvas, at least `margin` away from its edges.
pub(super) fn inside(a: &Bounds, margin: f32) -> bool {
    a[0] >= margin && a[1] >= margin && a[2] <= 1. - margin && a[3] <= 1. - margin
}

/// Whether two boxes come closer than `gap`.
pub(super) fn overlap(a: &Bounds, b: &Bounds, gap: f32) -> bool {
    a[0] < b[2] + gap && b[0] < a[2] + gap && a[1] < b[3] + gap && b[1] < a[3] + gap
}
