//! Verdicts of made-up evidence. Scores are `prompt effect + noise`, with the deviations that were measured for CLIPScore.

use super::*;

const PROMPT_DEVIATION: f64 = 0.03;
const IMAGE_DEVIATION: f64 = 0.06;

/// Normal numbers from a seed (Box and Muller on splitmix64).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// Scores of `prompts` × 2 seeds, the challenger's `gain` higher on average.
fn paired(seed: u64, prompts: usize, level: f64, gain: f64) -> Paired {
    let mut random = Random(seed);
    let mut both = Paired::default();
    for prompt in 0..prompts {
        let effect = PROMPT_DEVIATION * random.normal();
        for seed in [1, 2] {
            let noise = IMAGE_DEVIATION * random.normal();
            both.reference.push(Score { prompt, seed, value: level });
            both.challenger.push(Score { prompt, seed, value: level + gain + effect + noise });
        }
    }
    both
}

fn sound(images: usize) -> FloorEvidence {
    FloorEvidence { applied_layers: Some(8), images, seconds: vec![1.0; images], ..FloorEvidence::default() }
}

fn honest() -> CopyingEvidence {
    CopyingEvidence {
        z: Some(0.2),
        generated: 24,
        held_out: 6,
        own_nearest: vec![false; 24],
        base_own_nearest: vec![false; 24],
        approach: approach(24, 0.1),
    }
}

/// Two images of each caption, which have come so far of the way on average.
fn approach(captions: u32, share: f64) -> Vec<Approach> {
    let of = |caption: u32| [-0.05, 0.05].map(|by| Approach { caption, gain: 0.4 * (share + by), way: 0.4 });
    (0..captions).flat_map(of).collect()
}

fn evidence(seed: u64, prompts: usize, adherence_gain: f64, style_gain: f64) -> Evidence {
    Evidence {
        floors: sound(2 * prompts),
        adherence: Some(paired(seed, prompts, 0.8, adherence_gain)),
        style: Some(paired(seed + 1_000_000, prompts, 0.0, style_gain)),
        style_goal: None,
        copying: Some(honest()),
        champion: None,
        judge: "made up".to_owned(),
        lacks: Lacks::default(),
        people: None,
    }
}

fn outcome(verdict: &Verdict, kind: CriterionKind) -> VerdictOutcome {
    verdict.criteria.iter().find(|criterion| criterion.kind == kind).unwrap().outcome
}

/// Of 200 seeds, how many satisfy the condition.
fn of_200(condition: impl Fn(u64) -> bool) -> usize {
    (0..200).filter(|seed| condition(*seed)).count()
}

#[test]
fn the_champion_against_itself_is_not_better() {
    const SEEDS: u32 = 10_000;
    let policy = Policy::default();
    // The same version with other noise: a true tie. A true rate of 5% gives up to three deviations (0.65%) more.
    for prompts in [6, 12, 24] {
        let is_better = |seed: &u32| {
            let tie = Evidence {
                style: Some(paired(u64::from(*seed) << 20, prompts, 0.0, 0.0)),
                ..Evidence::default()
            };
            style(&tie, &policy).outcome == VerdictOutcome::Pass
        };
        let better = (0..SEEDS).filter(is_better).count() as f64 / f64::from(SEEDS);
        assert!(better <= 0.0565, "{better} with {prompts} prompts");
        assert!(better > 0.005, "{better} with {prompts} prompts: the test sees no difference at all");
    }
    // The same images: no difference at all.
    let mut same = evidence(1, 24, 0.0, 0.0);
    for paired in [same.adherence.as_mut().unwrap(), same.style.as_mut().unwrap()] {
        paired.challenger = paired.reference.clone();
    }
    let verdict = judge(&same, &policy);
    assert_eq!(outcome(&verdict, CriterionKind::Style), VerdictOutcome::Inconclusive);
    assert_eq!(outcome(&verdict, CriterionKind::Adherence), VerdictOutcome::Pass);
    assert_eq!(verdict.outcome, VerdictOutcome::Inconclusive);
}

