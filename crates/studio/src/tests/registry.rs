//! Stages, aliases and the ledger.

use adire_protocol::{
    AdapterUse, AdapterVersion, LedgerAction, LedgerMove, PromotionRequest, RollbackRequest, SmokeResult,
    Stage, VerdictOutcome, VersionChange,
};

use super::{
    adapters::{file, new},
    random::Dice,
    registry_verdicts::given,
    *,
};
use crate::{
    Mover,
    ledger::{Book, Verdict},
    registry::{Terms, promote as promote_by},
    store::Store,
};

pub(super) fn forced(reason: &str) -> PromotionRequest {
    PromotionRequest { reason: reason.to_owned(), force: true }
}

fn back(reason: &str) -> RollbackRequest {
    RollbackRequest { reason: reason.to_owned(), version: None }
}

/// Versions 1 to `count` of `adire`.
async fn versions(studio: &Studio, folder: &Path, count: u32) {
    for version in 1..=count {
        let path = file(folder, &format!("file {version}"), &format!("version {version}"));
        studio.add_adapter(new("adire", Some(version), path)).await.unwrap();
    }
}

pub(super) async fn studio_with(count: u32) -> (TempDir, Studio) {
    let (folder, studio, _) = fresh().await;
    versions(&studio, folder.path(), count).await;
    (folder, studio)
}

pub(super) fn store(studio: &Studio) -> Store {
    studio.shared().store.clone()
}

pub(super) async fn book(studio: &Studio) -> Book {
    store(studio).book("adire").await.unwrap()
}

async fn stages(studio: &Studio) -> Vec<Stage> {
    let book = book(studio).await;
    book.versions.iter().map(|known| book.stage(known.version)).collect()
}

async fn promote(studio: &Studio, version: u32) -> Result<LedgerMove, StudioError> {
    Ok(studio.promote(&format!("adire@v{version}"), forced("test"), Mover::Admin).await?.made)
}

async fn roll_back(studio: &Studio) -> Result<LedgerMove, StudioError> {
    Ok(studio.roll_back("adire", back("test"), Mover::Admin).await?.made)
}

async fn change(studio: &Studio, version: u32, to: Stage) -> Result<LedgerMove, StudioError> {
    studio.change_stage(&format!("adire@v{version}"), to, "test", Mover::Admin).await
}

pub(super) fn sentence<T: std::fmt::Debug>(result: Result<T, StudioError>) -> String {
    result.unwrap_err().to_string()
}

pub(super) async fn assert_whole(studio: &Studio) {
    let check = studio.verify_ledger("adire").await.unwrap();
    assert_eq!(check.fault, None, "{check:?}");
}

#[tokio::test]
async fn a_version_goes_to_production_and_the_one_before_is_archived() {
    use Stage::{Archived, Candidate, Production};
    let (_folder, studio) = studio_with(3).await;
    assert_eq!(stages(&studio).await, [Candidate; 3]);
    let made = studio.promote("adire@v1", forced(" first one "), Mover::CommandLine).await.unwrap().made;
    assert_eq!((made.number, made.action, made.who.as_str()), (1, LedgerAction::Promote, "command line"));
    assert_eq!((made.from_version, made.to_version, made.reason.as_str()), (None, Some(1), "first one"));
    let made = promote(&studio, 3).await.unwrap();
    assert_eq!((made.number, made.from_version, made.to_version), (2, Some(1), Some(3)));
    assert_eq!(stages(&studio).await, [Archived, Candidate, Production]);
    assert_eq!(sentence(promote(&studio, 3).await), "adire@v3 is already in production.");
    assert_whole(&studio).await;
}

