//! Errors of the studio, as messages to show to the user.

use adire_protocol::{FieldError, ValidationError, capitalised};

/// Why a request to the studio failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudioError {
    /// Fields of the request are wrong.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// Nothing has that id.
    #[error("{} {id} not found.", capitalised(what))]
    NotFound {
        /// `generation`, `image`.
        what: &'static str,
        /// The requested id, shortened.
        id: String,
    },
    /// No adapter version has that name.
    #[error("Adapter {name} not found. {}", known_adapters(known))]
    UnknownAdapter {
        /// The requested name.
        name: String,
        /// The newest versions that exist, the nearest name first.
        known: Vec<String>,
    },
    /// That version exists with another content; versions never change.
    #[error(
        "{id} already exists with different content; versions are immutable. Omit the version to get the next number."
    )]
    AdapterExists {
        /// `name@vN`.
        id: String,
    },
    /// That word stands for another file.
    #[error("“{word}” already names another embedding. Remove that one or choose another word.")]
    EmbeddingExists {
        /// The word.
        word: String,
    },
    /// A training has used the dataset; it never changes again.
    #[error("Dataset {name} is frozen because a training run uses it. Duplicate it to make changes.")]
    Frozen {
        /// The dataset's name.
        name: String,
    },
    /// What was asked of a training does not fit the state that it is in.
    #[error("{0}")]
    Training(String),
    /// The file cannot be used as an adapter of this model.
    #[error("{0}")]
    Adapter(String),
    /// No place is left in the queue.
    #[error("The queue is full ({ahead} queued or running{}). Try again later.", in_about(*wait_ms))]
    QueueFull {
        /// Generations waiting or running.
        ahead: u32,
        /// Expected milliseconds until a new one would start.
        wait_ms: Option<u64>,
    },
    /// The admin has paused the queue's intake.
    #[error("New requests are paused by the admin; what is queued still runs. Try again later.")]
    IntakePaused,
    /// One visitor, or one network, has too many generations waiting.
    #[error(
        "{} {waiting} queued generations; the limit is {most}. Wait for one to finish or cancel one.",
        if *network { "Your network has" } else { "You have" }
    )]
    TooManyWaiting {
        /// Generations that wait.
        waiting: u32,
        /// Most that may.
        most: u32,
        /// Whether those of the whole network are counted.
        network: bool,
    },
    /// What one visitor, or one network, has in the queue costs too much for one more.
    #[error(
        "{} in the queue and this one cost {} megapixel-steps together; the limit is {}. Wait for one to finish, or use fewer images, fewer steps or a smaller size.",
        if *network { "The generations of your network" } else { "Your generations" },
        rounded(*cost),
        rounded(*most)
    )]
    TooMuchWaiting {
        /// Megapixel-steps of those in the queue and this one.
        cost: f64,
        /// Most that there may be.
        most: f64,
        /// Whether those of the whole network are counted.
        network: bool,
    },
    /// One network keeps cancelling its new generations.
    #[error("Too many generations were cancelled before they started. Try again in {retry_after} s.")]
    TooManyWithdrawn {
        /// Seconds after which another try makes sense.
        retry_after: u64,
    },
    /// Too many uploads, or too large ones.
    #[error("{message}")]
    UploadQuota {
        /// What is used up, and what to do.
        message: String,
        /// Seconds after which another try makes sense.
        retry_after: u64,
    },
    /// Too many uploads are being read just now.
    #[error("The server is busy reading images. Try again in a few seconds.")]
    Busy,
    /// A file is larger than is taken.
    #[error("{0}")]
    TooLarge(String),
    /// A file broke off on its way in.
    #[error("{0}")]
    Incomplete(String),
    /// It belongs to another visitor.
    #[error("This generation belongs to another visitor; only that visitor or an admin can {what} it.")]
    NotYours {
        /// `cancel`, `delete`.
        what: &'static str,
    },
    /// The admin does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// It does not fit the state that a thing is in.
    #[error("{0}")]
    Conflict(String),
    /// So little room is left that nothing new is begun.
    #[error(
        "The server's disk is nearly full, so new work is refused; running generations are still saved. Try again later, or ask the admin to free space."
    )]
    LowSpace,
    /// The program is stopping.
    #[error("The server is shutting down. Unfinished generations resume after restart.")]
    ShuttingDown,
    /// Another program holds the data folder.
    #[error("The data folder {folder} is in use by {by}. Stop it, or pass another folder with --data.")]
    InUse {
        /// The data folder.
        folder: String,
        /// `process 123`.
        by: String,
    },
    /// The data folder's disk takes no more.
    #[error("The server's disk is full, so the request failed; no data was lost. Free space and try again.")]
    DiskFull,
    /// The process may open no more files.
    #[error("The server has too many files and connections open. Try again in a moment.")]
    OutOfFiles,
    /// Disk or database; another try may succeed.
    #[error("{0}")]
    Storage(String),
    /// A row that cannot be decoded, or a file that is missing or damaged: another try ends in the same way.
    #[error("{0}")]
    Damaged(String),
    /// The bytes are not a supported image.
    #[error("{0}")]
    Image(String),
    /// The bytes are not a PNG with generation parameters.
    #[error("{0}")]
    Png(String),
    /// The model could not be loaded, or its thread is gone.
    #[error("{0}")]
    Backend(String),
}

