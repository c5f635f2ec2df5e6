//! Letters of eight by eight points, drawn at twice their size. Those with marks, such as Yorùbá's ẹ, ọ and ṣ, are drawn as a
//! letter and its marks, so that every combination is there.

use font8x8::UnicodeFonts as _;
use image::{Rgb, RgbImage};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Pixels of a letter, and of a line.
pub(super) const LETTER: u32 = 16;
pub(super) const LINE: u32 = 20;
/// Pixels of a point.
const POINT: i64 = 2;
const INK: Rgb<u8> = Rgb([23, 26, 46]);

/// Points of a mark: column, and row counted from the letter's uppermost row (above it: negative), or from the row below every
/// letter.
enum Mark {
    Above(&'static [(i64, i64)]),
    Below(&'static [(i64, i64)]),
}

fn mark(mark: char) -> Option<Mark> {
    Some(match mark {
        '\u{300}' => Mark::Above(&[(2, -3), (3, -2)]),
        '\u{301}' => Mark::Above(&[(4, -3), (3, -2)]),
        '\u{302}' => Mark::Above(&[(2, -2), (3, -3), (4, -2)]),
        '\u{303}' => Mark::Above(&[(1, -2), (2, -3), (3, -2), (4, -3)]),
        '\u{304}' => Mark::Above(&[(1, -2), (2, -2), (3, -2), (4, -2)]),
        '\u{306}' => Mark::Above(&[(1, -3), (2, -2), (3, -2), (4, -3)]),
        '\u{307}' => Mark::Above(&[(2, -2), (3, -2)]),
        '\u{308}' => Mark::Above(&[(1, -2), (4, -2)]),
        '\u{30a}' => Mark::Above(&[(2, -2), (3, -3), (4, -2), (3, -1)]),
        '\u{30b}' => Mark::Above(&[(3, -3), (2, -2), (5, -3), (4, -2)]),
        '\u{30c}' => Mark::Above(&[(2, -3), (3, -2), (4, -3)]),
        '\u{323}' => Mark::Below(&[(2, 0), (3, 0)]),
        '\u{327}' => Mark::Below(&[(3, 0), (2, 1)]),
        '\u{328}' => Mark::Below(&[(3, 0), (4, 1)]),
        '\u{331}' => Mark::Below(&[(1, 0), (2, 0), (3, 0), (4, 0)]),
        _ => return None,
    })
}

/// Letters of a text, each with its marks.
fn letters(text: &str) -> Vec<Vec<char>> {
    let mut letters: Vec<Vec<char>> = Vec::new();
    for c in text.nfd() {
        match letters.last_mut() {
            Some(last) if is_combining_mark(c) => last.push(c),
            _ => letters.push(vec![c]),
        }
    }
    letters
}

/// Writes lines of letters below each other.
pub(super) fn write(sheet: &mut RgbImage, (x, y): (u32, u32), lines: Vec<Vec<Vec<char>>>) {
    for (at, line) in lines.into_iter().enumerate() {
        for (column, letter) in line.iter().enumerate() {
            let place = (x + column as u32 * LETTER, y + at as u32 * LINE);
            for point in points(letter) {
                draw(sheet, place, point);
            }
        }
    }
}

/// The points of a letter with its marks; of a question mark, where the letter is not known.
fn points(letter: &[char]) -> Vec<(i64, i64)> {
    let whole: Vec<char> = letter.iter().copied().nfc().collect();
    let glyph = |c: char| font8x8::BASIC_FONTS.get(c).or_else(|| font8x8::LATIN_FONTS.get(c));
    let (base, marks) = match (&whole[..], letter) {
        // Latin-1 has letters of its own.
        ([one], _) if glyph(*one).is_some() => (glyph(*one), &[][..]),
        (_, [base, marks @ ..]) => (glyph(*base), marks),
        (_, []) => return Vec::new(),
    };
    let marks: Option<Vec<Mark>> = marks.iter().map(|c| mark(*c)).collect();
    let (Some(rows), Some(marks)) = (base, marks) else {
        return if letter == ['?'] { Vec::new() } else { points(&['?']) };
    };
    let mut found = Vec::new();
    for (row, bits) in (0_i64..).zip(rows) {
        found.extend((0..8_i64).filter(|bit| bits & (1 << bit) != 0).map(|bit| (bit, row)));
    }
    let top = found.iter().map(|(_, row)| *row).min().unwrap_or_default();
    for mark in marks {
        let (points, from) = match mark {
            Mark::Above(points) => (points, top + 1),
            Mark::Below(points) => (points, 8),
        };
        found.extend(points.iter().map(|(column, row)| (*column, from + row)));
    }
    found
}

fn draw(sheet: &mut RgbImage, (x, y): (u32, u32), (column, row): (i64, i64)) {
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let place = (i64::from(x) + column * POINT + dx, i64::from(y) + row * POINT + dy);
        let (Ok(px), Ok(py)) = (u32::try_from(place.0), u32::try_from(place.1)) else { continue };
        if px < sheet.width() && py < sheet.height() {
            sheet.put_pixel(px, py, INK);
        }
    }
}

/// A text in at most `most` lines of so many letters, broken between words where it can be; what does not fit ends with
/// “...”.
pub(super) fn lines(text: &str, width: u32, most: usize) -> Vec<Vec<Vec<char>>> {
    let width = width as usize;
    if width == 0 {
        return Vec::new();
    }
    let mut all: Vec<Vec<Vec<char>>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        let mut word = letters(word);
        while !word.is_empty() {
            let Some(last) = all.last_mut() else { break };
            let blank = usize::from(!last.is_empty());
            if last.len() + blank + word.len() <= width {
                if blank == 1 {
                    last.push(vec![' ']);
                }
                last.append(&mut word);
            } else if last.is_empty() {
                // A word longer than a line is cut.
                last.extend(word.drain(..width.min(word.len())));
            } else {
                all.push(Vec::new());
            }
        }
    }
    if all.len() > most {
        all.truncate(most);
        if let Some(last) = all.last_mut() {
            last.truncate(width.saturating_sub(3));
            last.extend("...".chars().map(|dot| vec![dot]));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, width: u32) -> Vec<String> {
        lines(text, width, 3).into_iter().map(|line| line.into_iter().flatten().nfc().collect()).collect()
    }

    #[test]
    fn labels_are_broken_between_words_and_end_with_dots() {
        assert_eq!(shown("a red cloth", 8), ["a red", "cloth"]);
        assert_eq!(shown("adire@v1", 20), ["adire@v1"]);
        assert_eq!(shown("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(shown("one two three four five six", 6), ["one", "two", "thr..."]);
        assert_eq!(shown("x", 0), Vec::<String>::new());
        // A mark takes no place of its own.
        assert_eq!(shown("ẹlẹ́kọ ọṣun", 5), ["ẹlẹ́kọ", "ọṣun"]);
    }

    #[test]
    fn letters_with_marks_are_drawn_with_them() {
        let question = points(&['?']);
        let of = |text: &str| points(&letters(text)[0]);
        for (marked, plain) in [
            ("ẹ", "e"),
            ("ọ", "o"),
            ("ṣ", "s"),
            ("Ẹ", "E"),
            ("Ṣ", "S"),
            ("ẹ́", "e"),
            ("ọ̀", "o"),
            ("ǹ", "n"),
            ("ḿ", "m"),
            ("ẽ", "e"),
        ] {
            let (marked_points, plain_points) = (of(marked), of(plain));
            assert_ne!(marked_points, question, "{marked}");
            assert!(plain_points.iter().all(|point| marked_points.contains(point)), "{marked}");
            assert!(marked_points.len() > plain_points.len(), "{marked}");
        }
        assert_ne!(of("ẹ́"), of("ẹ̀"));
        assert!(of("ẹ").iter().any(|(_, row)| *row == 8), "the dot is below");
        assert_ne!(of("é"), question);
        assert_eq!(of("\u{4e00}"), question);
        assert_eq!(of("e\u{20dd}"), question, "a mark that is not known");
    }

    #[test]
    fn letters_are_drawn_inside_the_sheet_only() {
        let mut sheet = RgbImage::from_pixel(40, 20, Rgb([255, 255, 255]));
        write(&mut sheet, (0, 0), lines("Ẹ̀ñ\u{4e00}WWWWWWWWW", 100, 3));
        assert!(sheet.pixels().any(|pixel| *pixel == INK));
    }
}
