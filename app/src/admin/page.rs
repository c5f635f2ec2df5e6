//! The document around every admin page, and the page of each address.

use adire_protocol::{
    FieldError, ImportedRun, ImportedRunDetail, Monitoring, Period, SheetDetail, TrainingRequest,
};
use adire_studio::{ErrorKind, Studio, StudioError};
use leptos::{nonce::use_nonce, prelude::*};

use super::{
    access::AdminAccess,
    alerts::{AlertsPage, alerts},
    compare::{Comparison, compare},
    comparisons::{Comparisons, comparisons},
    dataset::{DatasetPage, dataset},
    datasets::{Datasets, datasets},
    embeddings::{Embeddings, embeddings},
    evaluation::{EvaluationPage, evaluation, evaluation_live},
    evaluations::{Evaluations, evaluations},
    fields::FormInput,
    flags::{Flags, flags},
    frame::{Section, framed, head},
    gallery::{Gallery, gallery},
    gate::{Gate, gate},
    image::{ImagePage, image},
    imported::{imported_run, imported_runs},
    load,
    monitoring::monitoring,
    overview::{Overview, overview},
    queue::{Queue, queue},
    sheet::{self, sheet, sheet_live},
    sheets::{Sheets, sheets},
    sign_in::{SetUp, SignIn, local_only, set_up, sign_in},
    suite::{SuitePage, suite},
    tokens::{NewToken, TokenRow, TokensPage, tokens},
    tonight::{self, Tonight},
    training::{TrainingPage, live, training},
    training_form::{self, TrainingForm},
    trainings::{Trainings, trainings},
    version::{VersionPage, version},
    versions::{Versions, versions},
    versions_compare::{VersionComparison, compare_versions},
    wildcards::{WildcardsPage, wildcards},
};
use crate::request::current_theme;

/// An admin page with its data.
#[derive(Clone)]
pub struct AdminPage {
    content: Content,
    access: AdminAccess,
}

#[derive(Clone)]
enum Content {
    SignIn(SignIn),
    SetUp(SetUp),
    LocalOnly,
    Overview(Box<Overview>),
    Queue(Queue),
    Monitoring(Box<Monitoring>),
    Alerts(Box<AlertsPage>),
    Gallery(Gallery),
    Flags(Flags),
    Suite(SuitePage),
    Wildcards(WildcardsPage),
    Embeddings(Embeddings),
    Image(Box<ImagePage>),
    Versions(Versions),
    Version(Box<VersionPage>),
    Datasets(Datasets),
    Dataset(Box<DatasetPage>),
    Trainings(Trainings),
    NewTraining(Box<TrainingForm>),
    Training(Box<TrainingPage>),
    ImportedRuns(Vec<ImportedRun>),
    ImportedRun(Box<ImportedRunDetail>),
    Comparison(Comparison),
    Evaluations(Box<Evaluations>),
    Evaluation(Box<EvaluationPage>),
    VersionComparison(Box<VersionComparison>),
    Gate(Gate),
    Sheets(Box<Sheets>),
    Sheet(Box<(SheetDetail, Option<String>)>),
    Comparisons(Comparisons),
    Tokens(Box<TokensPage>),
    Tonight(Tonight),
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

    /// The page that explains the printed link.
    pub fn local_only() -> Self {
        Self::new(Content::LocalOnly)
    }

    /// The overview.
    pub async fn overview(studio: &Studio) -> Self {
        Self::loaded(load::overview(studio).await, |data| Content::Overview(Box::new(data)))
    }

    /// The queue. `flash`: message about the last action.
    pub async fn queue(studio: &Studio, flash: Option<String>) -> Self {
        Self::loaded(studio.jobs().await, |queue| Content::Queue(Queue { queue, flash }))
    }

    /// Figures of generations. `version`: only of those with these adapters, where figures are not of each.
    pub async fn monitoring(studio: &Studio, period: Period, version: Option<String>) -> Self {
        let loaded = studio.monitoring(period, version).await;
        Self::loaded(loaded, |data| Content::Monitoring(Box::new(data)))
    }

    /// Alerts. `form`: settings that were refused; `flash`: message about the last action.
    pub async fn alerts(studio: &Studio, form: Option<FormInput>, flash: Option<String>) -> Self {
        let loaded = studio.alerts().await;
        Self::loaded(loaded, |alerts| Content::Alerts(Box::new(AlertsPage { alerts, form, flash })))
    }

