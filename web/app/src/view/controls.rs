//! What to do: the task, its text, examples and settings.

use leptos::ev::{KeyboardEvent, MouseEvent, SubmitEvent};
use leptos::prelude::*;
use web_sys::HtmlInputElement;

use super::header::far;
use super::icon;
use super::words::UnknownWords;
use crate::examples::examples;
use crate::externs::Sampling;
use crate::state::{App, Scene, Task, random_seed};
use crate::words::Words;

#[component]
pub fn Controls(app: App) -> impl IntoView {
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        app.start();
    };
    let shortcut = move |event: KeyboardEvent| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            app.start();
        }
    };
    let label = move || match app.task.get() {
        Task::Generate => app.t().prompt_generate,
        Task::Edit => app.t().prompt_edit,
        Task::Ask => app.t().prompt_ask,
    };
    view! {
        <form class="controls" on:submit=submit>
            <fieldset class="segments">
                <legend class="hidden">{move || app.t().tasks}</legend>
                {Task::ALL.into_iter().map(|task| view! {
                    <label>
                        <input type="radio" name="task" prop:checked=move || app.task.get() == task
                            disabled=move || task != Task::Generate && app.is_blind()
                            on:change=move |_| app.choose(task)/>
                        <span>{move || name(app.t(), task)}</span>
                    </label>
                }).collect_view()}
            </fieldset>

            // On narrow screens it stays at the bottom, in reach.
            <div class="ask">
                <div class="field">
                    <label for="prompt">{label}</label>
                    <textarea id="prompt" rows="3" maxlength="2000" lang="en" aria-describedby="prompt-note"
                        prop:value=move || app.prompt().get()
                        on:input:target=move |event| app.write(event.target().value())
                        on:keydown=shortcut></textarea>
                    <p id="prompt-note" class="note">{move || app.t().prompt_note}</p>
                </div>
                <UnknownWords app/>
                <Whole app/>
                <Run app/>
            </div>

            // Where there is no picture yet, pictures say the same.
            <Show when=move || app.task.get() != Task::Generate || !matches!(app.scene.get(), Scene::Empty)>
                <div class="chips" role="group" aria-label=move || app.t().examples>
                    {move || {
                        let task = app.task.get();
                        examples().of(task).into_iter().map(|example| {
                            let prompt = example.prompt.clone();
                            view! {
                                <button type="button" class="chip" lang="en" on:click=move |_| app.follow_example(task, &example)>{prompt}</button>
                            }
                        }).collect_view()
                    }}
                </div>
            </Show>

            <Show when=move || app.task.get() == Task::Ask>
                <Answers app/>
            </Show>
            <Show when=move || app.task.get() != Task::Ask>
                <Settings app/>
            </Show>
        </form>
    }
}

/// Says before an edit that it draws all of the picture anew, small and square, and offers the brush instead.
#[component]
fn Whole(app: App) -> impl IntoView {
    let side = move || app.model().map(|model| model.image_size);
    let redraws = move || {
        let picture = matches!(app.scene.get(), Scene::Picture(_));
        app.task.get() == Task::Edit && picture && !app.masks() && side().is_some()
    };
    let size = move || side().map(|side| format!("{side} × {side}")).unwrap_or_default();
    view! {
        <Show when=redraws>
            <p class="note whole">
                {move || app.t().whole}" "{size}". "
                <Show when=move || !app.brushing.get()>
                    <button type="button" class="plain" on:click=move |_| app.brushing.set(true)>{move || app.t().whole_brush}</button>
                </Show>
            </p>
        </Show>
    }
}