#[tokio::test]
async fn a_promotion_needs_a_reason_and_a_passing_verdict_or_force() {
    let (_folder, studio) = studio_with(2).await;
    let plain = |reason: &str| PromotionRequest { reason: reason.to_owned(), force: false };
    let promote = async |request| studio.promote("adire@v2", request, Mover::Admin).await;
    assert_eq!(sentence(promote(plain("  ")).await), "Enter a reason; the ledger keeps it.");
    assert!(sentence(promote(forced(&"é".repeat(501))).await).contains("501 characters; the limit is 500"));
    assert_eq!(
        sentence(promote(plain("good")).await),
        "Not promoted: adire@v2 has no verdict. Evaluate it, or force the promotion."
    );
    let given = given(&studio).await;
    let add = async |id: &str, at, given: Verdict| store(&studio).add_verdict(id, at, &given).await;
    add("one", 1, given.clone()).await;
    add("two", 2, Verdict { outcome: VerdictOutcome::Inconclusive, ..given.clone() }).await;
    assert!(
        sentence(promote(plain("good")).await).contains("the last verdict on adire@v2 is “inconclusive”")
    );
    add("three", 3, given.clone()).await;
    assert_eq!(promote(plain("good")).await.unwrap().made.verdict.as_deref(), Some("three"));
    add("four", 4, Verdict { version: 1, outcome: VerdictOutcome::Fail, ..given }).await;
    let made = studio.promote("adire@v1", forced("known fault"), Mover::Admin).await.unwrap().made;
    assert_eq!(made.verdict.as_deref(), Some("four"), "what was overruled is recorded");
    for (id, word) in [("adire", "Name the version"), ("adire@v9", "not found"), ("x@v1", "not found")] {
        let refused = sentence(studio.promote(id, forced("x"), Mover::Admin).await);
        assert!(refused.contains(word), "{refused}");
    }
    assert_whole(&studio).await;
}

#[tokio::test]
async fn rollbacks_go_back_one_by_one_within_three_versions() {
    let (_folder, studio) = studio_with(6).await;
    assert!(sentence(roll_back(&studio).await).contains("no earlier production version"));
    for version in 1..=5 {
        promote(&studio, version).await.unwrap();
    }
    assert_eq!(book(&studio).await.way_back(), [4, 3, 2]);
    let to = |version| RollbackRequest { reason: "test".to_owned(), version: Some(version) };
    let too_far = sentence(studio.roll_back("adire", to(1), Mover::Admin).await);
    assert_eq!(too_far, "adire@v1 is not one of the last three production versions. Promote it instead.");
    assert!(sentence(studio.roll_back("adire", to(6), Mover::Admin).await).contains("Promote it instead"));
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(4));
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(3), "and not back to v5");
    assert_eq!(studio.roll_back("adire", to(1), Mover::Admin).await.unwrap().made.to_version, Some(1));
    assert!(sentence(roll_back(&studio).await).contains("no earlier production version"));
    promote(&studio, 6).await.unwrap();
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(1));
    assert_whole(&studio).await;
}

#[tokio::test]
async fn rejected_hidden_and_deleted_versions_are_not_returned_to() {
    let (_folder, studio) = studio_with(5).await;
    for version in 1..=5 {
        promote(&studio, version).await.unwrap();
    }
    change(&studio, 4, Stage::Rejected).await.unwrap();
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    studio.change_version("adire@v3", hide).await.unwrap();
    studio.delete_version("adire@v2").await.unwrap();
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(1));
    assert!(sentence(promote(&studio, 4).await).contains("Reopen it as a candidate first"));
    assert!(sentence(promote(&studio, 3).await).contains("Show it first"));
    assert!(sentence(promote(&studio, 2).await).contains("not found"));
    change(&studio, 4, Stage::Candidate).await.unwrap();
    promote(&studio, 4).await.unwrap();
    assert_whole(&studio).await;
}

#[tokio::test]
async fn the_version_in_production_stays() {
    let (_folder, studio) = studio_with(2).await;
    promote(&studio, 1).await.unwrap();
    studio.set_alias("adire@v2", "stable", "", Mover::Admin).await.unwrap();
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    assert_eq!(
        sentence(studio.change_version("adire@v1", hide).await),
        "adire@v1 is in production. Promote another version or roll back first, then hide it."
    );
    assert!(sentence(studio.delete_version("adire@v1").await).ends_with("first, then delete it."));
    assert_eq!(
        sentence(studio.delete_version("adire@v2").await),
        "adire@stable stands for v2. Move or delete that alias first."
    );
    let downloads = VersionChange { hidden: None, downloads: Some(false), note: None };
    studio.change_version("adire@v1", downloads).await.unwrap();
    assert!(sentence(change(&studio, 1, Stage::Rejected).await).contains("is in production"));
    assert!(sentence(change(&studio, 2, Stage::Production).await).contains("Promote adire@v2 instead"));
    // Archiving takes it out of production.
    let made = change(&studio, 1, Stage::Archived).await.unwrap();
    assert_eq!(
        (made.alias.as_deref(), made.from_version, made.to_version),
        (Some("production"), Some(1), None)
    );
    assert_eq!(book(&studio).await.production(), None);
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(1));
    studio.delete_alias("adire", "stable", "", Mover::Admin).await.unwrap();
    studio.delete_version("adire@v2").await.unwrap();
    assert_whole(&studio).await;
}

