//! Parameters of the image, as chips that load one value into the form, and actions on the image.

use adire_protocol::{
    GenerationRequest, HiresSpec, ImageRecord, Recipe, Rng,
    decimal::Decimal,
    fields::{Control, FIELDS, Field},
};
use leptos::{ev::MouseEvent, prelude::*};
use wasm_bindgen_futures::spawn_local;

use super::{
    delete::Delete,
    icons::{Drawing, Icon},
    link::Link,
    rate::Rate,
};
use crate::{
    browser,
    form::{self, AdapterRow, FormValues},
    state::{Notice, Page},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, dyn_view, handler},
    },
    words,
};

/// Chips and actions of the image on the canvas.
#[component]
pub(crate) fn Parameters() -> ErasedView {
    let page = Page::here();
    dyn_view(move || {
        page.workspace.shown.get().map(|shown| {
            let spec = shown.recipe.spec.clone();
            let chips =
                chips(&shown).into_iter().map(|chip| view! { <ChipLink chip=chip /> }).collect::<Vec<_>>();
            let warnings = shown
                .recipe
                .warnings
                .iter()
                .map(|warning| view! { <p class="notice" role="status">{warning.clone()}</p> }.erase());
            let warnings: Vec<ErasedView> = warnings.collect();
            let withheld = shown.recipe.withheld.then(|| {
                view! { <p class="notice" role="status">"Blocked by the safety checker."</p> }
            });
            let recipe = view! { <RecipeRows recipe=shown.recipe.clone() /> };
            view! {
                <div class="parameters">
                    {withheld}
                    {warnings}
                    <p class="caption">{spec.prompt}</p>
                    <Actions shown=shown.clone() />
                    <Others shown=shown.clone() />
                    <ul class="chips" aria-label="Parameters; select one to reuse it">
                        {chips}
                    </ul>
                    {recipe}
                    <Delete shown=shown />
                </div>
            }
        })
    })
    .erase()
}

/// The rest of the recipe, folded.
#[component]
fn RecipeRows(recipe: Recipe) -> ErasedView {
    let mut rows = Vec::new();
    let mut row = |name: &'static str, value: String| {
        rows.push(view! {
            <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
            </div>
        });
    };
    let Recipe { spec, .. } = recipe;
    if let Some(hash) = spec.init_image {
        row("Init image", hash);
        row("Denoising strength", words::number(spec.denoising_strength.unwrap_or_default()));
    }
    if let Some(hash) = spec.mask {
        row("Mask", hash);
    }
    if let Some(hires) = spec.hires {
        let HiresSpec { width, height, denoising_strength, steps, upscaler, .. } = hires;
        let strength = words::number(denoising_strength);
        row("Hires fix", format!("{width} × {height}, {}, {steps} steps, {strength}", upscaler.label()));
    }
    for (adapter, hash) in spec.adapters.into_iter().zip(recipe.adapter_hashes) {
        row("Adapter", format!("{} {hash}", adapter.name));
    }
    for embedding in recipe.embeddings {
        row("Embedding", format!("{} {}", embedding.word, embedding.hash));
    }
    if let Some(vae) = recipe.vae {
        row("VAE", format!("{} {}", vae.name, vae.hash));
    }
    row("Model", format!("{} {}", recipe.model, recipe.model_hash));
    row("Fingerprint", recipe.fingerprint);
    row("Adapter switch", format!("{} ms", words::whole(recipe.switch_seconds * 1000.0)));
    row(
        "Generated",
        format!(
            "in {} s on {} in {}, Adire {}",
            Decimal((recipe.seconds * 100.0).round() / 100.0),
            recipe.device,
            recipe.dtype,
            recipe.version
        ),
    );
    view! {
        <details class="fold recipe">
            <summary>"Recipe"</summary>
            <dl tabindex="0">{rows}</dl>
        </details>
    }
    .erase()
}

