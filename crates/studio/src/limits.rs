//! How much one visitor, one network and all together may have at a time: generations that wait, what they cost, uploads.

use std::time::Duration;

use adire_protocol::{GenerationSpec, ModelInfo};

use crate::{StudioError, error::rounded};

/// Bounds for everyone who is not the admin. Costs are in megapixel-steps: images × steps × millions of pixels, the hires
/// pass included; an image of 512 × 512 pixels in 20 steps costs 5.2.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// Most generations of one visitor that may wait.
    pub waiting: u32,
    /// Maximum number of queued generations per network.
    pub waiting_of_network: u32,
    /// Most that one generation may cost; `None`: what fits the device.
    pub cost: Option<f64>,
    /// Most that the generations of one visitor which wait or run may cost together, twice as much for a network;
    /// `None`: what fits the device.
    pub waiting_cost: Option<f64>,
    /// Most images that one visitor may upload within a day; four times as many from one network.
    pub uploads: u32,
    /// Most bytes that these may take as they are kept; four times as many from one network.
    pub upload_bytes: u64,
    /// Most bytes that all uploads may take together.
    pub all_upload_bytes: u64,
    /// Uploads and new generations are refused when less is free on the data folder's disk, so that results of running
    /// ones can still be stored.
    pub disk_reserve: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            waiting: 8,
            waiting_of_network: 16,
            cost: None,
            waiting_cost: None,
            uploads: 200,
            upload_bytes: 512 << 20,
            all_upload_bytes: 8 << 30,
            disk_reserve: 256 << 20,
        }
    }
}

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Finished generations and their images are deleted after this time; `None`: never.
    pub keep_for: Option<Duration>,
    /// Age up to which a queued generation is resumed at startup; the visitor of an older one
    /// has probably left.
    pub keep_waiting: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_for: None, keep_waiting: Duration::from_secs(6 * 60 * 60) }
    }
}

/// The costs that are allowed on this device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    pub(crate) request: f64,
    pub(crate) visitor: f64,
    pub(crate) network: f64,
}

impl Caps {
    /// What may be asked of this model on its device. On a CPU a megapixel-step of Stable Diffusion 1.5 takes some
    /// 20 seconds, on a GPU a small part of one.
    pub(crate) fn budget(&self, model: &ModelInfo) -> Budget {
        let request = self.cost.unwrap_or(if model.device.starts_with("cpu") { 120.0 } else { 2_500.0 });
        let visitor = self.waiting_cost.unwrap_or(2.0 * request).max(request);
        Budget { request, visitor, network: 2.0 * visitor }
    }
}

/// Images × steps × millions of pixels; steps that call the model twice count twice.
pub(crate) fn cost(spec: &GenerationSpec, images: u32) -> f64 {
    let megapixels = |(width, height): (u32, u32)| f64::from(width) * f64::from(height) / 1e6;
    let calls = |steps: u32| f64::from(spec.sampling.sampler.model_calls(steps));
    let base = calls(spec.first_pass().steps()) * megapixels((spec.width, spec.height));
    let hires = spec
        .hires
        .as_ref()
        .map_or(0.0, |hires| calls(hires.pass().steps()) * megapixels((hires.width, hires.height)));
    f64::from(images) * (base + hires)
}

/// Refuses a request that no queue, however empty, would take.
pub(crate) fn check_cost(spec: &GenerationSpec, budget: &Budget) -> Result<f64, StudioError> {
    let cost = cost(spec, spec.count);
    if cost <= budget.request {
        return Ok(cost);
    }
    let field = if spec.count > 1 { "count" } else { "steps" };
    let message = format!(
        "This generation costs {} megapixel-steps (images × steps × megapixels{}); the limit is {}. Use fewer images, fewer steps or a smaller size.",
        rounded(cost),
        if spec.hires.is_some() { ", hires pass included" } else { "" },
        rounded(budget.request),
    );
    Err(StudioError::invalid(field, message))
}

#[cfg(test)]
mod tests {
    use adire_protocol::{Defaults, GenerationRequest, HiresRequest, Sampler};

    use super::*;

    fn spec(request: GenerationRequest) -> GenerationSpec {
        let defaults =
            Defaults { steps: 20, guidance: 7.0, width: 512, height: 512, sampling: Sampler::Ddim.into() };
        request.validate(&adire_protocol::Limits::default(), &defaults, 0).unwrap()
    }

    #[test]
    fn cost_is_images_times_steps_times_megapixels() {
        let plain = GenerationRequest { prompt: "moons".to_owned(), ..Default::default() };
        assert_eq!(rounded(cost(&spec(plain.clone()), 1)), "5.2");
        let four = spec(GenerationRequest { count: Some(4), ..plain.clone() });
        assert_eq!(cost(&four, four.count), 4.0 * cost(&four, 1));
        let heun = spec(GenerationRequest { sampler: Some(Sampler::Heun.into()), ..plain.clone() });
        assert!(cost(&heun, 1) > 1.9 * cost(&four, 1), "two calls a step");
        let hires = HiresRequest { scale: Some(2.0), ..Default::default() };
        let hires = spec(GenerationRequest { hires: Some(hires), ..plain });
        assert!(cost(&hires, 1) > 4.0 * cost(&four, 1), "the hires pass has four times the pixels");
    }

    #[test]
    fn a_request_over_the_cost_limit_reports_both_numbers() {
        let budget = Budget { request: 10.0, visitor: 20.0, network: 40.0 };
        let plain = GenerationRequest { prompt: "moons".to_owned(), ..Default::default() };
        assert!(check_cost(&spec(plain.clone()), &budget).is_ok());
        let error = check_cost(&spec(GenerationRequest { count: Some(8), ..plain }), &budget).unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("42 megapixel-steps") && sentence.contains("limit is 10"), "{sentence}");
    }
}
