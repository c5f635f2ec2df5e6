//! The document around every admin page, and which page an address gets.

use adire_studio::ErrorKind;
use leptos::{nonce::use_nonce, prelude::*};

use super::{
    frame::{Place, framed, head},
    overview::{Overview, overview},
    sign_in::{SetUp, SignIn, no_operator, set_up, sign_in},
};
use crate::request::current_theme;

/// An admin page with everything that it shows.
#[derive(Clone)]
pub struct AdminPage {
    content: Content,
    /// Whether there is a session to end; without one, it is this machine's own operator.
    signed_in: bool,
}

#[derive(Clone)]
enum Content {
    SignIn(SignIn),
    SetUp(SetUp),
    NoOperator,
    Overview(Box<Overview>),
    Missing(String),
    Failed(ErrorKind, String),
}

impl AdminPage {
    fn new(content: Content) -> Self {
        Self { content, signed_in: true }
    }

    /// The sign-in page.
    pub fn sign_in(data: SignIn) -> Self {
        Self::new(Content::SignIn(data))
    }

    /// The page that sets the first password.
    pub fn set_up(data: SetUp) -> Self {
        Self::new(Content::SetUp(data))
    }

    /// Why there is nothing to see here.
    pub fn no_operator() -> Self {
        Self::new(Content::NoOperator)
    }

    /// For an address that leads nowhere.
    pub fn missing(sentence: impl Into<String>) -> Self {
        Self::new(Content::Missing(sentence.into()))
    }

    /// The same for who came in without a session.
    pub fn of(mut self, signed_in: bool) -> Self {
        self.signed_in = signed_in;
        self
    }

    /// Why this is not the page that was wanted.
    pub fn problem(&self) -> Option<ErrorKind> {
        match &self.content {
            Content::Missing(_) => Some(ErrorKind::NotFound),
            Content::Failed(kind, _) => Some(*kind),
            _ => None,
        }
    }

    fn title(&self) -> String {
        match &self.content {
            Content::SignIn(_) => "Sign in".to_owned(),
            Content::SetUp(_) => "Set the password".to_owned(),
            Content::NoOperator => "Closed from here".to_owned(),
            Content::Overview(_) => "Overview".to_owned(),
            Content::Missing(_) => "Nothing is here".to_owned(),
            Content::Failed(..) => "This did not work".to_owned(),
        }
    }
}

/// The document that the server sends, with `style` in it.
pub fn admin_shell(page: AdminPage, style: String) -> impl IntoView {
    let title = format!("{} · Adire admin", page.title());
    let signed_in = page.signed_in;
    let body = match page.content {
        Content::SignIn(data) => sign_in(data),
        Content::SetUp(data) => set_up(data),
        Content::NoOperator => no_operator(),
        Content::Overview(data) => framed(Some(Place::Overview), signed_in, overview(*data, signed_in)),
        Content::Missing(sentence) => framed(None, signed_in, told("Nothing is here", sentence)),
        Content::Failed(_, sentence) => framed(None, signed_in, told("This did not work", sentence)),
    };
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=current_theme().name()>
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <title>{title}</title>
                <style nonce=use_nonce() inner_html=style></style>
                <link rel="stylesheet" href="/admin.css" />
                <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
                <script type="module" src="/admin.js"></script>
            </head>
            <body>{body}</body>
        </html>
    }
}

fn told(title: &'static str, sentence: String) -> AnyView {
    view! {
        {head(title, sentence, ())}
        <p>
            <a href="/admin">"Go to the overview"</a>
        </p>
    }
    .into_any()
}