/// One value of the image.
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
    let mut chips = vec![Chip {
        label: "Seed",
        // The same seed gives other noise with another source.
        text: match spec.rng {
            Rng::Cpu => all.seed.clone(),
            Rng::Cuda => format!("{} ({})", all.seed, spec.rng.label()),
        },
        values: FormValues { seed: all.seed, rng: all.rng, ..none() },
    }];
    if let Some((subseed, strength)) = spec.subseed.zip(spec.subseed_strength) {
        chips.push(Chip {
            label: "Variation",
            text: format!("{subseed}, {}", words::number(strength)),
            values: FormValues { subseed: all.subseed, subseed_strength: all.subseed_strength, ..none() },
        });
    }
    if let Some(template) = &spec.template {
        chips.push(Chip {
            label: "Template",
            text: template.prompt.clone(),
            values: FormValues {
                prompt: template.prompt.clone(),
                negative_prompt: template.negative_prompt.clone(),
                ..none()
            },
        });
    }
    let mut request = GenerationRequest::from(spec.clone());
    for field in FIELDS.iter().filter(|field| has_chip(field)) {
        let Some(number) = field.slot(&mut request).and_then(|slot| slot.number()) else { continue };
        let (text, mut values) = (field.text(&mut request), none());
        if text == field.fixed_default().to_string() {
            continue;
        }
        if let Some(value) = values.of_field(field) {
            *value = text;
        }
        chips.push(Chip { label: field.label, text: words::number(number), values });
    }
    chips.extend([
        Chip {
            label: "Size",
            text: format!("{} × {}", spec.width, spec.height),
            values: FormValues { size: all.size, ..none() },
        },
        Chip {
            label: "Sampler",
            text: spec.sampling.label(),
            values: FormValues { sampler: all.sampler, schedule: all.schedule, ..none() },
        },
    ]);
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
            values: FormValues {
                adapters: all.adapters.into_iter().filter(AdapterRow::is_on).collect(),
                ..none()
            },
        });
    }
    if let Some(strength) = spec.denoising_strength {
        let what = if spec.mask.is_some() { "inpaint" } else { "img2img" };
        chips.push(Chip {
            label: "Init image",
            text: format!("{what}, {}", words::number(strength)),
            values: FormValues {
                init_image: all.init_image,
                mask: all.mask,
                denoising_strength: all.denoising_strength,
                keep_unmasked: all.keep_unmasked,
                ..none()
            },
        });
    }
    if let Some(hires) = &spec.hires {
        chips.push(Chip {
            label: "Hires fix",
            text: format!("{} × {}", hires.width, hires.height),
            values: FormValues {
                hires: all.hires,
                hires_scale: all.hires_scale,
                hires_strength: all.hires_strength,
                hires_steps: all.hires_steps,
                ..none()
            },
        });
    }
    if !spec.negative_prompt.is_empty() {
        chips.push(Chip {
            label: "Negative prompt",
            text: spec.negative_prompt.clone(),
            values: FormValues { negative_prompt: all.negative_prompt, ..none() },
        });
    }
    chips
}

/// Numbers that stand on their own.
fn has_chip(field: &Field) -> bool {
    matches!(field.control, Control::Slider { .. })
        && !matches!(field.name, "denoising_strength" | "subseed_strength")
        && !field.name.starts_with("hires.")
}

/// Strengths of “Vary subtly” and “Vary strongly”.
const SUBTLY: f64 = 0.1;
const STRONGLY: f64 = 0.35;

/// The request for another image like this one: with noise mixed into its seed's, or with another seed. An image that is a
/// variation is varied from the same seed.
fn another(shown: &ImageRecord, strength: Option<f64>) -> GenerationRequest {
    let request = GenerationRequest::from(shown.recipe.spec.clone());
    let seed = request.seed.filter(|_| strength.is_some());
    GenerationRequest { seed, subseed: None, subseed_strength: strength, count: Some(1), ..request }
}

