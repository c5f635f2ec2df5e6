//! The kinds of jobs: a new one has its line here.

use super::{
    evaluation::Evaluations, generation::Generations, kind::Kind, push::Pushes, training::Trainings,
};
use crate::job::JobKind;

/// What is different about a kind.
pub(crate) fn kind_of(kind: JobKind) -> &'static dyn Kind {
    match kind {
        JobKind::Generation => &Generations,
        JobKind::Evaluation => &Evaluations,
        JobKind::Training => &Trainings,
        JobKind::Push => &Pushes,
    }
}

/// Every kind; of those that use the device, the ones first that go first.
pub(crate) fn all_kinds() -> impl Iterator<Item = &'static dyn Kind> {
    JobKind::ALL.into_iter().map(kind_of)
}
