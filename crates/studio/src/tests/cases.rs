//! What people bring to a dataset, in the shapes that other programs leave: taken, or warnings.

use std::{collections::BTreeMap, io::Write as _};

use adire_protocol::{DatasetRecord, NewDataset};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    datasets::{bring, png},
    *,
};
use crate::{Dataset, ImportWarning, read_dataset};

type Brought = Vec<(String, Vec<u8>)>;

fn image(shade: u8) -> Vec<u8> {
    png(shade, 64)
}

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn upload(files: &[(&str, Vec<u8>)]) -> Brought {
    files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
}

const LIST: &str = "{\"file_name\": \"train/1.png\", \"text\": \"indigo cloth with stars\"}\n{\"file_name\": \
                    \"train/2.png\", \"text\": \"indigo cloth with moons\"}\n";

/// What came of it: captions by the names of images, and what was warnings.
#[derive(Debug, PartialEq)]
struct Outcome {
    captions: BTreeMap<String, (String, u32)>,
    classes: BTreeMap<String, String>,
    warnings: Vec<(String, String)>,
}

impl Outcome {
    fn caption(&self, name: &str) -> &str {
        self.captions
            .get(name)
            .map_or_else(|| panic!("no {name} in {self:?}"), |(caption, _)| caption.as_str())
    }

    fn says(&self, name: &str, part: &str) {
        let found = self.warnings.iter().any(|(of, message)| of == name && message.contains(part));
        assert!(found, "nothing about {name} with {part:?}: {:?}", self.warnings);
    }
}

fn named(all: &[ImportWarning]) -> Vec<(String, String)> {
    let mut warnings: Vec<_> = all.iter().map(|r| (r.name.clone(), r.message.clone())).collect();
    warnings.sort();
    warnings
}

impl From<Dataset> for Outcome {
    fn from(dataset: Dataset) -> Self {
        Self {
            warnings: named(&dataset.warnings),
            captions: dataset.images.into_iter().map(|p| (p.name, (p.caption, p.repeats))).collect(),
            classes: dataset.classes.into_iter().map(|p| (p.name, p.caption)).collect(),
        }
    }
}

async fn outcome(studio: &Studio, record: DatasetRecord) -> Outcome {
    let mut warnings = named(&record.warnings);
    let mut classes = BTreeMap::new();
    if let Some(class) = &record.class_dataset {
        let class = studio.dataset(class).await.unwrap();
        warnings.extend(named(&class.warnings));
        classes = class.images.into_iter().map(|p| (p.name, p.caption)).collect();
    }
    let captions = record.images.into_iter().map(|p| (p.name, (p.text, p.repeats))).collect();
    Outcome { captions, classes, warnings }
}

