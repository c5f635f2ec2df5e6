//! Figures of generations, as pure functions: percentiles, kinds of failure, keys of prompts, histogram buckets. Knows no
//! rows.

mod causes;
mod percentiles;

pub(crate) use causes::cause;
pub(crate) use percentiles::percentiles;

use adire_protocol::GenerationSpec;
use sha2::{Digest, Sha256};

/// Upper bounds of the buckets of `/metrics`, in milliseconds; above the last one is only infinity.
pub const BUCKETS_MS: [i64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
    3_600_000,
];

/// The label of the bucket that a value belongs to, as the statement computes it that counts it.
#[cfg(test)]
pub(crate) fn bucket(ms: i64) -> String {
    let bound = BUCKETS_MS.iter().find(|bound| ms <= **bound);
    bound.map_or_else(|| "inf".to_owned(), i64::to_string)
}

/// The adapter versions of a request as one text.
pub(crate) fn versions(spec: &GenerationSpec) -> String {
    let mut names: Vec<&str> = spec.adapters.iter().map(|used| used.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" + ")
}

/// A digest that equal prompts share, whatever their letter case and spaces.
pub(crate) fn prompt_key(prompt: &str) -> String {
    let words: Vec<String> = prompt.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return String::new();
    }
    hex::encode(&Sha256::digest(words.join(" "))[..12])
}

/// The smallest UUID v7 of a time, in milliseconds since 1970: ids of later rows sort after it.
pub(crate) fn id_since(at: i64) -> String {
    let hex = format!("{:012x}", at.max(0));
    format!("{}-{}-7000-8000-000000000000", &hex[..8], &hex[8..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_prompts_share_a_key() {
        assert_eq!(prompt_key("Blue  Moons\n"), prompt_key("blue moons"));
        assert_ne!(prompt_key("blue moons"), prompt_key("blue moon"));
        assert_eq!(prompt_key(" \n"), "");
        assert_eq!(prompt_key("ÀDÌRẸ"), prompt_key("àdìrẹ"));
    }

    #[test]
    fn a_value_belongs_to_the_first_bucket_that_holds_it() {
        for (ms, label) in
            [(0, "250"), (250, "250"), (251, "500"), (3_600_000, "3600000"), (3_600_001, "inf")]
        {
            assert_eq!(bucket(ms), label);
        }
    }

    #[test]
    fn ids_sort_by_their_time() {
        let id = uuid::Uuid::now_v7().to_string();
        let now = crate::time::now();
        assert!(id_since(now - 60_000) < id && id < id_since(now + 60_000));
        assert_eq!(id_since(-5).len(), id.len());
    }
}
