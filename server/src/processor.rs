//! Whether this processor has the instructions that the program is compiled for; without them it would die of SIGILL with
//! no word. Knows nothing else: until this is answered, no other code of ours may run.

/// Names of the missing instruction sets, for a sentence; `None` where nothing is missing.
///
/// Asks the processor itself: `is_x86_feature_detected!` is a constant for what the compiler was allowed to use. The caller
/// does nothing before it and little after it, since any code of ours may hold such instructions.
#[must_use]
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
pub fn missing() -> Option<&'static str> {
    let leaf_7 = if raw_cpuid::cpuid!(0).eax < 7 { 0 } else { raw_cpuid::cpuid!(7, 0).ebx };
    of_x86(raw_cpuid::cpuid!(1).ecx, leaf_7)
}

/// A build for any processor of its kind lacks nothing.
#[must_use]
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
pub fn missing() -> Option<&'static str> {
    None
}

/// As [`missing`], by ECX of leaf 1 and EBX of leaf 7. Sentences are constants: making one would run more code.
#[cfg(any(all(target_arch = "x86_64", target_feature = "avx2"), test))]
fn of_x86(leaf_1: u32, leaf_7: u32) -> Option<&'static str> {
    // FMA, MOVBE, OSXSAVE (the system saves the wide registers), AVX, F16C.
    const LEAF_1: u32 = 1 << 12 | 1 << 22 | 1 << 27 | 1 << 28 | 1 << 29;
    const AVX2: u32 = 1 << 5;
    // BMI1, BMI2.
    const BMI: u32 = 1 << 3 | 1 << 8;
    if leaf_1 & LEAF_1 != LEAF_1 {
        return Some("AVX, FMA or F16C");
    }
    if leaf_7 & AVX2 == 0 {
        return Some("AVX2");
    }
    (leaf_7 & BMI != BMI).then_some("BMI1 or BMI2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_processors_are_refused() {
        // Registers of a Haswell, the first that has them all, of an Ivy Bridge, and of QEMU's default processor.
        let (haswell_1, haswell_7) = (0x7fff_fbff, 0x0000_27ab);
        assert_eq!(of_x86(haswell_1, haswell_7), None);
        assert_eq!(of_x86(0x7fba_e3ff, 0x0000_0281), Some("AVX, FMA or F16C"));
        assert_eq!(of_x86(0x8000_2001, 0), Some("AVX, FMA or F16C"));
        assert_eq!(of_x86(haswell_1, haswell_7 & !(1 << 5)), Some("AVX2"));
        assert_eq!(of_x86(haswell_1, haswell_7 & !(1 << 8)), Some("BMI1 or BMI2"));
        assert_eq!(
            of_x86(haswell_1 & !(1 << 27), haswell_7),
            Some("AVX, FMA or F16C"),
            "a system without wide registers"
        );
    }
}
