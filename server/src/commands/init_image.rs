//! Arguments of `adire generate` for the init image, its mask and hires fix.

use std::{
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use adire_protocol::{GenerationRequest, HiresRequest, HiresUpscaler, Limits};
use adire_runtime::PreparedInit;
use adire_studio::{Decoded, ImageUse, Pixels, image_hash, read_image, size_of_request};
use anyhow::Context;
use clap::Args;

/// Init image and mask.
#[derive(Debug, Args)]
pub(crate) struct InitImageArgs {
    /// Init image (PNG, JPEG or WebP). Scaled to cover --width × --height and centre-cropped [default size: its own]
    #[arg(long, alias = "init", value_name = "FILE")]
    init_image: Option<PathBuf>,
    /// Mask image: white is regenerated, black is kept
    #[arg(long, value_name = "FILE", requires = "init_image")]
    mask: Option<PathBuf>,
}

/// The decoded init image and mask, each with its hash.
pub(crate) struct InitImageFiles {
    image: (String, Pixels),
    mask: Option<(String, Pixels)>,
}

impl InitImageArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is not a readable image: one sentence.
    pub(crate) fn read(&self) -> anyhow::Result<Option<InitImageFiles>> {
        let Some(image) = &self.init_image else { return Ok(None) };
        let mask = self.mask.as_deref().map(|mask| read(mask, ImageUse::Mask)).transpose()?;
        Ok(Some(InitImageFiles { image: read(image, ImageUse::Colours)?, mask }))
    }
}

/// Prints the warnings of decoding an image to stderr.
pub(crate) fn warn(path: &Path, warnings: &[String]) {
    for warning in warnings {
        // Not eprintln!, which panics when stderr is closed.
        let _ = writeln!(std::io::stderr(), "{}: {warning}", path.display());
    }
}

fn read(path: &Path, used_as: ImageUse) -> anyhow::Result<(String, Pixels)> {
    let shown = path.display();
    let Decoded { pixels, warnings } =
        read_image(path, used_as).with_context(|| format!("{shown} cannot be used"))?;
    warn(path, &warnings);
    Ok((image_hash(&pixels)?, pixels))
}

impl InitImageFiles {
    /// `request` with the hashes of these images and the size that fits them.
    pub(crate) fn name_in(&self, request: GenerationRequest, limits: &Limits) -> GenerationRequest {
        let (hash, image) = &self.image;
        let size = (image.width, image.height);
        let (width, height) = size_of_request(size, limits, request.width, request.height);
        GenerationRequest {
            width: Some(width),
            height: Some(height),
            init_image: Some(hash.clone()),
            mask: self.mask.as_ref().map(|(hash, _)| hash.clone()),
            ..request
        }
    }

    /// Fits the images to the size of a request.
    ///
    /// # Errors
    /// As [`PreparedInit::new`].
    pub(crate) fn fit(self, width: u32, height: u32) -> anyhow::Result<PreparedInit> {
        let mask = self.mask.map(|(_, mask)| mask);
        Ok(PreparedInit::new(self.image.1, mask.as_ref(), width, height)?)
    }
}

/// `SCALE[:UPSCALER[:STRENGTH[:STEPS]]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hires(pub(crate) HiresRequest);

impl FromStr for Hires {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number<T: FromStr>(what: &str, text: &str) -> Result<T, String> {
            text.trim()
                .parse()
                .map_err(|_| format!("the {what} “{text}” is not a number; write SCALE:latent:0.6:12"))
        }
        let mut parts = text.splitn(4, ':');
        let scale = number("scale", parts.next().unwrap_or_default())?;
        let upscaler =
            parts.next().map(HiresUpscaler::from_str).transpose().map_err(|error| error.to_string())?;
        let denoising_strength = parts.next().map(|text| number("strength", text)).transpose()?;
        let steps = parts.next().map(|text| number("number of steps", text)).transpose()?;
        Ok(Self(HiresRequest {
            scale: Some(scale),
            denoising_strength,
            steps,
            upscaler,
            ..HiresRequest::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hires_is_a_scale_with_optional_upscaler_strength_and_steps() {
        let read = |text: &str| {
            text.parse::<Hires>().map(|Hires(h)| (h.scale, h.upscaler, h.denoising_strength, h.steps))
        };
        assert_eq!(read("2"), Ok((Some(2.0), None, None, None)));
        assert_eq!(read("1.5:image"), Ok((Some(1.5), Some(HiresUpscaler::Image), None, None)));
        let latent = Some(HiresUpscaler::Latent);
        assert_eq!(read("1.5:latent:0.6"), Ok((Some(1.5), latent, Some(0.6), None)));
        assert_eq!(read("1.5:latent:0.6:12"), Ok((Some(1.5), latent, Some(0.6), Some(12))));
        for wrong in ["", "big", "2:esrgan", "2:latent:much", "2:latent:0.5:1.5", "2:latent:0.5:1:1"] {
            assert!(read(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        init: InitImageArgs,
    }

    #[test]
    fn init_is_the_old_name_of_a_flag() {
        use clap::Parser as _;
        for flag in ["--init-image", "--init"] {
            let line = Line::try_parse_from(["adire", flag, "a.png"]).unwrap();
            assert_eq!(line.init.init_image, Some("a.png".into()));
        }
    }

    #[test]
    fn a_request_takes_the_size_of_its_init_image() {
        let pixels = |width, height| Pixels { width, height, rgb: vec![9; 3 * (width * height) as usize] };
        let image = (image_hash(&pixels(500, 260)).unwrap(), pixels(500, 260));
        let mask = Some((image_hash(&pixels(4, 4)).unwrap(), pixels(4, 4)));
        let given = InitImageFiles { image, mask };
        let request = given.name_in(GenerationRequest::default(), &Limits::default());
        assert_eq!((request.width, request.height), (Some(504), Some(264)));
        assert!(request.init_image.is_some() && request.mask.is_some() && request.init_image != request.mask);
        let wide = GenerationRequest { width: Some(256), ..GenerationRequest::default() };
        assert_eq!(given.name_in(wide, &Limits::default()).height, Some(136));
        assert!(given.fit(504, 264).unwrap().as_init_image().mask.is_some());
    }
}
