//! Units that are done together: images of several generations in one batch.

use std::{any::Any, sync::Arc};

use adire_protocol::GenerationSpec;
use futures::future::join_all;

use super::{
    generation::GenerationRun,
    kind::{Progressed, Run},
};
use crate::{queue::Stop, shared::Shared};

/// The next image of a run that may be made together with others'.
pub(super) fn next_image(run: &dyn Run) -> Option<GenerationSpec> {
    (run as &dyn Any).downcast_ref::<GenerationRun>()?.next()
}

/// Does the next unit of a run, or prepares its stop if it must.
pub(super) async fn advance(run: &mut dyn Run, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
    if let Some(stop) = run.hold().stopped() {
        run.save(shared).await?;
        return Err(stop);
    }
    run.unit(shared).await
}

/// Does the next units of runs whose next images share a batch, or of a single run of any kind: one result for each.
pub(super) async fn advance_together(
    runs: &mut [Box<dyn Run>],
    shared: &Arc<Shared>,
) -> Vec<Result<Progressed, Stop>> {
    let first = runs.first().and_then(|run| next_image(run.as_ref()));
    match first.filter(|_| shared.worker.batch() > 1) {
        Some(first) => images(runs, &first, shared).await,
        None => join_all(runs.iter_mut().map(|run| advance(run.as_mut(), shared))).await,
    }
}

async fn images(
    runs: &mut [Box<dyn Run>],
    first: &GenerationSpec,
    shared: &Arc<Shared>,
) -> Vec<Result<Progressed, Stop>> {
    let generations = runs.iter_mut().filter_map(|run| {
        let run: &mut dyn Any = run.as_mut();
        run.downcast_mut::<GenerationRun>()
    });
    let generations: Vec<_> = generations.collect();
    let most = shared.worker.batch();
    let sharing: Vec<_> = generations.iter().map(|run| run.sharing(first, most)).collect();
    // The files of all of them are found before the first image begins.
    let prepared =
        join_all(generations.into_iter().zip(shares(&sharing, most)).map(async |(run, images)| {
            let prepared = run.prepare(shared, images).await;
            (run, prepared)
        }));
    let prepared = prepared.await;
    let jobs: Vec<_> = prepared
        .iter()
        .flat_map(|(run, images)| {
            let stop = &run.hold().stop;
            images.iter().flatten().map(|image| (image.render.clone(), stop.clone()))
        })
        .collect();
    let together = jobs.len() as u32;
    let mut updates = match shared.worker.render_together(jobs) {
        Ok(updates) => updates.into_iter(),
        Err(error) => {
            let message = error.to_string();
            return prepared.iter().map(|_| Err(Stop::Failed(message.clone()))).collect();
        }
    };
    join_all(prepared.into_iter().map(|(run, images)| {
        let images = images.map(|images| images.into_iter().zip(updates.by_ref()).collect());
        async move { run.finish(shared, images?, together).await }
    }))
    .await
}

/// How many images each run has in a batch of `most`: one for each before a second for any.
fn shares(available: &[usize], most: usize) -> Vec<usize> {
    let mut shares = vec![0; available.len()];
    let mut left = most;
    while left > 0 {
        let open: Vec<_> = (0..shares.len()).filter(|at| shares[*at] < available[*at]).take(left).collect();
        if open.is_empty() {
            break;
        }
        left -= open.len();
        open.into_iter().for_each(|at| shares[at] += 1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn every_run_has_one_image_before_any_has_two() {
        assert_eq!(shares(&[4], 4), [4]);
        assert_eq!(shares(&[8, 1, 2], 4), [2, 1, 1]);
        assert_eq!(shares(&[3, 1, 3], 8), [3, 1, 3]);
        assert_eq!(shares(&[1; 6], 4), [1, 1, 1, 1, 0, 0]);
        assert_eq!(shares(&[0, 2], 4), [0, 2]);
    }
}
