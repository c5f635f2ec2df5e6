//! Element ids and posted names of request fields.

/// The id of a request field's element: `adapters[1].strength` is `field-adapters-1-strength`.
pub(crate) fn id_of(field: &str) -> String {
    let mut id = String::from("field");
    for part in field.split(['[', ']', '.']).filter(|part| !part.is_empty()) {
        id.push('-');
        id.push_str(part);
    }
    id
}

/// The name under which a plain form posts a field: `adapters[1].strength` goes as `adapters[1][strength]`.
pub(crate) fn post_name(field: &str) -> String {
    match field.split_once('.') {
        Some((list, part)) => format!("{list}[{part}]"),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{id_of, post_name};

    #[test]
    fn every_field_has_an_id_that_css_can_name() {
        assert_eq!(id_of("negative_prompt"), "field-negative_prompt");
        assert_eq!(id_of("adapters[1].strength"), "field-adapters-1-strength");
    }

    #[test]
    fn names_are_those_that_forms_post() {
        assert_eq!(post_name("steps"), "steps");
        assert_eq!(post_name("adapters[1].strength"), "adapters[1][strength]");
    }
}
