//! Sharing shows what its maker wants to show and nothing else.

use adire_protocol::{AdapterUse, ImageRecord, ImageRef, ShareRequest, Stage, VersionChange};

use super::{
    adapters::{file, new},
    *,
};
use crate::Mover;

async fn image(studio: &Studio, wanted: GenerationRequest, client: &Client) -> ImageRecord {
    let id = studio.submit(wanted, client).await.unwrap().id;
    finished(studio, &id).await.images[0].clone()
}

fn of(image: &ImageRecord) -> ImageRef {
    ImageRef { generation: image.generation.clone(), index: image.index }
}

const ALONE: ShareRequest = ShareRequest { recipe: false };
const WITH_RECIPE: ShareRequest = ShareRequest { recipe: true };

#[tokio::test]
async fn nothing_is_shared_before_its_maker_says_so_and_nothing_after_it_is_taken_back() {
    let (_folder, studio, _) = fresh().await;
    let (maker, other) = (who("visitor"), who("other"));
    let image = image(&studio, request("a secret garden"), &maker).await;
    // The image's own hash never leads to a page.
    assert!(studio.shared_image(&image.hash).await.is_err());
    assert_eq!(studio.share_of(&of(&image), By::Client(&maker)).await.unwrap(), None);
    assert!(studio.share(&of(&image), ALONE, By::Client(&other)).await.is_err());

    let share = studio.share(&of(&image), ALONE, By::Client(&maker)).await.unwrap();
    assert_ne!(share.hash, image.hash);
    assert!(studio.shared_image(&image.hash).await.is_err());
    let shown = studio.shared_image(&share.hash).await.unwrap();
    assert_eq!(shown.recipe, None);
    let text = serde_json::to_string(&shown).unwrap();
    for private in ["secret", &image.hash, &image.generation, "visitor"] {
        assert!(!text.contains(private), "{private}: {text}");
    }
    let file = studio.shared_file(&share.hash).await.unwrap();
    let own = studio.image(&image.hash).await.unwrap();
    let has = |file: &[u8], words: &[u8]| file.windows(words.len()).any(|window| window == words);
    assert!(has(&own, b"secret garden") && !has(&file, b"secret") && !has(&file, b"tEXt"));
    assert_eq!(crate::decode_pixels(&file).unwrap(), crate::decode_pixels(&own).unwrap());
    assert!(studio.recipe(file, true).await.is_err(), "it has no recipe");

    let again = studio.share(&of(&image), WITH_RECIPE, By::Client(&maker)).await.unwrap();
    assert_eq!(again.hash, share.hash, "the address stays");
    assert_eq!(studio.shared_image(&share.hash).await.unwrap().recipe.unwrap().prompt, "a secret garden");
    studio.share(&of(&image), ALONE, By::Client(&maker)).await.unwrap();
    assert_eq!(studio.shared_image(&share.hash).await.unwrap().recipe, None);

    assert!(studio.unshare(&of(&image), By::Client(&other)).await.is_err());
    studio.unshare(&of(&image), By::Client(&maker)).await.unwrap();
    assert!(
        studio.shared_image(&share.hash).await.is_err() && studio.shared_file(&share.hash).await.is_err()
    );
    studio.share(&of(&image), WITH_RECIPE, By::Client(&maker)).await.unwrap();
    studio.delete_generation(&image.generation, By::Client(&maker)).await.unwrap();
    assert!(studio.shared_image(&share.hash).await.is_err());
}

#[tokio::test]
async fn versions_that_visitors_may_not_use_are_not_named() {
    let (folder, studio, _) = fresh().await;
    for name in ["open", "closed", "old"] {
        studio.add_adapter(new(name, None, file(folder.path(), name, name))).await.unwrap();
    }
    let wanted = GenerationRequest {
        adapters: vec![AdapterUse::new("open@v1", 0.5), AdapterUse::new("old@v1", 0.25)],
        ..request("a chair <lora:closed:0.5> at night")
    };
    let image = image(&studio, wanted, &who("visitor")).await;
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    studio.change_version("closed@v1", hide).await.unwrap();
    studio.change_stage("old@v1", Stage::Archived, "it is old", Mover::Admin).await.unwrap();

    let share = studio.share(&of(&image), WITH_RECIPE, By::Client(&who("visitor"))).await.unwrap();
    let shown = studio.shared_image(&share.hash).await.unwrap();
    assert_eq!(shown.adapters, ["open@v1"]);
    let recipe = shown.recipe.clone().unwrap();
    assert_eq!(recipe.prompt, "a chair at night");
    assert_eq!(recipe.adapters, [AdapterUse::new("open@v1", 0.5)]);
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("closed") && !text.contains("old@"), "{text}");

    assert_eq!(studio.linkable_version("open").await.unwrap().id(), "open@v1");
    for name in ["closed", "closed@v1", "old", "old@v1", "open@v2", "open@production", "no such", ""] {
        let refused = studio.linkable_version(name).await.unwrap_err().to_string();
        assert!(refused.contains("not found") && !refused.contains("open@v1"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn an_init_image_is_not_shared() {
    let (_folder, studio, _) = fresh().await;
    let start = super::uploads::upload(&studio, 9).await;
    let wanted = GenerationRequest { init_image: Some(start.clone()), ..request("from a photograph") };
    let image = image(&studio, wanted, &who("visitor")).await;
    let share = studio.share(&of(&image), WITH_RECIPE, By::Client(&who("visitor"))).await.unwrap();
    let text = serde_json::to_string(&studio.shared_image(&share.hash).await.unwrap()).unwrap();
    assert!(text.contains("from a photograph") && !text.contains(&start), "{text}");
}
