//! Icons, drawn on a square of 24.

use leptos::prelude::*;

pub fn icon(name: &'static str) -> impl IntoView {
    let path = match name {
        "undo" => "M9 14 4 9l5-5M4 9h10a5.5 5.5 0 0 1 0 11h-3",
        "redo" => "m15 14 5-5-5-5M20 9H10a5.5 5.5 0 0 0 0 11h3",
        "compare" => "M12 3v18M8 7H4v10h4M16 7h4v10h-4",
        "brush" => "M20 4c-4 1-8 5-10 9l2 2c4-2 7-6 8-11zM10 13c-3 0-4 2-4 4 0 1-1 2-2 2 4 2 8 0 8-4",
        "eraser" => {
            "M9 20h11M5.6 12.6l7-7a2 2 0 0 1 2.8 0l3 3a2 2 0 0 1 0 2.8L10 20H8l-2.4-2.4a3.5 3.5 0 0 1 0-5zM9 9l6 6"
        }
        "extend" => "M4 8V4h4M20 8V4h-4M4 16v4h4M20 16v4h-4M9 9h6v6H9z",
        "open" => "M4 17V7a2 2 0 0 1 2-2h4l2 2h6a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2z",
        "download" => "M12 4v11M7 11l5 5 5-5M5 20h14",
        "zoom_in" => "M16 16l5 5M3 10.5a7.5 7.5 0 1 0 15 0 7.5 7.5 0 1 0-15 0M7.5 10.5h6M10.5 7.5v6",
        "zoom_out" => "M16 16l5 5M3 10.5a7.5 7.5 0 1 0 15 0 7.5 7.5 0 1 0-15 0M7.5 10.5h6",
        "more" => "m8 10 4 4 4-4",
        "share" => {
            "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.6-5.6l-1.2 1.2M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.6 5.6l1.2-1.2"
        }
        "copy" => "M9 9h11v11H9zM5 15H4V4h11v1",
        "dice" => {
            "M7 4h10a3 3 0 0 1 3 3v10a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01"
        }
        "lock" => "M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3",
        "unlock" => "M6 11h12v9H6zM9 11V7a3 3 0 0 1 5.8-1",
        "device" => "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
        "delete" => "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
        _ => "M6 6l12 12M18 6 6 18",
    };
    view! {
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=path></path></svg>
    }
}
