//! Resolves the adapters of a form against those of the server.

use std::cmp::Reverse;

use adire_protocol::{AdapterRef, AdapterVersion};

use super::{AdapterRow, FormValues};
use crate::order;

/// The versions of each adapter, newest first, in the order in which the server lists them.
pub(crate) fn by_name(adapters: &[AdapterVersion]) -> Vec<(String, Vec<AdapterVersion>)> {
    let mut names: Vec<(String, Vec<AdapterVersion>)> = Vec::new();
    for adapter in adapters {
        match names.iter_mut().find(|(name, _)| *name == adapter.name) {
            Some((_, versions)) => {
                order::insert(versions, adapter.clone(), |adapter| Reverse(adapter.version));
            }
            None => names.push((adapter.name.clone(), vec![adapter.clone()])),
        }
    }
    names
}

/// Resolves every adapter to its full `name@vN`; removes, and returns, those that the server does not have.
pub(crate) fn settle(values: &mut FormValues, adapters: &[AdapterVersion]) -> Vec<String> {
    let mut missing = Vec::new();
    values.adapters.retain_mut(|row: &mut AdapterRow| {
        if !row.is_on() {
            return true;
        }
        let found = row.name.trim().parse::<AdapterRef>().ok().and_then(|wanted| {
            let meant = adapters.iter().filter(|adapter| wanted.means(adapter));
            meant.max_by_key(|adapter| adapter.version)
        });
        match found {
            Some(adapter) => row.name = adapter.id(),
            None => missing.push(row.name.trim().to_owned()),
        }
        found.is_some()
    });
    missing
}

/// `Adapter foo@v1 is not installed here and was skipped.`; `None` when nothing is missing.
pub(crate) fn left_out(missing: &[String]) -> Option<String> {
    match missing {
        [] => None,
        [one] => Some(format!("Adapter {one} is not installed here and was skipped.")),
        some => Some(format!("Adapters {} are not installed here and were skipped.", some.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, version: u32) -> AdapterVersion {
        AdapterVersion {
            name: name.to_owned(),
            version,
            hash: String::new(),
            description: String::new(),
            trigger: String::new(),
            bytes: 0,
            created_at: 0,
            warning: None,
            stage: Default::default(),
            aliases: Vec::new(),
        }
    }

    fn form(names: &[&str]) -> FormValues {
        let row = |name: &&str| AdapterRow { name: (*name).to_owned(), strength: String::new() };
        FormValues { adapters: names.iter().map(row).collect(), ..Default::default() }
    }

    #[test]
    fn a_bare_name_means_the_newest_and_strangers_are_left_out() {
        let mut known = [adapter("adire", 2), adapter("adire", 10), adapter("kente", 1)];
        known[0].aliases = vec!["production".to_owned()];
        let mut values = form(&[
            "adire",
            "kente@v1",
            "",
            "add_detail",
            "kente@v2",
            "../x",
            "adire@production",
            "kente@production",
        ]);
        let missing = settle(&mut values, &known);
        assert_eq!(values, form(&["adire@v10", "kente@v1", "", "adire@v2"]));
        assert_eq!(missing, ["add_detail", "kente@v2", "../x", "kente@production"]);
        assert_eq!(left_out(&[]), None);
    }

    #[test]
    fn versions_are_gathered_under_their_name() {
        let names = by_name(&[adapter("adire", 1), adapter("kente", 1), adapter("adire", 2)]);
        let shown: Vec<_> = names
            .iter()
            .map(|(name, versions)| (name.as_str(), versions[0].version, versions.len()))
            .collect();
        assert_eq!(shown, [("adire", 2, 2), ("kente", 1, 1)]);
    }
}
