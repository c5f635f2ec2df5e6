//! Whose certificates requests to other servers accept.

use std::sync::OnceLock;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The system's root certificates, where a company adds its own, or those of `SSL_CERT_FILE`; Mozilla's, which are in the
/// program, on a system that has none.
pub(crate) fn roots() -> TlsConfig {
    static ROOTS: OnceLock<RootCerts> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's root certificates cannot be read");
        }
        of(found.certs.iter().map(AsRef::as_ref))
    });
    TlsConfig::builder().root_certs(roots.clone()).build()
}

fn of<'a>(found: impl Iterator<Item = &'a [u8]>) -> RootCerts {
    let mut found = found.map(|certificate| Certificate::from_der(certificate).to_owned()).peekable();
    if found.peek().is_some() { found.into() } else { RootCerts::WebPki }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_certificates_has_those_in_the_program() {
        assert!(matches!(of(std::iter::empty()), RootCerts::WebPki));
        let RootCerts::Specific(roots) = of([&b"one"[..], b"two"].into_iter()) else {
            panic!("the system's come first")
        };
        assert_eq!(roots.len(), 2);
    }
}