#[tokio::test]
async fn free_aliases_are_set_moved_and_deleted() {
    let (_folder, studio) = studio_with(2).await;
    let set = async |id, alias| studio.set_alias(id, alias, "", Mover::Admin).await;
    let made = set("adire@v1", "stable").await.unwrap();
    assert_eq!((made.action, made.from_version, made.to_version), (LedgerAction::SetAlias, None, Some(1)));
    assert_eq!(set("adire@v2", "stable").await.unwrap().from_version, Some(1));
    assert_eq!(sentence(set("adire@v2", "stable").await), "adire@stable is already v2.");
    assert!(sentence(set("adire@v2", "production").await).contains("protected. Promote a version instead"));
    for alias in ["v3", "3", "Stable", "", "a b", "../x"] {
        assert!(sentence(set("adire@v2", alias).await).contains("is not an alias"), "{alias}");
    }
    let delete = async |alias| studio.delete_alias("adire", alias, "", Mover::Admin).await;
    let made = delete("stable").await.unwrap();
    assert_eq!((made.from_version, made.to_version), (Some(2), None));
    assert_eq!(sentence(delete("stable").await), "Alias adire@stable not found.");
    assert!(sentence(delete("production").await).contains("Archive the version in production instead"));
    assert_eq!(stages(&studio).await, [Stage::Candidate; 2], "aliases change no stage");
    assert_whole(&studio).await;
}

#[tokio::test]
async fn what_was_in_production_at_a_time_is_known() {
    let (_folder, studio) = studio_with(2).await;
    let at = async |at| {
        let found = studio.production_at("adire", at).await.unwrap();
        assert_eq!(
            found.version,
            found.entry.as_ref().map(|made| format!("adire@v{}", made.to_version.unwrap()))
        );
        found.entry.and_then(|made| made.to_version)
    };
    let first = promote(&studio, 1).await.unwrap().at;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = promote(&studio, 2).await.unwrap().at;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let none = change(&studio, 2, Stage::Archived).await.unwrap().at;
    assert_eq!(at(first - 1).await, None);
    assert_eq!((at(first).await, at(second - 1).await), (Some(1), Some(1)));
    assert_eq!((at(second).await, at(none - 1).await), (Some(2), Some(2)));
    assert_eq!(at(none).await, None);
    assert!(sentence(studio.production_at("kente", 0).await).contains("Adapter kente not found"));
}