/// The same files as a folder on the command line, as a folder of the server, as files that are sent, and as a zip file:
/// all of them make the same of it.
async fn everywhere(files: Brought) -> Outcome {
    let around = tempfile::tempdir().unwrap();
    let set = around.path().join("set");
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in &files {
        std::fs::create_dir_all(set.join(name).parent().unwrap()).unwrap();
        std::fs::write(set.join(name), bytes).unwrap();
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    let by_command = Outcome::from(read_dataset(&set, "", "").unwrap());

    let config = StudioConfig {
        import_from: vec![around.path().to_owned()],
        ..StudioConfig::new(around.path().join("data"))
    };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let make = async || {
        let new = NewDataset { name: "set".to_owned(), ..Default::default() };
        studio.create_dataset(new).await.unwrap().id
    };
    let id = make().await;
    let imported = outcome(&studio, studio.import_folder(&id, &set).await.unwrap()).await;
    let id = make().await;
    let sent: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let sent = studio.add_to_dataset(&id, bring(&studio, &sent).await).await.unwrap();
    let sent = outcome(&studio, sent).await;
    let id = make().await;
    let packed = studio.add_to_dataset(&id, bring(&studio, &[("set.zip", zip)]).await).await.unwrap();
    let packed = outcome(&studio, packed).await;
    for other in [&imported, &sent, &packed] {
        assert_eq!((&other.captions, &other.classes), (&by_command.captions, &by_command.classes));
        // Who keeps class images in a dataset of their own says so beside the rest.
        let same = |warnings: &(String, String)| !warnings.1.contains("were added to the dataset");
        assert_eq!(
            other.warnings.iter().filter(|warning| same(warning)).collect::<Vec<_>>(),
            by_command.warnings.iter().collect::<Vec<_>>()
        );
    }
    imported
}

#[tokio::test]
async fn a_list_at_the_root_names_images_in_folders() {
    let found = everywhere(upload(&[
        ("metadata.jsonl", text(LIST)),
        ("train/1.png", image(1)),
        ("train/2.png", image(2)),
    ]))
    .await;
    assert_eq!(found.caption("train/1.png"), "indigo cloth with stars");
    assert_eq!(found.caption("train/2.png"), "indigo cloth with moons");
    assert_eq!(found.warnings, []);
}

#[tokio::test]
async fn a_list_that_names_missing_images_is_reported_line_by_line() {
    let found = everywhere(upload(&[
        ("train/metadata.jsonl", text(LIST)),
        ("train/1.png", image(1)),
        ("train/2.png", image(2)),
    ]))
    .await;
    assert_eq!(found.caption("train/1.png"), "");
    found.says(
        "train/metadata.jsonl",
        "Line 1 names train/1.png: no such image; did you mean train/1.png? Write 1.png.",
    );
    found.says("train/metadata.jsonl", "Line 2 names train/2.png");
    found.says("train/metadata.jsonl", "“indigo cloth with moons”");
}

#[tokio::test]
async fn every_usual_text_file_is_read() {
    let warnings = "indigo cloth, étoile (night sky), 1:1";
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(warnings.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let cp1252: Vec<u8> = warnings.chars().map(|c| if c == 'é' { 0xe9 } else { c as u8 }).collect();
    let found = everywhere(upload(&[
        ("01.png", image(1)),
        ("01.txt", text(warnings)),
        ("02.png", image(2)),
        ("02.txt", text(&format!("\u{feff}{warnings}"))),
        ("03.png", image(3)),
        ("03.txt", utf16),
        ("04.png", image(4)),
        ("04.txt", cp1252),
        ("05.png", image(5)),
        ("05.txt", text("indigo cloth,\r\nétoile (night sky),\r\n1:1\r\n")),
        ("06.JPG", image(6)),
        ("06.TXT", text(warnings)),
        ("07.png", image(7)),
        ("07.png.txt", text(warnings)),
        ("08.png", image(8)),
        ("08.txt", text("")),
        ("09.png", image(9)),
        ("09.txt", text("indigo\0 cloth\u{200b} stars")),
        ("10.png", image(10)),
        ("10.txt", text("first caption\nsecond caption")),
        ("11.png", image(11)),
        ("11.CAPTION", text(warnings)),
        ("12.png", image(12)),
        ("12.txt", vec![b'a'; 70_000]),
        ("13.png", image(13)),
        ("13.txt", vec![b'a'; 5000]),
        ("14.png", image(14)),
        ("14.txt", text("one")),
        ("14.caption", text("another")),
        ("15.txt", text("nobody's words")),
    ]))
    .await;
    for name in ["01.png", "02.png", "03.png", "04.png", "05.png", "06.JPG", "07.png", "11.png"] {
        assert_eq!(found.caption(name), warnings, "{name}");
    }
    assert_eq!((found.caption("08.png"), found.caption("09.png")), ("", "indigo cloth stars"));
    assert_eq!((found.caption("10.png"), found.caption("14.png")), ("first caption second caption", "one"));
    assert_eq!(found.caption("13.png").len(), 4096);
    for (name, part) in [
        ("04.txt", "read as Windows-1252"),
        ("08.txt", "empty caption"),
        ("09.txt", "2 invisible characters"),
        ("10.txt", "2 lines were joined"),
        ("12.txt", "larger than 65536 bytes"),
        ("13.txt", "the first 4096 are used"),
        ("14.caption", "not used: “another”"),
        ("15.txt", "no image 15.png"),
    ] {
        found.says(name, part);
    }
}

#[tokio::test]
async fn lists_of_every_kind_are_read_and_their_odd_lines_reported() {
    let utf16: Vec<u8> = "\u{feff}{\"file_name\": \"1.png\", \"text\": \"stars\"}\n"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    for (name, list) in [
        ("metadata.jsonl", text("\u{feff}{\"file_name\": \"1.png\", \"text\": \"stars\"}\n")),
        ("metadata.jsonl", utf16),
        ("Metadata.JSONL", text("{\"file_name\": \"1.PNG\", \"prompt\": \"stars\"}")),
        ("metadata.csv", text("file_name,text\n1.png,\"stars\"\n")),
        ("metadata.csv", text("file_name;caption\r\n1.png;stars\r\n")),
        ("metadata.tsv", text("prompt\tfile_name\nstars\t1.png\n")),
        ("meta_cap.json", text("{\"1\": {\"caption\": \"stars\"}}")),
    ] {
        let found = everywhere(upload(&[(name, list), ("1.png", image(1))])).await;
        assert_eq!(
            (found.caption("1.png"), found.warnings.len()),
            ("stars", 0),
            "{name}: {:?}",
            found.warnings
        );
    }
    let odd = [
        "{\"file_name\": \"1.png\", \"text\": \"stars\", \"additional_feature\": 5}",
        "nonsense",
        "{\"file_name\": \"1.png\", \"text\": \"moons\"}",
        "{\"file_name\": \"2.png\", \"text\": [\"one\", \"two\"]}",
        "{\"file_name\": \"3.png\"}",
        "{\"file_name\": \"4.png\", \"text\": \"\"}",
        "{\"text\": \"whose?\"}",
        "{\"file_name\": \"film.mp4\", \"text\": \"moving\"}",
    ];
    let images = ["1.png", "2.png", "3.png", "4.png"];
    let mut files = vec![("metadata.jsonl", text(&odd.join("\n"))), ("film.mp4", text("film"))];
    files.extend(images.iter().zip(1..).map(|(name, shade)| (*name, image(shade))));
    let found = everywhere(upload(&files)).await;
    assert_eq!(
        (found.caption("1.png"), found.caption("2.png"), found.caption("3.png")),
        ("stars", "one", "")
    );
    for part in [
        "Unused fields: additional_feature (1)",
        "Line 2 is not understood",
        "Line 3 is another caption for 1.png, which is not used: “moons”",
        "Line 4 has another caption for 2.png, which is not used: “two”",
        "Line 5 has no caption for 3.png",
        "Line 6 is an empty caption for 4.png",
        "Line 7 names no image",
        "Line 8 names film.mp4: no such image",
    ] {
        found.says("metadata.jsonl", part);
    }
    found.says("film.mp4", "use PNG, JPEG or WebP");
}

#[tokio::test]
async fn names_match_whatever_their_case() {
    let list =
        "{\"file_name\": \"1.png\", \"text\": \"stars\"}\n{\"file_name\": \"2.png\", \"text\": \"moons\"}\n";
    let found =
        everywhere(upload(&[("metadata.jsonl", text(list)), ("1.PNG", image(1)), ("2.PNG", image(2))])).await;
    assert_eq!((found.caption("1.PNG"), found.caption("2.PNG"), found.warnings.len()), ("stars", "moons", 0));
}

#[tokio::test]
async fn a_kohya_project_is_known_and_its_parts_go_where_they_belong() {
    for before in ["", "kohya-project/"] {
        let at = |name: &str, bytes: Vec<u8>| (format!("{before}{name}"), bytes);
        let found = everywhere(vec![
            at("img/10_ohwx cloth/0.png", image(1)),
            at("img/10_ohwx cloth/0.txt", text("ohwx cloth, blue")),
            at("img/10_ohwx cloth/1.png", image(2)),
            at("reg/1_cloth/0.png", image(3)),
            at("reg/1_cloth/1.png", image(4)),
            at("model/sample/ohwx_000100_00.png", image(5)),
            at("model/last.safetensors", text("x")),
            at("log/x/sample.png", image(6)),
        ])
        .await;
        let first = format!("{before}img/10_ohwx cloth/0.png");
        assert_eq!(found.captions.len(), 2);
        assert_eq!(found.captions[&first], ("ohwx cloth, blue".to_owned(), 10));
        assert_eq!(found.caption(&format!("{before}img/10_ohwx cloth/1.png")), "ohwx cloth");
        assert_eq!(found.classes.len(), 2);
        assert!(found.classes.values().all(|caption| caption == "cloth"), "{:?}", found.classes);
        found.says(&format!("{before}model"), "1 images, 1 other files");
        found.says(&format!("{before}log"), "1 images");
        found.says(&format!("{before}reg/1_cloth"), "“set, class images”");
    }
}

#[tokio::test]
async fn files_that_are_no_use_are_named() {
    let found = everywhere(upload(&[
        ("a.png", image(1)),
        (".DS_Store", text("x")),
        ("set/.hidden/b.png", image(2)),
        ("inner.7z", text("PK")),
        ("a.npz", text("x")),
        ("b.npz", text("x")),
        ("c.npz", text("x")),
        ("d.npz", text("x")),
        ("d.gif", text("GIF89a")),
        ("README.md", text("# x")),
        ("text.png", text("no image")),
        ("deep/deeper/deepest/bottom/e.png", image(3)),
    ]))
    .await;
    assert_eq!(found.captions.keys().collect::<Vec<_>>(), ["a.png", "deep/deeper/deepest/bottom/e.png"]);
    let hidden: Vec<_> = found.warnings.iter().filter(|(_, message)| message.contains("hidden")).collect();
    assert!(!hidden.is_empty());
    for (name, part) in [
        ("inner.7z", "unpack it"),
        ("c.npz", "1 more .npz files"),
        ("d.gif", "use PNG"),
        ("README.md", "use PNG"),
        ("text.png", "Unsupported file"),
    ] {
        found.says(name, part);
    }
}

#[tokio::test]
async fn captions_that_come_with_or_after_their_images_are_kept() {
    let (_folder, studio, _) = fresh().await;
    let new = NewDataset { name: "set".to_owned(), ..Default::default() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let add = async |files: &[(&str, Vec<u8>)]| {
        let record = studio.add_to_dataset(&id, bring(&studio, files).await).await.unwrap();
        outcome(&studio, record).await
    };
    let early = add(&[("train/1.png", image(1)), ("train/2.txt", text("early"))]).await;
    early.says("train/2.txt", "upload it again after its image");
    let list = add(&[("train/2.png", image(2)), ("metadata.jsonl", text(LIST))]).await;
    assert_eq!(list.caption("train/1.png"), "indigo cloth with stars");
    assert_eq!(list.caption("train/2.png"), "indigo cloth with moons");
    // The same image again with other words, and words alone.
    let again =
        add(&[("other.png", image(1)), ("other.txt", text("new words")), ("train/2.txt", text("late"))])
            .await;
    assert_eq!((again.caption("train/1.png"), again.caption("train/2.png")), ("new words", "late"));
    again.says("train/1.png", "Caption replaced; it was “indigo cloth with stars”");
    again.says("other.png", "same pixels as train/1.png");
    // Two files of one name in one go.
    let twice =
        add(&[("x.png", image(7)), ("x.png", image(8)), ("x.txt", text("a")), ("x.txt", text("b"))]).await;
    assert!(twice.captions.contains_key("x.png") && twice.captions.contains_key("x (2).png"));
    twice.says("x.png", "renamed to x (2).png");
    twice.says("x.txt", "another file has this name");
}

#[tokio::test]
async fn more_warnings_than_there_is_room_for_are_counted() {
    let (_folder, studio, _) = fresh().await;
    let new = NewDataset { name: "set".to_owned(), ..Default::default() };
    let id = studio.create_dataset(new).await.unwrap().id;
    for _ in 0..2 {
        let lines: String =
            (0..900).map(|i| format!("{{\"file_name\": \"{i}.png\", \"text\": \"a\"}}\n")).collect();
        let files = [("metadata.jsonl", text(&lines))];
        studio.add_to_dataset(&id, bring(&studio, &files).await).await.unwrap();
    }
    let warnings = studio.dataset(&id).await.unwrap().warnings;
    assert_eq!((warnings.len(), warnings[0].message.as_str()), (1000, "801 earlier warnings were dropped."));
    assert!(warnings[999].message.contains("Line 900 names 899.png"));
}

#[tokio::test]
async fn odd_archives_lose_nothing_in_silence() {
    let (folder, studio, _) = fresh().await;
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("/abs/a.png", image(1)),
        ("C:\\set\\b.png", image(2)),
        ("__MACOSX/._a.png", text("x")),
        ("bön/c.png", image(3)),
        ("inner.zip", text("PK")),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.start_file("large.png", SimpleFileOptions::default().large_file(true)).unwrap();
    zip.write_all(&image(4)).unwrap();
    zip.add_symlink("d.png", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let mut archive = zip.finish().unwrap().into_inner();
    // The flag that says that an entry is encrypted, in its own head and in the directory.
    let at = |needle: &[u8], archive: &[u8]| {
        archive.windows(needle.len()).rposition(|part| part == needle).unwrap()
    };
    let directory = at(b"inner.zip", &archive) - 46;
    assert_eq!(&archive[directory..directory + 4], b"PK\x01\x02");
    archive[directory + 8] |= 1;
    let new = NewDataset { name: "set".to_owned(), ..Default::default() };
    let id = studio.create_dataset(new).await.unwrap().id;
    let record = studio.add_to_dataset(&id, bring(&studio, &[("odd.ZIP", archive)]).await).await.unwrap();
    let found = outcome(&studio, record).await;
    assert_eq!(
        found.captions.keys().collect::<Vec<_>>(),
        ["C:/set/b.png", "abs/a.png", "bön/c.png", "large.png"]
    );
    found.says("__MACOSX/._a.png", "hidden");
    found.says("inner.zip", "cannot be unpacked from odd.ZIP");
    found.says("d.png", "links are not followed");
    assert_eq!(std::fs::read_dir(folder.path().join("blobs/incoming")).unwrap().count(), 0);
}

/// A pipe or a file system that does not answer must not stop what has nothing to do with it.
#[cfg(unix)]
#[tokio::test]
async fn a_folder_of_traps_is_read_and_holds_nothing_up() {
    let around = tempfile::tempdir().unwrap();
    let set = around.path().join("set");
    std::fs::create_dir_all(&set).unwrap();
    std::fs::write(set.join("a.png"), image(1)).unwrap();
    std::fs::write(around.path().join("secret"), "-----BEGIN PRIVATE KEY-----").unwrap();
    for (target, name) in
        [("../secret", "a.txt"), ("/dev/zero", "zero.png"), ("..", "up"), ("nowhere", "n.png")]
    {
        std::os::unix::fs::symlink(target, set.join(name)).unwrap();
    }
    assert!(std::process::Command::new("mkfifo").arg(set.join("pipe.png")).status().unwrap().success());
    let config =
        StudioConfig { import_from: vec![set.clone()], ..StudioConfig::new(around.path().join("data")) };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let id =
        studio.create_dataset(NewDataset { name: "x".to_owned(), ..Default::default() }).await.unwrap().id;
    let import = tokio::time::timeout(PATIENCE, studio.import_folder(&id, &set));
    let found = outcome(&studio, import.await.expect("it waits for nothing").unwrap()).await;
    assert_eq!((found.captions.len(), found.caption("a.png")), (1, ""));
    for name in ["a.txt", "zero.png", "up"] {
        found.says(name, "points outside the folder");
    }
    found.says("pipe.png", "not a regular file");
    assert!(!format!("{found:?}").contains("PRIVATE KEY"));
}

#[tokio::test]
async fn an_import_ends_after_its_time_and_takes_nothing_in() {
    let around = tempfile::tempdir().unwrap();
    let set = around.path().join("set");
    std::fs::create_dir_all(&set).unwrap();
    std::fs::write(set.join("a.png"), image(1)).unwrap();
    let config = StudioConfig {
        import_from: vec![set.clone()],
        import_time: Duration::ZERO,
        ..StudioConfig::new(around.path().join("data"))
    };
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let id =
        studio.create_dataset(NewDataset { name: "x".to_owned(), ..Default::default() }).await.unwrap().id;
    let error = studio.import_folder(&id, &set).await.unwrap_err().to_string();
    assert!(error.contains("took too long"), "{error}");
    assert!(studio.dataset(&id).await.unwrap().images.is_empty());
}
