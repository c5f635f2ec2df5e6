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

/// What an A1111 label and schedule type stand for, and whether nothing of the two is lost. A label may hold its
/// schedule already.
pub fn a1111_sampling(name: &str, schedule_type: Option<&str>) -> Option<(Sampling, bool)> {
    let name: SamplerName = name.parse().ok()?;
    let schedule_type = schedule_type.unwrap_or_default().trim();
    let is = |known: &str| known.eq_ignore_ascii_case(schedule_type);
    if is("Automatic") && name.schedule.is_none() {
        return Some((name.sampler.automatic(), true));
    }
    let asked = schedule_type.parse().ok().map(|schedule| Sampling::named(name, Some(schedule)));
    match asked.filter(|sampling| sampling.is_supported()) {
        Some(sampling) => Some((sampling, true)),
        None => Some((name.sampling(), schedule_type.is_empty() || is("Automatic"))),
    }
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
}
