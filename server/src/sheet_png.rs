//! A sheet as one PNG file: its images in a grid, with its title, what differs along which axis, and the values beside them.

mod letters;

use adire_protocol::{SheetCellState, SheetDetail, SheetRequest};
use adire_studio::{Studio, StudioError};
use futures::TryStreamExt;
use image::{ImageFormat, Rgb, RgbImage, imageops, imageops::FilterType};

use letters::{LETTER, LINE, lines, write};

/// Longest side of an image in the sheet, and of the whole sheet.
const MAX_CELL: u32 = 384;
const MAX_SIDE: u32 = 12_000;
/// Pixels between cells.
const GAP: u32 = 8;
/// Lines of a label.
const MAX_LINES: usize = 3;
/// Width of the labels beside rows.
const MARGIN: u32 = 14 * LETTER + GAP;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const EMPTY: Rgb<u8> = Rgb([226, 228, 238]);

/// Draws a sheet as it stands.
///
/// # Errors
/// No such sheet; the store cannot be read.
pub(crate) async fn draw(studio: &Studio, id: &str) -> Result<Vec<u8>, StudioError> {
    let detail = studio.sheet(id).await?;
    let mut files = Vec::with_capacity(detail.cells.len());
    for cell in &detail.cells {
        let file = match &cell.image {
            Some(hash) => read(studio, hash).await.ok(),
            None => None,
        };
        files.push(file);
    }
    let drawn = tokio::task::spawn_blocking(move || compose(&detail, &files)).await;
    drawn.map_err(|error| StudioError::Storage(error.to_string()))?
}

async fn read(studio: &Studio, hash: &str) -> Result<Vec<u8>, StudioError> {
    let blob = studio.image_file(hash).await?;
    let pieces: Vec<_> =
        blob.stream().try_collect().await.map_err(|error| StudioError::Storage(error.to_string()))?;
    Ok(pieces.concat())
}

fn compose(detail: &SheetDetail, files: &[Option<Vec<u8>>]) -> Result<Vec<u8>, StudioError> {
    let axes = &detail.sheet.request.axes;
    let count = |at: usize| axes.get(at).map_or(1, |axis| axis.values.len().max(1)) as u32;
    let (columns, rows, tables) = (count(0), count(1), count(2));
    // The side of a cell: as large as its images, and so that everything fits.
    let specs = detail.cells.iter().filter_map(|cell| cell.spec.as_ref()).map(|spec| spec.final_size());
    let (width, height) = specs.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))).unwrap_or((256, 256));
    let label = MAX_LINES as u32 * LINE;
    // Two lines at least, so that the height that is kept free for it does not depend on the width.
    let most_head = 2 * label + GAP;
    let fits = |cells: u32, fixed: u32| MAX_SIDE.saturating_sub(fixed) / cells.max(1);
    let (across, down) = (
        fits(columns, MARGIN).saturating_sub(GAP),
        fits(rows * tables, most_head + tables * (2 * label)).saturating_sub(GAP),
    );
    let scale = f64::min(
        f64::from(MAX_CELL.min(across)) / f64::from(width),
        f64::from(MAX_CELL.min(down)) / f64::from(height),
    )
    .min(1.0);
    let (w, h) = (((f64::from(width) * scale) as u32).max(8), ((f64::from(height) * scale) as u32).max(8));
    let table = label * 2 + rows * (h + GAP);
    let inner = MARGIN + columns * (w + GAP) - GAP;
    let heads = head(&detail.sheet.request);
    let head: u32 = heads.iter().map(|text| height_of(text, inner)).sum::<u32>() + GAP;
    let size = (MARGIN + columns * (w + GAP) + GAP, head + tables * table + GAP);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, PAPER);
    let mut y = GAP;
    for text in &heads {
        write(&mut sheet, (GAP, y), lines(text, inner / LETTER, MAX_LINES));
        y += height_of(text, inner);
    }
    let value = |axis: usize, at: u32| axes.get(axis).and_then(|axis| axis.values.get(at as usize));
    for t in 0..tables {
        let top = head + t * table + GAP;
        if let Some((value, axis)) = value(2, t).zip(axes.get(2)) {
            let text = format!("{}: {value}", axis.setting.label());
            write(&mut sheet, (GAP, top), lines(&text, inner / LETTER, MAX_LINES));
        }
        for column in 0..columns {
            let at = (MARGIN + column * (w + GAP), top + label);
            if let Some(value) = value(0, column) {
                write(&mut sheet, at, lines(value, w / LETTER, MAX_LINES));
            }
        }
        for row in 0..rows {
            let y = top + 2 * label + row * (h + GAP);
            if let Some(value) = value(1, row) {
                write(&mut sheet, (GAP, y), lines(value, (MARGIN - 2 * GAP) / LETTER, MAX_LINES));
            }
            for column in 0..columns {
                let x = MARGIN + column * (w + GAP);
                let at = ((t * rows + row) * columns + column) as usize;
                place(&mut sheet, (x, y), (w, h), detail.cells.get(at).map(|cell| cell.state), files.get(at));
            }
        }
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png).map_err(|error| StudioError::Storage(error.to_string()))?;
    Ok(bytes.into_inner())
}

