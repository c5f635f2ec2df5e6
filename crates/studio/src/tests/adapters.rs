//! Adapter versions: immutable, named, checked.

use std::path::PathBuf;

use adire_protocol::{AdapterUse, AdapterVersion};

use super::*;
use crate::{NewAdapter, fake::ADAPTER_MAGIC};

pub(super) fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, [ADAPTER_MAGIC, content.as_bytes()].concat()).unwrap();
    path
}

pub(super) fn new(name: &str, version: Option<u32>, path: PathBuf) -> NewAdapter {
    NewAdapter {
        name: name.to_owned(),
        version,
        path,
        description: "Dots.".to_owned(),
        trigger: "adire".to_owned(),
        strict: false,
    }
}

pub(super) async fn three_versions(studio: &Studio, folder: &Path) -> Vec<AdapterVersion> {
    let mut versions = Vec::new();
    for (name, content) in [("adire", "one"), ("adire", "two"), ("indigo", "three")] {
        let path = file(folder, content, content);
        versions.push(studio.add_adapter(new(name, None, path)).await.unwrap());
    }
    versions
}

#[tokio::test]
async fn versions_count_up_and_never_change() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    let ids: Vec<String> = added.iter().map(AdapterVersion::id).collect();
    assert_eq!(ids, ["adire@v1", "adire@v2", "indigo@v1"]);
    let listed: Vec<String> = studio.adapters().await.unwrap().iter().map(AdapterVersion::id).collect();
    assert_eq!(listed, ["adire@v2", "adire@v1", "indigo@v1"]);

    let again = studio.add_adapter(new("adire", Some(1), folder.path().join("one"))).await.unwrap();
    assert_eq!(again, added[0]);
    let unnumbered = studio.add_adapter(new("adire", None, folder.path().join("one"))).await.unwrap();
    assert_eq!(unnumbered, added[0]);
    let other = studio.add_adapter(new("adire", Some(1), folder.path().join("two"))).await;
    assert!(matches!(&other, Err(StudioError::AdapterExists { id }) if id == "adire@v1"), "{other:?}");
    assert_eq!(studio.adapters().await.unwrap().len(), 3);
    let numbered = studio.add_adapter(new("adire", Some(9), file(folder.path(), "n", "nine"))).await.unwrap();
    assert_eq!(numbered.version, 9);
    let next = studio.add_adapter(new("adire", None, file(folder.path(), "t", "ten"))).await.unwrap();
    assert_eq!(next.version, 10);
}

#[tokio::test]
async fn names_become_versions_when_submitted_and_change_the_image() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    let mut hashes = Vec::new();
    for adapters in [vec![], vec!["adire@v1"], vec!["adire"], vec!["adire@v2"], vec![]] {
        let adapters = adapters.iter().map(|name| AdapterUse::new(*name, 0.5)).collect();
        let asked =
            studio.submit(GenerationRequest { adapters, ..request("moons") }, &nobody()).await.unwrap();
        let image = finished(&studio, &asked.id).await.images.remove(0);
        if let Some(adapter) = image.recipe.spec.adapters.first() {
            assert!(adapter.name.contains("@v"), "the picture names the very version");
            let version = added.iter().find(|version| version.id() == adapter.name).unwrap();
            assert_eq!(image.recipe.adapter_hashes, std::slice::from_ref(&version.hash));
        }
        hashes.push(image.hash);
    }
    assert_eq!(hashes[2], hashes[3], "the bare name is the newest version");
    assert_eq!(hashes[0], hashes[4], "without adapters it is the first picture again, byte for byte");
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
}

