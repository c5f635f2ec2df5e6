//! Init images and masks between the studio's pixels and the engine's.

use adire_engine::{InitImage, InpaintMask, Rgb8};
use adire_studio::{InitFiles, Pixels, StudioError, cover, cover_mask, read_pixels};

/// A decoded init image with its mask, in the requested size.
pub struct PreparedInit {
    image: Rgb8,
    mask: Option<InpaintMask>,
}

impl PreparedInit {
    /// Reads the files and fits them to the size of the request.
    ///
    /// # Errors
    /// A file cannot be read as an image.
    pub fn read(files: &InitFiles, width: u32, height: u32) -> Result<Self, StudioError> {
        let mask = files.mask.as_deref().map(read_pixels).transpose()?;
        Self::new(read_pixels(&files.image)?, mask.as_ref(), width, height)
    }

    /// Fits the images to the size of the request: see [`cover`] and [`cover_mask`].
    ///
    /// # Errors
    /// The image lacks bytes.
    pub fn new(image: Pixels, mask: Option<&Pixels>, width: u32, height: u32) -> Result<Self, StudioError> {
        let size = (image.width, image.height);
        let mask =
            mask.map(|mask| InpaintMask { width, height, inpaint: cover_mask(mask, size, width, height) });
        let Pixels { width, height, rgb: data } = cover(image, width, height)?;
        Ok(Self { image: Rgb8 { width, height, data }, mask })
    }

    /// As the engine takes it.
    pub fn as_init_image(&self) -> InitImage<'_> {
        InitImage { image: &self.image, mask: self.mask.as_ref() }
    }
}

/// An image of the engine as one of the studio.
pub fn pixels(image: Rgb8) -> Pixels {
    Pixels { width: image.width, height: image.height, rgb: image.data }
}
