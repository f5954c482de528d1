//! What the visitor paints on the picture on the stage, and how close one looks at it.

use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::{HtmlCanvasElement, HtmlElement, OffscreenCanvas};

use super::App;
use crate::externs::Brush;

/// The package's brush with its nodes, which outlive what the stage shows.
#[derive(Clone)]
pub struct Painter {
    brush: Brush,
    canvas: HtmlCanvasElement,
    ring: HtmlElement,
    /// Width and height that the mask has the shape of.
    shape: StoredValue<[f64; 2]>,
}

impl Painter {
    /// A brush that tells what it does. None where the browser has no canvas.
    pub fn new(erasing: RwSignal<bool>, painted: RwSignal<bool>) -> Option<Self> {
        let make = |tag: &str, class: &str| {
            let node = document().create_element(tag).ok()?;
            node.set_class_name(class);
            Some(node)
        };
        let canvas: HtmlCanvasElement = make("canvas", "mask")?.unchecked_into();
        let ring: HtmlElement = make("span", "ring")?.unchecked_into();
        canvas.set_tab_index(0);
        canvas.set_attribute("role", "application").ok()?;
        ring.set_attribute("aria-hidden", "true").ok()?;
        let itself = StoredValue::new_local(None::<Brush>);
        let changed = Closure::<dyn Fn()>::new(move || {
            itself.with_value(|brush| {
                if let Some(brush) = brush {
                    erasing.set(brush.erases());
                    painted.set(brush.painted());
                }
            });
        });
        // It lives as long as the page.
        let brush = Brush::new(&canvas, &ring, &changed.into_js_value());
        itself.set_value(Some(brush.clone()));
        Some(Self { brush, canvas, ring, shape: StoredValue::new([1.0, 1.0]) })
    }
}

impl App {
    /// Puts the brush into a node, with what it does in words.
    pub fn mount_brush(self, parent: &HtmlElement, label: &str) {
        self.painter.with_value(|painter| {
            if let Some(Painter { canvas, ring, .. }) = painter {
                let _ = canvas.set_attribute("aria-label", label);
                let _ = parent.append_child(canvas).and_then(|_| parent.append_child(ring));
            }
        });
    }

    fn with_brush(self, act: impl FnOnce(&Brush)) {
        self.painter.with_value(|painter| {
            if let Some(painter) = painter {
                act(&painter.brush);
                self.erasing.set(painter.brush.erases());
                self.painted.set(painter.brush.painted());
            }
        });
    }

    /// The picture on the stage has a size: the stage takes its shape, and so does the mask.
    pub fn fit(self, width: f64, height: f64) {
        if width <= 0.0 || height <= 0.0 {
            return;
        }
        self.ratio.set(width / height);
        let fits = self.painter.with_value(|painter| {
            painter.as_ref().is_none_or(|painter| painter.shape.get_value() == [width, height])
        });
        if !fits {
            self.with_brush(|brush| brush.shape(width, height));
            self.painter.with_value(|painter| {
                if let Some(painter) = painter {
                    painter.shape.set_value([width, height]);
                }
            });
        }
    }

    pub fn toggle_eraser(self) {
        self.with_brush(|brush| brush.set_erases(!brush.erases()));
    }

    /// Width of the brush, as a part of the picture's longer side.
    pub fn brush_size(self) -> f64 {
        self.painter.with_value(|painter| painter.as_ref().map_or(0.0, |painter| painter.brush.size()))
    }

    pub fn set_brush_size(self, size: f64) {
        self.with_brush(|brush| brush.set_size(size));
    }

    pub fn clear_mask(self) {
        self.with_brush(Brush::clear);
    }

    /// Takes the last stroke back; whether there was one.
    pub fn undo_stroke(self) -> bool {
        let any = self.brushing.get_untracked() && self.painted.get_untracked();
        if any {
            self.with_brush(Brush::undo);
        }
        any
    }

    /// What is painted, white on black; nothing where the brush is put away.
    pub(super) fn mask(self) -> Option<OffscreenCanvas> {
        if !self.brushing.get_untracked() {
            return None;
        }
        self.painter.with_value(|painter| painter.as_ref()?.brush.mask().dyn_into().ok())
    }

    pub fn zoom_by(self, factor: f64) {
        self.zoom.with_value(|zoom| zoom.iter().for_each(|zoom| zoom.by(factor)));
    }
}
