//! Tags in prompts, and how long prompts are.

use adire_protocol::AdapterUse;

use super::{
    adapters::{file, new, three_versions},
    *,
};

async fn done(studio: &Studio, request: GenerationRequest) -> adire_protocol::ImageRecord {
    let asked = studio.submit(request, &nobody()).await.unwrap();
    finished(studio, &asked.id).await.images.remove(0)
}

#[tokio::test]
async fn a_tag_is_an_adapter_of_the_request() {
    let (folder, studio, _) = fresh().await;
    let added = three_versions(&studio, folder.path()).await;
    let image = done(&studio, request("red <lora:adire:0.25:0.5> moons <lora:indigo@v1>")).await;
    let spec = &image.recipe.spec;
    assert_eq!(spec.prompt, "red <lora:adire@v2:0.25:0.5> moons <lora:indigo@v1>", "the very version");
    let tagged = |name: &str, strength, te_strength| AdapterUse {
        te_strength,
        in_prompt: true,
        ..AdapterUse::new(name, strength)
    };
    assert_eq!(spec.adapters, [tagged("adire@v2", 0.5, Some(0.25)), tagged("indigo@v1", 1.0, None)]);
    assert_eq!(image.recipe.adapter_hashes, [added[1].hash.clone(), added[2].hash.clone()]);
    assert!(image.infotext.starts_with("red <lora:adire@v2:0.25:0.5> moons <lora:indigo@v1>\nSteps: "));
    assert!(image.infotext.contains("Lora hashes: \"adire@v2: "), "{}", image.infotext);

    // What the image says makes it again, from the record and from the file.
    let again = done(&studio, image.recipe.spec.clone().into()).await;
    assert_eq!(again.recipe.spec, image.recipe.spec);
    let read = crate::read_request(&studio.image(&image.hash).await.unwrap()).unwrap();
    assert_eq!(done(&studio, read).await.recipe.adapter_hashes, image.recipe.adapter_hashes);
}

#[tokio::test]
async fn both_strengths_reach_the_model() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    let image = async |te_strength| {
        let adapter = AdapterUse { te_strength, ..AdapterUse::new("adire", 0.5) };
        done(&studio, GenerationRequest { adapters: vec![adapter], ..request("moons") }).await
    };
    let (one, same, other) = (image(None).await, image(Some(0.5)).await, image(Some(0.0)).await);
    assert_eq!(other.recipe.spec.adapters[0].te_strength, Some(0.0));
    assert!(one.infotext.contains("<lora:adire@v2:0.5>") && same.infotext.contains("<lora:adire@v2:0.5>"));
    assert!(other.infotext.contains("<lora:adire@v2:0:0.5>"), "{}", other.infotext);
    assert_ne!(one.hash, other.hash);
}

#[tokio::test]
async fn an_unknown_tag_is_an_unknown_adapter() {
    let (folder, studio, _) = fresh().await;
    three_versions(&studio, folder.path()).await;
    match studio.submit(request("moons <lora:indgo@v2:0.5>"), &nobody()).await {
        Err(StudioError::UnknownAdapter { name, known }) => {
            assert_eq!((name.as_str(), known[0].as_str()), ("indgo@v2", "indigo@v1"));
        }
        other => panic!("{other:?}"),
    }
    for wrong in ["moons <lora:adire:much>", "moons <lora:../x>", "moons <lora:adire:30>"] {
        match studio.submit(request(wrong), &nobody()).await {
            Err(StudioError::Invalid(error)) => assert_eq!(error.0[0].field, "prompt", "{wrong}"),
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn tokens_are_counted_while_the_worker_works_and_too_many_are_refused() {
    let (_folder, studio, _, _latch) = latched().await;
    let asked = studio.submit(request("moons"), &nobody()).await.unwrap();
    until(&studio, &asked.id, "started").await;
    let (prompt, negative) = studio
        .count_tokens("one two <lora:x:1> three".to_owned(), "word ".repeat(80), Vec::new())
        .await
        .unwrap();
    assert_eq!((prompt.tokens, prompt.capacity, prompt.chunks), (3, 75, 1));
    assert_eq!((negative.tokens, negative.capacity, negative.chunks), (80, 150, 2));

    let long = studio.count_tokens("x".repeat(4001), String::new(), Vec::new()).await;
    assert!(matches!(long, Err(StudioError::Invalid(error)) if error.0[0].field == "prompt"));
    let negative_prompt = "a ".repeat(1900);
    match studio.submit(GenerationRequest { negative_prompt, ..request("moons") }, &nobody()).await {
        Err(StudioError::Invalid(error)) => {
            assert_eq!(error.0[0].field, "negative_prompt");
            assert!(error.0[0].message.contains("1900 tokens in 26 chunks; the limit is 16"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn words_bundled_in_an_adapter_count_while_it_takes_part() {
    let folder = tempfile::tempdir().unwrap();
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    let path = file(folder.path(), "styled", "bundles:mystyle:4");
    studio.add_adapter(new("styled", None, path)).await.unwrap();
    let count = async |prompt: &str, adapters: &[&str]| {
        let adapters = adapters.iter().map(|name| (*name).to_owned()).collect();
        studio.count_tokens(prompt.to_owned(), String::new(), adapters).await.unwrap().0.tokens
    };
    assert_eq!(count("red mystyle", &[]).await, 2);
    assert_eq!(count("red mystyle", &["styled@v1"]).await, 5);
    assert_eq!(count("red mystyle <lora:styled:0.5>", &[]).await, 5);
    assert_eq!(count("red mystyle", &["unknown@v1", "../x"]).await, 2);
}
