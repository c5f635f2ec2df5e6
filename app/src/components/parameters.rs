//! What made the picture, as chips that put one value back into the form, and what can be done with it.

use adire_protocol::{GenerationRequest, ImageRecord, Rng};
use leptos::{ev::MouseEvent, prelude::*, task::spawn_local};

use super::{
    icons::{Drawing, Icon},
    kinds::{on, part, text},
    link::Link,
    piece::{IntoPiece, Piece},
};
use crate::{
    browser,
    form::{self, FormValues},
    state::{Notice, Page},
    words,
};

/// Chips and actions of the picture on the canvas.
#[component]
pub(crate) fn Parameters() -> Piece {
    let page = Page::here();
    part(move || {
        page.stage.shown.get().map(|shown| {
            let spec = shown.recipe.spec.clone();
            let chips =
                chips(&shown).into_iter().map(|chip| view! { <ChipLink chip=chip /> }).collect::<Vec<_>>();
            let made = format!(
                "Made in {} on {} with {}",
                words::duration(shown.recipe.seconds * 1000.0),
                shown.recipe.device,
                shown.recipe.model
            );
            let withheld = shown.recipe.withheld.then(|| {
                view! { <p class="caption" role="status">"The safety checker withheld this picture."</p> }
            });
            view! {
                <div class="parameters">
                    {withheld}
                    <p class="caption">{spec.prompt}</p>
                    <Actions shown=shown />
                    <ul class="chips" title=made aria-label="Parameters; choose one to use it again">
                        {chips}
                    </ul>
                </div>
            }
        })
    })
    .into_piece()
}

/// One value of the picture.
#[derive(Clone)]
struct Chip {
    label: &'static str,
    text: String,
    /// The form with this value only.
    values: FormValues,
}

fn chips(shown: &ImageRecord) -> Vec<Chip> {
    let spec = &shown.recipe.spec;
    let all = FormValues::of_spec(spec);
    let none = FormValues::default;
    let mut chips = vec![
        Chip {
            label: "Seed",
            // A seed is a seed for one kind of noise.
            text: match spec.rng {
                Rng::Cpu => all.seed.clone(),
                Rng::Cuda => format!("{} ({})", all.seed, spec.rng.label()),
            },
            values: FormValues { seed: all.seed, rng: all.rng, ..none() },
        },
        Chip { label: "Steps", text: all.steps.clone(), values: FormValues { steps: all.steps, ..none() } },
        Chip {
            label: "Guidance",
            text: words::number(spec.guidance),
            values: FormValues { guidance: all.guidance, ..none() },
        },
        Chip {
            label: "Size",
            text: format!("{} × {}", spec.width, spec.height),
            values: FormValues { size: all.size, ..none() },
        },
        Chip {
            label: "Sampler",
            text: spec.sampler.label().to_owned(),
            values: FormValues { sampler: all.sampler, ..none() },
        },
    ];
    if !spec.adapters.is_empty() {
        let each = spec.adapters.iter().map(|adapter| {
            let name = adapter.name.replacen('@', " ", 1);
            if adapter.strength == 1.0 {
                name
            } else {
                format!("{name} × {}", words::number(adapter.strength))
            }
        });
        chips.push(Chip {
            label: if spec.adapters.len() == 1 { "Adapter" } else { "Adapters" },
            text: each.collect::<Vec<_>>().join(", "),
            values: FormValues { adapters: all.adapters, ..none() },
        });
    }
    if spec.clip_skip > 1 {
        chips.push(Chip {
            label: "Clip skip",
            text: all.clip_skip.clone(),
            values: FormValues { clip_skip: all.clip_skip, ..none() },
        });
    }
    if !spec.negative_prompt.is_empty() {
        chips.push(Chip {
            label: "Not",
            text: spec.negative_prompt.clone(),
            values: FormValues { negative_prompt: all.negative_prompt, ..none() },
        });
    }
    chips
}

#[component]
fn ChipLink(chip: Chip) -> Piece {
    let page = Page::here();
    let Chip { label, text, values } = chip;
    let address = format!("/?{}", form::encode(&values));
    let told = format!("{label} {text} is in the form.");
    let title = format!("Use {label}: {text}");
    let take = Box::new(move || page.take_over(&values, &told));
    view! {
        <li>
            <Link href=address class="chip" title=title action=take>
                <span>{label}</span>
                " "
                <b>{text}</b>
            </Link>
        </li>
    }
    .into_piece()
}

#[component]
fn Actions(shown: ImageRecord) -> Piece {
    let page = Page::here();
    let request: GenerationRequest = shown.recipe.spec.clone().into();
    let address = format!("/?{}", form::encode(&FormValues::of_request(&request)));
    let reuse = Box::new(move || page.reuse(&request, "All parameters are in the form."));
    let file = format!("{}-{}.png", shown.recipe.model, shown.recipe.spec.seed);
    let infotext = StoredValue::new(shown.infotext);
    let copied = RwSignal::new(false);
    let copy = move |_: MouseEvent| {
        spawn_local(async move {
            if browser::copy(&infotext.get_value()).await {
                copied.set(true);
                page.stage.said.set("The parameters are on the clipboard.".to_owned());
                set_timeout(move || copied.set(false), std::time::Duration::from_secs(2));
            } else {
                let sentence = "The browser does not let this page use the clipboard.";
                page.stage.tell(Notice::Problem(sentence.to_owned()));
            }
        });
    };
    let label = move || if copied.get() { "Copied" } else { "Copy parameters" };
    view! {
        <div class="actions">
            <a class="button" href=shown.url download=file>
                <Drawing icon=Icon::Download />
                "Download"
            </a>
            <button type="button" class="button live-only" on:click=on(copy)>
                <Drawing icon=Icon::Copy />
                {text(move || label().to_owned())}
            </button>
            <Link href=address class="button" action=reuse>
                <Drawing icon=Icon::Reuse />
                "Reuse all"
            </Link>
        </div>
    }
    .into_piece()
}
