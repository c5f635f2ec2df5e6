//! Which images an evaluation needs, in which order. Pure.

use std::{collections::BTreeSet, ops::Range};

use adire_protocol::EvaluationRole;

use super::{gate::BLOCK, suite::Suite};

/// Prompts without the trigger word that leakage is measured on. The base has images of the same texts and seeds, so they also
/// show whether the adapter changes anything; where the suite has plain words for the trigger, they are rendered too.
const UNTRIGGERED: usize = 12;
/// Images of training captions that copying is tested on; of few captions, several seeds are rendered.
pub(crate) const CAPTIONS: usize = 24;
/// Most seeds of a caption.
const CAPTION_SEEDS: usize = 6;

/// Of a version that was trained on fewer captions, copying is tested first: it is the likeliest fault, and once it is found
/// nothing else matters.
const FEW_CAPTIONS: usize = 10;

/// Milliseconds that an image is taken for. Only their ratios matter.
const IMAGE_MS: i64 = 1_000;

/// Expected milliseconds of an evaluation.
pub(crate) fn expected_ms(suite: &Suite) -> i64 {
    let images = 2 * suite.prompts.len() * suite.seeds.len() + 2 * CAPTIONS;
    IMAGE_MS * i64::try_from(images).unwrap_or(i64::MAX / IMAGE_MS)
}

/// An image to render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) role: EvaluationRole,
    /// Index of its prompt in the suite, or of its caption.
    pub(crate) prompt: u32,
    pub(crate) seed: u64,
    pub(crate) text: String,
}

/// All images of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) slots: Vec<Slot>,
    /// Ends of the blocks: after each there is enough to see whether going on is futile.
    pub(crate) blocks: Vec<usize>,
    /// End of the images of captions: from there on copying can be tested.
    pub(crate) captions: usize,
}

/// What images are of.
#[derive(Clone, Debug)]
pub(crate) struct Subjects<'a> {
    pub(crate) suite: &'a Suite,
    /// The version's trigger word; may be empty.
    pub(crate) trigger: &'a str,
    /// The champion's, if there is one.
    pub(crate) champion: Option<&'a str>,
    /// Captions of training images, the trigger word included.
    pub(crate) captions: &'a [String],
}

impl Plan {
    pub(crate) fn new(subjects: &Subjects<'_>) -> Self {
        use EvaluationRole::{
            Base, BaseCaption, BaseUntriggered, Caption, Challenger, Champion, Untriggered,
        };
        let Subjects { suite, trigger, champion, captions } = subjects;
        let mut plan = Self::default();
        let mut add = |role, prompt: usize, seed, text: String| {
            plan.slots.push(Slot { role, prompt: u32::try_from(prompt).unwrap_or(u32::MAX), seed, text });
            plan.slots.len()
        };
        let seed = suite.seeds.first().copied().unwrap_or_default();
        let mut ends = Vec::new();
        let captions = &captions[..captions.len().min(CAPTIONS)];
        let few = (1..FEW_CAPTIONS).contains(&captions.len());
        let per_caption = (CAPTIONS / captions.len().max(1)).clamp(1, CAPTION_SEEDS) as u64;
        let add_captions = |add: &mut dyn FnMut(EvaluationRole, usize, u64, String) -> usize| {
            let mut end = 0;
            for role in [BaseCaption, Caption] {
                for (at, caption) in captions.iter().enumerate() {
                    for more in 0..per_caption {
                        end = add(role, at, seed + more, caption.clone());
                    }
                }
            }
            end
        };
        let mut captions_end = 0;
        if few {
            captions_end = add_captions(&mut add);
            ends.push(captions_end);
        }
        for block in blocks(suite.prompts.len()) {
            let mut end = 0;
            // Role by role: putting an adapter into effect takes time.
            for role in [Base, Champion, Challenger] {
                for at in block.clone() {
                    let prompt = &suite.prompts[at];
                    let text = match (role, champion) {
                        // The base gets the plain words: its images serve every adapter, and a word that means nothing to
                        // it would be unfair.
                        (Base, _) => suite.score_text(prompt),
                        (Champion, Some(trigger)) => Suite::render_text(prompt, trigger),
                        (Champion, None) => continue,
                        _ => Suite::render_text(prompt, trigger),
                    };
                    for seed in suite.seeds.iter().copied() {
                        end = add(role, at, seed, text.clone());
                    }
                }
            }
            let untriggered = block.filter(|at| *at < UNTRIGGERED);
            for at in untriggered.clone() {
                end = add(Untriggered, at, seed, Suite::render_text(&suite.prompts[at], ""));
            }
            // With plain words in the trigger's place the base has no image of such a text yet.
            for at in untriggered {
                let text = Suite::render_text(&suite.prompts[at], "");
                if text != suite.score_text(&suite.prompts[at]) {
                    end = add(BaseUntriggered, at, seed, text);
                }
            }
            ends.push(end);
        }
        if !few {
            captions_end = add_captions(&mut add);
        }
        let all = plan.slots.len();
        match ends.last_mut() {
            // The last block includes what is left; the verdict follows.
            Some(last) => *last = all,
            None => ends.push(all),
        }
        plan.blocks = ends;
        plan.captions = if captions_end == 0 { all } else { captions_end };
        plan
    }
}