#[tokio::test]
async fn the_database_refuses_to_change_the_ledger() {
    let (_folder, studio) = studio_with(1).await;
    promote(&studio, 1).await.unwrap();
    let store = store(&studio);
    store.add_verdict("one", 1, &Verdict { version: 1, ..given(&studio).await }).await;
    let mut verdicts =
        vec!["UPDATE verdicts SET outcome = 'fail'".to_owned(), "DELETE FROM verdicts".to_owned()];
    let columns = "name, number, at, who, action, reason, previous_digest, digest";
    let mut statements = vec![
        "UPDATE moves SET reason = 'other'".to_owned(),
        "UPDATE moves SET who = who WHERE number = 1".to_owned(),
        "DELETE FROM moves".to_owned(),
    ];
    if postgres::chosen() {
        statements.push("TRUNCATE moves".to_owned());
        verdicts.push("TRUNCATE verdicts CASCADE".to_owned());
    } else {
        statements.push(format!("REPLACE INTO moves ({columns}) VALUES ('adire', 1, 0, '', '', '', '', '')"));
    }
    for statement in statements {
        let refused = store.tamper(&statement).await.unwrap_err();
        assert!(refused.contains("the ledger is append-only"), "{statement}: {refused}");
    }
    for statement in verdicts {
        let refused = store.tamper(&statement).await.unwrap_err();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    if !postgres::chosen() {
        let columns = "id, name, version, policy_hash, outcome, criteria, created_at";
        let replace =
            format!("REPLACE INTO verdicts ({columns}) VALUES ('one', 'adire', 2, '', 'fail', '', 0)");
        store.tamper(&replace).await.unwrap();
    }
    let kept = book(&studio).await.verdicts;
    assert_eq!((kept.len(), kept[0].outcome), (1, VerdictOutcome::Pass));
    assert_whole(&studio).await;
}

/// A ledger of six rows, changed by these statements after its triggers are gone: the first fault.
async fn fault_after(statements: &[&str]) -> Option<(u64, String)> {
    let (_folder, studio) = studio_with(2).await;
    promote(&studio, 1).await.unwrap();
    promote(&studio, 2).await.unwrap();
    studio.set_alias("adire@v1", "stable", "", Mover::Admin).await.unwrap();
    roll_back(&studio).await.unwrap();
    studio.set_alias("adire@v2", "stable", "", Mover::Admin).await.unwrap();
    change(&studio, 2, Stage::Rejected).await.unwrap();
    let store = store(&studio);
    store.disarm().await;
    for statement in statements {
        store.tamper(statement).await.unwrap();
    }
    let check = studio.verify_ledger("adire").await.unwrap();
    check.fault.map(|fault| (fault.number, fault.message))
}

#[tokio::test]
async fn every_kind_of_tampering_is_named_by_its_first_row() {
    assert_eq!(fault_after(&[]).await, None);
    let copied = "INSERT INTO moves (name, number, at, who, action, alias, from_version, to_version, verdict, reason, \
                  previous_digest, digest) SELECT name, 7, at, who, action, alias, from_version, to_version, verdict, \
                  reason, digest, 'forged' FROM moves WHERE number = 6";
    for (statements, number, words) in [
        (&["UPDATE moves SET reason = 'nicer' WHERE number = 3"][..], 3, "was changed"),
        (&["UPDATE moves SET at = at - 1 WHERE number = 1"], 1, "was changed"),
        (&["UPDATE moves SET to_version = 2 WHERE number = 4"], 4, "was changed"),
        (&["UPDATE moves SET who = 'gate' WHERE number = 6"], 6, "was changed"),
        (&["UPDATE moves SET action = 'nonsense' WHERE number = 2"], 2, "was changed"),
        (&["UPDATE moves SET digest = 'x' WHERE number = 5"], 5, "was changed"),
        (&["DELETE FROM moves WHERE number = 1"], 1, "is missing"),
        (&["DELETE FROM moves WHERE number = 3"], 3, "is missing; row 4 follows instead"),
        (&["DELETE FROM moves WHERE number = 6"], 6, "the ledger had 6 rows"),
        (&["DELETE FROM moves"], 1, "the ledger had 6 rows"),
        (
            &["DELETE FROM moves WHERE number = 3", "UPDATE moves SET number = number - 1 WHERE number = 4"],
            3,
            "was changed",
        ),
        (
            &[
                "UPDATE moves SET number = 99 WHERE number = 2",
                "UPDATE moves SET number = 2 WHERE number = 3",
                "UPDATE moves SET number = 3 WHERE number = 99",
            ],
            2,
            "was changed",
        ),
        (&[copied], 7, "was changed"),
        (&["UPDATE ledger_heads SET moves = 5"], 6, "added past the end"),
        (&["UPDATE ledger_heads SET digest = 'x'"], 6, "is not the row that the ledger ended with"),
        (
            &["UPDATE aliases SET version = 2 WHERE alias = 'production'"],
            4,
            "stands for v2, but not by row 4",
        ),
        (&["DELETE FROM aliases WHERE alias = 'stable'"], 5, "is missing"),
        (
            &["INSERT INTO aliases (name, alias, version, digest) VALUES ('adire', 'own', 1, '')"],
            1,
            "No row sets the alias own",
        ),
        // A tail that goes with its entry in `ledger_heads` is missed by the alias that it set.
        (
            &[
                "DELETE FROM moves WHERE number >= 5",
                "UPDATE ledger_heads SET moves = 4, digest = (SELECT digest FROM moves WHERE number = 4)",
            ],
            3,
            "stands for v2, but not by row 3",
        ),
    ] {
        let (found, message) = fault_after(statements).await.expect(statements[0]);
        assert_eq!(found, number, "{statements:?}: {message}");
        assert!(message.contains(words), "{statements:?}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moves_at_once_make_one_chain() {
    let (_folder, studio) = studio_with(4).await;
    promote(&studio, 1).await.unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|i: u32| {
            let studio = studio.clone();
            tokio::spawn(async move {
                match i % 4 {
                    0 => promote(&studio, 1 + i / 4 % 4).await.is_ok(),
                    1 => roll_back(&studio).await.is_ok(),
                    _ => {
                        let (id, alias) = (format!("adire@v{}", 1 + i % 3), format!("alias{}", i % 7));
                        studio.set_alias(&id, &alias, "", Mover::Admin).await.is_ok()
                    }
                }
            })
        })
        .collect();
    let mut made = 1;
    for task in tasks {
        made += u64::from(task.await.unwrap());
    }
    let check = studio.verify_ledger("adire").await.unwrap();
    assert_eq!((check.fault, check.moves), (None, made));
    assert!(made > 10, "{made}");
}

/// Each statement of a move fails in turn: nothing of it stays.
#[tokio::test]
async fn a_move_that_fails_half_way_leaves_nothing() {
    let (_folder, studio) = studio_with(2).await;
    promote(&studio, 1).await.unwrap();
    let (store, before) = (store(&studio), book(&studio).await);
    for table in ["moves", "ledger_heads", "aliases"] {
        store.break_table(table).await;
        let failed = sentence(promote(&studio, 2).await);
        assert!(failed.contains("broken"), "{table}: {failed}");
        store.mend_table(table).await;
        assert_eq!(book(&studio).await, before, "{table}");
    }
    promote(&studio, 2).await.unwrap();
    assert_whole(&studio).await;
}

fn damage(folder: &Path, version: &AdapterVersion) {
    std::fs::write(crate::blob_path(folder, &version.hash).unwrap(), "something else").unwrap();
}

async fn until_production(studio: &Studio, version: u32) {
    let reached = async {
        while book(studio).await.production() != Some(version) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the version before should serve");
}

#[tokio::test]
async fn a_damaged_version_leaves_production_at_the_next_start() {
    let (folder, studio) = studio_with(3).await;
    let known = studio.adapters().await.unwrap();
    for version in 1..=3 {
        promote(&studio, version).await.unwrap();
    }
    studio.shutdown().await;
    drop(studio);
    damage(folder.path(), &known[0]);
    std::fs::remove_file(crate::blob_path(folder.path(), &known[1].hash).unwrap()).unwrap();

    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    until_production(&studio, 1).await;
    let last = studio.ledger("adire").await.unwrap().entries.pop().unwrap().made;
    assert_eq!((last.action, last.who.as_str()), (LedgerAction::Damaged, "server"));
    assert_eq!((last.from_version, last.to_version), (Some(3), Some(1)));
    assert_eq!(last.reason, "The file of v3 is missing or damaged.");
    assert_eq!(stages(&studio).await, [Stage::Production, Stage::Archived, Stage::Rejected]);
    let refused = sentence(promote(&studio, 2).await);
    assert!(refused.contains("adire@v2 is missing or damaged"), "{refused}");
    assert_whole(&studio).await;
}

#[tokio::test]
async fn a_rollback_passes_over_a_damaged_version() {
    let (folder, studio) = studio_with(3).await;
    for version in 1..=3 {
        promote(&studio, version).await.unwrap();
    }
    damage(folder.path(), &studio.adapters().await.unwrap()[1]);
    assert_eq!(roll_back(&studio).await.unwrap().to_version, Some(1));
    let rows = studio.ledger("adire").await.unwrap().entries;
    let rejected = &rows[rows.len() - 2].made;
    assert_eq!((rejected.action, rejected.to_version), (LedgerAction::Reject, Some(2)));
    assert_whole(&studio).await;
}

/// Whatever is done in whatever order, the alias, the stages and the ledger agree.
#[tokio::test]
async fn stages_and_production_agree_after_anything() {
    let (_folder, studio) = studio_with(5).await;
    let mut dice = Dice(11);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..150 {
        let version = 1 + dice.roll(5) as u32;
        let result = match dice.roll(6) {
            0 | 1 => promote(&studio, version).await,
            2 => roll_back(&studio).await,
            3 => change(&studio, version, Stage::Rejected).await,
            4 => change(&studio, version, Stage::Candidate).await,
            _ => change(&studio, version, Stage::Archived).await,
        };
        if result.is_ok() {
            done += 1
        } else {
            refused += 1
        };
        let book = book(&studio).await;
        let in_production: Vec<u32> = (1..=5).filter(|v| book.stage(*v) == Stage::Production).collect();
        assert_eq!(in_production, Vec::from_iter(book.production()));
        assert!(book.way_back().iter().all(|v| book.stage(*v) != Stage::Rejected));
    }
    assert!(done > 40 && refused > 20, "{done} done, {refused} refused");
    assert_whole(&studio).await;
}

#[tokio::test]
async fn an_alias_is_usable_wherever_a_version_is() {
    let (_folder, studio) = studio_with(3).await;
    promote(&studio, 1).await.unwrap();
    studio.set_alias("adire@v2", "stable", "", Mover::Admin).await.unwrap();
    let used = |name: &str| AdapterUse::new(name, 1.0);
    let wanted = GenerationRequest {
        adapters: vec![used("adire@production")],
        ..request("moons <lora:adire@stable:0.5>")
    };
    let accepted = studio.submit(wanted, &nobody()).await.unwrap();
    let names: Vec<_> = accepted.spec.adapters.iter().map(|adapter| adapter.name.as_str()).collect();
    assert_eq!(names, ["adire@v1", "adire@v2"]);
    assert_eq!(accepted.spec.prompt, "moons <lora:adire@v2:0.5>");
    // What was accepted stays, wherever the aliases go.
    promote(&studio, 3).await.unwrap();
    let done = finished(&studio, &accepted.id).await;
    assert_eq!(done.images[0].recipe.spec.adapters[0].name, "adire@v1");
    assert_eq!(studio.adapter("adire@production").await.unwrap().version.version, 3);
    assert_eq!(studio.adapter_file("adire@stable").await.unwrap().0.version, 2);

    let listed = studio.adapters().await.unwrap();
    let shown: Vec<_> = listed.iter().map(|version| (version.stage, version.aliases.join(" "))).collect();
    assert_eq!(
        shown,
        [
            (Stage::Production, "production".to_owned()),
            (Stage::Candidate, "stable".to_owned()),
            (Stage::Archived, String::new())
        ]
    );
    let unknown = GenerationRequest { adapters: vec![used("adire@best")], ..request("moons") };
    let refused = sentence(studio.submit(unknown, &nobody()).await);
    assert!(refused.starts_with("Adapter adire@best not found. Available: adire@v"), "{refused}");
    // An alias of a hidden version is not for visitors.
    let hide = VersionChange { hidden: Some(true), downloads: None, note: None };
    studio.change_version("adire@v2", hide).await.unwrap();
    assert!(sentence(studio.adapter("adire@stable").await).contains("not found"));
}

#[tokio::test]
async fn a_smoke_image_shows_whether_a_version_still_does_what_it_did() {
    let (folder, studio, backend) = fresh().await;
    versions(&studio, folder.path(), 2).await;
    let promoted = async |version| {
        let id = format!("adire@v{version}");
        studio.promote(&id, forced("test"), Mover::Admin).await.unwrap().smoke.unwrap()
    };
    let first = promoted(1).await;
    assert_eq!((first.result, first.difference), (SmokeResult::First, None));
    let second = promoted(2).await;
    assert_eq!(second.result, SmokeResult::First);
    assert_ne!(first.url, second.url);
    let rolled_back = studio.roll_back("adire", back("test"), Mover::Admin).await.unwrap().smoke.unwrap();
    assert_eq!((rolled_back.result, &rolled_back.url), (SmokeResult::Equal, &first.url));
    let hash = first.url.unwrap().rsplit('/').next().unwrap().trim_end_matches(".png").to_owned();
    assert!(studio.image(&hash).await.unwrap().starts_with(b"\x89PNG"));
    // Before each image the file in production is pinned.
    let hashes: Vec<String> = studio.adapters().await.unwrap().into_iter().map(|v| v.hash).collect();
    let log = backend.call_log();
    let pins: Vec<_> = log.iter().filter_map(|word| word.strip_prefix("pin ")).collect();
    assert_eq!(pins, [&hashes[1], &hashes[0], &hashes[1]]);
    assert_eq!(log.iter().position(|word| word.starts_with("pin")), Some(0));

    // As if version 2 had looked like version 1 at first.
    let like_first = format!("UPDATE smoke_images SET hash = '{hash}' WHERE number = 2");
    store(&studio).tamper(&like_first).await.unwrap();
    let different = promoted(2).await;
    assert_eq!(different.result, SmokeResult::Different);
    assert!(different.difference.unwrap() > 1.0);
    let entries = studio.ledger("adire").await.unwrap().entries;
    let results: Vec<_> = entries.into_iter().map(|entry| entry.smoke.unwrap().result).collect();
    assert_eq!(results, [SmokeResult::First, SmokeResult::First, SmokeResult::Equal, SmokeResult::Different]);
}

#[tokio::test]
async fn a_version_that_was_promoted_without_a_server_gets_its_smoke_image_at_the_next_start() {
    let (folder, studio, backend) = fresh().await;
    versions(&studio, folder.path(), 1).await;
    studio.shutdown().await;
    let data = crate::DataFolder::open(folder.path()).await.unwrap();
    data.promote("adire@v1", forced("test")).await.unwrap();
    data.close().await;
    let studio = open(folder.path(), backend).await.unwrap();
    let smoke = async {
        loop {
            let entries = studio.ledger("adire").await.unwrap().entries;
            if let Some(smoke) = entries[0].smoke.clone() {
                return smoke;
            }
            tokio::task::yield_now().await;
        }
    };
    let smoke = tokio::time::timeout(PATIENCE, smoke).await.expect("it is made");
    assert_eq!(smoke.result, SmokeResult::First);
}

#[tokio::test]
async fn smoke_images_go_with_their_version() {
    let (_folder, studio) = studio_with(2).await;
    promote(&studio, 1).await.unwrap();
    promote(&studio, 2).await.unwrap();
    let store = store(&studio);
    assert_eq!(store.owners().await, store.expected_owners().await);
    let images = async || store.owners().await.iter().filter(|(kind, _)| kind == "smoke image").count();
    assert_eq!(images().await, 2);
    studio.delete_version("adire@v1").await.unwrap();
    assert_eq!(images().await, 1);
    assert_eq!(store.owners().await, store.expected_owners().await);
}

#[tokio::test]
async fn a_version_that_cannot_be_rendered_is_in_production_and_says_so() {
    let (folder, studio, _) = fresh().await;
    let mut failing = new("adire", None, file(folder.path(), "f", "f"));
    failing.trigger = "fail!".to_owned();
    studio.add_adapter(failing).await.unwrap();
    let entry = studio.promote("adire@v1", forced("test"), Mover::Admin).await.unwrap();
    let smoke = entry.smoke.unwrap();
    assert_eq!(smoke.result, SmokeResult::Failed);
    assert!(smoke.problem.unwrap().contains("asked to fail"));
    assert_eq!(book(&studio).await.production(), Some(1));
}

#[tokio::test]
async fn a_damaged_version_is_replaced_when_a_request_finds_it() {
    let (folder, studio, _) = fresh().await;
    versions(&studio, folder.path(), 2).await;
    let known = studio.adapters().await.unwrap();
    promote(&studio, 1).await.unwrap();
    studio.shutdown().await;
    drop(studio);
    let studio = open(folder.path(), FakeBackend::default()).await.unwrap();
    // The file of version 2 is damaged after it went to production, before it was used.
    studio
        .shared()
        .store
        .append_move("adire", (1, "admin"), |book| {
            promote_by(book, 2, true, "test".to_owned(), &Terms::default())
        })
        .await
        .unwrap();
    damage(folder.path(), &known[0]);
    let named =
        GenerationRequest { adapters: vec![AdapterUse::new("adire@production", 1.0)], ..request("moons") };
    let failed = finished(&studio, &studio.submit(named.clone(), &nobody()).await.unwrap().id).await;
    assert_eq!(failed.spec.adapters[0].name, "adire@v2");
    assert_eq!(failed.state, adire_protocol::GenerationState::Failed);
    let served = finished(&studio, &studio.submit(named, &nobody()).await.unwrap().id).await;
    assert_eq!(served.spec.adapters[0].name, "adire@v1");
    assert_eq!(served.state, adire_protocol::GenerationState::Done);
    assert_eq!(stages(&studio).await, [Stage::Production, Stage::Rejected]);
}
