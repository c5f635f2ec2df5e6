//! What adapters made of weights, held for when they come back.

/// Values by place and version; what was used longest ago leaves first.
#[derive(Debug)]
pub(super) struct Held<T> {
    /// Most bytes.
    bound: usize,
    bytes: usize,
    /// In the order in which they came.
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    place: usize,
    versions: Vec<u64>,
    value: T,
    bytes: usize,
}

impl<T> Held<T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, bytes: 0, entries: Vec::new() }
    }

    /// Holds a value of `bytes`.
    pub(super) fn put(&mut self, place: usize, versions: Vec<u64>, value: T, bytes: usize) {
        self.bytes += bytes;
        self.entries.push(Entry { place, versions, value, bytes });
    }

    /// Gives a value back.
    pub(super) fn take(&mut self, place: usize, versions: &[u64]) -> Option<T> {
        let at = self.entries.iter().position(|entry| entry.place == place && entry.versions == versions)?;
        let entry = self.entries.remove(at);
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Lets go what is above the bound, of which `others` bytes are taken already: places and values.
    pub(super) fn shrink(&mut self, others: usize) -> Vec<(usize, T)> {
        let mut gone = 0;
        while self.bytes + others > self.bound && gone < self.entries.len() {
            self.bytes -= self.entries[gone].bytes;
            gone += 1;
        }
        self.entries.drain(..gone).map(|entry| (entry.place, entry.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_leaves_first() {
        let mut held = Held::new(25);
        for i in 0..4 {
            held.put(i % 2, vec![i as u64 / 2, 7], i, 10);
        }
        assert_eq!(held.take(0, &[1, 7]), Some(2));
        assert_eq!(held.take(0, &[1, 7]), None);
        assert_eq!(held.take(1, &[2, 7]), None);
        assert_eq!(held.shrink(5), [(0, 0)]);
        assert_eq!(held.shrink(0), []);
        assert_eq!(held.take(1, &[0, 7]), Some(1));
        assert_eq!((held.take(1, &[1, 7]), held.bytes), (Some(3), 0));
    }

    #[test]
    fn what_is_too_large_alone_leaves_at_once() {
        let mut held = Held::new(5);
        held.put(3, vec![1], 'a', 6);
        assert_eq!(held.shrink(0), [(3, 'a')]);
    }
}
