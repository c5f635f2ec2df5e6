//! Which sampler and schedule the names of other programs stand for.

use crate::{Sampler, SamplerName, Sampling, Schedule};

/// Which sampler and schedule of ours the names of another program stand for, and whether nothing of the two is lost.
pub(crate) fn sampling(name: &str, schedule: Option<&str>) -> (Option<Sampling>, bool) {
    let plain: String = name
        .to_lowercase()
        .replace("++", "pp")
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    let mut plain = plain.trim_matches('_').trim_start_matches("k_").trim_end_matches("_gpu");
    let mut schedule = schedule.map(|text| text.trim().to_lowercase()).unwrap_or_default();
    for suffix in ["_karras", "_ka", "_k"] {
        if let Some(rest) = plain.strip_suffix(suffix).filter(|_| schedule.is_empty() || schedule == "karras")
        {
            (plain, schedule) = (rest, "karras".to_owned());
            break;
        }
    }
    let karras = schedule == "karras";
    // What each program calls the sigmas of training.
    let usual = ["", "normal", "native", "default", "automatic", "uniform"].contains(&schedule.as_str());
    let sampler = match plain.replace("dpm_pp", "dpmpp").replace("dpm__", "dpmpp_").as_str() {
        "euler" => Sampler::Euler,
        "euler_ancestral" | "euler_a" => Sampler::EulerA,
        "heun" => Sampler::Heun,
        "dpmpp_2m" => Sampler::Dpmpp2m,
        "dpmpp_sde" => Sampler::DpmppSde,
        "dpmpp_2m_sde" => Sampler::Dpmpp2mSde,
        "ddim" => Sampler::Ddim,
        "pndm" | "plms" => Sampler::Pndm,
        "unipc" | "uni_pc" | "uni_pc_bh2" => Sampler::UniPc,
        "lcm" => Sampler::Lcm,
        _ => return (None, false),
    };
    let asked = Sampling { sampler, schedule: if karras { Schedule::Karras } else { Schedule::Normal } };
    // LCM has timesteps of its own, whatever schedule is named.
    let any = sampler == Sampler::Lcm || (sampler == Sampler::Ddim && schedule == "ddim_uniform");
    match asked.is_supported() {
        true => (Some(asked), karras || usual || any),
        false => (Some(sampler.bare()), any),
    }
}

/// A1111's schedulers as a sampler's label may end with them; those that another one ends with come later.
const A1111_SCHEDULERS: [&str; 16] = [
    "Automatic",
    "Karras",
    "Polyexponential",
    "Exponential",
    "SGM Uniform",
    "sgm_uniform",
    "DDIM Uniform",
    "ddim_uniform",
    "Uniform",
    "KL Optimal",
    "Align Your Steps",
    "Simple",
    "Normal",
    "DDIM",
    "Beta",
    "Turbo",
];

/// What an A1111 label and schedule type stand for, and whether nothing of the two is lost. A label may hold its
/// schedule already. This is for infotexts, where old versions wrote no schedule type: for requests there is
/// [`a1111_request_sampling`].
pub fn a1111_sampling(name: &str, schedule_type: Option<&str>) -> Option<(Sampling, bool)> {
    let name: SamplerName = name.parse().ok()?;
    let schedule_type = schedule_type.unwrap_or_default().trim();
    let is = |known: &str| known.eq_ignore_ascii_case(schedule_type);
    if is("Automatic") && name.schedule.is_none() {
        return Some(a1111_automatic(name.sampler));
    }
    let asked = schedule_type.parse().ok().map(|schedule| Sampling::named(name, Some(schedule)));
    match asked.filter(|sampling| sampling.is_supported()) {
        Some(sampling) => Some((sampling, true)),
        None => Some((name.sampling(), schedule_type.is_empty() || is("Automatic"))),
    }
}

/// What `sampler_name` and `scheduler` of a request to A1111 stand for since its version 1.9, and whether nothing of the
/// two is lost. Without a scheduler, or with “Automatic”, a sampler has its own. The name may end with a scheduler's
/// label; the field counts for more.
pub fn a1111_request_sampling(name: &str, scheduler: Option<&str>) -> Option<(Sampling, bool)> {
    let (name, label) = split_scheduler(name.trim());
    let name: SamplerName = name.parse().ok()?;
    let own = |scheduler: &&str| !scheduler.is_empty() && !scheduler.eq_ignore_ascii_case("automatic");
    let scheduler = scheduler.map(str::trim).filter(own).or(label.filter(own));
    let Some(scheduler) = scheduler else {
        return Some(
            name.schedule.map_or_else(|| a1111_automatic(name.sampler), |_| (name.sampling(), true)),
        );
    };
    let on = |schedule| Some(Sampling { sampler: name.sampler, schedule }).filter(|it| it.is_supported());
    if let Some(sampling) = scheduler.parse().ok().and_then(on) {
        return Some((sampling, true));
    }
    // Karras's levels are nearer to exponential ones than the training's are.
    let exponential = scheduler.to_lowercase().ends_with("exponential");
    let nearest = if exponential { on(Schedule::Karras) } else { None };
    Some((nearest.unwrap_or(name.sampler.bare()), false))
}

