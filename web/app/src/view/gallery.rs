//! What greets where there is no picture yet: pictures of the model with their prompts and seeds.

use leptos::prelude::*;

use crate::examples::examples;
use crate::state::{App, Task};

#[component]
pub fn Gallery(app: App) -> impl IntoView {
    view! {
        <div class="gallery">
            <h2 class="lead">{move || app.t().gallery_title}</h2>
            <p class="note">{move || app.t().gallery_note}</p>
            <ul>
                {examples().generate.into_iter().enumerate().map(|(i, example)| {
                    let alt = example.prompt.clone();
                    let prompt = example.prompt.clone();
                    view! {
                        <li>
                            <button type="button" on:click=move |_| app.follow_example(Task::Generate, &example)>
                                <img src=format!("gallery/{i}.png") alt="" width="96" height="96"/>
                                <span lang="en" aria-label=alt>{prompt}</span>
                            </button>
                        </li>
                    }
                }).collect_view()}
            </ul>
        </div>
    }
}