#[test]
fn a_good_adapter_passes_and_is_seldom_stopped() {
    let policy = Policy::default();
    let passed =
        of_200(|seed| judge(&evidence(seed, 24, 0.0, 0.06), &policy).outcome == VerdictOutcome::Pass);
    assert!(passed >= 180, "{passed} of 200");
    let stopped = of_200(|seed| {
        (1..4).any(|blocks| {
            let so_far = Evidence { copying: None, ..evidence(seed, blocks * BLOCK, 0.0, 0.06) };
            futile(&so_far, &policy).is_some()
        })
    });
    assert!(stopped <= 2, "{stopped} of 200");
}

#[test]
fn noise_is_stopped_after_the_first_block() {
    let policy = Policy::default();
    let stopped = of_200(|seed| {
        let so_far = Evidence { copying: None, ..evidence(seed, BLOCK, -0.4, 0.0) };
        futile(&so_far, &policy).is_some_and(|criterion| criterion.kind == CriterionKind::Adherence)
    });
    assert_eq!(stopped, 200);
}

#[test]
fn too_small_a_gain_fails_where_the_way_is_known() {
    let policy = Policy::default();
    let style = |seed, prompts, gain, goal| {
        let evidence = Evidence { style_goal: goal, ..evidence(seed, prompts, 0.0, gain) };
        outcome(&judge(&evidence, &policy), CriterionKind::Style)
    };
    // A tenth of the way is 0.05; the noise of 24 prompts' means about 0.01.
    let failed = |gain, goal| of_200(|seed| style(seed, 24, gain, goal) == VerdictOutcome::Fail);
    assert!(failed(0.0, Some(0.5)) >= 190, "{}", failed(0.0, Some(0.5)));
    assert!(failed(0.0, None) <= 16, "{}", failed(0.0, None));
    // A reference that is in the style already cannot be too far from it.
    assert!(failed(0.0, Some(-0.1)) <= 16, "{}", failed(0.0, Some(-0.1)));
    // One that gains a tenth is wrongly failed no more often than the confidence says, and more than that passes.
    assert!(failed(0.05, Some(0.5)) <= 16, "{}", failed(0.05, Some(0.5)));
    assert_eq!(style(1, 24, 0.1, Some(0.5)), VerdictOutcome::Pass);
    let reason = |evidence: &Evidence| judge(evidence, &policy).criteria[2].reason.clone();
    let noise = Evidence { style_goal: Some(0.5), ..evidence(1, BLOCK, 0.0, -0.01) };
    assert!(
        reason(&noise).starts_with("No nearer to the style than the base model: style margin"),
        "{}",
        reason(&noise)
    );
}

#[test]
fn non_inferiority_is_not_shown_by_noise() {
    let policy = Policy::default();
    // Exactly at the margin: 5 % of 0.8.
    let passed = of_200(|seed| {
        outcome(&judge(&evidence(seed, 24, -0.04, 0.0), &policy), CriterionKind::Adherence)
            == VerdictOutcome::Pass
    });
    assert!(passed <= 16, "{passed} of 200");
}

#[test]
fn too_little_data_is_never_a_failure() {
    let policy = Policy::default();
    let nothing = judge(&Evidence::default(), &policy);
    assert_eq!(nothing.outcome, VerdictOutcome::Inconclusive);
    assert!(nothing.criteria.iter().all(|criterion| criterion.outcome == VerdictOutcome::Inconclusive));
    let sentence = "No images of the dataset were held out.".to_owned();
    let lacks = Lacks { style: Some(sentence.clone()), copying: Some("No captions.".to_owned()) };
    let cannot = judge(&Evidence { lacks, ..Evidence::default() }, &policy);
    let reasons: Vec<&str> = cannot.criteria.iter().map(|criterion| criterion.reason.as_str()).collect();
    assert_eq!(reasons[1..], ["Not scored yet.", &*sentence, "No captions."]);
    assert_eq!(cannot.outcome, VerdictOutcome::Inconclusive);
    for prompts in 0..6 {
        let verdict = judge(&evidence(3, prompts, -0.5, -0.5), &policy);
        assert_eq!(outcome(&verdict, CriterionKind::Adherence), VerdictOutcome::Inconclusive, "{prompts}");
        assert_eq!(outcome(&verdict, CriterionKind::Style), VerdictOutcome::Inconclusive, "{prompts}");
        let reason = &verdict.criteria[1].reason;
        assert!(reason.contains("of the 6 prompts that a verdict needs"), "{reason}");
    }
    let mut few = evidence(3, 24, 0.0, 0.1);
    few.copying = Some(CopyingEvidence {
        z: Some(-1.5),
        generated: 4,
        held_out: 1,
        own_nearest: vec![true; 4],
        base_own_nearest: vec![false; 4],
        approach: Vec::new(),
    });
    assert_eq!(outcome(&judge(&few, &policy), CriterionKind::Copying), VerdictOutcome::Inconclusive);
}

