//! Figures of stretches of time that are over: read once, and kept in memory. The longest periods of the monitoring page
//! consist of them almost entirely.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    StudioError,
    store::{StatGroup, Store},
};

/// Length of a stretch in milliseconds.
const LENGTH: i64 = 12 * 3_600_000;
/// How long after its end a stretch counts as over: clocks of several nodes may differ.
const GRACE: i64 = 3_600_000;

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct ClosedStats {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Stretches from this one on are known, up to the other one, which is not. Both count from 1970.
    from: i64,
    to: i64,
    groups: BTreeMap<i64, Vec<Arc<StatGroup>>>,
}

impl ClosedStats {
    /// Figures of generations that ended from `since` on, in stretches of `step` milliseconds: each with the number of its
    /// stretch.
    pub(crate) async fn groups(
        &self,
        store: &Store,
        since: i64,
        step: i64,
        now: i64,
    ) -> Result<Vec<(i64, Arc<StatGroup>)>, StudioError> {
        let (first, end) = ((since + LENGTH - 1).div_euclid(LENGTH), (now - GRACE).div_euclid(LENGTH));
        if step % LENGTH != 0 || first >= end {
            return Ok(numbered(store.stat_groups(since, i64::MAX, step).await?));
        }
        let mut all = numbered(store.stat_groups(since, first * LENGTH, step).await?);
        let mut kept = self.kept.lock().await;
        if kept.from == kept.to {
            (kept.from, kept.to) = (first, first);
        }
        if first < kept.from {
            let to = kept.from;
            kept.read(store, first, to).await?;
            kept.from = first;
        }
        if kept.to < end {
            let from = kept.to;
            kept.read(store, from, end).await?;
            kept.to = end;
        }
        for (stretch, groups) in kept.groups.range(first..end) {
            all.extend(groups.iter().map(|group| (stretch * LENGTH / step, group.clone())));
        }
        drop(kept);
        all.extend(numbered(store.stat_groups(end * LENGTH, i64::MAX, step).await?));
        Ok(all)
    }

    /// Reads what is over by now, so that the first request does not wait for it.
    pub(crate) async fn warm(&self, store: &Store, now: i64) -> Result<(), StudioError> {
        match store.first_stat_at().await? {
            Some(first) => self.groups(store, first, LENGTH, now).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Kept {
    async fn read(&mut self, store: &Store, from: i64, to: i64) -> Result<(), StudioError> {
        let groups = store.stat_groups(from * LENGTH, to * LENGTH, LENGTH).await?;
        for stretch in from..to {
            self.groups.remove(&stretch);
        }
        for group in groups {
            self.groups.entry(group.place).or_default().push(Arc::new(group));
        }
        Ok(())
    }
}

fn numbered(groups: Vec<StatGroup>) -> Vec<(i64, Arc<StatGroup>)> {
    groups.into_iter().map(|group| (group.place, Arc::new(group))).collect()
}