/// Category of an error, for callers that map each one to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request failed validation.
    Invalid,
    /// Not found.
    NotFound,
    /// It exists already and never changes, or is in a state in which this cannot be done.
    Conflict,
    /// It belongs to another visitor, or the admin has disabled it.
    Forbidden,
    /// A file is too large.
    TooLarge,
    /// The server is busy, for every caller.
    Busy,
    /// This visitor asks for too much at once.
    TooMany,
    /// The queue takes no more for now.
    QueueFull,
    /// The admin has paused new jobs.
    IntakePaused,
    /// The program is stopping.
    ShuttingDown,
    /// The server's disk is full.
    DiskFull,
    /// An internal error, not the caller's fault.
    Internal,
}

impl StudioError {
    /// One field of a request is wrong. `message`: a sentence.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(ValidationError(vec![FieldError { field: field.into(), message: message.into() }]))
    }

    /// Nothing has the id `id`, which may be anything: its beginning is enough to show.
    pub fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: id.chars().take(80).collect() }
    }

    /// The error's category.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_)
            | Self::UnknownAdapter { .. }
            | Self::Adapter(_)
            | Self::Incomplete(_)
            | Self::Image(_)
            | Self::Png(_) => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AdapterExists { .. }
            | Self::EmbeddingExists { .. }
            | Self::Frozen { .. }
            | Self::Training(_)
            | Self::Conflict(_) => ErrorKind::Conflict,
            Self::NotYours { .. } | Self::NotAllowed(_) => ErrorKind::Forbidden,
            Self::TooLarge(_) => ErrorKind::TooLarge,
            Self::Busy | Self::OutOfFiles => ErrorKind::Busy,
            Self::TooManyWaiting { .. }
            | Self::TooMuchWaiting { .. }
            | Self::TooManyWithdrawn { .. }
            | Self::UploadQuota { .. } => ErrorKind::TooMany,
            Self::QueueFull { .. } => ErrorKind::QueueFull,
            Self::IntakePaused => ErrorKind::IntakePaused,
            Self::ShuttingDown => ErrorKind::ShuttingDown,
            Self::InUse { .. } | Self::Storage(_) | Self::Damaged(_) | Self::Backend(_) => {
                ErrorKind::Internal
            }
            Self::DiskFull | Self::LowSpace => ErrorKind::DiskFull,
        }
    }
}

fn known_adapters(known: &[String]) -> String {
    match known {
        [] => "No adapters are installed.".to_owned(),
        some => format!("Available: {}.", some.join(", ")),
    }
}

fn in_about(wait_ms: Option<u64>) -> String {
    wait_ms.map(|ms| format!(", about {} s in total", ms.div_ceil(1000))).unwrap_or_default()
}

/// A cost without noise: whole from ten up.
pub(crate) fn rounded(cost: f64) -> String {
    if cost >= 10.0 { format!("{cost:.0}") } else { format!("{cost:.1}") }
}
