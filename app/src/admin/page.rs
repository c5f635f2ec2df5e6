//! The document around every admin page, and which page an address gets.

use adire_protocol::{FieldError, TrainingRequest};
use adire_studio::{ErrorKind, Studio, StudioError};
use leptos::{nonce::use_nonce, prelude::*};

use super::{
    compare::{Comparison, compare},
    dataset::{DatasetPage, dataset},
    datasets::{Datasets, datasets},
    fields::FormInput,
    frame::{Section, framed, head},
    gallery::{Gallery, gallery},
    load,
    overview::{Overview, overview},
    queue::{Queue, queue},
    sign_in::{SetUp, SignIn, local_only, set_up, sign_in},
    training::{TrainingPage, live, training},
    training_form::{self, TrainingForm},
    trainings::{Trainings, trainings},
    versions::{Versions, versions},
};
use crate::request::current_theme;

/// An admin page with everything that it shows.
#[derive(Clone)]
pub struct AdminPage {
    content: Content,
    access: AdminAccess,
}

/// How whoever looks at a page came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAccess {
    /// With the password.
    Password,
    /// By the link that the server printed; there is no password.
    Link,
    /// From the machine itself, as the server was flash to allow; there is no password and no session.
    ThisMachine,
}

#[derive(Clone)]
enum Content {
    SignIn(SignIn),
    SetUp(SetUp),
    LocalOnly,
    Overview(Box<Overview>),
    Queue(Queue),
    Gallery(Gallery),
    Versions(Versions),
    Datasets(Datasets),
    Dataset(Box<DatasetPage>),
    Trainings(Trainings),
    NewTraining(Box<TrainingForm>),
    Training(Box<TrainingPage>),
    Comparison(Comparison),
    Missing(String),
    Failed(ErrorKind, String),
}

impl AdminPage {
    fn new(content: Content) -> Self {
        Self { content, access: AdminAccess::Password }
    }

    fn loaded<T>(data: Result<T, StudioError>, content: impl FnOnce(T) -> Content) -> Self {
        Self::new(data.map_or_else(|error| failed(&error), content))
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
    pub fn local_only() -> Self {
        Self::new(Content::LocalOnly)
    }

    /// Where an operator arrives.
    pub async fn overview(studio: &Studio) -> Self {
        Self::loaded(load::overview(studio).await, |data| Content::Overview(Box::new(data)))
    }

    /// Who waits for what. `flash`: what was just done, or why it was not.
    pub fn queue(studio: &Studio, flash: Option<String>) -> Self {
        Self::new(Content::Queue(Queue { entries: studio.queue_entries(), flash }))
    }

    /// Everybody's images made before `before`. `flash`: what was just done, or why it was not.
    pub async fn gallery(studio: &Studio, before: Option<i64>, flash: Option<String>) -> Self {
        Self::loaded(load::gallery(studio, before, flash).await, Content::Gallery)
    }

    /// Every adapter version. `flash`: why nothing was done.
    pub async fn versions(studio: &Studio, flash: Option<String>) -> Self {
        Self::loaded(studio.versions().await, |all| Content::Versions(Versions { all, flash }))
    }

    /// Every dataset. `flash`: what was just done; `new`: the form for another one.
    pub async fn datasets(studio: &Studio, flash: Option<String>, new: FormInput) -> Self {
        Self::loaded(load::datasets(studio, flash, new).await, Content::Datasets)
    }

    /// One dataset. `flash`: what was just done; `form`: what was sent and could not be taken.
    pub async fn dataset(studio: &Studio, id: &str, flash: Option<String>, form: Option<FormInput>) -> Self {
        Self::loaded(load::dataset(studio, id, flash, form).await, |data| Content::Dataset(Box::new(data)))
    }

    /// Every training.
    pub async fn trainings(studio: &Studio) -> Self {
        Self::loaded(load::trainings(studio).await, Content::Trainings)
    }

    /// The form for a training. `query`: fields to begin with, a `preset`, or the id of one to be like (`from`).
    pub async fn new_training(studio: &Studio, query: FormInput) -> Self {
        Self::loaded(load::new_training(studio, query).await, |data| Content::NewTraining(Box::new(data)))
    }

    /// The form again, with what was typed and what was wrong with it.
    pub async fn invalid_training(studio: &Studio, form: FormInput) -> Self {
        Self::loaded(load::training_form(studio, form).await, |data| Content::NewTraining(Box::new(data)))
    }

    /// One training. `flash`: what was just done, or why it was not.
    pub async fn training(studio: &Studio, id: &str, flash: Option<String>) -> Self {
        Self::loaded(load::training(studio, id, flash).await, |data| Content::Training(Box::new(data)))
    }

    /// Several trainings side by side.
    pub async fn comparison(studio: &Studio, ids: &[String]) -> Self {
        Self::loaded(load::comparison(studio, ids).await, Content::Comparison)
    }

    /// For an address that leads nowhere.
    pub fn missing(sentence: impl Into<String>) -> Self {
        Self::new(Content::Missing(sentence.into()))
    }

    /// For what went wrong on the way.
    pub fn failed(error: &StudioError) -> Self {
        Self::new(failed(error))
    }

    /// The same for who came in by this access.
    pub fn with_access(mut self, access: AdminAccess) -> Self {
        self.access = access;
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
            Content::LocalOnly => "Closed from here".to_owned(),
            Content::Overview(_) => "Overview".to_owned(),
            Content::Queue(_) => "Queue".to_owned(),
            Content::Gallery(_) => "Images".to_owned(),
            Content::Versions(_) => "Versions".to_owned(),
            Content::Datasets(_) => "Datasets".to_owned(),
            Content::Dataset(data) => data.dataset.name.clone(),
            Content::Trainings(_) => "Training".to_owned(),
            Content::NewTraining(_) => "Train an adapter".to_owned(),
            Content::Training(data) => format!("{}, training", data.detail.job.name),
            Content::Comparison(_) => "Compare trainings".to_owned(),
            Content::Missing(_) => "Nothing is here".to_owned(),
            Content::Failed(..) => "This did not work".to_owned(),
        }
    }
}

