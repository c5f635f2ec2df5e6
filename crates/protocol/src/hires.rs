//! Passes over a schedule: from noise, from an image, and a second one over an enlarged result.

use serde::{Deserialize, Serialize};

use crate::GenerationSpec;

/// Denoising strength of a request with `init_image` that names none: A1111's.
pub const INIT_STRENGTH: f64 = 0.75;
/// Denoising strength of a second pass that names none: A1111's.
pub const HIRES_STRENGTH: f64 = 0.7;
/// How many times as large a second pass is when nothing is said: A1111's.
pub const HIRES_SCALE: f64 = 2.0;
/// Longest schedule of a second pass: the timesteps of training.
const MAX_SCHEDULE_STEPS: u32 = 1000;

/// How a first result becomes the beginning of a second pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HiresUpscaler {
    /// The latents are stretched bilinearly. Quick; wants a strength above a half, below which it stays blurred.
    #[default]
    Latent,
    /// They are decoded, the image is enlarged by Lanczos's filter and encoded again.
    Image,
}

impl HiresUpscaler {
    /// The name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latent => "latent",
            Self::Image => "image",
        }
    }

    /// A1111's name for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Latent => "Latent",
            Self::Image => "Lanczos",
        }
    }

    /// From A1111's name: its latent upscalers, or one of the many that work on images.
    pub(crate) fn from_label(label: &str) -> Self {
        if label.trim_start().starts_with("Latent") { Self::Latent } else { Self::Image }
    }
}

/// The text names no upscaler of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown upscaler “{0}”; use one of: latent, image")]
pub struct ParseHiresUpscalerError(pub String);

impl std::str::FromStr for HiresUpscaler {
    type Err = ParseHiresUpscalerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Latent, Self::Image]
            .into_iter()
            .find(|upscaler| upscaler.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| ParseHiresUpscalerError(text.trim().chars().take(40).collect()))
    }
}

/// A second, larger pass over the result (A1111's hires fix). Everything may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HiresRequest {
    /// How many times as wide and high as the first pass, above 1; 2 when neither it nor a size is given. The size is
    /// rounded down to what the model can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Pixels of the finished image, a multiple of 8; instead of `scale`, together with `height`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels of the finished image, a multiple of 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// How much the second pass changes, 0 to 1; 0.7 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Steps that the second pass makes, as in A1111 whatever its strength; those of the first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// `latent` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<HiresUpscaler>,
}

/// A second pass that passed every check, with nothing left open but the scale, which is there when it was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HiresSpec {
    /// What `width` and `height` were computed from, if not given themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Pixels of the finished image.
    pub width: u32,
    /// Pixels of the finished image.
    pub height: u32,
    /// How much it changes.
    pub strength: f64,
    /// Steps that it makes.
    pub steps: u32,
    /// What lies between the passes.
    pub upscaler: HiresUpscaler,
}

/// A walk down a schedule, from its beginning or from its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Steps of the whole schedule.
    pub schedule: u32,
    /// Steps at the noisy end that are left out.
    pub skip: u32,
}

impl Pass {
    /// Steps that are made.
    pub fn steps(self) -> u32 {
        self.schedule.saturating_sub(self.skip)
    }

    /// `int(steps · strength)` of `steps` steps, as diffusers' img2img pipelines count.
    pub(crate) fn of_strength(steps: u32, strength: f64) -> Self {
        let made = ((f64::from(steps) * strength) as u32).min(steps);
        Self { schedule: steps, skip: steps - made }
    }

    /// `steps` steps at the end of a schedule of `int(steps / strength)`, as A1111's second pass counts: its
    /// `setup_img2img_steps` is given the pass's own number of steps, bounds the strength by 0.999, and its k-diffusion
    /// samplers begin at σ number `schedule − steps`. (Its DDIM, PLMS and UniPC have timesteps of their own and call the
    /// model once less often; ours are diffusers', for which one rule counts.)
    fn of_steps(steps: u32, strength: f64) -> Self {
        let schedule = ((f64::from(steps) / strength.min(0.999)) as u32).max(steps);
        Self { schedule, skip: schedule - steps }
    }
}

impl HiresSpec {
    /// The second pass.
    pub fn pass(&self) -> Pass {
        Pass::of_steps(self.steps, self.strength)
    }
}

impl GenerationSpec {
    /// The first pass: all steps, or with `init_image` the part of them that its denoising strength says.
    pub fn first_pass(&self) -> Pass {
        match (&self.init_image, self.denoising_strength) {
            (Some(_), strength) => Pass::of_strength(self.steps, strength.unwrap_or(INIT_STRENGTH)),
            (None, _) => Pass { schedule: self.steps, skip: 0 },
        }
    }

    /// Steps that an image takes, those of a second pass included.
    pub fn total_steps(&self) -> u32 {
        let second = self.hires.as_ref().map_or(0, |hires| hires.pass().steps());
        self.first_pass().steps().saturating_add(second)
    }

    /// Width and height of the finished image.
    pub fn final_size(&self) -> (u32, u32) {
        self.hires.as_ref().map_or((self.width, self.height), |hires| (hires.width, hires.height))
    }
}

