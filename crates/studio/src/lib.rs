//! Queue, worker, store.
