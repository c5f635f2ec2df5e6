//! The sizes that the form offers.

use adire_protocol::{Limits, ModelInfo};

use super::FormValues;

/// A size with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) label: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Shape {
    /// The value of the form's field.
    pub(crate) fn value(self) -> String {
        format!("{}x{}", self.width, self.height)
    }
}

/// The model's native square and, a quarter longer, portrait and landscape, as far as the limits allow.
pub(crate) fn shapes(model: &ModelInfo) -> Vec<Shape> {
    let limits = &model.limits;
    let side = model.native_size;
    let step = limits.size_step.max(1);
    let long = (side + side / 4) / step * step;
    [("Square", side, side), ("Tall", side, long), ("Wide", long, side)]
        .into_iter()
        .filter(|(_, width, height)| {
            [width, height].into_iter().all(|pixels| (limits.min_size..=limits.max_size).contains(pixels))
        })
        .map(|(label, width, height)| Shape { label, width, height })
        .collect()
}

/// Sets the size field to an offered shape, or to `custom` with both numbers filled in.
pub(crate) fn settle_size(values: &mut FormValues, model: &ModelInfo) {
    let Some((width, height)) = values.size.split_once(['x', '×']) else { return };
    let (width, height) = (width.trim().to_owned(), height.trim().to_owned());
    let offered = shapes(model)
        .into_iter()
        .any(|shape| (width.parse(), height.parse()) == (Ok(shape.width), Ok(shape.height)));
    values.size = if offered { format!("{width}x{height}") } else { "custom".to_owned() };
    (values.width, values.height) = (width, height);
}

/// Default size for an init image: its own, scaled down to the limits and rounded to their steps. The same rule as for
/// a request without a size.
pub(crate) fn size_of_image(width: u32, height: u32, limits: &Limits) -> String {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let (step, most) = (f64::from(limits.size_step.max(1)), f64::from(limits.max_size));
    let shrink = (most / width).min(most / height).min(1.0);
    let rounded = |pixels: f64| {
        let (least, most) = ((f64::from(limits.min_size) / step).ceil(), (most / step).floor());
        ((pixels * shrink / step).round().min(most).max(least) * step) as u32
    };
    format!("{}x{}", rounded(width), rounded(height))
}

/// The size in the form, where it is valid.
pub(crate) fn pixels(values: &FormValues) -> Option<(u32, u32)> {
    let (width, height) =
        values.size.split_once(['x', '×']).unwrap_or((values.width.as_str(), values.height.as_str()));
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use adire_protocol::{Defaults, Sampler};

    use super::*;

    fn model(native_size: u32) -> ModelInfo {
        ModelInfo {
            safety_checker: false,
            vae: None,
            name: String::new(),
            hash: String::new(),
            device: String::new(),
            dtype: String::new(),
            native_size,
            prompt_tokens: 75,
            defaults: Defaults {
                steps: 20,
                guidance: 5.0,
                width: 256,
                height: 256,
                sampling: Sampler::Euler.into(),
            },
            limits: Limits::default(),
            example_prompts: Vec::new(),
        }
    }

    #[test]
    fn shapes_follow_the_model() {
        let of = |native| shapes(&model(native)).into_iter().map(Shape::value).collect::<Vec<_>>();
        assert_eq!(of(256), ["256x256", "256x320", "320x256"]);
        assert_eq!(of(512), ["512x512", "512x640", "640x512"]);
        assert_eq!(of(1024), ["1024x1024"]);
    }

    #[test]
    fn an_init_image_sets_its_own_size() {
        let size = |width, height| size_of_image(width, height, &Limits::default());
        assert_eq!(size(512, 768), "512x768");
        assert_eq!(size(500, 260), "504x264");
        assert_eq!(size(4000, 3000), "1024x768");
        assert_eq!(size(3, 16_000), "64x1024");
        assert_eq!(size(0, 0), "64x64");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn the_studio_has_the_same_rule() {
        let limits = Limits::default();
        for image in [(512, 768), (500, 260), (4000, 3000), (3, 16_000), (65, 1023), (1, 1)] {
            let (width, height) = adire_studio::size_of_request(image, &limits, None, None);
            assert_eq!(size_of_image(image.0, image.1, &limits), format!("{width}x{height}"));
        }
    }

    #[test]
    fn a_size_that_is_not_offered_becomes_a_custom_one() {
        let mut values = FormValues { size: "192x256".to_owned(), ..Default::default() };
        settle_size(&mut values, &model(256));
        assert_eq!(
            (values.size.as_str(), values.width.as_str(), values.height.as_str()),
            ("custom", "192", "256")
        );
        assert_eq!(pixels(&values), Some((192, 256)));
        let mut values = FormValues { size: "256x320".to_owned(), ..Default::default() };
        settle_size(&mut values, &model(256));
        assert_eq!((values.size.as_str(), values.height.as_str()), ("256x320", "320"));
    }
}