/// The rating, and links that fill the form so; with a script they generate at once.
#[component]
fn Others(shown: ImageRecord) -> ErasedView {
    let page = Page::here();
    let mut links = Vec::new();
    for (label, title, strength) in [
        ("Vary subtly", "Same seed with a little other noise", Some(SUBTLY)),
        ("Vary strongly", "Same seed with more of other noise", Some(STRONGLY)),
        ("More like this", "Same settings with another seed", None),
    ] {
        let request = another(&shown, strength);
        let address = format!("/?{}", form::encode(&FormValues::of_request(request.clone())));
        let go = Box::new(move || page.generate_as(request.clone()));
        links.push(view! {
            <Link href=address class="button" title=title action=go>
                {label}
            </Link>
        });
    }
    let own_page = format!("/history/{}/{}", shown.generation, shown.index);
    let is_own = Memo::new(move |_| page.workspace.rating.with(Option::is_some));
    let rating = Signal::derive(move || page.workspace.rating.get().unwrap_or_default());
    let rate = dyn_view(move || {
        is_own.get().then(|| view! { <Rate address=own_page.clone() rating=rating studio=true /> })
    });
    view! { <div class="actions others">{rate} {links}</div> }.erase()
}

/// Address of the form with this image as init image and its other parameters.
pub(super) fn continue_address(shown: &ImageRecord) -> String {
    let spec = &shown.recipe.spec;
    let (width, height) = spec.final_size();
    let none = String::new;
    let values = FormValues {
        init_image: shown.hash.clone(),
        size: format!("{width}x{height}"),
        mask: none(),
        hires: none(),
        seed: none(),
        denoising_strength: none(),
        keep_unmasked: none(),
        ..FormValues::of_spec(spec)
    };
    format!("/?{}", form::encode(&values))
}

#[component]
fn ChipLink(chip: Chip) -> ErasedView {
    let page = Page::here();
    let Chip { label, text, values } = chip;
    let address = format!("/?{}", form::encode(&values));
    let announcement = format!("{label} {text} loaded.");
    let title = format!("Use {label}: {text}");
    let take = Box::new(move || page.take_over(&values, &announcement));
    view! {
        <li>
            <Link href=address class="chip" title=title action=take>
                <span>{label}</span>
                " "
                <b>{text}</b>
            </Link>
        </li>
    }
    .erase()
}

#[component]
fn Actions(shown: ImageRecord) -> ErasedView {
    let page = Page::here();
    let spec = shown.recipe.spec.clone();
    let address = format!("/?{}", form::encode(&FormValues::of_spec(&spec)));
    let reuse = Box::new(move || page.reuse(spec.clone().into(), "Parameters loaded."));
    let onwards = continue_address(&shown);
    let own_page = format!("/history/{}/{}", shown.generation, shown.index);
    let kept = shown.clone();
    let go_on = Box::new(move || page.continue_from(&kept));
    let file = format!("{}-{}.png", shown.recipe.model, shown.recipe.spec.seed);
    let infotext = StoredValue::new(shown.infotext);
    let copied = RwSignal::new(false);
    let copy = move |_: MouseEvent| {
        spawn_local(async move {
            if browser::copy(&infotext.get_value()).await {
                copied.set(true);
                page.workspace.announcement.set("Parameters copied.".to_owned());
                set_timeout(move || copied.set(false), std::time::Duration::from_secs(2));
            } else {
                let sentence = "Couldn't copy: the browser blocked clipboard access.";
                page.workspace.notify(Notice::Problem(sentence.to_owned()));
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
            <button type="button" class="button live-only" on:click=handler(copy)>
                <Drawing icon=Icon::Copy />
                {dyn_text(move || label().to_owned())}
            </button>
            <Link href=address class="button" action=reuse>
                <Drawing icon=Icon::Reuse />
                "Reuse all"
            </Link>
            <Link href=onwards class="button" title="Use as init image" action=go_on>
                <Drawing icon=Icon::Start />
                "Send to img2img"
            </Link>
            <a class="button" href=own_page>
                "Share or report"
            </a>
        </div>
    }
    .erase()
}
