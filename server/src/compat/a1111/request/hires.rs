//! The second pass of `enable_hr`.

use adire_protocol::{HiresRequest, HiresUpscaler};

use super::Request;

impl Request {
    /// The pass after one of this size; sizes are multiples of `step`.
    pub(super) fn hires(
        &self,
        (width, height): (u32, u32),
        step: u32,
        notes: &mut Vec<String>,
    ) -> HiresRequest {
        let step = step.max(1);
        let rounded = |side: u32| side / step * step;
        let part = |of: u32, side: u32, other: u32| {
            let part = u64::from(of) * u64::from(side) / u64::from(other.max(1));
            u32::try_from(part).unwrap_or(u32::MAX)
        };
        let size = match (self.hr_resize_x.unwrap_or_default(), self.hr_resize_y.unwrap_or_default()) {
            (0, 0) => None,
            (x, 0) => Some((rounded(x), rounded(part(x, height, width)))),
            (0, y) => Some((rounded(part(y, width, height)), rounded(y))),
            (x, y) => {
                // A1111 covers the size and cuts off what is beyond it.
                let is_wider = u64::from(x) * u64::from(height) > u64::from(y) * u64::from(width);
                let covering =
                    if is_wider { (x, part(x, height, width)) } else { (part(y, width, height), y) };
                let covering = (rounded(covering.0), rounded(covering.1));
                if covering != (rounded(x), rounded(y)) {
                    let (to_x, to_y) = covering;
                    notes.push(format!(
                        "hr_resize_x and hr_resize_y have another shape than the image: it was enlarged to {to_x} × {to_y} and not cropped."
                    ));
                }
                Some(covering)
            }
        };
        HiresRequest {
            scale: self.hr_scale.filter(|_| size.is_none()),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            denoising_strength: self.denoising_strength,
            steps: self.hr_second_pass_steps.filter(|steps| *steps > 0),
            upscaler: self.hr_upscaler.as_deref().map(HiresUpscaler::from_label),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hires_sizes_follow_the_shape_of_the_image() {
        let sized = |x: u32, y: u32| {
            let body = json!({
                "enable_hr": true, "hr_resize_x": x, "hr_resize_y": y, "width": 512, "height": 768, "hr_scale": 2,
            });
            let mut notes = Vec::new();
            let request: Request = serde_json::from_value(body).unwrap();
            let hires = request.hires((512, 768), 8, &mut notes);
            (hires.width, hires.height, hires.scale, notes.len())
        };
        assert_eq!(sized(1000, 0), (Some(1000), Some(1496), None, 0));
        assert_eq!(sized(0, 1100), (Some(728), Some(1096), None, 0));
        assert_eq!(sized(1024, 1536), (Some(1024), Some(1536), None, 0));
        assert_eq!(sized(1024, 1024), (Some(1024), Some(1536), None, 1));
        assert_eq!(sized(600, 1536), (Some(1024), Some(1536), None, 1));
        assert_eq!(sized(0, 0), (None, None, Some(2.0), 0));
    }
}
