//! Images as MLflow's page shows them in a series.

use adire_studio::StudioError;
use image::{DynamicImage, ImageFormat, imageops::FilterType};
use sha2::{Digest, Sha256};

use super::{
    client::Failure,
    mirror::{Mirror, Sent, own},
};

/// Longest side of the small copy that MLflow's page shows in a series.
const SMALL: u32 = 256;

impl Mirror {
    /// Sends an image as MLflow's page shows it in a series: whole, and a small copy.
    pub(super) fn image(
        &self,
        sent: &Sent,
        key: &str,
        (step, start): (i64, i64),
        hash: &str,
    ) -> Result<(), Failure> {
        let read = self.handle.block_on(async { self.studio.image_file(hash).await?.bytes().await });
        let bytes = match read {
            Ok(bytes) => bytes,
            // One that was deleted is left out.
            Err(StudioError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(own(error)),
        };
        let small = small(&bytes).ok_or_else(|| {
            Failure::Refused("IMAGE".to_owned(), format!("The image {hash} cannot be read."))
        })?;
        // The same for the same image, so that one sent again replaces itself.
        let id = hex::encode(&Sha256::digest(format!("{} {key} {step} {hash}", sent.run))[..16]);
        let id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        let name = format!("images/{}+step+{step}+timestamp+{}+{id}", key.replace('/', "~"), start + step);
        self.client.artifact(&sent.root, &format!("{name}.png"), &bytes)?;
        self.client.artifact(&sent.root, &format!("{name}+compressed.webp"), &small)?;
        if sent.images.is_empty() {
            self.tag(&sent.run, "mlflow.loggedImages", "True")?;
        }
        Ok(())
    }
}

/// A small copy of a PNG file as WebP.
fn small(png: &[u8]) -> Option<Vec<u8>> {
    let image = image::load_from_memory_with_format(png, ImageFormat::Png).ok()?;
    let image = if image.width().max(image.height()) > SMALL {
        image.resize(SMALL, SMALL, FilterType::Triangle)
    } else {
        image
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image.to_rgb8()).write_to(&mut bytes, ImageFormat::WebP).ok()?;
    Some(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_copy_is_webp() {
        let mut png = std::io::Cursor::new(Vec::new());
        DynamicImage::new_rgb8(600, 300).write_to(&mut png, ImageFormat::Png).unwrap();
        let small = small(&png.into_inner()).unwrap();
        let read = image::load_from_memory_with_format(&small, ImageFormat::WebP).unwrap();
        assert_eq!((read.width(), read.height()), (256, 128));
        assert_eq!(super::small(b"nonsense"), None);
    }
}
