//! The package's brush over the picture.

use leptos::html;
use leptos::prelude::*;

use crate::state::App;

#[component]
pub fn Mask(app: App) -> impl IntoView {
    let layer = NodeRef::<html::Div>::new();
    Effect::new(move |_| {
        if let Some(layer) = layer.get() {
            app.mount_brush(&layer, &app.t().mask());
        }
    });
    view! { <div class="layer" hidden=move || !app.brushing.get() node_ref=layer></div> }
}