    /// Images of all visitors created before `before`. `flash`: message about the last action.
    pub async fn gallery(studio: &Studio, before: Option<i64>, flash: Option<String>) -> Self {
        Self::loaded(load::gallery(studio, before, flash).await, Content::Gallery)
    }

    /// One image, by its hash, with its lineage.
    pub async fn image(studio: &Studio, hash: &str) -> Self {
        let loaded = studio.image_lineage(hash).await;
        Self::loaded(loaded, |lineage| Content::Image(Box::new(ImagePage { lineage })))
    }

    /// Every adapter version. `flash`: message about the last action; `new`: the form for a file.
    pub async fn versions(studio: &Studio, flash: Option<String>, new: FormInput) -> Self {
        Self::loaded(load::versions(studio, flash, new).await, Content::Versions)
    }

    /// Every embedding. `flash`: message about the last action; `new`: the form for a file.
    pub async fn embeddings(studio: &Studio, flash: Option<String>, new: FormInput) -> Self {
        Self::loaded(studio.embeddings().await, |all| Content::Embeddings(Embeddings { all, flash, new }))
    }

    /// One adapter version, `name@vN` or `name@alias`. `at`: milliseconds since 1970 of which the page says what was in
    /// production then; `flash`: message about the last action.
    pub async fn version(studio: &Studio, id: &str, at: Option<i64>, flash: Option<String>) -> Self {
        Self::loaded(load::version(studio, id, at, flash).await, |data| Content::Version(Box::new(data)))
    }

    /// Every dataset. `flash`: message about the last action; `new`: the form for a new one.
    pub async fn datasets(studio: &Studio, flash: Option<String>, new: FormInput) -> Self {
        Self::loaded(load::datasets(studio, flash, new).await, Content::Datasets)
    }

    /// One dataset. `flash`: message about the last action; `form`: the input that was refused.
    pub async fn dataset(studio: &Studio, id: &str, flash: Option<String>, form: Option<FormInput>) -> Self {
        Self::loaded(load::dataset(studio, id, flash, form).await, |data| Content::Dataset(Box::new(data)))
    }

    /// Every training run.
    pub async fn trainings(studio: &Studio) -> Self {
        Self::loaded(load::trainings(studio).await, Content::Trainings)
    }

    /// The form for a training run. `query`: initial fields, a `preset`, or the id of a run to duplicate (`from`).
    pub async fn new_training(studio: &Studio, query: FormInput) -> Self {
        Self::loaded(load::new_training(studio, query).await, |data| Content::NewTraining(Box::new(data)))
    }

    /// The form again, with its input and errors.
    pub async fn invalid_training(studio: &Studio, form: FormInput) -> Self {
        Self::loaded(load::training_form(studio, form).await, |data| Content::NewTraining(Box::new(data)))
    }

    /// One training run. `flash`: message about the last action.
    pub async fn training(studio: &Studio, id: &str, flash: Option<String>) -> Self {
        Self::loaded(load::training(studio, id, flash).await, |data| Content::Training(Box::new(data)))
    }

    /// Runs that were taken over from MLflow.
    pub async fn imported_runs(studio: &Studio) -> Self {
        Self::loaded(studio.imported_runs().await, Content::ImportedRuns)
    }

    /// One of them.
    pub async fn imported_run(studio: &Studio, id: &str) -> Self {
        Self::loaded(studio.imported_run(id).await, |data| Content::ImportedRun(Box::new(data)))
    }

    /// Training runs side by side.
    pub async fn comparison(studio: &Studio, ids: &[String]) -> Self {
        Self::loaded(load::comparison(studio, ids).await, Content::Comparison)
    }

    /// Every evaluation. `new`: the form for a new one.
    pub async fn evaluations(studio: &Studio, new: FormInput) -> Self {
        Self::loaded(load::evaluations(studio, new).await, |data| Content::Evaluations(Box::new(data)))
    }

    /// One evaluation. `flash`: message about the last action.
    pub async fn evaluation(studio: &Studio, id: &str, flash: Option<String>) -> Self {
        let loaded = load::evaluation(studio, id, flash).await;
        Self::loaded(loaded, |data| Content::Evaluation(Box::new(data)))
    }

    /// Two versions over the same prompts. `query`: `left` and `right`, `name@vN` or empty for the base model.
    pub async fn version_comparison(studio: &Studio, query: FormInput) -> Self {
        Self::loaded(load::version_comparison(studio, query).await, |data| {
            Content::VersionComparison(Box::new(data))
        })
    }

