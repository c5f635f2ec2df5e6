//! The noise schedule a model was trained with, and the timesteps and sigmas that samplers visit.
//!
//! Formulas and defaults are those of diffusers' schedulers after `from_config` with the model's
//! `scheduler_config.json`: what the file leaves out takes the default of the sampler's own class.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result};

/// ᾱ of a timestep that is pure noise, wherever a formula divides by it: the smallest positive f16.
pub(super) const MIN_ALPHA_BAR: f64 = 1.0 / (1 << 24) as f64;

/// `scheduler/scheduler_config.json`; unknown keys are ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Timesteps the model was trained on.
    pub num_train_timesteps: usize,
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// How β grows in between.
    pub beta_schedule: BetaSchedule,
    /// Every β, instead of the three above.
    pub trained_betas: Option<Vec<f64>>,
    /// What the UNet predicts.
    pub prediction_type: PredictionType,
    /// Added to timesteps with leading spacing.
    pub steps_offset: i64,
    /// Which timesteps are visited; each sampler has its own default.
    pub timestep_spacing: Option<Spacing>,
    /// ᾱ behind the last step: 1, or the first ᾱ; DDIM's default is 1, PNDM's is not.
    pub set_alpha_to_one: Option<bool>,
    /// DDIM, Heun and LCM: whether the denoised estimate is clamped; DDIM's default is yes. SD 1.5 says no.
    pub clip_sample: Option<bool>,
    /// Clamp to ± this.
    pub clip_sample_range: f64,
    /// Whether β is rescaled so that the last timestep is pure noise (Lin et al. 2023).
    pub rescale_betas_zero_snr: bool,
    /// Where the last step of Euler, DPM-Solver++ and UniPC ends.
    pub final_sigmas_type: FinalSigma,
    /// Imagen's dynamic thresholding, which suits pixels and not latents: refused.
    pub thresholding: bool,
    /// LCM only: steps of the schedule that the model was distilled on.
    pub original_inference_steps: usize,
    /// LCM only: factor of the timestep in the boundary condition.
    pub timestep_scaling: f64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            steps_offset: 0,
            timestep_spacing: None,
            set_alpha_to_one: None,
            clip_sample: None,
            clip_sample_range: 1.0,
            rescale_betas_zero_snr: false,
            final_sigmas_type: FinalSigma::Zero,
            thresholding: false,
            original_inference_steps: 50,
            timestep_scaling: 10.0,
        }
    }
}

/// How β grows over the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// √β evenly: latent diffusion's.
    ScaledLinear,
    /// Cosine ᾱ (Nichol and Dhariwal 2021).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

/// What the UNet predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// v = √ᾱ·ε − √(1−ᾱ)·x₀ (Salimans and Ho 2022).
    VPrediction,
    /// The clean sample x₀.
    Sample,
}

/// Which of the training timesteps are visited (table 2 of Lin et al. 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// From the last to the first, evenly.
    Linspace,
    /// Multiples of a whole ratio, from the first.
    Leading,
    /// Multiples of a ratio, from the last.
    Trailing,
}

/// Where the last step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// At σ = 0.
    Zero,
    /// At the smallest σ of training.
    SigmaMin,
}

/// A schedule ready for sampling.
#[derive(Clone, Debug)]
pub struct NoiseSchedule {
    /// ᾱ for each training timestep, computed in f32 as torch does.
    pub alphas_cumprod: Vec<f32>,
    /// The file it came from.
    pub config: SchedulerConfig,
}

