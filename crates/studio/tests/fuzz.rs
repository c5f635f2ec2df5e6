//! Image files that mean harm: a corpus with every kind of text chunk is mutated from a fixed seed. No panic, no more memory
//! than the limits say, and every refusal is a sentence.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../engine/tests/common/counting.rs"]
mod counting;

use adire_studio::{ImageUse, StudioError, decode_image, decode_pixels, read_recipe, read_request};
use counting::largest;
use png::{BitDepth, ColorType, Encoder};

const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
const PARAMETERS: &str = "a cat, (sharp:1.2)\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, \
    Seed: 1234, Size: 512x768, Model: \"one, two\", Clip skip: 2, Version: v1.10.1";
const RECIPE: &str = r#"{"spec":{"prompt":"red","negative_prompt":"","seed":1,"rng":"cpu","steps":2,"guidance":5.0,
    "sampler":"ddim","width":64,"height":64,"count":1,"clip_skip":1,"adapters":[]},"adapter_hashes":[],"model":"m",
    "model_hash":"00","device":"cpu","dtype":"f32","version":"0.1.0","fingerprint":""}"#;

/// Most that reading the texts of a file may ask for at once: what the limits allow, and a few copies of the file.
fn bound(bytes: usize) -> usize {
    (32 << 20) + 8 * bytes
}

/// Knuth's MMIX generator: the same mutations at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.max(1) as u64) as usize
    }
}

type Chunk = ([u8; 4], Vec<u8>);

/// A small image with `add`'s chunks.
fn image(add: impl FnOnce(&mut Encoder<'_, &mut Vec<u8>>)) -> Vec<Chunk> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    add(&mut encoder);
    encoder.write_header().unwrap().write_image_data(&[7; 18]).unwrap();
    chunks(&bytes)
}

fn chunks(png: &[u8]) -> Vec<Chunk> {
    let (mut found, mut rest) = (Vec::new(), &png[MAGIC.len()..]);
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        found.push(([head[4], head[5], head[6], head[7]], after[..length].to_vec()));
        rest = &after[length + 4..];
    }
    found
}

/// ISO 3309's, as PNG uses it.
fn crc(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    };
    !bytes.fold(u32::MAX, step)
}

fn file(chunks: &[Chunk]) -> Vec<u8> {
    let mut png = MAGIC.to_vec();
    for (kind, data) in chunks {
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(kind);
        png.extend(data);
        png.extend(crc(kind.iter().chain(data).copied()).to_be_bytes());
    }
    png
}

