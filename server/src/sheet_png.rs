//! A sheet as one PNG file: its images in a grid, with the values of the axes beside them.

use adire_protocol::{SheetCellState, SheetDetail};
use adire_studio::{Studio, StudioError};
use font8x8::UnicodeFonts as _;
use futures::TryStreamExt;
use image::{ImageFormat, Rgb, RgbImage, imageops, imageops::FilterType};

/// Longest side of an image in the sheet, and of the whole sheet.
const MAX_CELL: u32 = 384;
const MAX_SIDE: u32 = 12_000;
/// Pixels between cells.
const GAP: u32 = 8;
/// Pixels of a letter, which is drawn at twice its size, and of a line.
const LETTER: u32 = 16;
const LINE: u32 = 20;
/// Lines of a label.
const MAX_LINES: usize = 3;
/// Width of the labels beside rows.
const MARGIN: u32 = 14 * LETTER + GAP;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([23, 26, 46]);
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
    let fits = |cells: u32, fixed: u32| MAX_SIDE.saturating_sub(fixed) / cells.max(1);
    let (across, down) = (
        fits(columns, MARGIN).saturating_sub(GAP),
        fits(rows * tables, tables * (2 * label)).saturating_sub(GAP),
    );
    let scale = f64::min(
        f64::from(MAX_CELL.min(across)) / f64::from(width),
        f64::from(MAX_CELL.min(down)) / f64::from(height),
    )
    .min(1.0);
    let (w, h) = (((f64::from(width) * scale) as u32).max(8), ((f64::from(height) * scale) as u32).max(8));
    let table = label * 2 + rows * (h + GAP);
    let mut sheet = RgbImage::from_pixel(MARGIN + columns * (w + GAP) + GAP, tables * table + GAP, PAPER);
    let value = |axis: usize, at: u32| axes.get(axis).and_then(|axis| axis.values.get(at as usize));
    for t in 0..tables {
        let top = t * table + GAP;
        if let Some(value) = value(2, t) {
            write(&mut sheet, (GAP, top), columns * (w + GAP) + MARGIN - 2 * GAP, value);
        }
        for column in 0..columns {
            let at = (MARGIN + column * (w + GAP), top + label);
            if let Some(value) = value(0, column) {
                write(&mut sheet, at, w, value);
            }
        }
        for row in 0..rows {
            let y = top + 2 * label + row * (h + GAP);
            if let Some(value) = value(1, row) {
                write(&mut sheet, (GAP, y), MARGIN - 2 * GAP, value);
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
            write(sheet, (x + GAP, y + GAP), w.saturating_sub(2 * GAP), word);
        }
    }
}

/// Writes a text in lines of that width; what does not fit ends with “...”.
fn write(sheet: &mut RgbImage, (x, y): (u32, u32), width: u32, text: &str) {
    for (at, line) in lines(text, (width / LETTER) as usize).into_iter().enumerate() {
        for (column, letter) in line.chars().enumerate() {
            let known = font8x8::BASIC_FONTS.get(letter).or_else(|| font8x8::LATIN_FONTS.get(letter));
            let Some(glyph) = known.or_else(|| font8x8::BASIC_FONTS.get('?')) else { continue };
            let (left, top) = (x + column as u32 * LETTER, y + at as u32 * LINE);
            for (row, bits) in glyph.iter().enumerate() {
                for bit in (0..8_u32).filter(|bit| bits & (1 << bit) != 0) {
                    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                        let (px, py) = (left + bit * 2 + dx, top + row as u32 * 2 + dy);
                        if px < sheet.width() && py < sheet.height() {
                            sheet.put_pixel(px, py, INK);
                        }
                    }
                }
            }
        }
    }
}

/// A text in at most [`MAX_LINES`] lines, broken between words where it can be.
fn lines(text: &str, letters: usize) -> Vec<String> {
    if letters == 0 {
        return Vec::new();
    }
    let mut all: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let Some(last) = all.last_mut() else { break };
            let used = last.chars().count();
            let blank = usize::from(used > 0);
            if used + blank + word.len() <= letters {
                if blank == 1 {
                    last.push(' ');
                }
                last.extend(word.drain(..));
            } else if used == 0 {
                // A word longer than a line is cut.
                last.extend(word.drain(..letters.min(word.len())));
            } else {
                all.push(String::new());
            }
        }
    }
    if all.len() > MAX_LINES {
        all.truncate(MAX_LINES);
        if let Some(last) = all.last_mut() {
            let kept: String = last.chars().take(letters.saturating_sub(3)).collect();
            *last = kept + "...";
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_broken_between_words_and_end_with_dots() {
        assert_eq!(lines("a red cloth", 8), ["a red", "cloth"]);
        assert_eq!(lines("adire@v1", 20), ["adire@v1"]);
        assert_eq!(lines("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(lines("one two three four five six", 6), ["one", "two", "thr..."]);
        assert_eq!(lines("x", 0), Vec::<String>::new());
    }

    #[test]
    fn letters_are_drawn_inside_the_sheet_only() {
        let mut sheet = RgbImage::from_pixel(40, 20, PAPER);
        write(&mut sheet, (0, 0), 400, "Añ\u{4e00}WWWWWWWWW");
        assert!(sheet.pixels().any(|pixel| *pixel == INK));
    }
}