#[tokio::test]
async fn an_unknown_name_lists_the_nearest_adapters_first() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    let adapters = vec![AdapterUse::new("indgo@v2", 1.0)];
    match studio.submit(GenerationRequest { adapters, ..request("moons") }, &nobody()).await {
        Err(StudioError::UnknownAdapter { name, known }) => {
            assert_eq!(name, "indgo@v2");
            assert_eq!(known[0], "indigo@v1");
            assert_eq!(known.len(), 3);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bad_files_and_names_leave_nothing_behind() {
    let (folder, studio, _) = fresh().await;
    let pickle = folder.path().join("pickle.pt");
    std::fs::write(&pickle, b"\x80\x02}q\x00.").unwrap();
    let error = studio.add_adapter(new("adire", None, pickle.clone())).await.unwrap_err();
    assert!(matches!(&error, StudioError::Adapter(text) if text.contains("pickle.pt")), "{error:?}");
    let gone = studio.add_adapter(new("adire", None, folder.path().join("gone"))).await.unwrap_err();
    assert!(matches!(&gone, StudioError::Adapter(text) if text.contains("gone")), "{gone:?}");
    let good = file(folder.path(), "good", "good");
    for name in ["", "../up", "a/b", "Adire", "adire@v1"] {
        let error = studio.add_adapter(new(name, None, good.clone())).await.unwrap_err();
        assert!(matches!(error, StudioError::Invalid(_)), "{name}: {error:?}");
    }
    assert!(studio.add_adapter(new("adire", Some(0), good)).await.is_err());
    assert!(studio.adapters().await.unwrap().is_empty());
    let incoming = std::fs::read_dir(folder.path().join("blobs/incoming")).unwrap().count();
    assert_eq!(incoming, 0);
}

#[tokio::test]
async fn two_at_once_get_two_numbers() {
    let (folder, studio, _) = fresh().await;
    let paths: Vec<PathBuf> = (0..8).map(|i| file(folder.path(), &i.to_string(), &i.to_string())).collect();
    let adding = paths.into_iter().map(|path| studio.add_adapter(new("adire", None, path)));
    let mut versions: Vec<u32> =
        futures::future::join_all(adding).await.into_iter().map(|v| v.unwrap().version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<u32>>());
}

#[tokio::test]
async fn an_adapter_is_not_given_out_as_an_image() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    assert!(matches!(studio.image(&added[0].hash).await, Err(StudioError::NotFound { .. })));
}

#[tokio::test]
async fn what_takes_effect_in_part_says_so_and_strict_refuses() {
    let (folder, studio, _) = fresh().await;
    let whole = studio.add_adapter(new("whole", None, file(folder.path(), "w", "all of it"))).await.unwrap();
    assert_eq!(whole.warning, None);
    let path = file(folder.path(), "p", "in part");
    let strict = NewAdapter { strict: true, ..new("part", None, path.clone()) };
    let refused = studio.add_adapter(strict).await;
    assert!(
        matches!(&refused, Err(StudioError::Adapter(text)) if text.contains("1 of 3 tensors was left out"))
    );
    let part = studio.add_adapter(new("part", None, path)).await.unwrap();
    let expected = "Applied in part: 1 of 3 tensors was left out: 1 with unknown names (x.y).";
    assert_eq!(part.warning.as_deref(), Some(expected));
    // The one that was there already, and every list, say it too.
    let again = studio.add_adapter(new("part", None, folder.path().join("p"))).await.unwrap();
    assert_eq!(again.warning, part.warning);
    let listed: Vec<_> =
        studio.adapters().await.unwrap().into_iter().map(|version| version.warning).collect();
    assert_eq!(listed, [part.warning.clone(), None]);
    let detail = studio.adapter("part").await.unwrap();
    assert_eq!(detail.version.warning, part.warning);
    assert_eq!(detail.receipt.unwrap().left_out[0].tensors, 1);

    let me = who("visitor");
    let ask = |adapters: &[&str], strict: bool| {
        let adapters = adapters.iter().map(|name| AdapterUse::new(*name, 1.0)).collect();
        studio.submit(adire_protocol::GenerationRequest { adapters, strict, ..request("moons") }, &me)
    };
    let made = ask(&["whole", "part"], false).await.unwrap();
    assert_eq!(made.warnings, [format!("part@v1: {expected}")]);
    let refused = ask(&["whole", "part"], true).await;
    let Err(StudioError::Invalid(errors)) = refused else { panic!("{refused:?}") };
    assert_eq!(errors.0[0].field, "adapters[1]");
    assert!(errors.0[0].message.contains(expected), "{errors}");
    assert!(ask(&["whole"], true).await.unwrap().warnings.is_empty());
}
