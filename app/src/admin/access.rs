//! How an admin came in, for pages that say so.

/// How the request was authorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    /// Signed in with the password.
    Password,
    /// By the printed link; no password is set.
    Link,
    /// From the server's machine with `--open-admin`; no password is set and there is no session.
    ThisMachine,
}
