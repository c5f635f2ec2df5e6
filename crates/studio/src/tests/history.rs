//! Search, ratings, reports and zip files of a visitor's images.

use std::io::{Cursor, Read};

use adire_protocol::{AdapterUse, HistoryPage, HistoryQuery, ImageRecord, ImageRef, Rating, Thumb};
use futures::TryStreamExt;

use super::{
    adapters::{file, new},
    *,
};
use crate::{store::HistoryFilter, time::day};

async fn image(studio: &Studio, wanted: GenerationRequest, client: &Client) -> ImageRecord {
    let id = studio.submit(wanted, client).await.unwrap().id;
    finished(studio, &id).await.images[0].clone()
}

fn of(image: &ImageRecord) -> ImageRef {
    ImageRef { generation: image.generation.clone(), index: image.index }
}

fn prompts(page: &HistoryPage) -> Vec<&str> {
    page.images.iter().map(|image| image.image.recipe.spec.prompt.as_str()).collect()
}

async fn found(studio: &Studio, query: HistoryQuery) -> Vec<String> {
    let page = studio.search_history(&query, &who("visitor")).await.unwrap();
    prompts(&page).into_iter().map(str::to_owned).collect()
}

fn q(words: &str) -> HistoryQuery {
    HistoryQuery { q: words.to_owned(), ..HistoryQuery::default() }
}

#[tokio::test]
async fn images_are_found_by_words_adapter_seed_day_and_star() {
    let (folder, studio, _) = fresh().await;
    studio.add_adapter(new("adire", None, file(folder.path(), "adire", "one"))).await.unwrap();
    let visitor = who("visitor");
    let stars = GenerationRequest {
        adapters: vec![AdapterUse::new("adire@v1", 0.5)],
        ..request("Large, white STARS on (blue:1.2) cloth")
    };
    let stars = image(&studio, stars, &visitor).await;
    image(&studio, GenerationRequest { seed: Some(8), ..request("moons on red cloth") }, &visitor).await;
    image(&studio, request("stars of somebody else"), &who("other")).await;
    let both = ["moons on red cloth", "Large, white STARS on (blue:1.2) cloth"];
    assert_eq!(found(&studio, HistoryQuery::default()).await, both);
    for (query, expected) in [
        (q("cloth"), &both[..]),
        (q("  star  CLOTH"), &both[1..]),
        (q("tars"), &[]),
        (q("somebody"), &[]),
        (q("%"), &both),
        (q("moons stars"), &[]),
        (HistoryQuery { seed: "8".to_owned(), ..q("") }, &both[..1]),
        (HistoryQuery { adapter: "adire".to_owned(), ..q("") }, &both[1..]),
        (HistoryQuery { adapter: "adire@v1".to_owned(), ..q("") }, &both[1..]),
        (HistoryQuery { adapter: "adir".to_owned(), ..q("") }, &[]),
        (HistoryQuery { from: "1970-01-01".to_owned(), ..q("moons") }, &both[..1]),
        (HistoryQuery { to: "2020-01-01".to_owned(), ..q("") }, &[]),
        (HistoryQuery { starred: true, ..q("") }, &[]),
    ] {
        assert_eq!(found(&studio, query.clone()).await, expected, "{query:?}");
    }
    let rating = Rating { starred: true, thumb: Some(Thumb::Down) };
    let rated = studio.rate(&of(&stars), rating, By::Client(&visitor)).await.unwrap();
    assert_eq!(rated.rating, rating);
    assert_eq!(found(&studio, HistoryQuery { starred: true, ..q("") }).await, both[1..]);
    // A browser without an id has no history.
    let nobody = studio.search_history(&HistoryQuery::default(), &nobody()).await.unwrap();
    assert_eq!(nobody, HistoryPage::default());
}

#[tokio::test]
async fn what_is_wrong_with_a_search_is_said_at_once() {
    let (_folder, studio, _) = fresh().await;
    let query = HistoryQuery {
        seed: "-1".to_owned(),
        from: "yesterday".to_owned(),
        to: "2026-02-30".to_owned(),
        limit: Some(0),
        ..HistoryQuery::default()
    };
    let error = studio.search_history(&query, &who("visitor")).await.unwrap_err().to_string();
    for part in ["“-1”", "“yesterday”", "“2026-02-30”", "limit must be 1 to 200; got 0."] {
        assert!(error.contains(part), "{error}");
    }
    let turned = HistoryQuery {
        from: "2026-02-02".to_owned(),
        to: "2026-02-01".to_owned(),
        ..HistoryQuery::default()
    };
    let error = studio.search_history(&turned, &who("visitor")).await.unwrap_err().to_string();
    assert!(error.contains("must not be before"), "{error}");
}

/// Times of a page, and where the next one begins.
async fn page(studio: &Studio, query: HistoryQuery) -> (Vec<i64>, Option<i64>) {
    let page = studio.search_history(&query, &who("visitor")).await.unwrap();
    (page.images.iter().map(|image| image.image.created_at).collect(), page.next)
}