    /// The gate's settings. `form`: the input that was refused; `flash`: message about the last action.
    pub async fn gate(studio: &Studio, form: Option<FormInput>, flash: Option<String>) -> Self {
        Self::loaded(load::gate(studio, form, flash).await, Content::Gate)
    }

    /// Every sheet. `new`: the form for a new one.
    pub async fn sheets(studio: &Studio, new: FormInput) -> Self {
        Self::loaded(load::sheets(studio, new).await, |data| Content::Sheets(Box::new(data)))
    }

    /// One sheet. `flash`: message about the last action.
    pub async fn sheet(studio: &Studio, id: &str, flash: Option<String>) -> Self {
        Self::loaded(studio.sheet(id).await, |data| Content::Sheet(Box::new((data, flash))))
    }

    /// Blind votes. `origin`: scheme and host of the request; `flash`: message about the last action.
    pub async fn comparisons(studio: &Studio, origin: String, flash: Option<String>) -> Self {
        Self::loaded(studio.comparisons().await, |comparisons| {
            Content::Comparisons(Comparisons { comparisons, origin, flash })
        })
    }

    /// From an empty dataset to a public link. `origin`: scheme and host of the request; `public`: whether others can reach
    /// that host.
    pub async fn tonight(studio: &Studio, origin: String, public: bool) -> Self {
        Self::loaded(tonight::load(studio, origin, public).await, Content::Tonight)
    }

    /// Reported images. `flash`: message about the last action.
    pub async fn flags(studio: &Studio, flash: Option<String>) -> Self {
        Self::loaded(studio.flags().await, |flags| Content::Flags(Flags { flags, flash }))
    }

    /// The model's own suite. `form`: the input that was refused; `flash`: message about the last action.
    pub async fn suite(studio: &Studio, form: Option<FormInput>, flash: Option<String>) -> Self {
        Self::loaded(studio.suite().await, |(text, changed)| {
            let form = form.unwrap_or_else(|| {
                let mut form = FormInput::default();
                form.set("suite", text);
                form
            });
            Content::Suite(SuitePage { form, changed, flash })
        })
    }

    /// The wildcard lists. `form`: the input that was refused; `flash`: message about the last action.
    pub async fn wildcards(studio: &Studio, form: Option<FormInput>, flash: Option<String>) -> Self {
        Self::loaded(studio.wildcards_text().await, |text| {
            let form = form.unwrap_or_else(|| {
                let mut form = FormInput::default();
                form.set("wildcards", text);
                form
            });
            Content::Wildcards(WildcardsPage { form, flash })
        })
    }

    /// Tokens of programs. `form`: input that was refused; `new`: one that was just created.
    pub fn tokens(
        tokens: Vec<TokenRow>,
        form: FormInput,
        new: Option<NewToken>,
        flash: Option<String>,
    ) -> Self {
        Self::new(Content::Tokens(Box::new(TokensPage { tokens, form, new, flash })))
    }

    /// For an unknown address.
    pub fn missing(sentence: impl Into<String>) -> Self {
        Self::new(Content::Missing(sentence.into()))
    }

    /// For a failed request.
    pub fn failed(error: &StudioError) -> Self {
        Self::new(failed(error))
    }

    /// The same page with how the request was authorised.
    pub fn with_access(mut self, access: AdminAccess) -> Self {
        self.access = access;
        self
    }

