//! `numpy.random.SeedSequence`: one seed and a place in a tree become independent seeds (O'Neill's `seed_seq_fe`).
//!
//! Constants and order of operations are those of `numpy/random/bit_generator.pyx`.

const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_LEFT: u32 = 0xca01_f9dd;
const MIX_RIGHT: u32 = 0x4973_f715;

/// `SeedSequence(entropy, spawn_key=spawn_key, pool_size=POOL).generate_state(WORDS)`.
pub(super) fn seeds<const POOL: usize, const WORDS: usize>(entropy: u64, spawn_key: &[u64]) -> [u32; WORDS] {
    let mut words = little_endian(entropy);
    if !spawn_key.is_empty() {
        // So that no entropy is taken for another one with a spawn key.
        words.resize(words.len().max(POOL), 0);
        words.extend(spawn_key.iter().copied().flat_map(little_endian));
    }
    let mut hash = INIT_A;
    let mut pool = [0u32; POOL];
    for (i, slot) in pool.iter_mut().enumerate() {
        *slot = hashed(words.get(i).copied().unwrap_or(0), &mut hash);
    }
    for from in 0..POOL {
        for to in (0..POOL).filter(|to| *to != from) {
            pool[to] = mixed(pool[to], hashed(pool[from], &mut hash));
        }
    }
    for word in words.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mixed(*slot, hashed(*word, &mut hash));
        }
    }
    let mut hash = INIT_B;
    let mut cycle = pool.into_iter().cycle();
    std::array::from_fn(|_| {
        let mut value = cycle.next().unwrap_or(0) ^ hash;
        hash = hash.wrapping_mul(MULT_B);
        value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    })
}

/// At least one word.
#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
fn little_endian(number: u64) -> Vec<u32> {
    match (number >> 32) as u32 {
        0 => vec![number as u32],
        high => vec![number as u32, high],
    }
}

fn hashed(value: u32, hash: &mut u32) -> u32 {
    let value = value ^ *hash;
    *hash = hash.wrapping_mul(MULT_A);
    let value = value.wrapping_mul(*hash);
    value ^ (value >> 16)
}

fn mixed(x: u32, y: u32) -> u32 {
    let value = x.wrapping_mul(MIX_LEFT).wrapping_sub(y.wrapping_mul(MIX_RIGHT));
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_to_numpy() {
        // numpy 2.4: SeedSequence(entropy, spawn_key=…, pool_size=24).generate_state(…).
        assert_eq!(seeds::<24, 3>(20, &[]), [1061442690, 3407586980, 1886217351]);
        assert_eq!(seeds::<24, 3>(0, &[]), [4025752534, 2687548107, 2326983537]);
        assert_eq!(seeds::<24, 4>(20, &[0, 0]), [4152747212, 1719383991, 876826614, 1954869737]);
        assert_eq!(
            seeds::<24, 4>(1099511627781, &[8589934593, 34]),
            [3601489459, 4084719645, 1629997046, 3434040370]
        );
        assert_eq!(seeds::<24, 4>(20, &[5, 3]), [427672695, 3349888771, 1844127573, 1211946375]);
    }
}
