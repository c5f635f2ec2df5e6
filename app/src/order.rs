//! Lists in order.

/// Inserts an item into a sorted list, after those of equal rank. For short lists; the standard library's `sort` would
/// add four kilobytes to the wasm for each type of item.
pub(crate) fn insert<T, K: Ord>(items: &mut Vec<T>, item: T, rank: impl Fn(&T) -> K) {
    let wanted = rank(&item);
    let place = items.iter().position(|other| rank(other) > wanted).unwrap_or(items.len());
    items.insert(place, item);
}

#[cfg(test)]
mod tests {
    use super::insert;

    #[test]
    fn equals_keep_their_order() {
        let mut items = Vec::new();
        for item in [(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (1, 'e')] {
            insert(&mut items, item, |(rank, _)| *rank);
        }
        assert_eq!(items, [(1, 'b'), (1, 'e'), (2, 'a'), (2, 'c'), (3, 'd')]);
    }
}
