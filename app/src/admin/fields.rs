//! Fields of plain forms: a label, a help sentence and the error of the value.

use std::collections::BTreeMap;

use adire_protocol::FieldError;
use leptos::prelude::*;

/// The values of a form and their errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormInput {
    /// By the names of the fields, as they were typed.
    pub values: BTreeMap<String, String>,
    /// Errors of the values.
    pub errors: Vec<FieldError>,
}

impl FormInput {
    /// The fields of a form that was sent; of several with one name, the last.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Self { values: pairs.into_iter().collect(), errors: Vec::new() }
    }

    /// A field's text; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// The errors of a field, joined.
    pub(super) fn error(&self, name: &str) -> Option<String> {
        let mut all =
            self.errors.iter().filter(|error| error.field == name).map(|error| error.message.as_str());
        let first = all.next()?.to_owned();
        Some(all.fold(first, |all, next| format!("{all} {next}")))
    }

    /// Errors of fields that the form does not show, for above the form.
    pub(super) fn general(&self, shown: &[&str]) -> Vec<String> {
        let hidden = self.errors.iter().filter(|error| !shown.contains(&error.field.as_str()));
        hidden.map(|error| error.message.clone()).collect()
    }
}

/// Name, label and help of a field.
pub(super) struct Field<'f> {
    pub(super) name: &'f str,
    pub(super) label: &'f str,
    /// One sentence; empty for none.
    pub(super) help: &'f str,
}