impl NoiseSchedule {
    /// Reads `scheduler_config.json`.
    ///
    /// # Errors
    /// The file cannot be read, is not a scheduler config, or describes an unusable schedule.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| EngineError::model(path, format!("cannot be read: {error}")))?;
        let config = serde_json::from_str(&text)
            .map_err(|error| EngineError::model(path, format!("is not a scheduler config: {error}")))?;
        Self::new(config).map_err(|message| EngineError::model(path, message))
    }

    /// Computes the schedule.
    ///
    /// # Errors
    /// A sentence: no or far too many timesteps, a β outside (0, 1], or dynamic thresholding.
    pub fn new(config: SchedulerConfig) -> std::result::Result<Self, String> {
        if config.thresholding {
            let why = "asks for thresholding, which is for models of pixels; set \"thresholding\": false";
            return Err(why.to_owned());
        }
        let mut betas = betas(&config)?;
        if let Some(wrong) = betas.iter().find(|beta| !(**beta > 0.0 && **beta <= 1.0)) {
            return Err(format!("its schedule has a beta of {wrong}; betas lie between 0 and 1"));
        }
        if config.rescale_betas_zero_snr {
            rescale_to_zero_terminal_snr(&mut betas);
        }
        // torch.cumprod accumulates in f64 and stores f32.
        let mut product = 1f64;
        let alphas_cumprod = betas
            .iter()
            .map(|beta| {
                product *= f64::from(1.0 - beta);
                product as f32
            })
            .collect();
        Ok(Self { alphas_cumprod, config })
    }

    /// Training timesteps.
    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Never: `new` refuses a schedule without timesteps.
    pub fn is_empty(&self) -> bool {
        self.alphas_cumprod.is_empty()
    }

    /// ᾱ at `timestep`, or `beyond` it below 0.
    pub(super) fn alpha_bar(&self, timestep: i64, beyond: f64) -> f64 {
        match usize::try_from(timestep) {
            Err(_) => beyond,
            Ok(index) => f64::from(self.alphas_cumprod[index.min(self.len() - 1)]),
        }
    }

    /// σ = √((1−ᾱ)/ᾱ) of every training timestep, f32 as in diffusers.
    pub(super) fn train_sigmas(&self) -> Vec<f32> {
        // Rescaling makes the last ᾱ 0; diffusers then keeps its σ finite in this way.
        let least = if self.config.rescale_betas_zero_snr { MIN_ALPHA_BAR as f32 } else { 0.0 };
        let bounded = self.alphas_cumprod.iter().map(|alpha| alpha.max(least));
        bounded.map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
    }

    /// The timesteps for `steps` steps, from the noisiest; whole numbers except with linspace.
    pub(super) fn timesteps(&self, steps: usize, default_spacing: Spacing) -> Vec<f64> {
        let (train, offset) = (self.len(), self.config.steps_offset as f64);
        let last = (train - 1) as f64;
        match self.config.timestep_spacing.unwrap_or(default_spacing) {
            Spacing::Linspace => linspace(0.0, last, steps).into_iter().rev().collect(),
            Spacing::Leading => {
                let ratio = train / steps;
                (0..steps).rev().map(|i| ((i * ratio) as f64 + offset).clamp(0.0, last)).collect()
            }
            Spacing::Trailing => {
                let ratio = train as f64 / steps as f64;
                let at = |i| (train as f64 - i as f64 * ratio).round_ties_even() - 1.0;
                (0..steps).map(|i| at(i).clamp(0.0, last)).collect()
            }
        }
    }

    /// The timesteps of the multistep solvers: whole, and with linspace and leading spacing those of one step
    /// more, without the last.
    pub(super) fn inner_timesteps(&self, steps: usize) -> Vec<f64> {
        let (train, offset) = (self.len(), self.config.steps_offset as f64);
        let last = (train - 1) as f64;
        match self.config.timestep_spacing.unwrap_or(Spacing::Linspace) {
            Spacing::Linspace => {
                let all = linspace(0.0, last, steps + 1).into_iter().map(f64::round_ties_even);
                all.rev().take(steps).collect()
            }
            Spacing::Leading => {
                let ratio = train / (steps + 1);
                (1..=steps).rev().map(|i| ((i * ratio) as f64 + offset).clamp(0.0, last)).collect()
            }
            Spacing::Trailing => self.timesteps(steps, Spacing::Trailing),
        }
    }

    /// σ at a fractional timestep, by linear interpolation (numpy.interp).
    pub(super) fn sigma_at(train_sigmas: &[f32], timestep: f64) -> f64 {
        let low = (timestep.max(0.0) as usize).min(train_sigmas.len() - 1);
        let high = (low + 1).min(train_sigmas.len() - 1);
        let (a, b) = (f64::from(train_sigmas[low]), f64::from(train_sigmas[high]));
        a + (b - a) * (timestep - low as f64).clamp(0.0, 1.0)
    }

    /// The timestep whose σ is `sigma`, by linear interpolation of log σ (k-diffusion's `sigma_to_t`).
    pub(super) fn timestep_of(train_sigmas: &[f32], sigma: f64) -> f64 {
        let log_sigma = sigma.max(1e-10).ln();
        let log_of = |index: usize| f64::from(train_sigmas[index].ln());
        let above = train_sigmas.partition_point(|s| f64::from(s.ln()) <= log_sigma);
        let low = above.saturating_sub(1).min(train_sigmas.len().saturating_sub(2));
        let high = (low + 1).min(train_sigmas.len() - 1);
        if low == high {
            return low as f64;
        }
        // numpy subtracts the two f32 in f32.
        let apart = f64::from(train_sigmas[low].ln() - train_sigmas[high].ln());
        let weight = ((log_of(low) - log_sigma) / apart).clamp(0.0, 1.0);
        (1.0 - weight) * low as f64 + weight * high as f64
    }
}

