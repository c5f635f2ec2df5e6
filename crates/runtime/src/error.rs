//! The engine's errors as the studio's.

use adire_engine::EngineError;
use adire_protocol::sentence;
use adire_studio::BackendError;

pub(crate) fn backend_error(error: &EngineError) -> BackendError {
    match error {
        EngineError::Cancelled => BackendError::Cancelled,
        error => BackendError::Failed(sentence(&error.to_string())),
    }
}