#[test]
fn floors_fail_with_their_reason() {
    let reason = |floors: FloorEvidence| {
        let policy = Policy::parse("[floors]\nseconds_p95 = 2.0\n").unwrap();
        let verdict = judge(&Evidence { floors, ..evidence(1, 24, 0.0, 0.1) }, &policy);
        assert_eq!(
            (verdict.outcome, verdict.criteria[0].outcome),
            (VerdictOutcome::Fail, VerdictOutcome::Fail)
        );
        verdict.criteria[0].reason.clone()
    };
    let reasons = [
        reason(FloorEvidence { applied_layers: Some(0), ..sound(48) }),
        reason(FloorEvidence { compared: 6, unchanged: 6, ..sound(48) }),
        reason(FloorEvidence { flat: 1, ..sound(48) }),
        reason(FloorEvidence { failed: 5, ..sound(48) }),
        reason(FloorEvidence { seconds: vec![2.5; 48], ..sound(48) }),
    ];
    assert_eq!(
        reasons,
        [
            "The adapter changes no layer of this model.",
            "The adapter changes nothing: its images equal the base model's.",
            "1 of 48 images are of one colour.",
            "5 of 48 images failed to render.",
            "95% of the images take up to 2.5 s; the limit is 2.0 s.",
        ]
    );
}

#[test]
fn copies_fail_by_either_test() {
    let verdict = |copying: CopyingEvidence| {
        let evidence = Evidence { copying: Some(copying), ..evidence(1, 24, 0.0, 0.1) };
        judge(&evidence, &Policy::default()).criteria.pop().unwrap()
    };
    let nearer = verdict(CopyingEvidence { z: Some(-3.4), ..honest() });
    assert_eq!(nearer.outcome, VerdictOutcome::Fail);
    assert_eq!(
        nearer.reason,
        "Images are nearer to training images than 6 held-out images are (z -3.4, limit -3.0)."
    );
    let own = CopyingEvidence { z: None, held_out: 0, own_nearest: vec![true; 24], ..honest() };
    assert_eq!(verdict(own.clone()).outcome, VerdictOutcome::Fail);
    // The base's images are as near to their own: the captions say it all.
    assert_eq!(
        verdict(CopyingEvidence { base_own_nearest: vec![true; 24], ..own.clone() }).outcome,
        VerdictOutcome::Pass
    );
    let without = verdict(CopyingEvidence { own_nearest: vec![false; 24], ..own });
    assert_eq!(without.outcome, VerdictOutcome::Pass);
    assert!(without.reason.contains("too few held-out images (0)"), "{}", without.reason);
}

