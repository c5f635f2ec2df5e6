//! The fields of the form: each has its name for a plain post, its text and its error.

use leptos::{
    ev::Event,
    html::{Input, Select, Textarea},
    prelude::*,
};

use super::error::problem_id;
use crate::{
    browser,
    form::{id_of, post_name},
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_attr, dyn_text, handler},
    },
};

/// One line of text.
#[component]
pub(super) fn Line(
    /// The field's name in a request, like `adapters[1].strength`.
    #[prop(into)]
    field: Signal<String>,
    value: RwSignal<String>,
    /// The keyboard that phones show.
    keyboard: &'static str,
    #[prop(optional)] class: &'static str,
    #[prop(optional, into)] label: Option<String>,
    #[prop(optional, into)] placeholder: Option<Signal<String>>,
) -> ErasedView {
    let node = NodeRef::<Input>::new();
    browser::tie(node, value);
    let Marks { id, name, invalid, described } = marks(field);
    view! {
        <input
            id=dyn_text(id)
            name=dyn_text(name)
            type="text"
            inputmode=keyboard
            class=class
            aria-label=label
            value=value.get_untracked()
            placeholder=dyn_attr(move || placeholder.map(|placeholder| placeholder.get()))
            aria-invalid=dyn_attr(invalid)
            aria-describedby=dyn_attr(described)
            node_ref=node
            on:input=handler(move |event: Event| value.set(event_target_value(&event)))
        />
    }
    .erase()
}

/// Several lines of text; grows with what is typed.
#[component]
pub(super) fn Lines(
    field: &'static str,
    value: RwSignal<String>,
    rows: &'static str,
    placeholder: &'static str,
    #[prop(optional, into)] label: Option<String>,
) -> ErasedView {
    let node = NodeRef::<Textarea>::new();
    browser::tie(node, value);
    let Marks { invalid, described, .. } = marks(Signal::derive(move || field.to_owned()));
    view! {
        <textarea
            id=id_of(field)
            name=field
            rows=rows
            placeholder=placeholder
            aria-label=label
            aria-invalid=dyn_attr(invalid)
            aria-describedby=dyn_attr(described)
            node_ref=node
            on:input=handler(move |event: Event| value.set(event_target_value(&event)))
        >
            {initial_text(value.get_untracked())}
        </textarea>
    }
    .erase()
}

/// A menu of values with their labels.
#[component]
pub(super) fn Menu(
    /// The field's name in a request, like `adapters[1].name`.
    #[prop(into)]
    field: Signal<String>,
    value: RwSignal<String>,
    options: Vec<(String, String)>,
    #[prop(optional, into)] label: Option<String>,
) -> ErasedView {
    let node = NodeRef::<Select>::new();
    browser::tie(node, value);
    let Marks { id, name, invalid, described } = marks(field);
    let options = options.into_iter().map(|(option, label)| {
        let selected = value.with_untracked(|value| *value == option);
        view! {
            <option value=option selected=selected>
                {label}
            </option>
        }
    });
    view! {
        <select
            id=dyn_text(id)
            name=dyn_text(name)
            aria-label=label
            aria-invalid=dyn_attr(invalid)
            aria-describedby=dyn_attr(described)
            node_ref=node
            on:change=handler(move |event: Event| value.set(event_target_value(&event)))
        >
            {options.collect::<Vec<_>>()}
        </select>
    }
    .erase()
}

/// What the elements of all fields have in common.
struct Marks<Id, Name, Invalid, Described> {
    id: Id,
    name: Name,
    invalid: Invalid,
    described: Described,
}

fn marks(
    field: Signal<String>,
) -> Marks<
    impl Fn() -> String + Send + Sync,
    impl Fn() -> String + Send + Sync,
    impl Fn() -> Option<String> + Send + Sync,
    impl Fn() -> Option<String> + Send + Sync,
> {
    let page = Page::here();
    let is_wrong = move || field.with(|field| page.form.is_wrong(field));
    Marks {
        id: move || field.with(|field| id_of(field)),
        name: move || field.with(|field| post_name(field)),
        invalid: move || is_wrong().then(|| "true".to_owned()),
        described: move || is_wrong().then(|| field.with(|field| problem_id(field))),
    }
}

/// What goes between the tags of a `<textarea>`. Leptos writes that out as it is, so the server must escape it;
/// the line break in front is the one that HTML drops there.
fn initial_text(text: String) -> String {
    if cfg!(feature = "ssr") { escaped(&text) } else { text }
}

pub(crate) fn escaped(text: &str) -> String {
    format!("\n{}", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_prompt_cannot_leave_its_field() {
        let written = escaped("a </textarea><script>alert(1)</script> &lt;");
        assert_eq!(written, "\na &lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp;lt;");
    }
}
