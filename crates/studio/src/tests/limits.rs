//! What one visitor, one network and all together may have: the queue, its costs, uploads, the disk's reserve.

use adire_protocol::{GenerationState, QueueOwner};

use super::*;
use crate::{Caps, ErrorKind, Pixels, Retention, png::encode_bare};

async fn with(caps: Caps) -> (TempDir, Studio, StepLatch) {
    let folder = tempfile::tempdir().unwrap();
    let (backend, latch) = FakeBackend::latched();
    let config = StudioConfig { caps, ..StudioConfig::new(folder.path()) };
    let studio = Studio::open(config, move || Ok(backend)).await.unwrap();
    (folder, studio, latch)
}

/// Something runs, so that everything else waits.
async fn occupied(caps: Caps) -> (TempDir, Studio, StepLatch) {
    let (folder, studio, latch) = with(caps).await;
    let running = studio.submit(request("runs"), &nobody()).await.unwrap();
    until(&studio, &running.id, "started").await;
    (folder, studio, latch)
}

async fn image(studio: &Studio, shade: u8, client: &Client) -> Result<String, StudioError> {
    let pixels = Pixels { width: 8, height: 8, rgb: vec![shade; 192] };
    Ok(studio.upload(coming(encode_bare(&pixels).unwrap()), crate::ImageUse::Colours, client).await?.hash)
}

#[tokio::test]
async fn a_network_cannot_take_the_queue_with_any_number_of_cookies() {
    let (_folder, studio, _latch) = occupied(Caps::default()).await;
    let mut refused = None;
    for i in 0..40 {
        // A new cookie each time, and an address of the same /64.
        let client = at(Some(&format!("cookie {i}")), &format!("2001:db8:0:1::{i:x}"));
        if let Err(error) = studio.submit(request("many"), &client).await {
            refused = Some((i, error));
            break;
        }
    }
    let (taken, error) = refused.expect("the network has a limit");
    assert_eq!(taken, 16);
    assert!(matches!(error, StudioError::TooManyWaiting { network: true, .. }), "{error:?}");
    assert!(error.to_string().starts_with("Your network has 16 queued generations"), "{error}");
    // Without a cookie, at yet another address, there is a place.
    let honest = at(None, "192.0.2.1");
    let place = studio.submit(request("honest"), &honest).await.unwrap();
    assert_eq!(place.ahead, Some(17));
    // Requests without a cookie are counted by their network.
    for _ in 0..7 {
        studio.submit(request("program"), &honest).await.unwrap();
    }
    let ninth = studio.submit(request("program"), &honest).await.unwrap_err();
    assert!(matches!(ninth, StudioError::TooManyWaiting { waiting: 8, network: false, .. }), "{ninth:?}");
    assert_eq!(ninth.kind(), ErrorKind::TooMany);
}

#[tokio::test]
async fn costs_are_bounded_for_each_request_and_for_all_of_a_visitor() {
    // 64 × 64 pixels in 4 steps: 0.016 megapixel-steps.
    let caps = Caps { cost: Some(0.1), waiting_cost: Some(0.2), ..Caps::default() };
    let (_folder, studio, _latch) = occupied(caps).await;
    let of = |count| GenerationRequest { count: Some(count), ..request("moons") };
    let client = at(Some("me"), "192.0.2.1");
    let large = studio.submit(of(8), &client).await.unwrap_err();
    assert!(large.kind() == ErrorKind::Invalid && large.to_string().contains("megapixel-steps"), "{large}");
    for _ in 0..2 {
        studio.submit(of(6), &client).await.unwrap();
    }
    let error = studio.submit(of(1), &client).await.unwrap_err();
    assert!(matches!(error, StudioError::TooMuchWaiting { network: false, .. }), "{error:?}");
    // Two more visitors fill the network's budget.
    studio.submit(of(6), &at(Some("second"), "192.0.2.1")).await.unwrap();
    studio.submit(of(6), &at(Some("third"), "192.0.2.1")).await.unwrap();
    let error = studio.submit(of(1), &at(Some("fourth"), "192.0.2.1")).await.unwrap_err();
    assert!(matches!(error, StudioError::TooMuchWaiting { network: true, .. }), "{error:?}");
    studio.submit(of(6), &at(Some("elsewhere"), "192.0.2.2")).await.unwrap();
}

