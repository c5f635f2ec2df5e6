//! Lists of captions: JSON lines, JSON, and tables with commas, semicolons or tabs.

use serde_json::{Map, Value};

use super::{names::is_image, text};

/// What a list may be called in the field that names the image; the first one that is there counts.
const FILE: [&str; 8] =
    ["file_name", "filename", "file", "image", "image_file", "image_path", "path", "file_path"];
/// What the caption may be called.
const TEXT: [&str; 7] = ["text", "caption", "captions", "prompt", "description", "tags", "label"];

/// One line of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `Line 3`, as messages call it.
    pub(super) place: String,
    /// The image as the list calls it.
    pub(super) file: String,
    /// Its captions as they were written: none, or several where the list has several.
    pub(super) captions: Vec<String>,
}

/// What a list holds, and what of it was not understood.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) rows: Vec<Row>,
    pub(super) notes: Vec<String>,
}

/// Reads a list; the ending of its name says of which kind it is.
pub(super) fn read(name: &str, bytes: &[u8]) -> List {
    let text::Text { text, notes } = text::read(bytes);
    let notes = notes.into_iter().map(|note| format!("Check its captions: {note}.")).collect();
    let mut list = List { rows: Vec::new(), notes };
    let lower = name.to_lowercase();
    if lower.ends_with(".csv") || lower.ends_with(".tsv") {
        table(&text, &mut list);
    } else if lower.ends_with(".json") || serde_json::from_str::<Vec<Value>>(&text).is_ok() {
        whole(&text, &mut list);
    } else {
        lines(&text, &mut list);
    }
    list
}

const LIKE: &str = "it should be like {\"file_name\": \"a.png\", \"text\": \"…\"}";

fn lines(text: &str, list: &mut List) {
    let mut fields = Fields::default();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("Line {number}");
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => fields.row(place, None, &object, list),
            Ok(_) => list.notes.push(format!("{place} is not understood; {LIKE}.")),
            Err(error) => list.notes.push(format!("{place} is not understood ({}); {LIKE}.", brief(&error))),
        }
    }
    fields.tell(list);
}

/// A list of objects; or objects or captions by the names of their images.
fn whole(text: &str, list: &mut List) {
    let mut fields = Fields::default();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) => {
            for (number, entry) in (1..).zip(entries) {
                let place = format!("Entry {number}");
                match entry {
                    Value::Object(object) => fields.row(place, None, &object, list),
                    _ => list.notes.push(format!("{place} is not understood; {LIKE}.")),
                }
            }
        }
        Ok(Value::Object(entries)) => {
            for (file, entry) in entries {
                let place = format!("The entry “{}”", text::beginning(&file, 80));
                match entry {
                    Value::Object(object) => fields.row(place, Some(file), &object, list),
                    value @ (Value::String(_) | Value::Array(_)) => {
                        let captions = strings(&value);
                        list.rows.push(Row { place, file, captions });
                    }
                    _ => list.notes.push(format!("{place} is not a caption.")),
                }
            }
        }
        Ok(_) => list.notes.push(format!("It is not a list of captions; each entry {LIKE}.")),
        Err(error) => {
            list.notes.push(format!("It is not valid JSON ({error}); no captions were read from it."))
        }
    }
    fields.tell(list);
}

