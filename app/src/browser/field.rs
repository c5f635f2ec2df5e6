//! Text fields and signals.

use js_sys::Reflect;
use leptos::{html::ElementType, prelude::*};
use wasm_bindgen::{JsCast, JsValue};

/// Keeps a field's text equal to a signal. Text typed before hydration is copied into the signal instead of being
/// overwritten.
pub(crate) fn tie<E>(field: NodeRef<E>, text: RwSignal<String>)
where
    E: ElementType + 'static,
    E::Output: JsCast + AsRef<JsValue> + Clone + 'static,
{
    Effect::new(move |before: Option<bool>| {
        let wanted = text.get();
        let Some(element) = field.get() else { return false };
        let element: &JsValue = element.as_ref();
        let key = JsValue::from_str("value");
        let current =
            Reflect::get(element, &key).ok().and_then(|value| value.as_string()).unwrap_or_default();
        if current != wanted {
            if before == Some(true) {
                let _ = Reflect::set(element, &key, &JsValue::from_str(&wanted));
            } else {
                text.set(current);
            }
        }
        true
    });
}

/// Moves the focus to a field; opens the sheet that hides it on a small screen.
pub(crate) fn focus_field(field: &str) {
    let Some(element) = super::element::<web_sys::HtmlElement>(&crate::form::id_of(field))
        .or_else(|| super::element("field-prompt"))
    else {
        return;
    };
    if let Ok(Some(fold)) = element.closest("details") {
        let _ = fold.set_attribute("open", "");
    }
    if element.get_client_rects().length() == 0
        && let Some(sheet) = super::element::<web_sys::HtmlElement>("settings")
        && sheet.get_client_rects().length() == 0
    {
        let show = Reflect::get(&sheet, &JsValue::from_str("showPopover")).ok();
        if let Some(show) = show.and_then(|show| show.dyn_into::<js_sys::Function>().ok()) {
            // Refused where it is open already.
            let _ = show.call0(&sheet);
        }
    }
    let _ = element.focus();
}
