//! Numbers as text and back, the same on the server and in the browser.
//!
//! The browser has both conversions already. Rust's own are 30 kB of code and tables, a twentieth of the page.

use std::fmt;

/// The number that a text says: digits with an optional sign, point and exponent, as in `-1.5e3`. `None` for anything
/// else, NaN and infinity by name included; too large a number is infinite.
pub fn read(text: &str) -> Option<f64> {
    let known = |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    // An empty text is 0 in the browser.
    if text.is_empty() || !text.bytes().all(known) {
        return None;
    }
    platform::read(text)
}

/// A number to be shown: as few digits as say it exactly, `0.1`.
#[derive(Clone, Copy, PartialEq)]
pub struct Decimal(pub f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        platform::write(self.0, f)
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
mod platform {
    use std::fmt::{self, Display};

    pub(super) fn read(text: &str) -> Option<f64> {
        text.parse().ok()
    }

    pub(super) fn write(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        number.fmt(f)
    }
}

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod platform {
    use std::fmt;

    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_name = Number)]
        fn number(text: &str) -> f64;
        #[wasm_bindgen(js_name = String)]
        fn string(number: f64) -> String;
    }

    pub(super) fn read(text: &str) -> Option<f64> {
        Some(number(text)).filter(|number| !number.is_nan())
    }

    pub(super) fn write(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&string(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_others_are_not() {
        for (text, number) in
            [("0.1", 0.1), ("-2", -2.0), ("+1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("1e999", f64::INFINITY)]
        {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in
            ["", " 1", "1 ", "nan", "inf", "Infinity", "0x10", "1_000", "1,5", "e5", "1e", ".", "-", "--1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_shown_with_as_few_digits_as_say_it() {
        for (number, text) in
            [(0.1 + 0.2, "0.30000000000000004"), (7.5, "7.5"), (-1.0, "-1"), (1e6, "1000000")]
        {
            assert_eq!(Decimal(number).to_string(), text);
            assert_eq!(read(text), Some(number));
        }
    }
}