fn name(words: &'static Words, task: Task) -> &'static str {
    match task {
        Task::Generate => words.generate,
        Task::Edit => words.edit,
        Task::Ask => words.ask,
    }
}

/// The button that begins, and while something is under way how far it is and the button that ends it.
#[component]
fn Run(app: App) -> impl IntoView {
    let verb = move || match app.task.get() {
        Task::Generate => app.t().run_generate,
        Task::Edit => app.t().run_edit,
        Task::Ask => app.t().run_ask,
    };
    let working = move || app.work.get().is_some();
    let status = move || match app.work.get() {
        None => app.said.get(),
        Some(work) => work.progress.map_or(app.t().loading.to_owned(), |progress| far(app.t(), progress)),
    };
    let fraction =
        move || app.work.get().and_then(|work| work.progress).map_or(0.0, |progress| progress.fraction);
    // One button, so that the focus stays on it.
    let press = move |event: MouseEvent| {
        if app.work.get_untracked().is_some() {
            event.prevent_default();
            app.cancel();
        }
    };
    view! {
        <div class="run">
            <div class="row">
                <button type="submit" class="primary" on:click=press>
                    {move || if working() { app.t().cancel } else { verb() }}
                    <kbd aria-hidden="true" hidden=working>{move || app.t().shortcut}</kbd>
                </button>
                <button type="button" class="icon-button" title=move || app.t().share aria-label=move || app.t().share
                    on:click=move |_| app.share()>{icon("share")}</button>
            </div>
            <p class="status" aria-hidden="true">{status}</p>
            <progress class:idle=move || !working() max="1" aria-label=move || app.t().progress prop:value=fraction></progress>
        </div>
    }
}

#[component]
fn Answers(app: App) -> impl IntoView {
    // Those about the picture on the stage.
    let answers = move || {
        let (mut answers, shown) = (app.answers.get(), app.shown.get());
        answers.retain(|answer| Some(answer.picture) == shown);
        answers
    };
    view! {
        <section class="answers" aria-label=move || app.t().answers>
            <ol>
                {move || answers().into_iter().map(|answer| view! {
                    <li><p class="question" lang="en">{answer.question}</p><p class="answer" lang="en">{answer.text}</p></li>
                }).collect_view()}
            </ol>
            <Show when=move || answers().is_empty()>
                <p class="note">{move || app.t().no_answers}</p>
            </Show>
        </section>
    }
}

#[component]
fn Settings(app: App) -> impl IntoView {
    let editing = move || app.task.get() == Task::Edit;
    // Without guidance a drawing is led nowhere.
    let guided = move || {
        let own = app.own(app.task.get()).guidance;
        app.sampling().get().guidance.or(own).is_some_and(|guidance| guidance > 1.0)
    };
    let seed = move |field: HtmlInputElement| {
        match field.value().parse::<u64>() {
            Ok(seed) if seed < 1 << 53 => {
                app.seed.set(seed as f64);
                app.say("");
            }
            _ => app.say(app.lang.get_untracked().words().bad_seed),
        }
        field.set_value(&app.seed.get_untracked().to_string());
    };
    view! {
        <details class="settings" open>
            <summary>{move || app.t().settings}</summary>
            <div class="field">
                <label for="seed">{move || app.t().seed}</label>
                <div class="row">
                    <input id="seed" type="number" min="0" max="9007199254740991" step="1" inputmode="numeric"
                        prop:value=move || app.seed.get().to_string()
                        on:change:target=move |event| seed(event.target())/>
                    <button type="button" class="icon-button" title=move || app.t().dice aria-label=move || app.t().dice
                        on:click=move |_| app.seed.set(random_seed())>{icon("dice")}</button>
                    <button type="button" class="icon-button" title=move || app.t().lock aria-label=move || app.t().lock
                        aria-pressed=move || app.locked.get().to_string() on:click=move |_| app.locked.update(|locked| *locked = !*locked)>
                        {move || icon(if app.locked.get() { "lock" } else { "unlock" })}
                    </button>
                </div>
            </div>
            <Slider app id="steps" label=|t| t.steps range=(1.0, 48.0, 1.0) part=|sampling| &mut sampling.steps/>
            <Slider app id="guidance" label=|t| t.guidance range=(0.0, 12.0, 0.1) part=|sampling| &mut sampling.guidance/>
            <Show when=move || !editing() && guided()>
                <div class="field">
                    <label for="negative">{move || app.t().negative}</label>
                    <input id="negative" type="text" maxlength="2000" lang="en" prop:value=move || app.negative.get()
                        on:input:target=move |event| app.negative.set(event.target().value())/>
                </div>
            </Show>
            <Show when=editing>
                <Slider app id="image-guidance" label=|t| t.image_guidance range=(0.0, 6.0, 0.05)
                    part=|sampling| &mut sampling.image_guidance/>
            </Show>
            <Show when=move || !editing()>
                <fieldset class="field counts">
                    <legend>{move || app.t().count}</legend>
                    <div class="segments">
                        {[1, 2, 4].into_iter().map(|count| view! {
                            <label>
                                <input type="radio" name="count" prop:checked=move || app.count.get() == count
                                    on:change=move |_| app.count.set(count)/>
                                <span>{count}</span>
                            </label>
                        }).collect_view()}
                    </div>
                </fieldset>
            </Show>
            <Show when=move || app.sampling().get() != Sampling::default()>
                <button type="button" class="quiet" on:click=move |_| app.sampling().set(Sampling::default())>{move || app.t().reset}</button>
            </Show>
        </details>
    }
}

/// One setting: the model's own until it is moved. `range` is lowest, highest and step.
#[component]
fn Slider(
    app: App,
    id: &'static str,
    label: fn(&'static Words) -> &'static str,
    range: (f64, f64, f64),
    part: fn(&mut Sampling) -> &mut Option<f64>,
) -> impl IntoView {
    let (min, max, step) = range;
    let value = move || {
        let chosen = *part(&mut app.sampling().get());
        chosen.or(*part(&mut app.own(app.task.get()))).unwrap_or(min)
    };
    // As many as the step has.
    let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    view! {
        <div class="field">
            <div class="labelled"><label for=id>{move || label(app.t())}</label><output for=id>{move || format!("{:.digits$}", value())}</output></div>
            <input id=id type="range" min=min max=max step=step prop:value=move || value().to_string()
                on:input:target=move |event| {
                    if let Ok(value) = event.target().value().parse() {
                        app.sampling().update(|sampling| *part(sampling) = Some(value));
                    }
                }/>
        </div>
    }
}