#[tokio::test]
async fn pages_of_100_000_images_are_read_through_an_index() {
    let (_folder, studio, _) = fresh().await;
    let example = image(&studio, request("an example"), &who("somebody")).await;
    let store = &studio.shared().store;
    let visitor = Visitor("visitor".to_owned()).digest();
    store.insert_many_images(&visitor, 100_000, &example).await;
    let all = HistoryFilter { visitor, before: i64::MAX, limit: 49, ..HistoryFilter::default() };
    let filters = [
        all.clone(),
        HistoryFilter { words: vec!["rare".to_owned()], ..all.clone() },
        HistoryFilter { seed: Some("777".to_owned()), ..all.clone() },
        HistoryFilter { starred: true, ..all.clone() },
        HistoryFilter { adapter: Some("adire@v1".to_owned()), ..all.clone() },
        HistoryFilter { before: 50_000, from: day("1970-01-01").unwrap(), ..all },
    ];
    let postgres = std::env::var("ADIRE_TEST_DATABASE").is_ok();
    for filter in &filters {
        // Where every row has the adapter, PostgreSQL rightly reads the table.
        if postgres && filter.adapter.is_some() {
            continue;
        }
        let plan = store.plan_of_search(filter).await;
        let scans = ["SCAN history", "SCAN images", "Seq Scan", "TEMP B-TREE"];
        assert!(!scans.iter().any(|scan| plan.contains(scan)), "{filter:?}: {plan}");
        assert!(plan.contains("history_"), "{plan}");
    }
    let first = page(&studio, HistoryQuery::default()).await;
    assert_eq!(first, ((99_953..=100_000).rev().collect(), Some(99_953)));
    let second = page(&studio, HistoryQuery { before: first.1, ..HistoryQuery::default() }).await;
    assert_eq!(second.0.first(), Some(&99_952));
    let rare =
        page(&studio, HistoryQuery { q: "rare".to_owned(), limit: Some(100), ..HistoryQuery::default() })
            .await;
    assert_eq!(rare, ((1..=100).rev().map(|i| i * 1_000).collect(), None));
    let starred = HistoryQuery { starred: true, limit: Some(2), ..HistoryQuery::default() };
    assert_eq!(page(&studio, starred).await, (vec![100_000, 99_900], Some(99_900)));
}

/// Time of the pages of 100,000 images; run by hand, on PostgreSQL with `ADIRE_TEST_DATABASE=postgres`:
/// `cargo test --release -p adire-studio pages_of_a_long_history -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures time"]
async fn pages_of_a_long_history_are_read_quickly() {
    let (_folder, studio, _) = fresh().await;
    let example = image(&studio, request("an example"), &who("somebody")).await;
    let visitor = Visitor("visitor".to_owned()).digest();
    studio.shared().store.insert_many_images(&visitor, 100_000, &example).await;
    let words = ["", "rare", "rare stars", "moons", "nothing"].map(q);
    let starred = HistoryQuery { starred: true, ..q("") };
    let seed = HistoryQuery { seed: "777".to_owned(), ..q("") };
    for query in words.into_iter().chain([starred, seed]) {
        for _ in 0..3 {
            let start = std::time::Instant::now();
            let found = page(&studio, query.clone()).await.0.len();
            println!("“{}” {} {}: {found} in {:?}", query.q, query.seed, query.starred, start.elapsed());
        }
    }
}

#[tokio::test]
async fn a_history_from_before_it_could_be_searched_is_read_at_the_next_start() {
    let (folder, studio, _) = fresh().await;
    image(&studio, request("white stars"), &who("visitor")).await;
    studio.shutdown().await;
    drop(studio);
    let store = crate::store::Store::open(folder.path(), None).await.unwrap();
    store.forget_words().await;
    store.close().await;
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    assert_eq!(found(&studio, q("stars")).await, ["white stars"]);
    let seed = HistoryQuery { seed: "7".to_owned(), ..q("") };
    assert_eq!(found(&studio, seed).await, ["white stars"]);
}