    /// The kind of problem, if this is an error page.
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
            Content::SetUp(_) => "Set password".to_owned(),
            Content::LocalOnly => "Admin pages are closed".to_owned(),
            Content::Overview(_) => "Overview".to_owned(),
            Content::Queue(_) => "Queue".to_owned(),
            Content::Monitoring(_) => "Monitoring".to_owned(),
            Content::Alerts(_) => "Alerts".to_owned(),
            Content::Gallery(_) => "Images".to_owned(),
            Content::Flags(_) => "Reports".to_owned(),
            Content::Suite(_) => "Suite".to_owned(),
            Content::Wildcards(_) => "Wildcards".to_owned(),
            Content::Embeddings(_) => "Embeddings".to_owned(),
            Content::Image(_) => "Image".to_owned(),
            Content::Versions(_) => "Versions".to_owned(),
            Content::Version(data) => data.listed.version.id(),
            Content::Datasets(_) => "Datasets".to_owned(),
            Content::Dataset(data) => data.dataset.name.clone(),
            Content::Trainings(_) => "Training".to_owned(),
            Content::NewTraining(_) => "Train adapter".to_owned(),
            Content::Training(data) => format!("{}, training run", data.detail.run.name),
            Content::ImportedRuns(_) => "Imported runs".to_owned(),
            Content::ImportedRun(data) => format!("{}, imported run", data.run.name),
            Content::Comparison(_) => "Compare runs".to_owned(),
            Content::Evaluations(_) => "Evaluation".to_owned(),
            Content::Evaluation(data) => format!("{}, evaluation", data.detail.evaluation.version),
            Content::VersionComparison(_) => "Compare versions".to_owned(),
            Content::Gate(_) => "Gate settings".to_owned(),
            Content::Sheets(_) => "Sheets".to_owned(),
            Content::Sheet(data) => sheet::title(&data.0.sheet),
            Content::Comparisons(_) => "Blind votes".to_owned(),
            Content::Tokens(_) => "API tokens".to_owned(),
            Content::Tonight(_) => "Live tonight".to_owned(),
            Content::Missing(_) => "Page not found".to_owned(),
            Content::Failed(..) => "Request failed".to_owned(),
        }
    }
}

/// The training request of a form.
///
/// # Errors
/// Errors of all invalid fields, under the form's names.
pub fn training_request(form: &FormInput) -> Result<TrainingRequest, Vec<FieldError>> {
    training_form::read(form)
}

/// Field errors of a request, under the form's names. A general error has an empty field name.
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
        Content::Monitoring(data) => at(Section::Monitoring, monitoring(*data)),
        Content::Alerts(data) => at(Section::Monitoring, alerts(*data)),
        Content::Gallery(data) => at(Section::Images, gallery(data)),
        Content::Flags(data) => at(Section::Images, flags(data)),
        Content::Suite(data) => at(Section::Evaluation, suite(data)),
        Content::Wildcards(data) => at(Section::Wildcards, wildcards(data)),
        Content::Embeddings(data) => at(Section::Versions, embeddings(data)),
        Content::Image(data) => at(Section::Images, image(*data)),
        Content::Versions(data) => at(Section::Versions, versions(data)),
        Content::Version(data) => at(Section::Versions, version(*data)),
        Content::Datasets(data) => at(Section::Datasets, datasets(data)),
        Content::Dataset(data) => at(Section::Datasets, dataset(*data)),
        Content::Trainings(data) => at(Section::Training, trainings(data)),
        Content::NewTraining(data) => at(Section::Training, training_form::training_form(*data)),
        Content::Training(data) => at(Section::Training, training(*data)),
        Content::ImportedRuns(data) => at(Section::Training, imported_runs(data)),
        Content::ImportedRun(data) => at(Section::Training, imported_run(*data)),
        Content::Comparison(data) => at(Section::Training, compare(data)),
        Content::Evaluations(data) => at(Section::Evaluation, evaluations(*data)),
        Content::Evaluation(data) => at(Section::Evaluation, evaluation(*data)),
        Content::VersionComparison(data) => at(Section::Evaluation, compare_versions(*data)),
        Content::Gate(data) => at(Section::Evaluation, gate(data)),
        Content::Sheets(data) => at(Section::Evaluation, sheets(*data)),
        Content::Sheet(data) => {
            let (data, flash) = *data;
            at(Section::Evaluation, sheet(data, flash))
        }
        Content::Comparisons(data) => at(Section::Evaluation, comparisons(data)),
        Content::Tokens(data) => at(Section::Tokens, tokens(*data)),
        Content::Tonight(data) => at(Section::Overview, tonight::tonight(data)),
        Content::Missing(sentence) => framed(None, signed_in, message("Page not found", sentence)),
        Content::Failed(_, sentence) => framed(None, signed_in, message("Request failed", sentence)),
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

/// The live part of a training run's or evaluation's page alone; nothing for other pages.
pub fn admin_live(page: AdminPage) -> impl IntoView {
    match page.content {
        Content::Training(data) => live(*data),
        Content::Evaluation(data) => evaluation_live(data.detail, &data.metrics),
        Content::Sheet(data) => sheet_live(data.0),
        _ => ().into_any(),
    }
}

fn message(title: &'static str, sentence: String) -> AnyView {
    view! {
        {head(title, sentence, ())}
        <p>
            <a href="/admin">"Back to overview"</a>
        </p>
    }
    .into_any()
}
