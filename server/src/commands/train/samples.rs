//! Sample images in a run's folder: `samples/STEP-PROMPT.png`, `…-base.png` for what the base model makes beside an
//! adapter that the run started from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use adire_studio::{Pixels, encode_png};
use anyhow::Context;

/// The folder of a run's samples.
pub(super) struct Samples {
    folder: PathBuf,
    /// Whether the run started from an adapter, which then has samples at step 0 as well.
    continues: bool,
}

impl Samples {
    /// Those in the folder of a run; creates the folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(super) fn open(run: &Path, continues: bool) -> anyhow::Result<Self> {
        let folder = run.join("samples");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        Ok(Self { folder, continues })
    }

    /// Step, place of the prompt and whether the adapter took part, for each sample that is there.
    pub(super) fn known(&self) -> Vec<(u32, u32, bool)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| self.parse(entry.file_name().to_str()?)).collect()
    }

    fn parse(&self, name: &str) -> Option<(u32, u32, bool)> {
        let (step, rest) = name.strip_suffix(".png")?.split_once('-')?;
        let (prompt, base) = rest.strip_suffix("-base").map_or((rest, false), |prompt| (prompt, true));
        let step = step.parse().ok()?;
        Some((step, prompt.parse().ok()?, !base && (step > 0 || self.continues)))
    }

    /// Stores a sample.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(
        &self,
        step: u32,
        prompt: u32,
        with_adapter: bool,
        pixels: &Pixels,
    ) -> anyhow::Result<()> {
        // Before the first step of a new adapter there is nothing to tell it from.
        let base = if self.continues && !with_adapter { "-base" } else { "" };
        let path = self.folder.join(format!("{step:06}-{prompt}{base}.png"));
        fs::write(&path, encode_png(pixels, "")?).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let pixels = Pixels { width: 1, height: 1, rgb: vec![0; 3] };
        for (continues, samples) in [
            (false, vec![(0, 0, false), (0, 1, false), (20, 1, true)]),
            (true, vec![(0, 0, false), (0, 0, true), (20, 0, true)]),
        ] {
            let folder = folder.path().join(continues.to_string());
            let run = Samples::open(&folder, continues).unwrap();
            for (step, prompt, with_adapter) in &samples {
                run.keep(*step, *prompt, *with_adapter, &pixels).unwrap();
            }
            fs::write(folder.join("samples/notes.png"), "").unwrap();
            let mut known = run.known();
            known.sort_unstable();
            assert_eq!(known, samples);
        }
    }
}
