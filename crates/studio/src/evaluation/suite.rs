//! A suite: the prompts and seeds that a version is evaluated on.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::statistics::FEWEST_PROMPTS;

/// Stands for the trigger word in a prompt.
pub const TRIGGER: &str = "{trigger}";
/// The starter model's name.
const STARTER: &str = "Adire starter";
const MAX_PROMPTS: usize = 200;
const MAX_SEEDS: usize = 8;
const MAX_CHARS: usize = 1_000;

/// Prompts × seeds. Base, champion and challenger are rendered with the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What to call it.
    pub name: String,
    /// Seeds of each prompt.
    pub seeds: Vec<u64>,
    /// Stands for the trigger word when an image is scored: words that the judge knows, such as “in indigo dye”. Left out
    /// with the trigger when empty.
    #[serde(default)]
    pub plain: String,
    /// Prompts, with [`TRIGGER`] where the trigger word goes.
    pub prompts: Vec<String>,
    /// Those of the prompts that only the admin sees, such as a visitor's from a report: neither they nor their images go
    /// to voters or to a Hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
}

/// Why a file is not a suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The suite is not valid: {0}")]
pub struct SuiteError(String);

impl Suite {
    /// 24 prompts × 2 seeds of things and scenes, for models of the size of Stable Diffusion 1.5.
    ///
    /// # Panics
    /// Never; a test reads the file.
    pub fn general() -> Self {
        built_in(include_str!("suites/general.toml"))
    }

    /// 12 prompts × 2 seeds in the starter model's words.
    ///
    /// # Panics
    /// Never; a test reads the file.
    pub fn starter() -> Self {
        built_in(include_str!("suites/starter.toml"))
    }

    /// The built-in suite for a model: the starter's words for the starter.
    pub fn of_model(name: &str) -> Self {
        if name == STARTER { Self::starter() } else { Self::general() }
    }

    /// Reads a suite from TOML, or from JSON if it begins with a brace.
    ///
    /// # Errors
    /// Unknown keys, no prompts or seeds, the same one twice, a prompt without words, too many of them.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        let suite: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| SuiteError(format!("{error}.")))?
        } else {
            toml::from_str(text).map_err(|error| SuiteError(format!("{}.", error.message())))?
        };
        match suite.problem() {
            Some(problem) => Err(SuiteError(problem)),
            None => Ok(suite),
        }
    }

    fn problem(&self) -> Option<String> {
        let (prompts, seeds) = (self.prompts.len(), self.seeds.len());
        if !(1..=MAX_PROMPTS).contains(&prompts) {
            return Some(format!("prompts must be 1 to {MAX_PROMPTS}; got {prompts}."));
        }
        if !(1..=MAX_SEEDS).contains(&seeds) {
            return Some(format!("seeds must be 1 to {MAX_SEEDS}; got {seeds}."));
        }
        let mut seen = HashSet::new();
        for (place, prompt) in self.prompts.iter().enumerate() {
            let number = place + 1;
            if prompt.chars().count() > MAX_CHARS {
                return Some(format!("prompt {number} has more than {MAX_CHARS} characters."));
            }
            let words = without_trigger(prompt, "").to_lowercase();
            if words.is_empty() {
                return Some(format!("prompt {number} has no words besides the trigger."));
            }
            if !seen.insert(words) {
                return Some(format!("prompt {number} repeats an earlier one: “{prompt}”."));
            }
        }
        if let Some(prompt) = self.private.iter().find(|prompt| !self.prompts.contains(prompt)) {
            return Some(format!("private has “{prompt}”, which is not among the prompts."));
        }
        let mut seen = HashSet::new();
        let repeated = self.seeds.iter().find(|seed| !seen.insert(**seed))?;
        Some(format!("seed {repeated} occurs twice."))
    }

    /// A sentence where the suite is too small for a verdict; it can still be run.
    pub fn warning(&self) -> Option<String> {
        let prompts = self.prompts.len();
        (prompts < FEWEST_PROMPTS).then(|| {
            format!(
                "This suite has {prompts} of the {FEWEST_PROMPTS} prompts that a verdict needs at least; the result \
                 will be inconclusive."
            )
        })
    }

    /// Whether only the admin sees a prompt.
    pub fn is_private(&self, prompt: &str) -> bool {
        self.private.iter().any(|private| private == prompt)
    }

    /// The prompt to render with an adapter.
    pub fn render_text(prompt: &str, trigger: &str) -> String {
        without_trigger(prompt, trigger)
    }

    /// The prompt to score an image by: no judge knows the trigger word.
    pub fn score_text(&self, prompt: &str) -> String {
        without_trigger(prompt, &self.plain)
    }

    /// sha256 of what it renders and scores by, 64 hex digits; the name does not count, nor who sees a prompt.
    pub fn hash(&self) -> String {
        let content = serde_json::json!([self.seeds, self.plain, self.prompts]);
        hex::encode(Sha256::digest(content.to_string()))
    }
}