impl Plan {
    /// How many of the suite's prompts the first `slots` images cover.
    pub(crate) fn prompts(&self, slots: usize) -> usize {
        let of_suite = self.slots.iter().take(slots).filter(|slot| slot.role == EvaluationRole::Challenger);
        of_suite.map(|slot| slot.prompt).collect::<BTreeSet<u32>>().len()
    }

    /// Seeds of all images, each once.
    pub(crate) fn seeds(&self) -> Vec<u64> {
        self.slots.iter().map(|slot| slot.seed).collect::<BTreeSet<u64>>().into_iter().collect()
    }

    /// sha256 of all images.
    pub(crate) fn digest(&self) -> String {
        let slots: Vec<_> =
            self.slots.iter().map(|slot| (slot.role.name(), slot.prompt, slot.seed, &slot.text)).collect();
        super::steps::digest(&serde_json::json!(slots).to_string())
    }
}

fn blocks(prompts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..prompts).step_by(BLOCK).map(move |first| first..(first + BLOCK).min(prompts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_every_role_of_their_prompts() {
        let suite = Suite::starter();
        let captions = vec!["adr blue stars".to_owned(); 30];
        let subjects = Subjects { suite: &suite, trigger: "adr", champion: Some("old"), captions: &captions };
        let plan = Plan::new(&subjects);
        let count = |role| plan.slots.iter().filter(|slot| slot.role == role).count();
        use EvaluationRole::{Base, BaseCaption, Caption, Challenger, Champion, Untriggered};
        assert_eq!([Base, Champion, Challenger].map(count), [24; 3]);
        assert_eq!([Untriggered, Caption, BaseCaption].map(count), [12, 24, 24]);
        assert_eq!(plan.blocks, [42, plan.slots.len()]);
        let [base, champion, challenger] = [0, 12, 24].map(|at| &plan.slots[at]);
        assert!(base.text.ends_with("in a grid") && !base.text.contains("adr"));
        assert!(champion.text.ends_with(", old") && challenger.text.ends_with(", adr"));
        assert_eq!([base, champion, challenger].map(|slot| (slot.prompt, slot.seed)), [(0, 101); 3]);
    }

    #[test]
    fn a_suite_with_plain_words_has_the_bases_images_of_texts_without_them() {
        use EvaluationRole::{Base, BaseUntriggered, Untriggered};
        let suite = Suite { plain: "dyed cloth".to_owned(), ..Suite::starter() };
        let plan = Plan::new(&Subjects { suite: &suite, trigger: "adr", champion: None, captions: &[] });
        let of = |role| -> Vec<_> {
            let slots = plan.slots.iter().filter(|slot| slot.role == role);
            slots.map(|slot| (slot.text.as_str(), slot.seed)).collect()
        };
        assert_eq!(of(BaseUntriggered).len(), 12);
        assert_eq!(of(BaseUntriggered), of(Untriggered));
        assert!(of(Base).iter().all(|(text, _)| text.ends_with("dyed cloth")));
        // A prompt without the trigger reads the same either way, and its image is not rendered twice.
        let suite = Suite { prompts: vec!["a cat".to_owned()], ..suite };
        let plan = Plan::new(&Subjects { suite: &suite, trigger: "adr", champion: None, captions: &[] });
        assert!(plan.slots.iter().all(|slot| slot.role != BaseUntriggered));
    }

    #[test]
    fn few_captions_are_rendered_with_several_seeds() {
        let suite = Suite::starter();
        let captions = |count: usize| vec!["blue stars".to_owned(); count];
        for (count, images) in [(1, 6), (4, 24), (5, 20), (13, 13), (40, 24)] {
            let captions = captions(count);
            let subjects = Subjects { suite: &suite, trigger: "", champion: None, captions: &captions };
            let plan = Plan::new(&subjects);
            let rendered = plan.slots.iter().filter(|slot| slot.role == EvaluationRole::Caption).count();
            assert_eq!(rendered, images, "{count}");
        }
    }

    #[test]
    fn few_captions_come_first() {
        let suite = Suite::starter();
        let captions = |count: usize| vec!["blue stars".to_owned(); count];
        let plan = |captions: &[String]| {
            Plan::new(&Subjects { suite: &suite, trigger: "", champion: None, captions })
        };
        let few = plan(&captions(4));
        assert_eq!(few.blocks, [48, 48 + 30, 48 + 60]);
        assert_eq!(few.captions, 48);
        assert_eq!([48, 48 + 30, 48 + 60].map(|slots| few.prompts(slots)), [0, 6, 12]);
        assert!(few.slots[..24].iter().all(|slot| slot.role == EvaluationRole::BaseCaption));
        let many = plan(&captions(20));
        assert_eq!(many.blocks, [30, 60 + 40]);
        assert_eq!((many.captions, plan(&[]).captions), (100, 60));
    }

    #[test]
    fn a_suite_of_one_prompt_is_one_block() {
        let suite = Suite { prompts: vec!["a".to_owned()], ..Suite::starter() };
        let plan = Plan::new(&Subjects { suite: &suite, trigger: "", champion: None, captions: &[] });
        assert_eq!(plan.blocks, [plan.slots.len()]);
        assert_eq!(plan.slots.len(), 2 * 2 + 1);
    }
}
