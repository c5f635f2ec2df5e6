//! The wildcard lists of prompts, as text.

use leptos::prelude::*;

use super::{
    fields::{FormInput, alert, in_textarea},
    frame::{flash_line, head},
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct WildcardsPage {
    /// `wildcards`: the lists, or what was refused.
    pub(crate) form: FormInput,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn wildcards(data: WildcardsPage) -> AnyView {
    let WildcardsPage { form, flash } = data;
    let error = form.error("wildcards");
    let described = if error.is_some() { "wildcards-help wildcards-error" } else { "wildcards-help" };
    view! {
        {head("Wildcards", "Lists of words. __colour__ in a prompt becomes one word of the list colour, chosen by the seed.", ())}
        {flash_line(flash)}
        {alert(form.general(&["wildcards"]))}
        <section class="panel" aria-labelledby="wildcards-title">
            <h2 id="wildcards-title">"Lists"</h2>
            <form method="post" action="/admin/wildcards" class="stack">
                <div class="field">
                    <label for="wildcards">"Names in brackets, each with its words below, one a line"</label>
                    <textarea
                        id="wildcards"
                        name="wildcards"
                        class="code"
                        rows="24"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        placeholder="[colour]\nindigo\nochre"
                        aria-describedby=described
                        aria-invalid=error.is_some().then_some("true")
                    >
                        {in_textarea(form.get("wildcards"))}
                    </textarea>
                    {error.map(|error| view! { <p class="field-problem" id="wildcards-error">{error}</p> })}
                    <p class="hint" id="wildcards-help">
                        "Words may be templates themselves, such as {pale|deep} indigo or __cloth__. 3::indigo is chosen three times as often. # begins a comment. Visitors see the names."
                    </p>
                </div>
                <div class="line-up">
                    <button type="submit" class="primary">
                        "Save lists"
                    </button>
                </div>
            </form>
        </section>
    }
    .into_any()
}
