//! Kinds of failure, recognised by the message: few enough for a label, and without what a message may name.

/// Words of a message and the kind that they mean; the first that fits.
const WORDS: [(&str, &str); 19] = [
    ("out of memory", "out_of_memory"),
    ("out_of_memory", "out_of_memory"),
    ("more memory than is available", "out_of_memory"),
    ("engine crashed", "crash"),
    ("server crashed", "crash"),
    ("panicked", "crash"),
    ("worker thread has stopped", "worker"),
    ("without being cancelled", "worker"),
    ("not a number", "numbers"),
    ("not finite", "numbers"),
    ("nan", "numbers"),
    ("disk", "storage"),
    ("could not be read", "storage"),
    ("could not be written", "storage"),
    ("database", "storage"),
    ("blobs", "storage"),
    ("adapter", "adapter"),
    (".safetensors", "adapter"),
    ("the file of", "adapter"),
];

/// The kind of failure that a message tells of.
pub(crate) fn cause(message: &str) -> &'static str {
    let message = message.to_lowercase();
    let is_in = |words: &str| match words {
        // A word of its own.
        "nan" => message.split(|c: char| !c.is_alphanumeric()).any(|word| word == "nan"),
        words => message.contains(words),
    };
    WORDS.into_iter().find(|(words, _)| is_in(words)).map_or("other", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn messages_of_one_kind_have_one_cause() {
        for (message, kind) in [
            ("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", "out_of_memory"),
            ("The engine crashed (index out of bounds). Only this request failed.", "crash"),
            ("The server crashed 3 times during this generation, so it is not retried.", "crash"),
            ("The worker thread has stopped. Restart the server.", "worker"),
            ("The latent is NaN after step 3.", "numbers"),
            ("Nantes is a city", "other"),
            ("blobs/ab could not be read or written: Input/output error.", "storage"),
            ("Adapter adire@v1 was deleted while this generation was queued.", "adapter"),
            ("The file of adire@v1 is missing.", "adapter"),
            ("The fake engine was asked to fail.", "other"),
            ("", "other"),
        ] {
            assert_eq!(cause(message), kind, "{message}");
        }
    }
}