fn corpus() -> Vec<Vec<Chunk>> {
    let mut all = vec![
        image(|e| e.add_text_chunk("parameters".to_owned(), PARAMETERS.to_owned()).unwrap()),
        image(|e| e.add_ztxt_chunk("parameters".to_owned(), PARAMETERS.to_owned()).unwrap()),
        image(|e| e.add_itxt_chunk("parameters".to_owned(), format!("àdìrẹ {PARAMETERS}")).unwrap()),
        image(|e| e.add_text_chunk("adire".to_owned(), RECIPE.to_owned()).unwrap()),
        image(|_| ()),
    ];
    let with = |kind: &[u8; 4], data: &[u8]| {
        let mut chunks = image(|_| ());
        chunks.insert(1, (*kind, data.to_vec()));
        chunks
    };
    all.push(with(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x86\x92\x07\0\xff\xff\xff\xff\x1a\0\0\0"));
    all.push(with(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x92\x86\0\x07\0\0\0\x08\0\0\0\x1aUNICODE\0"));
    all.push(with(b"iTXt", b"parameters\0\x01\0en\0\0not deflated"));
    all.push(with(b"iTXt", b"parameters\0\x07\x09"));
    all.push(with(b"iCCP", b"profile\0\0not deflated either"));
    all.push(with(b"tEXt", b"parameters"));
    all.push(with(b"zTXt", b"\0\0"));
    all
}

/// Something that a decoder may trip over.
fn damage(random: &mut Random, chunks: &mut Vec<Chunk>, corpus: &[Vec<Chunk>]) {
    let at = random.below(chunks.len());
    match random.below(8) {
        0 => {
            let (_, data) = &mut chunks[at];
            for _ in 0..=random.below(4) {
                let place = random.below(data.len());
                if let Some(byte) = data.get_mut(place) {
                    *byte = random.below(256) as u8;
                }
            }
        }
        1 => {
            let kinds = [
                b"tEXt",
                b"zTXt",
                b"iTXt",
                b"eXIf",
                b"IDAT",
                b"IHDR",
                b"IEND",
                b"acTL",
                b"fdAT",
                b"PLTE",
                b"\0\0\0\0",
            ];
            chunks[at].0 = *kinds[random.below(kinds.len())];
        }
        2 => {
            let other = &corpus[random.below(corpus.len())];
            chunks.insert(at, other[random.below(other.len())].clone());
        }
        3 => drop(chunks.remove(at)),
        4 => {
            let copy = chunks[at].clone();
            chunks.splice(at..at, std::iter::repeat_n(copy, 1 << random.below(7)));
        }
        5 => {
            let keep = random.below(chunks[at].1.len() + 1);
            chunks[at].1.truncate(keep);
        }
        6 => {
            let (extra, byte) = (1 << random.below(16), random.below(256) as u8);
            chunks[at].1.extend(std::iter::repeat_n(byte, extra));
        }
        _ => {
            let other = random.below(chunks.len());
            chunks.swap(at, other);
        }
    }
}

fn check(png: &[u8]) {
    for read in [|png: &[u8]| read_request(png).map(drop), |png: &[u8]| read_recipe(png).map(drop)] {
        let (result, most) = largest(|| read(png));
        assert!(most <= bound(png.len()), "allocated {most} bytes for a file of {}", png.len());
        match result {
            Ok(()) => {}
            Err(StudioError::Png(sentence)) => {
                assert!(
                    sentence.len() > 20 && sentence.ends_with('.') && sentence.len() < 1000,
                    "{sentence}"
                );
            }
            Err(error) => panic!("an error of another kind: {error}"),
        }
    }
}

#[test]
fn every_text_chunk_survives_damage() {
    let corpus = corpus();
    for chunks in &corpus {
        check(&file(chunks));
    }
    assert!(corpus[..3].iter().all(|chunks| read_request(&file(chunks)).unwrap().seed == Some(1234)));
    assert_eq!(read_recipe(&file(&corpus[3])).unwrap().spec.prompt, "red");
    let mut random = Random(51);
    let mut read = 0;
    for _ in 0..6000 {
        let mut chunks = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(3) {
            if !chunks.is_empty() {
                damage(&mut random, &mut chunks, &corpus);
            }
        }
        let mut png = file(&chunks);
        match random.below(6) {
            // Lengths and checksums that are wrong.
            0 => {
                for _ in 0..=random.below(3) {
                    let at = random.below(png.len());
                    png[at] = random.below(256) as u8;
                }
            }
            1 => png.truncate(random.below(png.len())),
            2 if png.len() > 12 => png[8..12].copy_from_slice(&(random.below(1 << 31) as u32).to_be_bytes()),
            _ => {}
        }
        check(&png);
        read += usize::from(read_request(&png).is_ok());
    }
    assert!(read > 300, "only {read} of the files were still read: the damage is too great to say much");
}

#[test]
fn what_claims_to_be_long_is_not_believed() {
    // Every chunk says that it has two gigabytes.
    let whole = file(&corpus()[0]);
    for kind in [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"IDAT", b"iCCP"] {
        let mut png = whole[..33].to_vec();
        png.extend(0x7fff_ffffu32.to_be_bytes());
        png.extend(kind);
        png.extend(b"parameters\0");
        check(&png);
        let (result, most) = largest(|| decode_pixels(&png));
        assert!(result.is_err() && most <= bound(png.len()), "allocated {most} bytes");
    }
    // An image of 2³¹ pixels each way.
    let mut vast = corpus().remove(0);
    vast[0].1[..8].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    check(&file(&vast));
    let (result, most) = largest(|| decode_pixels(&file(&vast)));
    assert!(result.is_err() && most <= bound(0), "allocated {most} bytes");
}

#[test]
fn packed_texts_are_not_unpacked_beyond_reason() {
    let spaces = " ".repeat(64 << 20);
    let packed = image(|e| e.add_ztxt_chunk("parameters".to_owned(), spaces).unwrap());
    let bomb = packed.iter().find(|(kind, _)| kind == b"zTXt").unwrap().1.clone();
    check(&file(&packed));
    assert!(read_request(&file(&packed)).is_err());
    // The same in an iTXt chunk, and many of them.
    let inside = [b"parameters\0\x01\0\0\0".as_slice(), &bomb[b"parameters\0\0".len()..]].concat();
    for (count, kind) in [(1, b"iTXt"), (50, b"iTXt"), (50, b"zTXt")] {
        let mut chunks = image(|_| ());
        let data = if kind == b"iTXt" { &inside } else { &bomb };
        chunks.splice(1..1, std::iter::repeat_n((*kind, data.clone()), count));
        check(&file(&chunks));
        assert!(read_request(&file(&chunks)).is_err());
    }
}

#[test]
fn damaged_images_are_refused_or_read() {
    let corpus = corpus();
    let mut random = Random(52);
    for _ in 0..1500 {
        let mut chunks = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(2) {
            if !chunks.is_empty() {
                damage(&mut random, &mut chunks, &corpus);
            }
        }
        let mut png = file(&chunks);
        if random.below(3) == 0 {
            let at = random.below(png.len());
            png[at] ^= 1 << random.below(8);
        }
        if let Err(error) = decode_pixels(&png) {
            assert!(error.to_string().len() > 20, "{error}");
        }
    }
}

/// The files of other programs, and small images of every format.
fn files() -> Vec<Vec<u8>> {
    let folder = "tests/infotext";
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let graph = r#"{"3":{"class_type":"KSampler","inputs":{"seed":7,"steps":9,"positive":["6",0],"latent_image":["5",0]}},
        "6":{"class_type":"CLIPTextEncode","inputs":{"text":"red"}}}"#;
    files.push(file(&image(|e| e.add_text_chunk("prompt".to_owned(), graph.to_owned()).unwrap())));
    for format in [image::ImageFormat::Jpeg, image::ImageFormat::WebP] {
        let small = image::RgbImage::from_fn(24, 20, |x, y| image::Rgb([(x * 9) as u8, (y * 11) as u8, 7]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        small.write_to(&mut bytes, format).unwrap();
        files.push(bytes.into_inner());
    }
    files
}

#[test]
fn every_kind_of_file_survives_damage() {
    let files = files();
    let mut random = Random(53);
    let mut read = 0;
    for round in 0..4000 {
        let mut bytes = files[random.below(files.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(5) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes.truncate(at.max(16)),
                3 => {
                    let other = &files[random.below(files.len())];
                    let from = random.below(other.len());
                    let part = &other[from..(from + random.below(64)).min(other.len())];
                    bytes.splice(at..at, part.iter().copied());
                }
                _ => {
                    let end = (at + random.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        check(&bytes);
        read += usize::from(read_request(&bytes).is_ok());
        if round % 4 == 0 {
            let used_as = if round % 8 == 0 { ImageUse::Mask } else { ImageUse::Colours };
            let (result, most) = largest(|| decode_image(&bytes, used_as));
            assert!(most <= 300 << 20, "allocated {most} bytes");
            if let Err(error) = result {
                assert!(error.to_string().len() > 20, "{error}");
            }
        }
    }
    assert!(read > 300, "only {read} of the files were still read");
}

#[test]
fn damaged_profiles_and_exif_are_borne() {
    let mut random = Random(54);
    let profile = moxcms::ColorProfile::new_adobe_rgb().encode().unwrap();
    for _ in 0..500 {
        let mut icc = profile.clone();
        for _ in 0..=random.below(6) {
            let at = random.below(icc.len());
            icc[at] = random.below(256) as u8;
        }
        let mut info = png::Info::with_size(2, 2);
        info.color_type = ColorType::Rgb;
        info.bit_depth = BitDepth::Eight;
        info.icc_profile = Some(icc.into());
        let mut bytes = Vec::new();
        Encoder::with_info(&mut bytes, info)
            .unwrap()
            .write_header()
            .unwrap()
            .write_image_data(&[7; 12])
            .unwrap();
        let _ = decode_image(&bytes, ImageUse::Colours);
    }
}
