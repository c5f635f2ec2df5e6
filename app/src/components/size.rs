//! Width and height: three shapes, or two numbers.

use leptos::{html::Input, prelude::*};

use super::error::{FieldProblem, wrong};
use crate::{browser, form::shapes, state::Page};

/// The shapes as tiles, and two fields that appear under `Custom`.
#[component]
pub(crate) fn Size() -> impl IntoView {
    let page = Page::here();
    let tiles: Vec<_> = page
        .model
        .with_value(shapes)
        .into_iter()
        .map(|shape| {
            let longest = f64::from(shape.width.max(shape.height));
            let side = move |pixels: u32| f64::from(pixels) / longest * 16.0;
            (
                shape.value(),
                shape.label,
                format!("{} × {}", shape.width, shape.height),
                side(shape.width),
                side(shape.height),
            )
        })
        .map(|(value, label, pixels, width, height)| {
            let outline = view! {
                <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
                    <rect x=10.0 - width / 2.0 y=10.0 - height / 2.0 width=width height=height rx="1.5" />
                </svg>
            };
            view! { <Tile value=value label=label hint=pixels>{outline}</Tile> }
        })
        .collect();
    view! {
        <fieldset class="size">
            <legend>"Size"</legend>
            <div class="tiles">
                {tiles}
                <Tile value="custom".to_owned() label="Custom" hint="any size".to_owned()>
                    <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
                        <path d="M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4" />
                    </svg>
                </Tile>
            </div>
            <div class="custom">
                <Pixels name="width" label="Width" text=page.form.width />
                <Pixels name="height" label="Height" text=page.form.height />
            </div>
            <FieldProblem field="width" />
            <FieldProblem field="height" />
        </fieldset>
    }
}

#[component]
fn Tile(value: String, label: &'static str, hint: String, children: Children) -> impl IntoView {
    let size = Page::here().form.size;
    let wanted = StoredValue::new(value.clone());
    let chosen = move || wanted.with_value(|wanted| size.with(|size| size == wanted));
    view! {
        <label class="tile">
            <input
                type="radio"
                name="size"
                value=value
                autocomplete="off"
                checked=untrack(chosen)
                prop:checked=chosen
                on:change=move |_| size.set(wanted.get_value())
            />
            {children()}
            <span>{label}</span>
            <small>{hint}</small>
        </label>
    }
}

#[component]
fn Pixels(name: &'static str, label: &'static str, text: RwSignal<String>) -> impl IntoView {
    let field = NodeRef::<Input>::new();
    browser::tie(field, text);
    let (invalid, described) = wrong(name);
    view! {
        <label>
            <span>{label}</span>
            <input
                id=crate::form::id_of(name)
                name=name
                type="text"
                inputmode="numeric"
                autocomplete="off"
                class="count"
                value=text.get_untracked()
                aria-invalid=invalid
                aria-describedby=described
                node_ref=field
                on:input=move |event| text.set(event_target_value(&event))
            />
        </label>
    }
}