/// What stands above the images: the title, what all cells share, and what differs along which axis.
fn head(request: &SheetRequest) -> Vec<String> {
    let places = ["columns", "rows", "tables"].into_iter().zip(&request.axes);
    let axes: Vec<String> =
        places.map(|(place, axis)| format!("{place}: {}", axis.setting.label())).collect();
    let seed = request.base.seed.map(|seed| format!("Seed {seed}; ")).unwrap_or_default();
    let title = if request.title.is_empty() { &request.base.prompt } else { &request.title };
    let title = Some(title.clone()).filter(|title| !title.trim().is_empty());
    title.into_iter().chain([format!("{seed}{}", axes.join(", "))]).collect()
}

fn height_of(text: &str, width: u32) -> u32 {
    lines(text, width / LETTER, MAX_LINES).len() as u32 * LINE
}

/// Puts an image into its place, or says why there is none.
fn place(
    sheet: &mut RgbImage,
    (x, y): (u32, u32),
    (w, h): (u32, u32),
    state: Option<SheetCellState>,
    file: Option<&Option<Vec<u8>>>,
) {
    let image = file.and_then(Option::as_ref);
    let image = image.and_then(|bytes| image::load_from_memory_with_format(bytes, ImageFormat::Png).ok());
    match image {
        Some(image) => {
            let image = image.resize(w, h, FilterType::Triangle).to_rgb8();
            imageops::replace(sheet, &image, i64::from(x), i64::from(y));
        }
        None => {
            imageops::replace(sheet, &RgbImage::from_pixel(w, h, EMPTY), i64::from(x), i64::from(y));
            let word = match state {
                Some(SheetCellState::Failed) => "failed",
                Some(SheetCellState::Cancelled) => "cancelled",
                Some(SheetCellState::Deleted) => "deleted",
                _ => "",
            };
            write(sheet, (x + GAP, y + GAP), lines(word, w.saturating_sub(2 * GAP) / LETTER, MAX_LINES));
        }
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::{GenerationRequest, SheetAxis, SheetCell, SheetRecord, SheetSetting};

    use super::*;

    fn detail(title: &str, axes: &[(SheetSetting, &[&str])]) -> SheetDetail {
        let axis = |(setting, values): &(SheetSetting, &[&str])| SheetAxis {
            setting: *setting,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let base = GenerationRequest { prompt: "moons".to_owned(), seed: Some(7), ..Default::default() };
        let axes = axes.iter().map(axis).collect();
        let request = SheetRequest { title: title.to_owned(), base, axes, run: None };
        let cells = vec![SheetCell::default(); request.cells()];
        SheetDetail { sheet: SheetRecord { request, ..SheetRecord::default() }, cells }
    }

    /// Whether a text of one line stands at that place.
    fn says(sheet: &RgbImage, (x, y): (u32, u32), text: &str) -> bool {
        let mut expected = RgbImage::from_pixel(text.chars().count() as u32 * LETTER, LINE, PAPER);
        write(&mut expected, (0, 0), vec![lines(text, 1_000, 1).remove(0)]);
        let found = imageops::crop_imm(sheet, x, y, expected.width(), expected.height()).to_image();
        found == expected
    }

    #[test]
    fn three_axes_are_named_with_title_seed_and_values() {
        let axes: &[(SheetSetting, &[&str])] = &[
            (SheetSetting::Sampler, &["ddim", "euler", "pndm"]),
            (SheetSetting::Guidance, &["1", "4.5"]),
            (SheetSetting::Prompt, &["red", "blue"]),
        ];
        let detail = detail("Yorùbá: àdìrẹ ẹlẹ́kọ", axes);
        let files = vec![None; 12];
        let file = compose(&detail, &files).unwrap();
        let sheet = image::load_from_memory(&file).unwrap().to_rgb8();
        assert!(says(&sheet, (GAP, GAP), "Yorùbá: àdìrẹ"), "the title");
        let about = "Seed 7; columns: Sampler, rows: Guidance scale, tables: Prompt";
        assert!(says(&sheet, (GAP, GAP + LINE), about), "what differs");
        let (label, side) = (MAX_LINES as u32 * LINE, 256 + GAP);
        let head = 2 * LINE + GAP;
        for (table, prompt) in ["red", "blue"].into_iter().enumerate() {
            let top = head + GAP + table as u32 * (2 * label + 2 * side);
            assert!(says(&sheet, (GAP, top), &format!("Prompt: {prompt}")), "{prompt}");
            for (column, sampler) in ["ddim", "euler", "pndm"].into_iter().enumerate() {
                assert!(says(&sheet, (MARGIN + column as u32 * side, top + label), sampler), "{sampler}");
            }
            for (row, guidance) in ["1", "4.5"].into_iter().enumerate() {
                assert!(says(&sheet, (GAP, top + 2 * label + row as u32 * side), guidance), "{guidance}");
            }
        }
        assert!(!says(&sheet, (GAP, GAP), "Yoruba: adire"), "marks are drawn");
        assert_eq!(
            (sheet.width(), sheet.height()),
            (MARGIN + 3 * side + GAP, head + 2 * (2 * label + 2 * side) + GAP)
        );
    }

    #[test]
    fn a_large_sheet_stays_within_its_limits() {
        let many: Vec<String> = (0..20).map(|seed| seed.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let detail = detail("", &[(SheetSetting::Steps, &many[..10]), (SheetSetting::Seed, &many)]);
        let files = vec![None; 200];
        let sheet = image::load_from_memory(&compose(&detail, &files).unwrap()).unwrap();
        assert!(sheet.width() <= MAX_SIDE && sheet.height() <= MAX_SIDE, "{}", sheet.height());
    }
}