#[tokio::test]
async fn only_its_maker_rates_and_takes_an_image() {
    let (_folder, studio, _) = fresh().await;
    let (maker, other) = (who("visitor"), who("other"));
    let first = image(&studio, request("one"), &maker).await;
    let second = image(&studio, GenerationRequest { seed: Some(9), ..request("two") }, &maker).await;
    let refused = studio.rate(&of(&first), Rating::default(), By::Client(&other)).await.unwrap_err();
    assert!(refused.to_string().contains("not found"), "{refused}");
    let wanted = vec![of(&first), of(&second)];
    assert!(studio.zip_images(wanted.clone(), By::Client(&other)).await.is_err());
    assert!(studio.zip_images(Vec::new(), By::Client(&maker)).await.is_err());
    assert!(studio.zip_images(vec![of(&first); 501], By::Client(&maker)).await.is_err());

    let stream = studio.zip_images(wanted, By::Client(&maker)).await.unwrap();
    let pieces: Vec<_> = stream.try_collect().await.unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(pieces.concat())).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let short = |image: &ImageRecord| image.hash[..12].to_owned();
    assert_eq!(
        names,
        [
            format!("001-7-{}.png", short(&first)),
            format!("001-7-{}.json", short(&first)),
            format!("002-9-{}.png", short(&second)),
            format!("002-9-{}.json", short(&second)),
        ]
    );
    let mut read = |name: &str| {
        let mut content = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    assert_eq!(read(&names[2]), studio.image(&second.hash).await.unwrap());
    let recipe: serde_json::Value = serde_json::from_slice(&read(&names[3])).unwrap();
    assert_eq!(recipe["recipe"]["spec"]["prompt"], "two");
    assert_eq!(recipe["rating"]["starred"], false);
}

#[test]
fn zip_files_with_slow_readers_take_no_thread_from_each_other() {
    // One thread for all work that blocks, and more files than may be packed at a time.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let (_folder, studio, _) = fresh().await;
        let maker = who("visitor");
        let image = of(&image(&studio, request("one"), &maker).await);
        let mut files = Vec::new();
        for _ in 0..12 {
            let mut file = studio.zip_images(vec![image.clone(); 3], By::Client(&maker)).await.unwrap();
            let first = tokio::time::timeout(PATIENCE, file.try_next()).await.unwrap().unwrap();
            files.push((file, first.unwrap()));
        }
        for (file, first) in files.into_iter().rev() {
            let rest: Vec<_> = tokio::time::timeout(PATIENCE, file.try_collect()).await.unwrap().unwrap();
            let whole = [&first[..], &rest.concat()].concat();
            assert_eq!(zip::ZipArchive::new(Cursor::new(whole)).unwrap().len(), 6);
        }
    });
}

#[tokio::test]
async fn reports_reach_the_admin_and_join_the_suite() {
    let (folder, studio, _) = fresh().await;
    studio.add_adapter(new("adire", None, file(folder.path(), "adire", "one"))).await.unwrap();
    let trigger = studio.adapters().await.unwrap()[0].trigger.clone();
    assert!(!trigger.is_empty());
    let prompt = format!("a <lora:adire:0.5> chair, {trigger}");
    let first = image(&studio, request(&prompt), &who("visitor")).await;
    let second = image(&studio, GenerationRequest { seed: Some(9), ..request("two") }, &nobody()).await;
    let reporter = who("other");
    for reason in ["", "  \n ", &"x".repeat(301)] {
        let refused = studio.flag(&of(&first), reason, &reporter).await.unwrap_err().to_string();
        assert!(refused.contains("1 to 300 characters"), "{refused}");
    }
    let missing = ImageRef { index: 9, ..of(&first) };
    assert!(studio.flag(&missing, "why", &reporter).await.is_err());
    studio.flag(&of(&first), " a   smudge ", &reporter).await.unwrap();
    // Twice by one reporter is once.
    studio.flag(&of(&first), "again", &reporter).await.unwrap();
    studio.flag(&of(&second), "copied", &reporter).await.unwrap();
    let flags = studio.flags().await.unwrap();
    assert_eq!(flags.iter().map(|flag| flag.reason.as_str()).collect::<Vec<_>>(), ["a smudge", "copied"]);

    studio.add_flag_to_suite(&flags[0].id).await.unwrap();
    let (suite, changed) = studio.suite().await.unwrap();
    assert!(changed && suite.contains("\"a chair, {trigger}\""), "{suite}");
    let private = suite.split_once("private = [").expect("a visitor's prompt is private").1;
    assert!(private.contains("\"a chair, {trigger}\""), "{suite}");
    assert!(studio.add_flag_to_suite(&flags[0].id).await.is_err(), "it is closed");
    studio.dismiss_flag(&flags[1].id).await.unwrap();
    assert_eq!(studio.open_flags().await.unwrap(), 0);
    // The same prompt again is refused, and the report stays.
    studio.flag(&of(&first), "still", &reporter).await.unwrap();
    let again = studio.flags().await.unwrap();
    let refused = studio.add_flag_to_suite(&again[0].id).await.unwrap_err().to_string();
    assert!(refused.contains("repeats an earlier one"), "{refused}");
    assert_eq!(studio.open_flags().await.unwrap(), 1);
    // Deleted with its image.
    studio.delete_image(&first.generation, 0, By::Client(&who("visitor"))).await.unwrap();
    assert_eq!(studio.open_flags().await.unwrap(), 0);

    studio.set_suite("").await.unwrap();
    assert!(!studio.suite().await.unwrap().1);
    assert!(studio.set_suite("name = 1").await.unwrap_err().to_string().contains("not valid"));
}