fn brief(error: &serde_json::Error) -> String {
    // Each line is read by itself, so that the line of the message would always be the first.
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The fields of a list that mean nothing here.
#[derive(Default)]
struct Fields {
    unused: std::collections::BTreeMap<String, u32>,
}

impl Fields {
    fn row(&mut self, place: String, file: Option<String>, object: &Map<String, Value>, list: &mut List) {
        let named = |names: &[&str]| {
            let of = |name: &&str| object.keys().find(|key| key.trim().eq_ignore_ascii_case(name));
            names.iter().find_map(of)
        };
        let (file_key, text_key) = (file.is_none().then(|| named(&FILE)).flatten(), named(&TEXT));
        for key in object.keys().filter(|key| Some(*key) != file_key && Some(*key) != text_key) {
            *self.unused.entry(text::beginning(key, 60).to_owned()).or_default() += 1;
        }
        let from_field =
            || file_key.and_then(|key| object.get(key)).and_then(Value::as_str).map(str::to_owned);
        let Some(file) = file.or_else(from_field).filter(|file| !file.trim().is_empty()) else {
            list.notes.push(format!("{place} names no image; {LIKE}."));
            return;
        };
        let captions = text_key.and_then(|key| object.get(key)).map(strings).unwrap_or_default();
        list.rows.push(Row { place, file, captions });
    }

    fn tell(self, list: &mut List) {
        if self.unused.is_empty() {
            return;
        }
        let all: Vec<_> = self.unused.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        let shown = all.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
        let more = all.len().saturating_sub(12);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        list.notes.push(format!("Unused fields: {shown}{more}."));
    }
}

/// A text, or several of them.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(strings).collect(),
        Value::Number(number) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

fn table(text: &str, list: &mut List) {
    // Excel's own first line.
    let (text, before) = match text.split_once('\n') {
        Some((first, rest)) if first.trim().to_lowercase().starts_with("sep=") => (rest, 1),
        _ => (text, 0),
    };
    let head = text.lines().next().unwrap_or_default();
    let separator = [b',', b';', b'\t', b'|']
        .into_iter()
        .max_by_key(|separator| {
            (columns(head, *separator).is_some(), head.matches(char::from(*separator)).count())
        })
        .unwrap_or(b',');
    let (file, caption, named) = match columns(head, separator) {
        Some((file, caption)) => (file, caption, true),
        // Without a line of names: the file first, its caption after it.
        None if is_image(cells(head, separator).first().map_or("", String::as_str)) => {
            list.notes.push(
                "It has no header row; the first column was read as the file name, the second as the caption."
                    .to_owned(),
            );
            (0, Some(1), false)
        }
        None => {
            list.notes.push(format!(
                "It has no columns for images and captions, so it was not used; name them file_name and text. Its first line is “{}”.",
                text::beginning(head, 80)
            ));
            return;
        }
    };
    let Some(caption) = caption else {
        list.notes.push("It has no caption column, so it was not used; name it text.".to_owned());
        return;
    };
    let names = cells(head, separator);
    let unused: Vec<_> = names
        .iter()
        .enumerate()
        .filter(|(i, name)| named && *i != file && *i != caption && !name.is_empty())
        .map(|(_, name)| text::beginning(name, 60).to_owned())
        .collect();
    if !unused.is_empty() {
        list.notes.push(format!("Unused columns: {}.", unused.join(", ")));
    }
    let count = if named { names.len() } else { 2 };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(named)
        .flexible(true)
        .from_reader(text.as_bytes());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                list.notes.push(format!("Reading stopped: {error}."));
                return;
            }
        };
        let place = format!("Line {}", record.position().map_or(0, csv::Position::line) + before);
        let cell = |at: usize| record.get(at).unwrap_or_default();
        if record.len() > count && caption + 1 < count {
            list.notes.push(format!(
                "{place} has {} fields, but there are {count} columns; it was skipped. Quote text that contains “{}”.",
                record.len(),
                char::from(separator)
            ));
            continue;
        }
        let mut captions: Vec<String> =
            Some(cell(caption).to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
        if record.len() > count {
            // The caption comes last and has the separator in it.
            let joined: Vec<_> = record.iter().skip(caption).collect();
            captions = vec![joined.join(&char::from(separator).to_string())];
            list.notes.push(format!(
                "{place} has {} fields, but there are {count} columns; the extra fields were joined to the caption.",
                record.len()
            ));
        }
        if captions.iter().any(|text| text.trim().contains('\n')) {
            list.notes.push(format!(
                "The caption of {} runs over several lines; is a quotation mark missing?",
                place.to_lowercase()
            ));
        }
        let name = cell(file).trim().to_owned();
        if name.is_empty() {
            if record.iter().any(|cell| !cell.trim().is_empty()) {
                list.notes.push(format!("{place} names no image."));
            }
            continue;
        }
        list.rows.push(Row { place, file: name, captions });
    }
}

/// Where the image and the caption stand, if this line has names for columns.
fn columns(head: &str, separator: u8) -> Option<(usize, Option<usize>)> {
    let cells = cells(head, separator);
    let find = |names: &[&str]| {
        names.iter().find_map(|name| cells.iter().position(|cell| cell.eq_ignore_ascii_case(name)))
    };
    Some((find(&FILE)?, find(&TEXT)))
}

