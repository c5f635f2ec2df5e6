//! Where the buffers lie in the arena: two that are needed at the same time never overlap.

use super::op::{Buffer, Plan, Step};

/// Numbers to which every buffer is aligned: a cache line.
const ALIGN: usize = 16;

/// First and last operation that needs each buffer.
fn lifetimes(buffers: &[Buffer], stages: [&[Step]; 3]) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    let steps = stages.into_iter().flatten();
    for (at, step) in steps.enumerate() {
        for view in step.op.reads().chain([step.op.writes()]) {
            let life = lives[view.buffer].get_or_insert((at, at));
            life.1 = at;
        }
    }
    for (life, buffer) in lives.iter_mut().zip(buffers) {
        if buffer.kept {
            *life = Some((0, usize::MAX));
        }
    }
    lives
}

/// The beginning of every buffer, and the length of the arena. Large ones first, each at the lowest free place.
pub(super) fn places(buffers: &[Buffer], stages: [&[Step]; 3]) -> (Vec<usize>, usize) {
    let lives = lifetimes(buffers, stages);
    let mut order: Vec<usize> = (0..buffers.len()).filter(|i| lives[*i].is_some()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(buffers[*i].len()), *i));
    let (mut places, mut arena) = (vec![0; buffers.len()], 0);
    // Of those that have a place: beginning, end, lifetime.
    let mut taken: Vec<(usize, usize, (usize, usize))> = Vec::new();
    for i in order {
        let Some(life) = lives[i] else { continue };
        let len = buffers[i].len().next_multiple_of(ALIGN);
        let mut at = 0;
        for (begin, end, other) in &taken {
            let meet = life.0 <= other.1 && other.0 <= life.1;
            if meet && at + len > *begin && at < *end {
                at = *end;
            }
        }
        places[i] = at;
        arena = arena.max(at + len);
        let index = taken.partition_point(|(begin, ..)| *begin < at);
        taken.insert(index, (at, at + len, life));
    }
    (places, arena)
}

impl Plan {
    /// Gives every buffer a place of its own, where it keeps its values.
    pub(super) fn keep_all(&mut self) {
        self.buffers.iter_mut().for_each(|buffer| buffer.kept = true);
        (self.places, self.arena) = places(&self.buffers, [&self.prompt, &self.time, &self.step]);
    }
}