impl Field<'_> {
    fn id(&self) -> String {
        format!("field-{}", self.name.replace('.', "-"))
    }

    /// Label, control, error and help. `control` receives the control's id and the ids that describe it.
    fn around(
        &self,
        form: &FormInput,
        control: impl FnOnce(String, Option<String>, Option<&'static str>) -> AnyView,
    ) -> AnyView {
        self.around_as(self.id(), form, control)
    }

    /// The same for a control with this id.
    fn around_as(
        &self,
        id: String,
        form: &FormInput,
        control: impl FnOnce(String, Option<String>, Option<&'static str>) -> AnyView,
    ) -> AnyView {
        let error = form.error(self.name);
        let (help_id, error_id) = (format!("{id}-help"), format!("{id}-error"));
        let described: Vec<_> =
            [(!self.help.is_empty()).then_some(&help_id), error.as_ref().map(|_| &error_id)]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
        let described = (!described.is_empty()).then(|| described.join(" "));
        let control = control(id.clone(), described, error.is_some().then_some("true"));
        view! {
            <div class="field">
                <label for=id>{self.label.to_owned()}</label>
                {control}
                {error.map(|error| view! { <p class="field-problem" id=error_id>{error}</p> })}
                {(!self.help.is_empty()).then(|| view! { <p class="hint" id=help_id>{self.help.to_owned()}</p> })}
            </div>
        }
        .into_any()
    }

    /// One line of text.
    pub(super) fn text(&self, form: &FormInput) -> AnyView {
        self.line(form, "text", "off")
    }

    /// A number, as text.
    pub(super) fn number(&self, form: &FormInput) -> AnyView {
        let (name, value) = (self.name.to_owned(), form.get(self.name).to_owned());
        self.around(form, |id, described, invalid| {
            view! {
                <input
                    type="text"
                    class="number"
                    inputmode="decimal"
                    autocomplete="off"
                    id=id
                    name=name
                    value=value
                    aria-describedby=described
                    aria-invalid=invalid
                />
            }
            .into_any()
        })
    }

    /// A password; never prefilled. `kind`: `current-password` or `new-password`.
    pub(super) fn password(&self, form: &FormInput, kind: &'static str) -> AnyView {
        self.line(form, "password", kind)
    }

    fn line(&self, form: &FormInput, kind: &'static str, autocomplete: &'static str) -> AnyView {
        let name = self.name.to_owned();
        let value = (kind != "password").then(|| form.get(self.name).to_owned());
        self.around(form, |id, described, invalid| {
            view! {
                <input
                    type=kind
                    autocomplete=autocomplete
                    id=id
                    name=name
                    value=value
                    aria-describedby=described
                    aria-invalid=invalid
                />
            }
            .into_any()
        })
    }

    /// A file; `accept` as in HTML.
    pub(super) fn file(&self, form: &FormInput, accept: &'static str) -> AnyView {
        let name = self.name.to_owned();
        self.around(form, |id, described, invalid| {
            view! {
                <input
                    type="file"
                    required
                    accept=accept
                    id=id
                    name=name
                    aria-describedby=described
                    aria-invalid=invalid
                />
            }
            .into_any()
        })
    }

    /// Several lines.
    pub(super) fn lines(&self, form: &FormInput) -> AnyView {
        let (name, value) = (self.name.to_owned(), in_textarea(form.get(self.name)));
        self.around(form, |id, described, invalid| {
            view! {
                <textarea id=id name=name rows="2" autocomplete="off" aria-describedby=described aria-invalid=invalid>
                    {value}
                </textarea>
            }
            .into_any()
        })
    }

    /// One of several: value and label of each.
    pub(super) fn select(&self, form: &FormInput, options: Vec<(String, String)>) -> AnyView {
        self.select_as(self.id(), form, options)
    }

    /// The same with an id of its own, for a page with several of these forms.
    pub(super) fn select_as(&self, id: String, form: &FormInput, options: Vec<(String, String)>) -> AnyView {
        let (name, chosen) = (self.name.to_owned(), form.get(self.name).to_owned());
        self.around_as(id, form, |id, described, invalid| {
            let options = options.into_iter().map(|(value, label)| {
                let selected = value == chosen;
                view! {
                    <option value=value selected=selected>
                        {label}
                    </option>
                }
            });
            view! {
                <select id=id name=name autocomplete="off" aria-describedby=described aria-invalid=invalid>
                    {options.collect::<Vec<_>>()}
                </select>
            }
            .into_any()
        })
    }

    /// A checkbox; absent from a sent form when unchecked.
    pub(super) fn checkbox(&self, form: &FormInput) -> AnyView {
        let (id, checked) = (self.id(), !form.get(self.name).is_empty());
        let help_id = format!("{id}-help");
        view! {
            <div class="field check">
                <input
                    type="checkbox"
                    value="on"
                    id=id.clone()
                    name=self.name.to_owned()
                    checked=checked
                    aria-describedby=help_id.clone()
                />
                <label for=id>{self.label.to_owned()}</label>
                <p class="hint" id=help_id>
                    {self.help.to_owned()}
                </p>
            </div>
        }
        .into_any()
    }
}

/// What goes between the tags of a `<textarea>`, which leptos writes out as it is.
pub(super) fn in_textarea(text: &str) -> String {
    crate::components::escaped(text)
}

/// Errors above a form.
pub(super) fn alert(messages: Vec<String>) -> Option<AnyView> {
    (!messages.is_empty()).then(|| {
        let messages = messages.into_iter().map(|message| view! { <p>{message}</p> });
        view! {
            <div class="alert" role="alert">
                {messages.collect::<Vec<_>>()}
            </div>
        }
        .into_any()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> FormInput {
        let errors = vec![
            FieldError { field: "rank".to_owned(), message: "rank is 0.".to_owned() },
            FieldError { field: "other".to_owned(), message: "Something else.".to_owned() },
        ];
        FormInput { errors, ..FormInput::from_pairs(vec![("rank".to_owned(), "\"0<".to_owned())]) }
    }

    #[test]
    fn an_invalid_field_keeps_its_value_and_shows_its_error() {
        let html = Field { name: "rank", label: "Rank", help: "How much." }.number(&form()).to_html();
        assert!(html.contains("value=\"&quot;0&lt;\"") && html.contains("aria-invalid=\"true\""), "{html}");
        assert!(html.contains("aria-describedby=\"field-rank-help field-rank-error\""), "{html}");
        assert!(html.contains("rank is 0.") && html.contains("How much."), "{html}");
        assert_eq!(form().general(&["rank"]), ["Something else."]);
    }

    #[test]
    fn a_password_is_never_written_back() {
        let form = FormInput::from_pairs(vec![("password".to_owned(), "secret".to_owned())]);
        let html = Field { name: "password", label: "Password", help: "" }
            .password(&form, "current-password")
            .to_html();
        assert!(!html.contains("secret"), "{html}");
    }
}
