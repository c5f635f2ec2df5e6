//! The model's own suite as TOML: what evaluations without a suite of their own render.

use leptos::prelude::*;

use super::{
    fields::{FormInput, alert, in_textarea},
    frame::{crumbs, flash_line, head},
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct SuitePage {
    /// `suite`: the suite, or what was refused.
    pub(crate) form: FormInput,
    /// Whether the admin has changed it.
    pub(crate) changed: bool,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn suite(data: SuitePage) -> AnyView {
    let SuitePage { form, changed, flash } = data;
    let error = form.error("suite");
    let described = if error.is_some() { "suite-help suite-error" } else { "suite-help" };
    let standing = if changed { "Changed from the built-in suite." } else { "The built-in suite." };
    view! {
        {crumbs([("/admin/evaluations", "Evaluation")])}
        {head("Suite", "Prompts and seeds of evaluations that name no suite. It counts for those started from now on.", ())}
        {flash_line(flash)}
        {alert(form.general(&["suite"]))}
        <section class="panel" aria-labelledby="suite-title">
            <h2 id="suite-title">{standing}</h2>
            <form method="post" action="/admin/suite" class="stack">
                <div class="field">
                    <label for="suite">"TOML"</label>
                    <textarea
                        id="suite"
                        name="suite"
                        class="code"
                        rows="24"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        aria-describedby=described
                        aria-invalid=error.is_some().then_some("true")
                    >
                        {in_textarea(form.get("suite"))}
                    </textarea>
                    {error.map(|error| view! { <p class="field-problem" id="suite-error">{error}</p> })}
                    <p class="hint" id="suite-help">
                        "name, seeds, prompts, and plain: words that stand for the trigger word when images are scored. {trigger} is replaced by each version's trigger word. Evaluations with different suites can't be compared."
                    </p>
                </div>
                <div class="line-up">
                    <button type="submit" name="action" value="save" class="primary">
                        "Save suite"
                    </button>
                    <button type="submit" name="action" value="built-in" class="button">
                        "Restore built-in suite"
                    </button>
                </div>
            </form>
        </section>
    }
    .into_any()
}
