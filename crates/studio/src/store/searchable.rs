//! What of an image its history is searched by: the columns that are written with it.

use adire_protocol::{ImageRecord, Recipe};

use super::batch::Statement;

/// Most characters of a prompt that can be searched for.
const MAX_WORDS: usize = 4_000;

/// The words of a text in lower case; a character of a language without spaces is one.
pub(crate) fn words_of(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars().take(MAX_WORDS).flat_map(char::to_lowercase) {
        let alone =
            matches!(u32::from(c), 0x0e00..=0x0eff | 0x2e80..=0xa4cf | 0xac00..=0xd7ff | 0xf900..=0xfaff);
        if alone {
            words.extend([c.to_string(), String::new()]);
        } else if c.is_alphanumeric() {
            if let Some(last) = words.last_mut() {
                last.push(c);
            }
        } else if words.last().is_some_and(|last| !last.is_empty()) {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn in_spaces(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().fold(" ".to_owned(), |text, word| text + &word + " ")
}

/// Seed, adapters and words of a recipe, as columns have them.
pub(super) fn columns(recipe: &Recipe) -> [String; 3] {
    let spec = &recipe.spec;
    let adapters = spec.adapters.iter().flat_map(|used| {
        let name = used.name.split('@').next().unwrap_or_default().to_owned();
        [name, used.name.clone()]
    });
    [spec.seed.to_string(), in_spaces(adapters), in_spaces(words_of(&spec.prompt))]
}

/// The row of a new image.
pub(super) fn insert(image: &ImageRecord, visitor: Option<&str>) -> Statement {
    let [seed, adapters, words] = columns(&image.recipe);
    Statement::of(
        "INSERT INTO history (generation, position, visitor, created_at, seed, adapters, words) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&image.generation)
    .bind(i64::from(image.index))
    .bind(visitor.unwrap_or_default())
    .bind(image.created_at)
    .bind(seed)
    .bind(adapters)
    .bind(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_lies_between_punctuation() {
        assert_eq!(
            words_of("Large, (white:1.2) STARS—on blue_cloth"),
            ["large", "white", "1", "2", "stars", "on", "blue", "cloth"]
        );
        assert_eq!(words_of("蓝染布 adire"), ["蓝", "染", "布", "adire"]);
        assert!(words_of(" … ").is_empty());
    }
}
