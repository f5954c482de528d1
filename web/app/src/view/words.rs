//! The words that the model has not learned.

use leptos::prelude::*;

use crate::state::App;

/// How many of the words that it knows are shown at once.
const SOME: usize = 96;

#[component]
pub fn UnknownWords(app: App) -> impl IntoView {
    let unknown = move || app.unknown.get();
    let known = move || app.model().map(|model| model.words).unwrap_or_default();
    view! {
        <div role="status" class="unknown-status">
            <Show when=move || !unknown().is_empty()>
                <div class="unknown">
                    <p>
                        {move || app.t().unknown()}" "
                        <strong lang="en">{move || quoted(&unknown().iter().map(|unknown| unknown.word.clone()).collect::<Vec<_>>())}</strong>
                    </p>
                    {move || unknown().into_iter().filter_map(|unknown| unknown.nearest.map(|nearest| (unknown.word, nearest))).map(|(word, nearest)| {
                        let label = format!("{word} → {nearest}");
                        view! {
                            <button type="button" class="chip" lang="en" on:click=move |_| app.replace_word(&word, &nearest)>{label}</button>
                        }
                    }).collect_view()}
                    <details>
                        <summary>{move || app.t().known}</summary>
                        <p class="note" lang="en">{move || known().into_iter().take(SOME).collect::<Vec<_>>().join(", ")}" …"</p>
                    </details>
                </div>
            </Show>
        </div>
    }
}

/// Words between quotation marks.
pub fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("“{word}”")).collect::<Vec<_>>().join(", ")
}
