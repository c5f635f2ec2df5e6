//! Which verdicts promote and how the ledger holds them; notes, and aliases in place of versions.

use adire_protocol::{LedgerAction, PromotionRequest, Stage, VerdictOutcome, VersionChange};

use super::{
    registry::{assert_whole, forced, sentence, store, studio_with},
    *,
};
use crate::{
    Mover,
    evaluation::{policy::Policy, settings},
    ledger::Verdict,
};

/// A passing verdict on `adire@v2`, on the loaded model, against nothing and by the settings of now.
pub(super) async fn given(studio: &Studio) -> Verdict {
    let base = studio.model().hash.clone();
    Verdict {
        version: 2,
        id: String::new(),
        outcome: VerdictOutcome::Pass,
        policy_hash: settings::policy(&store(studio), &base).await.unwrap().hash(),
        base: Some(base),
        champion: None,
        digest: String::new(),
    }
}

#[tokio::test]
async fn a_verdict_that_was_given_on_something_else_does_not_promote() {
    let (_folder, studio) = studio_with(3).await;
    let good = given(&studio).await;
    let plain = || PromotionRequest { reason: "good".to_owned(), force: false };
    let promote = async || studio.promote("adire@v2", plain(), Mover::Admin).await;
    let add = async |id: &str, at, given: Verdict| store(&studio).add_verdict(id, at, &given).await;
    let again = ". Evaluate it again, or force the promotion.";
    let refused = async |why: &str| {
        let found = sentence(promote().await);
        assert_eq!(found, format!("Not promoted: {why}{again}"));
    };

    add("elsewhere", 1, Verdict { base: Some("other".to_owned()), ..good.clone() }).await;
    refused("the last verdict on adire@v2 was given on another base model").await;
    add("unknown", 2, Verdict { base: None, ..good.clone() }).await;
    refused("the last verdict on adire@v2 was given on another base model").await;
    add("weak", 3, Verdict { champion: Some(3), ..good.clone() }).await;
    refused("the last verdict on adire@v2 was given against v3, and nothing is in production").await;
    let muted = Policy::parse("[style]\nmuted = true\n").unwrap().hash();
    add("muted", 4, Verdict { policy_hash: muted, ..good.clone() }).await;
    refused("the gate's settings have changed since the last verdict on adire@v2").await;

    add("good", 5, good.clone()).await;
    // The champion has changed since.
    studio.promote("adire@v1", forced("test"), Mover::Admin).await.unwrap();
    refused("the last verdict on adire@v2 was given against the base model, and v1 is in production").await;
    add("against v1", 6, Verdict { champion: Some(1), ..good.clone() }).await;
    // What was given on something else meanwhile changes nothing.
    let fail = VerdictOutcome::Fail;
    add("later", 7, Verdict { champion: Some(3), outcome: fail, ..good.clone() }).await;
    assert_eq!(promote().await.unwrap().made.verdict.as_deref(), Some("against v1"));
    assert_whole(&studio).await;

    // Without a model, the version's verdict counts on whichever base it was given.
    let (folder, studio) = studio_with(2).await;
    store(&studio).add_verdict("one", 1, &given(&studio).await).await;
    studio.shutdown().await;
    let data = crate::DataFolder::open(folder.path()).await.unwrap();
    let made = data.promote("adire@v2", plain()).await.unwrap();
    assert_eq!(made.verdict.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_version_keeps_a_note() {
    let (_folder, studio) = studio_with(1).await;
    let note = |text: &str| VersionChange { note: Some(text.to_owned()), ..VersionChange::default() };
    let kept = studio.change_version("adire@v1", note(" denser dots ")).await.unwrap();
    assert_eq!((kept.note.as_str(), kept.hidden), ("denser dots", false));
    let hide = VersionChange { hidden: Some(true), ..VersionChange::default() };
    assert_eq!(studio.change_version("adire@v1", hide).await.unwrap().note, "denser dots");
    let long = sentence(studio.change_version("adire@v1", note(&"é".repeat(2001))).await);
    assert!(long.contains("The note has 2001 characters; the limit is 2000."), "{long}");
    assert_eq!(studio.change_version("adire@v1", note("")).await.unwrap().note, "");
}

#[tokio::test]
async fn an_alias_names_the_version_that_changes_and_the_ledger_keeps_its_number() {
    let (_folder, studio) = studio_with(3).await;
    studio.set_alias("adire@v2", "next", "", Mover::Admin).await.unwrap();
    let made = studio.promote("adire@next", forced("test"), Mover::Admin).await.unwrap().made;
    assert_eq!((made.to_version, made.alias.as_deref()), (Some(2), Some("production")));
    let made = studio.set_alias("adire@production", "stable", "", Mover::Admin).await.unwrap();
    assert_eq!((made.alias.as_deref(), made.to_version), (Some("stable"), Some(2)));
    assert_eq!(studio.version_lineage("adire@stable").await.unwrap().root, "version:adire@v2");
    studio.set_alias("adire@v3", "next", "", Mover::Admin).await.unwrap();
    let made = studio.change_stage("adire@next", Stage::Rejected, "test", Mover::Admin).await.unwrap();
    assert_eq!((made.action, made.to_version), (LedgerAction::Reject, Some(3)));
    let unknown = sentence(studio.promote("adire@best", forced("x"), Mover::Admin).await);
    assert_eq!(unknown, "Alias adire@best not found.");
    assert_whole(&studio).await;
}

#[tokio::test]
async fn a_changed_verdict_is_found_by_the_row_that_rests_on_it() {
    for (statement, words) in [
        ("UPDATE verdicts SET outcome = 'fail' WHERE id = 'one'", "was changed after it was given"),
        ("UPDATE verdicts SET criteria = '[1]' WHERE id = 'one'", "was changed after it was given"),
        ("UPDATE verdicts SET champion = 1 WHERE id = 'one'", "was changed after it was given"),
        ("UPDATE moves SET verdict_digest = NULL WHERE number = 1", "was changed after it was written"),
    ] {
        let (_folder, studio) = studio_with(2).await;
        let store = store(&studio);
        store.add_verdict("one", 1, &given(&studio).await).await;
        let plain = PromotionRequest { reason: "good".to_owned(), force: false };
        let made = studio.promote("adire@v2", plain, Mover::Admin).await.unwrap().made;
        assert_eq!(made.verdict_digest.map(|digest| digest.len()), Some(64));
        assert_whole(&studio).await;
        store.disarm().await;
        store.tamper(statement).await.unwrap();
        let fault = studio.verify_ledger("adire").await.unwrap().fault.unwrap();
        assert_eq!(fault.number, 1, "{statement}");
        assert!(fault.message.contains(words), "{statement}: {}", fault.message);
    }
}
