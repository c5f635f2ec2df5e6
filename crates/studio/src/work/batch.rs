//! Units that are done together: images of several generations in one batch.

use std::{any::Any, sync::Arc};

use adire_protocol::GenerationSpec;
use futures::future::join_all;

use super::{
    generation::GenerationRun,
    kind::{Kind, Progressed, Run},
    render::{Started, start},
    rest::end,
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

/// Does the next units of runs whose next images share a batch, or of a single run of any kind. Each that has no more units
/// ends at once, whatever the others have still to do; those that have more are given back.
pub(super) async fn advance_together(
    mut runs: Vec<Box<dyn Run>>,
    kind: &dyn Kind,
    shared: &Arc<Shared>,
) -> Vec<Box<dyn Run>> {
    let first = runs.first().and_then(|run| next_image(run.as_ref()));
    let started = match first.filter(|_| shared.worker.batch() > 1) {
        Some(first) => start_together(&mut runs, &first, shared).await,
        None => runs.iter().map(|_| None).collect(),
    };
    let advanced = runs.into_iter().zip(started).map(async |(mut run, started)| {
        let result = match started {
            None => advance(run.as_mut(), shared).await,
            Some(Err(stop)) => Err(stop),
            Some(Ok(started)) => match generation(run.as_mut()) {
                Some(generation) => generation.finish(shared, started).await,
                None => Ok(Progressed::More),
            },
        };
        match result {
            Ok(Progressed::More) => Some(run),
            result => {
                end(shared, kind, run, result).await;
                None
            }
        }
    });
    join_all(advanced).await.into_iter().flatten().collect()
}

/// Starts the next images of generations in one batch: what follows them, or why there is nothing to follow.
async fn start_together(
    runs: &mut [Box<dyn Run>],
    first: &GenerationSpec,
    shared: &Arc<Shared>,
) -> Vec<Option<Result<Started, Stop>>> {
    let most = shared.worker.batch();
    let holds: Vec<_> = runs.iter().map(|run| run.hold().clone()).collect();
    let mut generations: Vec<_> = runs.iter_mut().filter_map(|run| generation(run.as_mut())).collect();
    let sharing: Vec<_> = generations.iter().map(|run| run.sharing(first, most)).collect();
    // The files of all of them are found before the first image begins.
    let prepared = generations.iter_mut().zip(shares(&sharing, most));
    let mut prepared = join_all(prepared.map(async |(run, images)| run.prepare(shared, images).await)).await;
    let images = prepared.iter_mut().map(|images| images.as_mut().map(std::mem::take).unwrap_or_default());
    match start(shared, images.zip(holds.iter().map(AsRef::as_ref)).collect()) {
        Ok(started) => {
            prepared.into_iter().zip(started).map(|(images, started)| Some(images.map(|_| started))).collect()
        }
        Err(error) => holds.iter().map(|_| Some(Err(Stop::Failed(error.to_string())))).collect(),
    }
}

fn generation(run: &mut dyn Run) -> Option<&mut GenerationRun> {
    (run as &mut dyn Any).downcast_mut()
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
