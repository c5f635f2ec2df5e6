//! Hires fix: the hires pass over an upscaled result, and how passes map to a schedule.

use serde::{Deserialize, Serialize};

use crate::{
    Limits,
    decimal::Decimal,
    old_names::{keep_old_names, send_old_names},
};

/// Default denoising strength with an `init_image`, as in A1111.
pub const INIT_STRENGTH: f64 = 0.75;
/// Default denoising strength of the hires pass, as in A1111.
pub const HIRES_STRENGTH: f64 = 0.7;
/// Default scale of the hires pass, as in A1111.
pub const HIRES_SCALE: f64 = 2.0;
/// Longest schedule of a hires pass: the number of training timesteps.
const MAX_SCHEDULE_STEPS: u32 = 1000;

/// How the base pass's result is upscaled for the hires pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HiresUpscaler {
    /// Bilinear, on latents. Fast, but blurred at a denoising strength below 0.5.
    #[default]
    Latent,
    /// Lanczos, on the decoded image, which is encoded again.
    Image,
}

impl HiresUpscaler {
    /// Both upscalers.
    pub const ALL: [Self; 2] = [Self::Latent, Self::Image];

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

    /// From A1111's name: its latent upscalers, or any of those that work on images.
    pub fn from_label(label: &str) -> Self {
        if label.trim_start().starts_with("Latent") { Self::Latent } else { Self::Image }
    }
}

/// The text is not an upscaler's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown upscaler “{0}”; use one of: latent, image")]
pub struct ParseHiresUpscalerError(pub String);

impl std::str::FromStr for HiresUpscaler {
    type Err = ParseHiresUpscalerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|upscaler| upscaler.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| ParseHiresUpscalerError(text.trim().chars().take(40).collect()))
    }
}

/// Hires fix: a second pass at a higher resolution, as in A1111. Every field is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct HiresRequest {
    /// The factor of the first size; its range and default, as those of the fields below, are in `FIELDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Together with `height`, instead of `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Together with `width`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoising_strength: Option<f64>,
    /// Steps of the hires pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Upscaler between the passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<HiresUpscaler>,
}

/// A validated hires pass. Only `scale` is optional: it is set where the request had one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct HiresSpec {
    /// The factor that `width` and `height` were computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Pixels of the finished image.
    pub width: u32,
    /// Pixels of the finished image.
    pub height: u32,
    /// Denoising strength, above 0 to 1.
    pub denoising_strength: f64,
    /// Steps of the hires pass.
    pub steps: u32,
    /// Upscaler between the passes.
    pub upscaler: HiresUpscaler,
}

keep_old_names! { HiresSpec as "HiresSpec" }
send_old_names! { HiresRequest as "HiresRequest" }

/// A request with both names of the denoising strength. A reader of its own, so that errors name the field they are about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HiresRequestFields {
    #[serde(default)]
    scale: Option<f64>,
    #[serde(default)]
    width: Option<u32>,
    #[serde(default)]
    height: Option<u32>,
    #[serde(default)]
    denoising_strength: Option<f64>,
    #[serde(default)]
    strength: Option<f64>,
    #[serde(default)]
    steps: Option<u32>,
    #[serde(default)]
    upscaler: Option<HiresUpscaler>,
}

impl From<HiresRequestFields> for HiresRequest {
    fn from(fields: HiresRequestFields) -> Self {
        let HiresRequestFields { scale, width, height, denoising_strength, strength, steps, upscaler } =
            fields;
        Self { scale, width, height, denoising_strength: denoising_strength.or(strength), steps, upscaler }
    }
}

impl<'de> Deserialize<'de> for HiresRequest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HiresRequestFields::deserialize(deserializer).map(Self::from)
    }
}

/// The part of a schedule that one pass runs: all of it, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Steps of the whole schedule.
    pub schedule: u32,
    /// Steps skipped at the noisy end.
    pub skip: u32,
}

impl Pass {
    /// Steps that are run.
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
    /// Schedule of the hires pass.
    pub fn pass(&self) -> Pass {
        Pass::of_steps(self.steps, self.denoising_strength)
    }
}

/// The base pass, for validating the hires pass against it.
pub(crate) struct FirstPass {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) steps: u32,
    /// Maximum steps of the sampler's schedule, where it has a limit of its own.
    pub(crate) longest: Option<u32>,
}

impl HiresRequest {
    /// Fills in the defaults that depend on the base pass, and reports to `wrong` what does not fit it. Values on their own
    /// have been checked by the table of fields.
    pub(crate) fn complete(
        self,
        limits: &Limits,
        first: &FirstPass,
        wrong: &mut impl FnMut(&str, String),
    ) -> HiresSpec {
        let (step, most) = (limits.size_step.max(1), limits.hires_size);
        let (width, height, scale) = match (self.scale, self.width, self.height) {
            (None, Some(width), Some(height)) => (width, height, None),
            (scale, None, None) => {
                let scale = scale.unwrap_or(HIRES_SCALE);
                let side = |pixels: u32| (f64::from(pixels) * scale) as u32 / step * step;
                (side(first.width), side(first.height), Some(scale))
            }
            _ => {
                let message = "Hires fix needs either a scale, or a width and a height, not both.";
                wrong("hires", message.to_owned());
                (first.width, first.height, None)
            }
        };
        let sides = [("width", width, first.width), ("height", height, first.height)];
        for (name, pixels, least) in sides {
            if scale.is_none_or(is_scale)
                && (!(least..=most.max(least)).contains(&pixels) || !pixels.is_multiple_of(step))
            {
                wrong(
                    &format!("hires.{name}"),
                    format!("Hires {name} must be {least} to {most} in steps of {step}; got {pixels}."),
                );
            }
        }
        let denoising_strength = self.denoising_strength.unwrap_or(HIRES_STRENGTH);
        let steps = self.steps.unwrap_or(first.steps);
        let upscaler = self.upscaler.unwrap_or_default();
        let hires = HiresSpec { scale, width, height, denoising_strength, steps, upscaler };
        let (schedule, longest) = (hires.pass().schedule, first.longest.unwrap_or(MAX_SCHEDULE_STEPS));
        if denoising_strength > 0.0 && steps <= limits.steps && schedule > longest {
            wrong(
                "hires.denoising_strength",
                format!(
                    "{steps} steps at denoising strength {} need a schedule of {schedule} steps; the \
                     longest has {longest}. Raise hires.denoising_strength or lower hires.steps.",
                    Decimal(denoising_strength)
                ),
            );
        }
        hires
    }
}

/// NaN is none.
fn is_scale(scale: f64) -> bool {
    scale > 1.0 && scale <= 16.0
}

impl From<HiresSpec> for HiresRequest {
    fn from(spec: HiresSpec) -> Self {
        let size = |side: u32| spec.scale.is_none().then_some(side);
        Self {
            scale: spec.scale,
            width: size(spec.width),
            height: size(spec.height),
            denoising_strength: Some(spec.denoising_strength),
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