#[test]
fn copies_of_few_images_are_found_by_how_near_they_have_come() {
    // Six images of each caption, of ways that differ as much as those of real captions do.
    let verdict = |shares: &[f64]| {
        let of = |(caption, share): (usize, &f64)| {
            let way = [0.03, 0.025, 0.06, 0.27][caption % 4];
            let seeds = [-0.1, -0.06, -0.02, 0.02, 0.06, 0.1];
            seeds.map(|by| Approach { caption: caption as u32, gain: way * (share + by), way })
        };
        let approach: Vec<Approach> = shares.iter().enumerate().flat_map(of).collect();
        let images = approach.len();
        let copying = CopyingEvidence {
            z: None,
            held_out: 0,
            generated: images,
            // The captions say it all.
            own_nearest: vec![true; images],
            base_own_nearest: vec![true; images],
            approach,
        };
        let evidence = Evidence { copying: Some(copying), ..evidence(1, 24, 0.0, 0.1) };
        judge(&evidence, &Policy::default()).criteria.pop().unwrap()
    };
    let copies = verdict(&[0.85, 0.95, -0.2, 0.9]);
    assert_eq!(copies.outcome, VerdictOutcome::Fail);
    assert_eq!(
        copies.reason,
        "24 images from 4 training captions have come 73% of the way from the base model's to the training images \
         themselves (limit 50%); those of 3 captions surely above it."
    );
    assert_eq!(verdict(&[0.9]).outcome, VerdictOutcome::Fail, "a single image, copied");
    assert_eq!(verdict(&[0.1, 0.2, -0.1, 0.15]).outcome, VerdictOutcome::Pass);
    assert_eq!(verdict(&[0.9, 0.1, 0.1, 0.1, 0.0, 0.0, 0.1, 0.2]).outcome, VerdictOutcome::Inconclusive);
    assert_eq!(verdict(&[0.5; 4]).outcome, VerdictOutcome::Inconclusive, "exactly at the limit");
}

#[test]
fn muted_criteria_are_shown_and_do_not_count() {
    let bad = evidence(1, 24, -0.4, 0.1);
    let muted = Policy::parse("[adherence]\nmuted = true\n").unwrap();
    let verdict = judge(&bad, &muted);
    assert_eq!(outcome(&verdict, CriterionKind::Adherence), VerdictOutcome::Fail);
    assert_eq!(verdict.outcome, VerdictOutcome::Pass);
    assert_eq!(futile(&bad, &muted), None);
    let sections = ["floors", "adherence", "style", "copying"];
    let all: String = sections.iter().map(|section| format!("[{section}]\nmuted = true\n")).collect();
    assert_eq!(judge(&bad, &Policy::parse(&all).unwrap()).outcome, VerdictOutcome::Inconclusive);
}

#[test]
fn an_absolute_floor_names_the_judge() {
    let policy = Policy::parse("[adherence]\nclip_score_floor = 0.75\n").unwrap();
    let criterion = |gain| {
        let verdict = judge(&evidence(4, 24, gain, 0.1), &policy);
        verdict.criteria.into_iter().find(|one| one.kind == CriterionKind::ClipScoreFloor).unwrap()
    };
    assert_eq!(
        (criterion(0.05).outcome, criterion(-0.2).outcome),
        (VerdictOutcome::Pass, VerdictOutcome::Fail)
    );
    assert!(criterion(0.05).reason.contains("CLIPScore by made up is 0.8"), "{}", criterion(0.05).reason);
}

#[test]
fn the_absolute_floor_is_muted_by_itself() {
    let found = |toml: &str| {
        let verdict = judge(&evidence(4, 24, -0.2, 0.1), &Policy::parse(toml).unwrap());
        let muted = |kind| verdict.criteria.iter().find(|one| one.kind == kind).unwrap().muted;
        (muted(CriterionKind::Adherence), muted(CriterionKind::ClipScoreFloor))
    };
    let floor = "[adherence]\nclip_score_floor = 0.75\n";
    assert_eq!(found(floor), (false, false));
    assert_eq!(found(&format!("{floor}muted = true\n")), (true, true));
    assert_eq!(found(&format!("{floor}clip_score_floor_muted = true\n")), (false, true));
    assert_eq!(found(&format!("{floor}muted = true\nclip_score_floor_muted = false\n")), (true, false));
}

#[test]
fn images_are_paired_by_prompt_and_seed() {
    let score = |prompt, seed, value| Score { prompt, seed, value };
    let both = Paired {
        challenger: vec![score(1, 7, 0.5), score(0, 7, 0.2), score(0, 8, 0.4), score(0, 9, f64::NAN)],
        reference: vec![
            score(0, 8, 0.1),
            score(0, 7, 0.3),
            score(0, 9, 9.0),
            score(1, 7, 0.5),
            score(2, 7, 9.0),
        ],
    };
    let found = pairs(&both);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].prompt, found[1].prompt), (0, 1));
    assert!((found[0].challenger - 0.3).abs() < 1e-12 && (found[0].reference - 0.2).abs() < 1e-12);
}
