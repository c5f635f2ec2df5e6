//! The rows.

use super::{Control, Field, Help, Range, Slot, Value};
use crate::{HIRES_SCALE, HIRES_STRENGTH, INIT_STRENGTH, Limits, seed::MAX_SEED};

/// Calls a macro with the name of every field of the form that is one text: the parameters of the table, a `.` in them as
/// `_`, and what the form has beside them.
#[macro_export]
macro_rules! each_form_field {
    ($then:ident) => {
        $then! {
            prompt, per_line, negative_prompt, seed, subseed, subseed_strength, steps, guidance, size, width, height, sampler, schedule, rng, count, clip_skip,
            init_image, mask, denoising_strength, keep_unmasked, hires, hires_scale, hires_strength, hires_steps
        }
    };
}

const NONE: fn(&Limits) -> Range = |_| Range::ANY;
const SHARE: Control = Control::Slider { ends: (0.05, 1.0), step: 0.05 };

/// Every parameter, in the order of the form.
pub static FIELDS: [Field; 21] = [
    Field {
        name: "denoising_strength",
        aliases: &[],
        label: "Denoising strength",
        infotext: Some("Denoising strength"),
        help: Help::new("Denoising strength: the share of the steps that is run on `init_image`."),
        range: |_| Range::new(0.0, 1.0),
        default: |_| Value::Number(INIT_STRENGTH),
        control: SHARE,
        slot: |request| Some(Slot::Number(&mut request.denoising_strength)),
    },
    Field {
        name: "keep_unmasked",
        aliases: &[],
        label: "Unmasked area",
        infotext: None,
        help: Help::new(
            "With a mask: whether unmasked pixels stay bit-identical to `init_image`; otherwise they pass through the \
             autoencoder.",
        ),
        range: NONE,
        default: |_| Value::Flag(true),
        control: Control::Own,
        slot: |request| Some(Slot::Flag(&mut request.keep_unmasked)),
    },
    Field {
        name: "seed",
        aliases: &[],
        label: "Seed",
        infotext: Some("Seed"),
        help: Help::new("Seed; random when absent or −1. Image k uses seed + k."),
        range: |limits| Range::new(0.0, (MAX_SEED - u64::from(limits.count)) as f64),
        default: |_| Value::None,
        control: Control::Own,
        slot: |request| Some(Slot::Seed(&mut request.seed)),
    },
    Field {
        name: "subseed",
        aliases: &[],
        label: "Variation seed",
        infotext: Some("Variation seed"),
        help: Help::new(
            "Variation seed, whose noise is mixed into the seed's; random when absent or −1. Image k uses `subseed` + k, and \
             then all images use the same seed.",
        ),
        range: |limits| Range::new(0.0, (MAX_SEED - u64::from(limits.count)) as f64),
        default: |_| Value::None,
        control: Control::Own,
        slot: |request| Some(Slot::Seed(&mut request.subseed)),
    },
    Field {
        name: "subseed_strength",
        aliases: &[],
        label: "Variation strength",
        infotext: Some("Variation seed strength"),
        help: Help::new("Variation strength: 0 is the seed's noise, 1 that of the variation seed."),
        range: |_| Range::new(0.0, 1.0),
        default: |_| Value::Number(0.0),
        control: Control::Slider { ends: (0.0, 1.0), step: 0.05 },
        slot: |request| Some(Slot::Number(&mut request.subseed_strength)),
    },
    Field {
        name: "steps",
        aliases: &[],
        label: "Steps",
        infotext: Some("Steps"),
        help: Help::new("Number of sampling steps."),
        range: |limits| Range::new(1.0, f64::from(limits.steps)),
        default: |defaults| Value::Whole(defaults.steps),
        control: Control::Slider { ends: (1.0, 50.0), step: 1.0 },
        slot: |request| Some(Slot::Whole(&mut request.steps)),
    },
    Field {
        name: "guidance",
        aliases: &[],
        label: "Guidance scale",
        infotext: Some("CFG scale"),
        help: Help::new("Guidance scale; 1 turns guidance off."),
        range: |limits| Range::new(0.0, limits.guidance),
        default: |defaults| Value::Number(defaults.guidance),
        control: Control::Slider { ends: (0.0, 20.0), step: 0.5 },
        slot: |request| Some(Slot::Number(&mut request.guidance)),
    },
    Field {
        name: "clip_skip",
        aliases: &[],
        label: "Clip skip",
        infotext: Some("Clip skip"),
        help: Help::new(
            "Clip skip as in A1111: 1 uses the text encoder's last layer, 2 the one before it, and so on, always with the \
             final layer norm; diffusers counts skipped layers, so its `clip_skip` is one less.",
        ),
        range: |limits| Range::new(1.0, f64::from(limits.clip_skip)),
        default: |_| Value::Whole(1),
        control: Control::Slider { ends: (1.0, f64::INFINITY), step: 1.0 },
        slot: |request| Some(Slot::Whole(&mut request.clip_skip)),
    },
    Field {
        name: "width",
        aliases: &[],
        label: "Width",
        infotext: None,
        help: Help::new("Width in pixels."),
        range: side,
        default: |defaults| Value::Whole(defaults.width),
        control: Control::Own,
        slot: |request| Some(Slot::Whole(&mut request.width)),
    },
    Field {
        name: "height",
        aliases: &[],
        label: "Height",
        infotext: None,
        help: Help::new("Height in pixels."),
        range: side,
        default: |defaults| Value::Whole(defaults.height),
        control: Control::Own,
        slot: |request| Some(Slot::Whole(&mut request.height)),
    },
    Field {
        name: "sampler",
        aliases: &[],
        label: "Sampler",
        infotext: Some("Sampler"),
        help: Help::new(
            "Sampler; names that end in `_karras` hold the schedule too, and A1111's labels are accepted.",
        ),
        range: NONE,
        default: |_| Value::None,
        control: Control::Menu,
        slot: |request| Some(Slot::Sampler(&mut request.sampler)),
    },
    Field {
        name: "schedule",
        aliases: &[],
        label: "Schedule",
        infotext: Some("Schedule type"),
        help: Help::new(
            "Noise levels that the sampler visits. Without it, the sampler's name decides: `dpmpp_2m_karras` holds one, \
             and `dpmpp_2m` means `normal`.",
        ),
        range: NONE,
        default: |_| Value::None,
        control: Control::Menu,
        slot: |request| Some(Slot::Schedule(&mut request.schedule)),
    },
    Field {
        name: "count",
        aliases: &[],
        label: "Images",
        infotext: None,
        help: Help::new("Number of images."),
        range: |limits| Range::new(1.0, f64::from(limits.count)),
        default: |_| Value::Whole(1),
        control: Control::Menu,
        slot: |request| Some(Slot::Whole(&mut request.count)),
    },
    Field {
        name: "per_line",
        aliases: &[],
        label: "Lines of the prompt",
        infotext: None,
        help: Help::new("Whether each line of the prompt is a prompt of its own, with `count` images."),
        range: NONE,
        default: |_| Value::Flag(false),
        control: Control::Menu,
        slot: |request| Some(Slot::Flag(&mut request.per_line)),
    },
    Field {
        name: "rng",
        aliases: &[],
        label: "Noise source",
        infotext: Some("RNG"),
        help: Help::new(
            "Noise source: the random generator that the seed is for, torch's on the CPU or, as in A1111, on CUDA.",
        ),
        range: NONE,
        default: |_| Value::Name("cpu"),
        control: Control::Menu,
        slot: |request| Some(Slot::Rng(&mut request.rng)),
    },
    Field {
        name: "hires.upscaler",
        aliases: &[],
        label: "Upscaler",
        infotext: Some("Hires upscaler"),
        help: Help::new(
            "How the base pass's result is upscaled: `latent`, bilinear on latents, or `image`, Lanczos on pixels.",
        ),
        range: NONE,
        default: |_| Value::Name("latent"),
        control: Control::Own,
        slot: |request| request.hires.as_mut().map(|hires| Slot::Upscaler(&mut hires.upscaler)),
    },
    Field {
        name: "hires.scale",
        aliases: &[],
        label: "Scale",
        infotext: Some("Hires upscale"),
        help: Help::new(
            "Factor on the base pass's width and height. The size is rounded down to a multiple that the model supports.",
        ),
        range: |_| Range { above: true, ..Range::new(1.0, 16.0) },
        default: |_| Value::Number(HIRES_SCALE),
        control: Control::Slider { ends: (1.25, 4.0), step: 0.25 },
        slot: |request| request.hires.as_mut().map(|hires| Slot::Number(&mut hires.scale)),
    },
    Field {
        name: "hires.width",
        aliases: &[],
        label: "Width",
        infotext: None,
        help: Help::new("Width of the finished image in pixels; instead of `scale`, together with `height`."),
        // Between the base pass's and the limit.
        range: NONE,
        default: |_| Value::None,
        control: Control::Own,
        slot: |request| request.hires.as_mut().map(|hires| Slot::Whole(&mut hires.width)),
    },
    Field {
        name: "hires.height",
        aliases: &[],
        label: "Height",
        infotext: None,
        help: Help::new("Height of the finished image in pixels."),
        // Between the base pass's and the limit.
        range: NONE,
        default: |_| Value::None,
        control: Control::Own,
        slot: |request| request.hires.as_mut().map(|hires| Slot::Whole(&mut hires.height)),
    },
    Field {
        name: "hires.denoising_strength",
        aliases: &["hires.strength"],
        label: "Denoising strength",
        infotext: Some("Denoising strength"),
        help: Help::new("Denoising strength of the hires pass."),
        range: |_| Range { above: true, ..Range::new(0.0, 1.0) },
        default: |_| Value::Number(HIRES_STRENGTH),
        control: SHARE,
        slot: |request| request.hires.as_mut().map(|hires| Slot::Number(&mut hires.denoising_strength)),
    },
    Field {
        name: "hires.steps",
        aliases: &[],
        label: "Steps",
        infotext: Some("Hires steps"),
        help: Help::new(
            "Steps of the hires pass, independent of its denoising strength, as in A1111; default: those of the base pass.",
        ),
        range: |limits| Range::new(1.0, f64::from(limits.steps)),
        default: |_| Value::None,
        control: Control::Slider { ends: (1.0, 50.0), step: 1.0 },
        slot: |request| request.hires.as_mut().map(|hires| Slot::Whole(&mut hires.steps)),
    },
];

fn side(limits: &Limits) -> Range {
    Range {
        step: f64::from(limits.size_step),
        ..Range::new(f64::from(limits.min_size), f64::from(limits.max_size))
    }
}