/// What a first pass is, for checking the second against it.
pub(crate) struct FirstPass {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) steps: u32,
    /// Most steps of the sampler's schedule, where it has a limit of its own.
    pub(crate) longest: Option<u32>,
}

impl HiresRequest {
    /// Fills in what is absent and hands `wrong` each field that cannot be taken.
    pub(crate) fn validate(
        self,
        limits: &crate::Limits,
        first: &FirstPass,
        wrong: &mut impl FnMut(&str, String),
    ) -> HiresSpec {
        let (step, most) = (limits.size_step.max(1), limits.hires_size);
        let (width, height, scale) = match (self.scale, self.width, self.height) {
            (None, Some(width), Some(height)) => (width, height, None),
            (scale, None, None) => {
                let scale = scale.unwrap_or(HIRES_SCALE);
                // Not a number is neither above 1 nor below the limit.
                if !(scale > 1.0 && scale <= 16.0) {
                    wrong("hires.scale", format!("The scale of hires is {scale}; it can be above 1 to 16."));
                }
                let side = |pixels: u32| (f64::from(pixels) * scale) as u32 / step * step;
                (side(first.width), side(first.height), Some(scale))
            }
            _ => {
                let message = "Hires takes either a scale, or a width and a height; give one of the two.";
                wrong("hires", message.to_owned());
                (first.width, first.height, None)
            }
        };
        let sides = [("width", width, first.width), ("height", height, first.height)];
        for (name, pixels, least) in sides {
            if scale.is_none_or(|scale| scale > 1.0 && scale <= 16.0)
                && (!(least..=most.max(least)).contains(&pixels) || !pixels.is_multiple_of(step))
            {
                wrong(
                    &format!("hires.{name}"),
                    format!(
                        "The {name} of hires is {pixels}; it can be {least} to {most} in steps of {step}."
                    ),
                );
            }
        }
        let strength = self.strength.unwrap_or(HIRES_STRENGTH);
        if !(strength > 0.0 && strength <= 1.0) {
            wrong("hires.strength", format!("The strength of hires is {strength}; it can be above 0 to 1."));
        }
        let steps = self.steps.unwrap_or(first.steps);
        if steps == 0 || steps > limits.steps {
            wrong(
                "hires.steps",
                format!("The steps of hires are {steps}; they can be 1 to {}.", limits.steps),
            );
        }
        let hires =
            HiresSpec { scale, width, height, strength, steps, upscaler: self.upscaler.unwrap_or_default() };
        let (schedule, longest) = (hires.pass().schedule, first.longest.unwrap_or(MAX_SCHEDULE_STEPS));
        if strength > 0.0 && steps <= limits.steps && schedule > longest {
            wrong(
                "hires.strength",
                format!(
                    "{steps} steps at strength {strength} are the end of a schedule of {schedule} steps; the longest \
                     has {longest}. Raise hires.strength or lower hires.steps."
                ),
            );
        }
        hires
    }
}

impl From<HiresSpec> for HiresRequest {
    fn from(spec: HiresSpec) -> Self {
        let size = |side: u32| spec.scale.is_none().then_some(side);
        Self {
            scale: spec.scale,
            width: size(spec.width),
            height: size(spec.height),
            strength: Some(spec.strength),
            steps: Some(spec.steps),
            upscaler: Some(spec.upscaler),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_count_as_diffusers_and_as_a1111_do() {
        assert_eq!(Pass::of_strength(7, 0.6), Pass { schedule: 7, skip: 3 });
        assert_eq!(Pass::of_strength(50, 1.0).steps(), 50);
        assert_eq!(Pass::of_strength(10, 0.05).steps(), 0);
        assert_eq!(Pass::of_steps(10, 0.7), Pass { schedule: 14, skip: 4 });
        assert_eq!(Pass::of_steps(20, 1.0), Pass { schedule: 20, skip: 0 });
        // What A1111's rule gives for its own defaults and for strengths that do not divide.
        for (steps, strength, schedule) in
            [(20, 0.7, 28), (20, 0.55, 36), (15, 0.3, 50), (1, 0.4, 2), (30, 0.999, 30)]
        {
            assert_eq!(
                Pass::of_steps(steps, strength),
                Pass { schedule, skip: schedule - steps },
                "{strength}"
            );
        }
        // What no check has seen must not overflow either.
        for strength in [f64::NAN, 0.0, -1.0, 1e-300, f64::INFINITY] {
            assert!(Pass::of_steps(20, strength).steps() == 20, "{strength}");
            assert!(Pass::of_strength(20, strength).steps() <= 20, "{strength}");
        }
    }

    #[test]
    fn a1111s_upscalers_are_one_of_two() {
        for upscaler in [HiresUpscaler::Latent, HiresUpscaler::Image] {
            assert_eq!(HiresUpscaler::from_label(upscaler.label()), upscaler);
            assert_eq!(upscaler.name().parse(), Ok(upscaler));
        }
        assert_eq!(HiresUpscaler::from_label("Latent (bicubic)"), HiresUpscaler::Latent);
        assert_eq!(HiresUpscaler::from_label("R-ESRGAN 4x+"), HiresUpscaler::Image);
        assert!("esrgan".parse::<HiresUpscaler>().is_err());
    }
}
