//! Light, dark or system theme. The choice is a cookie, so the server renders it into the document and nothing flashes.

use leptos::prelude::document;
use wasm_bindgen::JsCast;

const COOKIE: &str = "adire_theme";

/// The visitor's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    /// Every choice in the order of the switch.
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The value of the cookie and of `data-theme`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The choice in a `Cookie` header or in `document.cookie`.
pub(crate) fn theme_of_cookie(cookies: &str) -> Theme {
    let chosen = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value));
    Theme::ALL.into_iter().find(|theme| Some(theme.name()) == chosen).unwrap_or_default()
}

/// Applies a theme and stores it for a year.
pub(crate) fn set_theme(theme: Theme) {
    if let Some(root) = document().document_element() {
        let _ = root.set_attribute("data-theme", theme.name());
    }
    if let Some(page) = document().dyn_ref::<web_sys::HtmlDocument>() {
        let _ =
            page.set_cookie(&format!("{COOKIE}={}; path=/; max-age=31536000; samesite=lax", theme.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(theme_of_cookie("adire_visitor=x; adire_theme=dark"), Theme::Dark);
        assert_eq!(theme_of_cookie("adire_theme=<script>"), Theme::Auto);
        assert_eq!(theme_of_cookie(""), Theme::Auto);
    }
}
