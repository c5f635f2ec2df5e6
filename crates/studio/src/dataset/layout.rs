//! A whole project of kohya's scripts: `img/10_words`, with `reg`, `model` and `log` beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ImportWarning,
    files::Files,
    names::{fold, is_image, of_folder},
};

/// Where the images to train on lie.
const IMAGES: [&str; 3] = ["img", "image", "images"];
/// Where class images lie.
const CLASSES: [&str; 3] = ["reg", "regularization", "regularisation"];
/// What a training has written.
const WRITTEN: [&str; 7] = ["model", "models", "log", "logs", "output", "sample", "samples"];

/// Takes class images, with their captions, and what a training has written out of `files`; gives the class images.
/// `present`: names of images that came before, perhaps of the same project.
pub(super) fn sort(files: &mut Files, present: &[String], warnings: &mut Vec<ImportWarning>) -> Files {
    let here = files.keys().filter(|name| is_image(name));
    let projects = here.chain(present).filter_map(|name| project(name)).map(str::to_owned);
    let projects: BTreeSet<String> = projects.collect();
    let mut classes = Files::new();
    let mut written = BTreeMap::<String, (u32, u32)>::new();
    for project in &projects {
        let inside: Vec<_> = files.keys().filter(|name| name.starts_with(project)).cloned().collect();
        for name in inside {
            let Some((folder, _)) = name.get(project.len()..).and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let folded = fold(folder);
            if CLASSES.contains(&folded.as_str()) {
                classes.extend(files.remove_entry(&name));
            } else if WRITTEN.contains(&folded.as_str()) {
                files.remove(&name);
                let (images, others) = written.entry(format!("{project}{folder}")).or_default();
                *if is_image(&name) { images } else { others } += 1;
            }
        }
    }
    for (name, (images, others)) in written {
        let message = format!(
            "Skipped with its contents ({images} images, {others} other files): training output of a kohya project."
        );
        warnings.push(ImportWarning { name, message });
    }
    classes
}

/// The folder, with its slash, whose `img/10_words` an image lies in.
fn project(name: &str) -> Option<&str> {
    let parts: Vec<_> = name.split('/').collect();
    let at = (0..parts.len().saturating_sub(2))
        .find(|at| IMAGES.contains(&fold(parts[*at]).as_str()) && of_folder(parts[at + 1]).is_some())?;
    let length = parts.iter().take(at).map(|part| part.len() + 1).sum();
    name.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Files {
        names.iter().map(|name| ((*name).to_owned(), "x".into())).collect()
    }

    #[test]
    fn a_project_is_known_by_its_images() {
        let mut all = files(&[
            "p/img/10_ohwx cloth/0.png",
            "p/img/10_ohwx cloth/0.txt",
            "p/reg/1_cloth/0.png",
            "p/model/sample/a.png",
            "p/model/a.safetensors",
            "p/Log/x/a.png",
            "p/notes.txt",
            "q/model/a.png",
        ]);
        let mut warnings = Vec::new();
        let classes = sort(&mut all, &[], &mut warnings);
        assert_eq!(classes.keys().collect::<Vec<_>>(), ["p/reg/1_cloth/0.png"]);
        let kept = ["p/img/10_ohwx cloth/0.png", "p/img/10_ohwx cloth/0.txt", "p/notes.txt", "q/model/a.png"];
        assert_eq!(all.keys().collect::<Vec<_>>(), kept);
        assert_eq!(
            warnings.iter().map(|warning| warning.name.as_str()).collect::<Vec<_>>(),
            ["p/Log", "p/model"]
        );
        assert!(warnings[1].message.contains("1 images, 1 other files"), "{warnings:?}");
    }

    #[test]
    fn what_comes_later_belongs_to_what_came_before() {
        let mut all = files(&["log/a.png", "reg/1_cloth/b.png"]);
        let classes = sort(&mut all, &["img/3_x/a.png".to_owned()], &mut Vec::new());
        assert_eq!((all.len(), classes.len()), (0, 1));
        let mut plain = files(&["model/a.png", "img/a.png", "reg/b.png"]);
        assert!(sort(&mut plain, &[], &mut Vec::new()).is_empty());
        assert_eq!(plain.len(), 3, "no project");
    }
}
