//! The events of a generation.

use adire_protocol::{Event, GenerationEvent};

use crate::{
    StudioError,
    queue::{Live, Place},
    shared::Shared,
};

/// What is new about a generation since `cursor`, and whether that is all there will be.
pub(super) async fn news(
    shared: &Shared,
    id: &str,
    cursor: u64,
    live: Live,
) -> Result<(Vec<Event>, bool), StudioError> {
    let known = live.known_above(cursor).map(|events| events.cloned().collect());
    let mut events: Vec<Event> = match known {
        Some(known) => known,
        None if live.may_have_stored(cursor) => stored_events(shared, id, cursor).await?,
        None => Vec::new(),
    };
    if let Some(Event { event: event @ GenerationEvent::Queued { .. }, .. }) = events.first_mut() {
        // The place that it has now.
        *event = place(shared, id);
    }
    let newest = events.last().map_or(cursor, |event| event.id);
    if let Some(passing) = live.passing.filter(|passing| passing.id > newest) {
        let is_queued = |event: &Event| matches!(event.event, GenerationEvent::Queued { .. });
        if is_queued(&passing) {
            // The position it has now.
            events.pop_if(|event| is_queued(event));
        }
        events.push(passing);
    }
    let ended = match events.last() {
        Some(event) => event.event.is_last(),
        // Its last event has been seen before, unless it is another node that runs it.
        None if live.stored == 0 => {
            shared.store.generation(id).await?.is_none_or(|row| row.state().is_final())
        }
        None => false,
    };
    Ok((events, ended))
}

fn place(shared: &Shared, id: &str) -> GenerationEvent {
    shared.work.place(id).unwrap_or(Place::FIRST).event()
}

/// The stored events of a generation above `after`, oldest first.
async fn stored_events(shared: &Shared, id: &str, after: u64) -> Result<Vec<Event>, StudioError> {
    let mut events = Vec::new();
    let mut rows = shared.store.job_events(id, after).await?;
    // What was before it waited again does not matter any more.
    if let Some(again) = rows.iter().rposition(|(_, name)| name == "queued") {
        rows.drain(..again);
    }
    for (number, name) in rows {
        let event = match name.as_str() {
            "queued" => place(shared, id),
            "started" => GenerationEvent::Started,
            "done" => GenerationEvent::Done,
            "cancelled" => GenerationEvent::Cancelled,
            "failed" => {
                let row = shared.store.generation(id).await?;
                GenerationEvent::Failed { message: row.and_then(|row| row.error).unwrap_or_default() }
            }
            _ => continue,
        };
        events.push(Event { id: number, event });
    }
    for image in shared.store.images_after(id, after).await? {
        let number = image.event.cast_unsigned();
        events.push(Event { id: number, event: GenerationEvent::Image { image: Box::new(image.record()?) } });
    }
    events.sort_by_key(|event| event.id);
    Ok(events)
}
