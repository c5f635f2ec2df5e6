//! The adapter that a form starts with, and the adapter whose trigger word a prompt holds.

use adire_protocol::{AdapterVersion, Stage};

use super::{AdapterRow, FormValues};

/// Each adapter with its versions, newest first.
type ByName = [(String, Vec<AdapterVersion>)];

/// Selects the adapter of a form that names none: the one whose trigger word its prompt holds, or else the newest of those
/// in production, or of all.
pub(crate) fn choose(values: &mut FormValues, adapters: &ByName) {
    let chosen = called(&values.prompt, adapters, &[]).or_else(|| latest(adapters));
    values.adapters.extend(chosen.map(|version| AdapterRow::of(version.id())));
}

/// The default version of the adapter whose trigger word the prompt holds; of several the one with the longest. `on`: the
/// names of the adapters that are chosen already. Neither they nor others that share their trigger words are called.
pub(crate) fn called<'a>(prompt: &str, adapters: &'a ByName, on: &[String]) -> Option<&'a AdapterVersion> {
    let defaults = || adapters.iter().filter_map(|(_, versions)| default_of(versions));
    let is_on = |version: &AdapterVersion| on.contains(&version.name);
    let mut found: Option<&AdapterVersion> = None;
    for version in defaults() {
        let answered = || defaults().any(|other| is_on(other) && holds(&other.trigger, &version.trigger));
        if !version.trigger.trim().is_empty()
            && found.is_none_or(|found| found.trigger.len() < version.trigger.len())
            && holds(prompt, &version.trigger)
            && !is_on(version)
            && !answered()
        {
            found = Some(version);
        }
    }
    found
}

/// The version of an adapter that is used unless another is chosen: the one in production, or else the newest.
pub(crate) fn default_of(versions: &[AdapterVersion]) -> Option<&AdapterVersion> {
    versions.iter().find(|version| version.stage == Stage::Production).or_else(|| versions.first())
}

fn latest(adapters: &ByName) -> Option<&AdapterVersion> {
    let rank = |version: &AdapterVersion| (version.stage == Stage::Production, version.created_at);
    let defaults = adapters.iter().filter_map(|(_, versions)| default_of(versions));
    // Those made together are in the order of their names.
    defaults.reduce(|best, version| if rank(version) > rank(best) { version } else { best })
}

/// Whether a text holds certain words as they stand, in whatever case. `art` is not in `heart`. Case beyond ASCII would
/// cost the page its tables.
pub(crate) fn holds(text: &str, words: &str) -> bool {
    let words = words.trim();
    let (Some(first), Some(last)) = (words.chars().next(), words.chars().next_back()) else { return true };
    let apart = |edge: char, neighbour: Option<char>| !(joins(edge) && neighbour.is_some_and(joins));
    text.char_indices().any(|(at, _)| {
        let end = at + words.len();
        let found = text.as_bytes().get(at..end);
        found.is_some_and(|found| found.eq_ignore_ascii_case(words.as_bytes()))
            && apart(first, text[..at].chars().next_back())
            // Equal bytes but for the case of ASCII: no character ends elsewhere.
            && apart(last, text[end..].chars().next())
    })
}

/// Whether a character makes one word with its neighbours: digits and the letters of scripts with spaces.
fn joins(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || character == '_'
        || matches!(character, '\u{c0}'..='\u{58f}' | '\u{1e00}'..='\u{1fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::by_name;

    fn adapter(name: &str, version: u32, trigger: &str, created_at: i64) -> AdapterVersion {
        AdapterVersion {
            name: name.to_owned(),
            version,
            hash: String::new(),
            description: String::new(),
            trigger: trigger.to_owned(),
            bytes: 0,
            created_at,
            warning: None,
            stage: Default::default(),
            aliases: Vec::new(),
        }
    }

    fn chosen(prompt: &str, adapters: &[AdapterVersion]) -> Vec<String> {
        let mut values = FormValues { prompt: prompt.to_owned(), ..Default::default() };
        choose(&mut values, &by_name(adapters));
        values.adapters.into_iter().map(|row| row.name).collect()
    }

    #[test]
    fn the_prompt_chooses_or_else_the_newest_is_taken() {
        let all = [
            adapter("adire", 1, "in adire style", 5),
            adapter("adire", 2, "in adire style", 5),
            adapter("kente", 1, "kente", 9),
            adapter("plain", 1, "", 1),
            adapter("woven", 3, "woven kente", 2),
        ];
        assert_eq!(chosen("", &all), ["kente@v1"]);
        assert_eq!(chosen("moons, In Adire Style", &all), ["adire@v2"]);
        assert_eq!(chosen("a woven kente cloth", &all), ["woven@v3"]);
        assert_eq!(chosen("kentes", &all), ["kente@v1"], "the newest, not because of the prompt");
        let called = |prompt, on: &[&str]| {
            let on: Vec<_> = on.iter().map(|name| (*name).to_owned()).collect();
            called(prompt, &by_name(&all), &on).map(AdapterVersion::id)
        };
        assert_eq!(called("kentes", &[]), None);
        assert_eq!(called("a woven kente cloth, in adire style", &[]).as_deref(), Some("adire@v2"));
        assert_eq!(called("a woven kente cloth, in adire style", &["adire"]).as_deref(), Some("woven@v3"));
        assert_eq!(called("a woven kente cloth, in adire style", &["adire", "woven"]), None);
        assert_eq!(called("a woven kente cloth", &["kente"]).as_deref(), Some("woven@v3"));
        assert_eq!(chosen("moons", &all[..2]), ["adire@v2"]);
        let mut promoted = all.clone();
        promoted[0].stage = Stage::Production;
        assert_eq!(chosen("", &promoted), ["adire@v1"]);
        assert_eq!(chosen("moons, in adire style", &promoted), ["adire@v1"]);
        assert_eq!(chosen("a woven kente cloth", &promoted), ["woven@v3"]);
        assert!(chosen("moons", &[]).is_empty());
    }

    #[test]
    fn words_are_found_as_words() {
        for (text, words, found) in [
            ("a cloth, in ADIRE style.", "in adire style", true),
            ("(adire:1.2)", "adire", true),
            ("“adire”", "adire", true),
            ("adires", "adire", false),
            ("heart", "art", false),
            ("é_art", "art", false),
            ("eart art", "art", true),
            ("<adire>x", "<adire>", true),
            ("一块蓝染布", "蓝染", true),
            ("àdìrẹ", "adire", false),
            ("", "adire", false),
            ("moons", "", true),
        ] {
            assert_eq!(holds(text, words), found, "{words} in {text}");
        }
    }
}
