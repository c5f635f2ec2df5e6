//! Width and height: presets, or two numbers.

use adire_protocol::decimal::Decimal;
use leptos::{ev::Event, prelude::*};

use super::{error::FieldProblem, field::Line};
use crate::{
    form::shapes,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, handler},
    },
};

/// Four corners: any size.
const CORNERS: &str = "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4";

/// The shapes as tiles, and two fields that appear under `Custom`.
#[component]
pub(super) fn Size() -> ErasedView {
    let page = Page::here();
    let shapes = page.model.with_value(shapes).into_iter().map(|shape| {
        let hint = format!("{} × {}", shape.width, shape.height);
        view! { <Tile value=shape.value() label=shape.label hint=hint outline=outline(shape.width, shape.height) /> }
    });
    view! {
        <fieldset class="size">
            <legend>"Size"</legend>
            <div class="tiles">
                {shapes.collect::<Vec<_>>()}
                <Tile
                    value="custom".to_owned()
                    label="Custom"
                    hint="any size".to_owned()
                    outline=CORNERS.to_owned()
                />
            </div>
            <div class="custom">
                <label>
                    <span>"Width"</span>
                    <Line field="width" value=page.form.width keyboard="numeric" class="count" />
                </label>
                <label>
                    <span>"Height"</span>
                    <Line field="height" value=page.form.height keyboard="numeric" class="count" />
                </label>
            </div>
            <FieldProblem field="width" />
            <FieldProblem field="height" />
        </fieldset>
    }
    .erase()
}

/// A rectangle of that shape, 15 long, in the middle of 20 × 20.
fn outline(width: u32, height: u32) -> String {
    let longest = f64::from(width.max(height).max(1));
    let (across, down) = (f64::from(width) / longest * 15.0, f64::from(height) / longest * 15.0);
    let (left, top) = (Decimal(10.0 - across / 2.0), Decimal(10.0 - down / 2.0));
    let (across, down) = (Decimal(across), Decimal(down));
    format!("M{left} {top}h{across}v{down}h-{across}z")
}

#[component]
fn Tile(value: String, label: &'static str, hint: String, outline: String) -> ErasedView {
    let size = Page::here().form.size;
    let wanted = StoredValue::new(value.clone());
    let chosen = move || wanted.with_value(|wanted| size.with(|size| size == wanted));
    view! {
        <label class="tile">
            <input
                type="radio"
                name="size"
                value=value
                checked=untrack(chosen)
                prop:checked=dyn_flag(chosen)
                on:change=handler(move |_: Event| size.set(wanted.get_value()))
            />
            <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
                <path d=outline />
            </svg>
            <span>{label}</span>
            <small>{hint}</small>
        </label>
    }
    .erase()
}

#[cfg(test)]
mod tests {
    use super::outline;

    #[test]
    fn outlines_keep_the_shape() {
        assert_eq!(outline(256, 256), "M2.5 2.5h15v15h-15z");
        assert_eq!(outline(256, 512), "M6.25 2.5h7.5v15h-7.5z");
    }
}