/// A sampler on A1111's “Automatic”, and whether that is the same here.
fn a1111_automatic(sampler: Sampler) -> (Sampling, bool) {
    // There it is exponential.
    (sampler.automatic(), sampler != Sampler::Dpmpp2mSde)
}

/// A label without the scheduler that it ends with, and that.
fn split_scheduler(label: &str) -> (&str, Option<&str>) {
    let ends = A1111_SCHEDULERS.iter().find_map(|scheduler| {
        let at = label.len().checked_sub(scheduler.len())?;
        let (name, end) = (label.get(..at)?, label.get(at..)?);
        let name = name.strip_suffix(' ').filter(|_| end.eq_ignore_ascii_case(scheduler))?;
        Some((name.trim_end(), Some(end)))
    });
    ends.unwrap_or((label, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_go_by_many_names() {
        let read = |name: &str, schedule: &str| sampling(name, Some(schedule).filter(|s| !s.is_empty()));
        assert_eq!(read("euler_ancestral", "normal"), (Some(Sampler::EulerA.bare()), true));
        assert_eq!(read("k_euler_ancestral", "native"), (Some(Sampler::EulerA.bare()), true));
        assert_eq!(read("euler_ancestral", "karras"), (Some(Sampler::EulerA.bare()), false));
        assert_eq!(read("dpmpp_2m_sde_gpu", "karras"), (Some(Sampler::Dpmpp2mSde.automatic()), true));
        assert_eq!(read("dpmpp_2m_k", ""), (Some(Sampler::Dpmpp2m.automatic()), true));
        assert_eq!(read("dpmpp_2m", "exponential"), (Some(Sampler::Dpmpp2m.bare()), false));
        assert_eq!(read("DPM++ 2M Karras", ""), (Some(Sampler::Dpmpp2m.automatic()), true));
        assert_eq!(read("uni_pc", "simple"), (Some(Sampler::UniPc.bare()), false));
        assert_eq!(read("res_multistep", "normal"), (None, false));
    }

    #[test]
    fn a_request_without_a_scheduler_has_the_samplers_own() {
        let karras = |sampler| Sampling { sampler, schedule: Schedule::Karras };
        for (name, scheduler, expected) in [
            ("DPM++ 2M", "", (karras(Sampler::Dpmpp2m), true)),
            ("DPM++ SDE", "automatic", (karras(Sampler::DpmppSde), true)),
            ("DPM++ 2M SDE", "", (karras(Sampler::Dpmpp2mSde), false)),
            ("DPM++ 2M SDE", "Karras", (karras(Sampler::Dpmpp2mSde), true)),
            ("Euler", "", (Sampler::Euler.bare(), true)),
            ("DPM++ 2M", "uniform", (Sampler::Dpmpp2m.bare(), true)),
            ("DPM++ 2M", "exponential", (karras(Sampler::Dpmpp2m), false)),
            ("dpmpp_2m_karras", "", (karras(Sampler::Dpmpp2m), true)),
            ("DPM++ 2M Karras", "automatic", (karras(Sampler::Dpmpp2m), true)),
        ] {
            assert_eq!(a1111_request_sampling(name, Some(scheduler)), Some(expected), "{name}, {scheduler}");
        }
    }

    #[test]
    fn labels_end_with_schedulers() {
        let karras = |sampler| Sampling { sampler, schedule: Schedule::Karras };
        for (name, scheduler, expected) in [
            ("DPM++ 2M SDE Exponential", None, (karras(Sampler::Dpmpp2mSde), false)),
            ("Euler a Karras", None, (Sampler::EulerA.bare(), false)),
            ("Euler a Automatic", None, (Sampler::EulerA.bare(), true)),
            ("DPM++ 2M SGM Uniform", None, (Sampler::Dpmpp2m.bare(), false)),
            ("DPM++ 2M Uniform", None, (Sampler::Dpmpp2m.bare(), true)),
            ("DPM++ 2M Uniform", Some("Karras"), (karras(Sampler::Dpmpp2m), true)),
            ("DDIM", None, (Sampler::Ddim.bare(), true)),
        ] {
            assert_eq!(a1111_request_sampling(name, scheduler), Some(expected), "{name}");
        }
        assert_eq!(a1111_request_sampling("DPM++ 9S Karras", None), None);
    }

    #[test]
    fn infotexts_of_old_versions_name_the_trainings_schedule() {
        assert_eq!(a1111_sampling("DPM++ 2M", None), Some((Sampler::Dpmpp2m.bare(), true)));
        assert_eq!(a1111_sampling("DPM++ 2M", Some("Automatic")), Some((Sampler::Dpmpp2m.automatic(), true)));
        let sde = Some((Sampler::Dpmpp2mSde.automatic(), false));
        assert_eq!(a1111_sampling("DPM++ 2M SDE", Some("Automatic")), sde);
    }
}
