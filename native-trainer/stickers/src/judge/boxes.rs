//! Geometry of the boxes of detections and objects.

/// Whether each of two boxes `[left, top, right, bottom]` contains the middle of the other.
pub(crate) fn same_place(a: &[f32; 4], b: &[f32; 4]) -> bool {
    holds(a, middle(b)) && holds(b, middle(a))
}

/// Intersection over union of two boxes `[left, top, right, bottom]`, 0 to 1.
pub(crate) fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |c: &[f32; 4]| (c[2] - c[0]).max(0.) * (c[3] - c[1]).max(0.);
    let common = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    common / (area(a) + area(b) - common).max(f32::MIN_POSITIVE)
}

/// The middle of a box, `[x, y]`.
pub(crate) fn middle(b: &[f32; 4]) -> [f32; 2] {
    [(b[0] + b[2]) / 2., (b[1] + b[3]) / 2.]
}

fn holds(b: &[f32; 4], [x, y]: [f32; 2]) -> bool {
    (b[0]..=b[2]).contains(&x) && (b[1]..=b[3]).contains(&y)
}