/// `steps` numbers from `start` to `end`, both included; `start` alone for one.
pub(super) fn linspace(start: f64, end: f64, steps: usize) -> Vec<f64> {
    let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
    (0..steps).map(|i| if i > 0 && i + 1 == steps { end } else { start + step * i as f64 }).collect()
}

/// β for each training timestep, in f32 with torch's order of operations.
fn betas(config: &SchedulerConfig) -> std::result::Result<Vec<f32>, String> {
    let count = config.trained_betas.as_ref().map_or(config.num_train_timesteps, Vec::len);
    if count == 0 || count > 100_000 {
        return Err(format!("its schedule has {count} training timesteps; 1 to 100,000 are possible"));
    }
    if let Some(betas) = &config.trained_betas {
        return Ok(betas.iter().map(|beta| *beta as f32).collect());
    }
    Ok(match config.beta_schedule {
        BetaSchedule::Linear => torch_linspace(config.beta_start as f32, config.beta_end as f32, count),
        BetaSchedule::ScaledLinear => {
            let (start, end) = (config.beta_start.sqrt() as f32, config.beta_end.sqrt() as f32);
            torch_linspace(start, end, count).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosine => {
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let at = |i: usize| alpha_bar(i as f64 / count as f64);
            (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
        }
    })
}

/// `torch.linspace` in f32: the first half counts up from the start, the second down from the end.
fn torch_linspace(start: f32, end: f32, count: usize) -> Vec<f32> {
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| {
            // torch's kernel uses fused multiply-adds.
            if i < count / 2 {
                step.mul_add(i as f32, start)
            } else {
                (-step).mul_add((count - 1 - i) as f32, end)
            }
        })
        .collect()
}

/// Lin et al. 2023, algorithm 1: shifts and scales √ᾱ so that the last one is 0.
fn rescale_to_zero_terminal_snr(betas: &mut [f32]) {
    let mut product = 1f64;
    let mut roots: Vec<f32> = betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            (product as f32).sqrt()
        })
        .collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    for root in &mut roots {
        *root = (*root - last) * (first / (first - last));
    }
    let mut previous = 1f32;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let alpha_bar = root * root;
        *beta = 1.0 - alpha_bar / previous;
        previous = alpha_bar;
    }
}