#[tokio::test]
async fn the_admin_sees_the_queue_and_cancels_one_or_all_of_a_network() {
    let (_folder, studio, latch) = occupied(Caps::default()).await;
    let (bad, good) = (at(Some("bad"), "198.51.100.7"), at(Some("good"), "192.0.2.1"));
    let first = studio.submit(request("bad one"), &bad).await.unwrap();
    let honest = studio.submit(request("a good one"), &good).await.unwrap();
    studio.submit(request("bad two"), &at(None, "198.51.100.7")).await.unwrap();
    let seen = studio.queue_entries();
    let states: Vec<_> = seen.iter().map(|entry| entry.state).collect();
    assert_eq!(states[0], GenerationState::Running);
    assert_eq!(seen.len(), 4);
    let entry = seen.iter().find(|entry| entry.id == first.id).unwrap();
    assert_eq!((entry.network.as_deref(), entry.prompt.as_str()), (Some("198.51.100.7"), "bad one"));
    let visitor = entry.visitor.clone().unwrap();
    assert!(!visitor.contains("bad"), "the list has a digest, not the cookie: {visitor}");
    assert!(studio.cancel_all(QueueOwner::default()).await.is_err(), "nobody is named");
    let of = QueueOwner { network: Some("198.51.100.7".to_owned()), visitor: None };
    assert_eq!(studio.cancel_all(of).await.unwrap(), 2);
    assert_eq!(studio.generation(&first.id).await.unwrap().state, GenerationState::Cancelled);
    assert_eq!(studio.queue_entries().len(), 2);
    drop(latch);
    assert_eq!(finished(&studio, &honest.id).await.state, GenerationState::Done);
    let row = studio.shared().store.generation(&honest.id).await.unwrap().unwrap();
    assert_eq!(row.network, None, "the address is forgotten when it has ended");
}