/// What the form for a training asks for.
///
/// # Errors
/// Every field that cannot be taken, under the form's own names.
pub fn training_request(form: &FormInput) -> Result<TrainingRequest, Vec<FieldError>> {
    training_form::read(form)
}

/// What was wrong with a request, under the names that fields have in forms. An error that belongs to no field has an
/// empty name.
pub fn field_errors(error: StudioError) -> Vec<FieldError> {
    match error {
        StudioError::Invalid(invalid) => training_form::own_names(invalid.0),
        other => vec![FieldError { field: String::new(), message: other.to_string() }],
    }
}

fn failed(error: &StudioError) -> Content {
    match error.kind() {
        ErrorKind::NotFound => Content::Missing(error.to_string()),
        kind => Content::Failed(kind, error.to_string()),
    }
}

/// The document that the server sends, with `style` in it.
pub fn admin_shell(page: AdminPage, style: String) -> impl IntoView {
    let title = format!("{} · Adire admin", page.title());
    let (access, signed_in) = (page.access, page.access != AdminAccess::ThisMachine);
    let at = |place, view| framed(Some(place), signed_in, view);
    let body = match page.content {
        Content::SignIn(data) => sign_in(data),
        Content::SetUp(data) => set_up(data),
        Content::LocalOnly => local_only(),
        Content::Overview(data) => at(Section::Overview, overview(*data, access)),
        Content::Queue(data) => at(Section::Queue, queue(data)),
        Content::Gallery(data) => at(Section::Images, gallery(data)),
        Content::Versions(data) => at(Section::Versions, versions(data)),
        Content::Datasets(data) => at(Section::Datasets, datasets(data)),
        Content::Dataset(data) => at(Section::Datasets, dataset(*data)),
        Content::Trainings(data) => at(Section::Training, trainings(data)),
        Content::NewTraining(data) => at(Section::Training, training_form::training_form(*data)),
        Content::Training(data) => at(Section::Training, training(*data)),
        Content::Comparison(data) => at(Section::Training, compare(data)),
        Content::Missing(sentence) => framed(None, signed_in, flash("Nothing is here", sentence)),
        Content::Failed(_, sentence) => framed(None, signed_in, flash("This did not work", sentence)),
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
                <script type="module" src="/admin.js" nonce=use_nonce()></script>
            </head>
            <body>{body}</body>
        </html>
    }
}

/// The part of a training's page that moves, alone; nothing for other pages.
pub fn admin_live(page: AdminPage) -> impl IntoView {
    match page.content {
        Content::Training(data) => live(*data),
        _ => ().into_any(),
    }
}

fn flash(title: &'static str, sentence: String) -> AnyView {
    view! {
        {head(title, sentence, ())}
        <p>
            <a href="/admin">"Go to the overview"</a>
        </p>
    }
    .into_any()
}
