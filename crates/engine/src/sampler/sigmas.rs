//! Which σ the samplers of σ visit, in k-diffusion's terms: x = x₀ + σ·ε. Everything ends up as f32, as diffusers
//! keeps it.

use adire_protocol::Schedule;

use super::{
    NoiseLevel, Plan,
    schedule::{BetaSchedule, FinalSigma, NoiseSchedule, Spacing, linspace},
};

/// The steps of one trajectory.
pub(super) struct Sigmas {
    /// One for each step.
    pub(super) timesteps: Vec<f64>,
    /// One more than timesteps.
    pub(super) sigmas: Vec<f64>,
    /// Standard deviation of the first latent, for the samplers that keep x unscaled (diffusers'
    /// `init_noise_sigma` after `set_timesteps`).
    pub(super) start_scale: f64,
}

impl Sigmas {
    /// Of the Euler samplers and Heun: fractional timesteps, from the last one to the first. `last`: where the
    /// final step ends.
    pub(super) fn unscaled(schedule: &NoiseSchedule, steps: usize, last: FinalSigma) -> Self {
        let train_sigmas = schedule.train_sigmas();
        let timesteps: Vec<f64> =
            schedule.timesteps(steps, Spacing::Linspace).into_iter().map(as_f32).collect();
        let sigmas = timesteps.iter().map(|t| NoiseSchedule::sigma_at(&train_sigmas, *t)).collect();
        Self::new(schedule, timesteps, sigmas, last)
    }

    /// The same for k-diffusion's SDE sampler, which may spread them after Karras between its own first and
    /// last σ.
    pub(super) fn unscaled_sde(noise_schedule: &NoiseSchedule, schedule: Schedule, steps: usize) -> Self {
        let train_sigmas = noise_schedule.train_sigmas();
        let mut timesteps = noise_schedule.timesteps(steps, Spacing::Linspace);
        let mut sigmas: Vec<f64> =
            timesteps.iter().map(|t| NoiseSchedule::sigma_at(&train_sigmas, *t)).collect();
        if schedule == Schedule::Karras {
            sigmas = karras_sigmas(sigmas[sigmas.len() - 1], sigmas[0], steps);
            timesteps = sigmas.iter().map(|s| NoiseSchedule::timestep_of(&train_sigmas, *s)).collect();
        }
        Self::new(noise_schedule, timesteps, sigmas, FinalSigma::Zero)
    }

    /// Of the multistep solvers (DPM-Solver++, UniPC): whole timesteps.
    pub(super) fn multistep(noise_schedule: &NoiseSchedule, schedule: Schedule, steps: usize) -> Self {
        match schedule {
            Schedule::Normal => Self::multistep_normal(noise_schedule, steps),
            Schedule::Karras => Self::multistep_karras(noise_schedule, steps),
        }
    }

    /// The last timestep is not the first of training.
    fn multistep_normal(schedule: &NoiseSchedule, steps: usize) -> Self {
        let train_sigmas = schedule.train_sigmas();
        let timesteps = schedule.inner_timesteps(steps);
        let sigmas = timesteps.iter().map(|t| NoiseSchedule::sigma_at(&train_sigmas, *t)).collect();
        Self::new(schedule, timesteps, sigmas, schedule.config.final_sigmas_type)
    }

    /// After Karras, over all σ of training.
    fn multistep_karras(schedule: &NoiseSchedule, steps: usize) -> Self {
        let train_sigmas = schedule.train_sigmas();
        // diffusers makes these timesteps whole: rounded, but cut off for cosine schedules.
        let whole = match schedule.config.beta_schedule {
            BetaSchedule::SquaredCosine => f64::trunc,
            BetaSchedule::Linear | BetaSchedule::ScaledLinear => f64::round_ties_even,
        };
        let (min, max) = (train_sigmas[0], train_sigmas[train_sigmas.len() - 1]);
        let sigmas = karras_sigmas(f64::from(min), f64::from(max), steps);
        let timesteps = sigmas.iter().map(|s| whole(NoiseSchedule::timestep_of(&train_sigmas, *s))).collect();
        Self::new(schedule, timesteps, sigmas, schedule.config.final_sigmas_type)
    }

    /// One call for each step, with variance preserved.
    pub(super) fn plan(&self) -> Plan {
        let levels: Vec<_> = self.sigmas.iter().map(|sigma| NoiseLevel::from_sigma(*sigma)).collect();
        Plan::new(&self.timesteps, &levels)
    }

    /// One call for each step, with latents in k-diffusion's scale.
    pub(super) fn unscaled_plan(&self) -> Plan {
        let levels: Vec<_> = self.sigmas.iter().map(|sigma| NoiseLevel::unscaled(*sigma)).collect();
        Plan { start_scale: Some(self.start_scale), ..Plan::new(&self.timesteps, &levels) }
    }

    fn new(schedule: &NoiseSchedule, timesteps: Vec<f64>, mut sigmas: Vec<f64>, last: FinalSigma) -> Self {
        sigmas.push(match last {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => f64::from(schedule.train_sigmas()[0]),
        });
        let sigmas: Vec<f64> = sigmas.into_iter().map(as_f32).collect();
        let max = sigmas[0];
        let start_scale = match schedule.config.timestep_spacing.unwrap_or(Spacing::Linspace) {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading => (max * max + 1.0).sqrt(),
        };
        Self { timesteps, sigmas, start_scale }
    }
}

/// Karras et al. 2022, equation 5, with ρ = 7: from the largest σ to the smallest.
fn karras_sigmas(min: f64, max: f64, steps: usize) -> Vec<f64> {
    let rho = 7.0;
    let (min, max) = (min.powf(1.0 / rho), max.powf(1.0 / rho));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (max + ramp * (min - max)).powf(rho)).collect()
}

fn as_f32(x: f64) -> f64 {
    f64::from(x as f32)
}