fn cells(line: &str, separator: u8) -> Vec<String> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).has_headers(false).from_reader(line.as_bytes());
    let first = reader.records().next().and_then(Result::ok).unwrap_or_default();
    first.iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str) -> Vec<(String, String)> {
        read(name, text.as_bytes()).rows.into_iter().map(|row| (row.file, row.captions.join(" | "))).collect()
    }

    fn pair(file: &str, text: &str) -> (String, String) {
        (file.to_owned(), text.to_owned())
    }

    #[test]
    fn tables_of_every_kind_are_read() {
        let both = [pair("1.png", "cloth, with stars"), pair("2.png", "moons")];
        for text in [
            "file_name,text\n1.png,\"cloth, with stars\"\n2.png,moons\n",
            "file_name;text\r\n1.png;cloth, with stars\r\n2.png;moons\r\n",
            "\u{feff}\"Prompt\"\t\"Image\"\n\"cloth, with stars\"\t1.png\nmoons\t2.png",
            "sep=;\nfile;caption\n1.png;cloth, with stars\n2.png;moons\n",
            "1.png,\"cloth, with stars\"\n2.png,moons\n",
            "file_name,text\n1.png,cloth, with stars\n2.png,moons\n",
        ] {
            assert_eq!(rows("metadata.csv", text), both, "{text}");
        }
        let odd = read("a.csv", b"name,score\n1.png,3\n");
        assert!(
            odd.rows.is_empty() && odd.notes[0].contains("name them file_name and text"),
            "{:?}",
            odd.notes
        );
        let more = read("a.csv", b"file_name,text,score\n1.png,cloth,3\n2.png,a, b,3\n");
        assert_eq!(more.rows.len(), 1);
        assert!(
            more.notes[0].contains("Unused columns: score") && more.notes[1].contains("Line 3 has 4 fields")
        );
        let open = read("a.csv", b"file_name,text\n1.png,\"cloth\n2.png,moons\n");
        assert!(open.notes.iter().any(|note| note.contains("quotation mark missing")), "{:?}", open.notes);
    }

    #[test]
    fn json_of_every_kind_is_read_and_odd_entries_are_reported() {
        let both = [pair("1.png", "cloth"), pair("2.png", "moons")];
        for (name, text) in [
            (
                "metadata.jsonl",
                "{\"file_name\": \"1.png\", \"text\": \"cloth\"}\n\n{\"image\": \"2.png\", \"Prompt\": \"moons\"}",
            ),
            (
                "metadata.jsonl",
                "[{\"file_name\": \"1.png\", \"text\": \"cloth\"},\n{\"file\": \"2.png\", \"caption\": \"moons\"}]",
            ),
            ("meta.json", "{\"1.png\": {\"caption\": \"cloth\"}, \"2.png\": \"moons\"}"),
        ] {
            assert_eq!(rows(name, text), both, "{text}");
        }
        let odd = read(
            "metadata.jsonl",
            b"nonsense\n{\"text\": \"a\"}\n{\"file_name\": \"1.png\", \"additional_feature\": 3}\n[1]\n{\"file_name\": \"2.png\", \"text\": [\"a\", \"b\"]}",
        );
        assert_eq!(odd.rows.len(), 2);
        assert_eq!((odd.rows[0].captions.len(), odd.rows[1].captions.len()), (0, 2));
        for (note, start) in odd.notes.iter().zip([
            "Line 1 is not",
            "Line 2 names no",
            "Line 4 is not",
            "Unused fields: additional_feature (1)",
        ]) {
            assert!(note.starts_with(start), "{:?}", odd.notes);
        }
        assert!(read("a.json", b"{").notes[0].contains("not valid JSON"));
    }

    #[test]
    fn any_bytes_are_borne() {
        let seeds: [&[u8]; 4] = [
            b"file_name,text\n1.png,\"a, b\"\n",
            b"{\"file_name\": \"1.png\", \"text\": \"cloth\"}\n",
            b"[{\"1.png\": {\"caption\": [1, \"a\"]}}]",
            b"\xff\xfe{\0\"\0a\0\"\0:\0",
        ];
        let mut random = 1u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for seed in seeds {
            for name in ["a.csv", "a.tsv", "a.json", "a.jsonl"] {
                for _ in 0..300 {
                    let mut bytes = seed.to_vec();
                    for _ in 0..next() % 6 {
                        let at = next() as usize % bytes.len();
                        match next() % 3 {
                            0 => bytes[at] = next() as u8,
                            1 => bytes.insert(at, b"\",;\n{}[]\\\0"[next() as usize % 10]),
                            _ => bytes.truncate(at.max(1)),
                        }
                    }
                    let _ = read(name, &bytes);
                }
            }
        }
    }
}