fn built_in(text: &str) -> Suite {
    Suite::parse(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// `prompt` with other words in the trigger's place; without any, its comma goes too.
fn without_trigger(prompt: &str, words: &str) -> String {
    let words = words.trim();
    let text = prompt.replace(TRIGGER, words);
    let pieces: Vec<String> = text
        .split(',')
        .map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|piece| !piece.is_empty())
        .collect();
    pieces.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_suites_can_decide() {
        let (general, starter) = (Suite::general(), Suite::starter());
        assert_eq!((general.prompts.len(), general.seeds.len()), (24, 2));
        assert_eq!((starter.prompts.len(), starter.seeds.len()), (12, 2));
        for suite in [general, starter] {
            assert_eq!(suite.warning(), None);
            assert!(suite.prompts.iter().all(|prompt| prompt.contains(TRIGGER)));
            let json = serde_json::to_string(&suite).unwrap();
            assert_eq!(Suite::parse(&json).unwrap().hash(), suite.hash());
        }
    }

    #[test]
    fn the_trigger_is_replaced_for_rendering_and_scoring() {
        let suite = Suite { plain: "dyed cloth".to_owned(), ..Suite::starter() };
        let prompt = "a cat, {trigger}, at night";
        assert_eq!(Suite::render_text(prompt, "adr1"), "a cat, adr1, at night");
        assert_eq!(Suite::render_text(prompt, ""), "a cat, at night");
        assert_eq!(suite.score_text(prompt), "a cat, dyed cloth, at night");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |prompts: &str, seeds: &str| {
            let text = format!("name = \"x\"\nseeds = {seeds}\nprompts = {prompts}\n");
            Suite::parse(&text).unwrap_err().to_string()
        };
        assert!(message("[\"a\", \"A , {trigger}\"]", "[1]").contains("prompt 2 repeats an earlier one"));
        assert!(message("[]", "[1]").contains("prompts must be 1 to 200; got 0"));
        assert!(message("[\"{trigger}\"]", "[1]").contains("no words besides the trigger"));
        assert!(message("[\"a\"]", "[3, 3]").contains("seed 3 occurs twice"));
        let text = "name = \"x\"\nseeds = [1]\nprompts = [\"a\"]\nprivate = [\"b\"]\n";
        assert!(Suite::parse(text).unwrap_err().to_string().contains("private has “b”, which is not among"));
        let unknown = "name = \"x\"\nseeds = [1]\nprompts = [\"a\"]\nsteps = 5\n";
        assert!(Suite::parse(unknown).unwrap_err().to_string().contains("unknown field `steps`"));
        let one = Suite::parse("{\"name\": \"x\", \"seeds\": [1], \"prompts\": [\"a\"]}").unwrap();
        assert!(one.warning().unwrap().contains("1 of the 6 prompts"));
    }
}
