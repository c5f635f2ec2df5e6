//! The gate's settings as TOML.

use leptos::prelude::*;

use super::{
    fields::{FormInput, alert, in_textarea},
    frame::{crumbs, flash_line, head},
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// `toml`: the settings, or what was refused.
    pub(crate) form: FormInput,
    /// The defaults as TOML.
    pub(crate) defaults: String,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn gate(data: Gate) -> AnyView {
    let Gate { form, defaults, flash } = data;
    let error = form.error("toml");
    let invalid = error.is_some().then_some("true");
    let described = if error.is_some() { "toml-help toml-error" } else { "toml-help" };
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        {head("Gate settings", "What a version must show to pass. They count for evaluations started from now on.", ())}
        {flash_line(flash)}
        {alert(form.general(&["toml"]))}
        <div class="columns two">
            <section class="panel" aria-labelledby="settings">
                <h2 id="settings">"Settings"</h2>
                <form method="post" action="/admin/gate" class="stack">
                    <div class="field">
                        <label for="toml">"TOML"</label>
                        <textarea
                            id="toml"
                            name="toml"
                            class="code"
                            rows="20"
                            autocomplete="off"
                            autocapitalize="none"
                            spellcheck="false"
                            aria-describedby=described
                            aria-invalid=invalid
                        >
                            {in_textarea(form.get("toml"))}
                        </textarea>
                        {error.map(|error| view! { <p class="field-problem" id="toml-error">{error}</p> })}
                        <p class="hint" id="toml-help">
                            "Whatever is left out has its default. muted = true shows a criterion without counting it."
                        </p>
                    </div>
                    <div class="line-up">
                        <button type="submit" name="action" value="save" class="primary">
                            "Save settings"
                        </button>
                        <button type="submit" name="action" value="defaults" class="button">
                            "Restore defaults"
                        </button>
                    </div>
                </form>
            </section>
            <section class="panel" aria-labelledby="defaults">
                <h2 id="defaults">"Defaults"</h2>
                <pre class="code" tabindex="0" role="region" aria-label="Default settings">
                    {defaults}
                </pre>
                <p class="hint">
                    "Also possible: floors.seconds_p95, the longest that 95% of the images may take, and adherence.clip_score_floor, a CLIPScore that is good for one judge only."
                </p>
            </section>
        </div>
    }
    .into_any()
}
