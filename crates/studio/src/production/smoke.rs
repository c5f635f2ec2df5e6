//! The smoke image: one small image with a fixed seed after each move to production. The first one of a version is kept;
//! later ones show whether the version still does what it did.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use adire_protocol::{AdapterUse, GenerationRequest, LedgerMove, Smoke, SmokeResult};

use crate::{
    Pixels, RenderRequest, StudioError, adapters, png, read_pixels,
    shared::Shared,
    store::{SmokeRow, image_url},
    tasks::blocking,
    time::now,
};

/// The same for all versions, for ever: it is part of what is compared.
const SEED: u64 = 20_261_127;
/// Enough to see a broken adapter.
const STEPS: u32 = 8;
/// Largest and mean difference (of 255) of images that look the same: another device or precision.
const CLOSE: (u8, f64) = (16, 1.0);

/// Renders the image, compares it with the version's first one and stores it.
pub(super) async fn take(shared: &Shared, made: &LedgerMove, version: u32) -> Result<Smoke, StudioError> {
    let model = &shared.model;
    let pixels = render(shared, &format!("{}@v{version}", made.name)).await?;
    let before = shared.store.smoke_images(&made.name, version, &model.hash).await?;
    let alike = before.iter().find(|row| (&row.device, &row.dtype) == (&model.device, &model.dtype));
    let (result, difference) = match alike.or(before.first()) {
        None => (SmokeResult::First, None),
        Some(first) => {
            let file = shared.blobs.local(&first.hash).await?;
            let file =
                file.ok_or_else(|| StudioError::Damaged("The first smoke image is missing.".to_owned()))?;
            let stored = blocking(move || read_pixels(&file)).await?;
            compare(&stored, &pixels, alike.is_some())
        }
    };
    let file = blocking(move || png::encode_bare(&pixels)).await?;
    let _keeping = shared.blobs.keeping().await;
    let hash = shared.blobs.put(file).await?;
    let url = Some(image_url(&hash));
    let row = SmokeRow {
        number: made.number,
        device: model.device.clone(),
        dtype: model.dtype.clone(),
        hash,
        result,
        difference,
    };
    shared.store.insert_smoke_image(&made.name, version, (&model.hash, now()), &row).await?;
    Ok(Smoke { result, difference, url, problem: None })
}

async fn render(shared: &Shared, id: &str) -> Result<Pixels, StudioError> {
    let known = shared.store.adapters().await?;
    let trigger = adapters::resolve(&known, id)?.trigger.clone();
    let example = shared.model.example_prompts.first().map(|example| example.prompt.clone());
    let prompt = [Some(trigger), example].into_iter().flatten().filter(|text| !text.is_empty());
    let request = GenerationRequest {
        prompt: prompt.collect::<Vec<_>>().join(", "),
        seed: Some(SEED),
        steps: Some(STEPS),
        adapters: vec![AdapterUse::new(id, 1.0)],
        ..GenerationRequest::default()
    };
    let spec = request.validate(&shared.model.limits, &shared.model.defaults, SEED)?;
    let adapters = adapters::files(shared, &spec.adapters).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let job = RenderRequest { spec, adapters, embeddings: Vec::new(), init: None };
    let closing = || stop.store(shared.work.is_closing(), Ordering::Relaxed);
    Ok(shared.worker.render(job, stop.clone(), closing).await??.pixels)
}

/// The same device and precision give the same pixels; others may differ by what nobody sees.
fn compare(stored: &Pixels, made: &Pixels, alike: bool) -> (SmokeResult, Option<f64>) {
    if stored == made {
        return (SmokeResult::Equal, None);
    }
    if (stored.width, stored.height) != (made.width, made.height) {
        return (SmokeResult::Different, None);
    }
    let differences = || stored.rgb.iter().zip(&made.rgb).map(|(a, b)| a.abs_diff(*b));
    let largest = differences().max().unwrap_or_default();
    let mean = differences().map(f64::from).sum::<f64>() / stored.rgb.len().max(1) as f64;
    let close = !alike && largest <= CLOSE.0 && mean <= CLOSE.1;
    (if close { SmokeResult::Close } else { SmokeResult::Different }, Some(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_device_may_differ_by_what_nobody_sees() {
        let image = |first: u8| Pixels { width: 2, height: 1, rgb: vec![first, 2, 3, 4, 5, 6] };
        let of = |first, alike| compare(&image(10), &image(first), alike);
        assert_eq!(of(10, true), (SmokeResult::Equal, None));
        assert_eq!(of(13, true), (SmokeResult::Different, Some(0.5)));
        assert_eq!(of(13, false), (SmokeResult::Close, Some(0.5)));
        assert_eq!(of(30, false).0, SmokeResult::Different);
        let wide = Pixels { width: 1, height: 2, ..image(10) };
        assert_eq!(compare(&image(10), &wide, false), (SmokeResult::Different, None));
    }
}
