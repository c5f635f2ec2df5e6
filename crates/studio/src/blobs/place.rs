//! Where a bucket is and how it is reached.

use std::fmt;

use crate::StudioError;

/// A bucket of an S3 service, with the variables that say how to reach it. It is shown without them.
#[derive(Clone)]
pub struct Bucket {
    pub(super) name: String,
    /// Folders of the bucket that the blobs lie in, joined by `/`; may be empty.
    pub(super) prefix: String,
    pub(super) variables: Vec<(String, String)>,
}

impl Bucket {
    /// The bucket of `s3://bucket/prefix`, with what the environment's `AWS_…` variables say.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn from_environment(url: &str) -> Result<Self, StudioError> {
        Self::new(
            url,
            std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// As [`Self::from_environment`], with other variables.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(
        url: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StudioError> {
        let malformed = || {
            StudioError::Storage(format!(
                "“{}” is not the address of a bucket. It has the form s3://bucket/prefix; user and password are set by \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
                // What comes before an @ may be a password.
                url.rsplit('@').next().unwrap_or_default().chars().take(80).collect::<String>()
            ))
        };
        let path = url.strip_prefix("s3://").ok_or_else(malformed)?;
        let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
        let prefix = prefix.trim_end_matches('/');
        let of_bucket = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let of_prefix = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'=');
        let is_folder = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(of_prefix);
        let fits = (3..=63).contains(&name.len())
            && name.bytes().all(of_bucket)
            && (prefix.is_empty() || prefix.split('/').all(is_folder));
        if !fits {
            return Err(malformed());
        }
        let variables = variables.into_iter().filter(|(key, _)| key.starts_with("AWS_")).collect();
        Ok(Self { name: name.to_owned(), prefix: prefix.to_owned(), variables })
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_its_url_and_shown_without_secrets() {
        let secret = ("AWS_SECRET_ACCESS_KEY".to_owned(), "s3cret".to_owned());
        let other = ("PATH".to_owned(), "/bin".to_owned());
        for (url, shown) in [
            ("s3://studio", "s3://studio"),
            ("s3://studio/", "s3://studio"),
            ("s3://my.studio-1/a/b_c=d/", "s3://my.studio-1/a/b_c=d"),
        ] {
            let bucket = Bucket::new(url, [secret.clone(), other.clone()]).unwrap();
            assert_eq!((bucket.to_string(), format!("{bucket:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(bucket.variables, std::slice::from_ref(&secret));
        }
        for url in [
            "",
            "studio",
            "s3:/studio",
            "https://studio",
            "s3://",
            "s3://ab",
            "s3://Studio",
            "s3://studio//a",
            "s3://studio/../a",
            "s3://studio/a?b",
            "s3://key:s3cret@studio/a",
        ] {
            let error = Bucket::new(url, []).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix") && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