#[tokio::test]
async fn only_the_visitor_that_asked_and_the_admin_cancel() {
    let (_folder, studio, _latch) = occupied(Caps::default()).await;
    let mine = studio.submit(request("mine"), &who("me")).await.unwrap();
    for stranger in [who("them"), nobody(), at(None, "192.0.2.1")] {
        let error = studio.cancel(&mine.id, By::Client(&stranger)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    }
    assert_eq!(studio.generation(&mine.id).await.unwrap().state, GenerationState::Queued, "it still waits");
    let cancelled = studio.cancel(&mine.id, By::Client(&who("me"))).await.unwrap();
    assert_eq!(cancelled.state, GenerationState::Cancelled);
    let program = studio.submit(request("program"), &at(None, "192.0.2.1")).await.unwrap();
    studio.cancel(&program.id, By::Client(&nobody())).await.unwrap();
    let theirs = studio.submit(request("theirs"), &who("them")).await.unwrap();
    studio.cancel(&theirs.id, By::Admin).await.unwrap();
}

#[tokio::test]
async fn what_waited_too_long_over_a_stop_is_dropped() {
    let (folder, studio, _latch) = occupied(Caps::default()).await;
    let old = studio.submit(request("old"), &who("me")).await.unwrap();
    drop(studio);
    let retention = Retention { keep_waiting: Duration::ZERO, ..Retention::default() };
    let config = StudioConfig { retention, ..StudioConfig::new(folder.path()) };
    // A row of this very millisecond counts as new.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let studio = Studio::open(config, || Ok(FakeBackend::default())).await.unwrap();
    let record = studio.generation(&old.id).await.unwrap();
    assert_eq!(record.state, GenerationState::Cancelled);
    assert!(record.error.unwrap().contains("stopped before this generation finished"));
    assert_eq!(studio.queue().ahead, 0);
}

#[tokio::test]
async fn uploads_are_counted_for_visitors_networks_and_all() {
    let caps = Caps { uploads: 2, ..Caps::default() };
    let (_folder, studio, _latch) = with(caps).await;
    let me = at(Some("me"), "192.0.2.1");
    image(&studio, 1, &me).await.unwrap();
    image(&studio, 2, &me).await.unwrap();
    let third = image(&studio, 3, &me).await.unwrap_err();
    assert!(third.kind() == ErrorKind::TooMany && third.to_string().contains("2 images"), "{third}");
    // Other cookies help until the network's own limit.
    for (i, shade) in (0..6).zip(10..) {
        image(&studio, shade, &at(Some(&format!("other {i}")), "192.0.2.1")).await.unwrap();
    }
    let network = image(&studio, 30, &at(Some("one more"), "192.0.2.1")).await.unwrap_err();
    assert!(network.to_string().contains("Your network's"), "{network}");
    image(&studio, 31, &at(None, "192.0.2.9")).await.unwrap();

    let (_folder, studio, _latch) = with(Caps { upload_bytes: 10, ..Caps::default() }).await;
    let large = image(&studio, 1, &me).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooMany, "{large}");
    let (folder, studio, _latch) = with(Caps { all_upload_bytes: 10, ..Caps::default() }).await;
    let all = image(&studio, 1, &nobody()).await.unwrap_err();
    assert!(all.to_string().contains("Upload storage is full"), "{all}");
    let incoming = std::fs::read_dir(folder.path().join("blobs/incoming")).unwrap().count();
    assert_eq!(incoming, 0, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn a_line_of_uploads_is_short_for_each_network() {
    let (_folder, studio, _latch) = with(Caps::default()).await;
    let shared = studio.shared();
    let near = (&at(None, "192.0.2.1")).into();
    let places: Vec<_> = (0..4).map(|_| shared.decoders.line_up(&near).unwrap()).collect();
    assert!(matches!(shared.decoders.line_up(&near), Err(StudioError::Busy)));
    assert!(matches!(studio.in_turn(&at(None, "192.0.2.1"), || ()).await, Err(StudioError::Busy)));
    // Others are not held up.
    image(&studio, 1, &at(None, "192.0.2.2")).await.unwrap();
    drop(places);
    image(&studio, 2, &at(None, "192.0.2.1")).await.unwrap();
}

#[tokio::test]
async fn a_nearly_full_disk_takes_nothing_new_and_stores_what_runs() {
    let (_folder, studio, latch) = with(Caps::default()).await;
    let running = submit(&studio, "running").await;
    let waiting = submit(&studio, "waiting").await;
    studio.shared().disk.set_reserve(u64::MAX);
    let error = studio.submit(request("late"), &who("me")).await.unwrap_err();
    assert!(matches!(error, StudioError::LowSpace), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    let error = image(&studio, 1, &nobody()).await.unwrap_err();
    assert!(matches!(error, StudioError::LowSpace), "{error:?}");
    drop(latch);
    for id in [&running.id, &waiting.id] {
        assert_eq!(finished(&studio, id).await.images.len(), 1);
    }
    studio.shared().disk.set_reserve(0);
    submit(&studio, "again").await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_cut_off() {
    let (_folder, studio, _latch) = with(Caps::default()).await;
    let endless = futures::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(vec![0; 1 << 20]));
    let error = studio.upload(endless, crate::ImageUse::Colours, &nobody()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("20 MiB"), "{error}");
}

#[tokio::test]
async fn asking_and_cancelling_all_the_time_is_slowed_down() {
    let (_folder, studio, _latch) = occupied(Caps::default()).await;
    let client = at(None, "192.0.2.1");
    let mut taken = 0;
    let error = loop {
        match studio.submit(request("never mind"), &client).await {
            Ok(generation) => studio.cancel(&generation.id, By::Client(&client)).await.unwrap(),
            Err(error) => break error,
        };
        taken += 1;
        assert!(taken < 500, "nothing slows it down");
    };
    assert!(matches!(error, StudioError::TooManyWithdrawn { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::TooMany);
    studio.submit(request("somebody else"), &at(None, "192.0.2.2")).await.unwrap();
}
