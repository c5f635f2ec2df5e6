//! The studio page: its form, its workspace and every user action.

use std::mem::take;

use adire_protocol::{
    AdapterVersion, FieldError, GenerationRequest, HIRES_SCALE, INIT_STRENGTH, ImageRecord, ModelInfo,
    Rating, SamplerName, Upload, decimal,
};
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{FormState, Notice, RowState, Workspace};
use crate::{
    api::{AppError, StudioData},
    browser,
    form::{self, FormValues},
    thin::client,
    words::Work,
};

/// With more adapters than this, a menu adds rows; otherwise each adapter has one.
pub(crate) const ROWS: usize = 3;

/// Copies share everything.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) form: FormState,
    pub(crate) workspace: Workspace,
    pub(crate) model: StoredValue<ModelInfo>,
    /// Each adapter with its versions, newest first.
    pub(crate) adapters: StoredValue<Vec<(String, Vec<AdapterVersion>)>>,
    known: StoredValue<Vec<AdapterVersion>>,
    /// Words of prompts that stand for embeddings.
    pub(crate) embeddings: StoredValue<Vec<String>>,
    /// Names of wildcard lists.
    pub(crate) wildcards: StoredValue<Vec<String>>,
    /// Adapters that have a row even while they are off.
    offered: StoredValue<Vec<String>>,
}

/// The page's address, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// The generation to show.
    pub(crate) generation: Option<String>,
    /// Show history older than this.
    pub(crate) before: Option<i64>,
    pub(crate) values: FormValues,
    /// Why a plain form post failed (`form`, `long`, `full`, `failed`, …); see `submit_form_post`.
    pub(crate) post_error: Option<String>,
    /// Which image of the generation is shown.
    pub(crate) index: u32,
}

impl Address {
    /// Parses the query. `job` and `picture` are earlier names of `generation` and `image`.
    pub(crate) fn read(query: &str) -> Self {
        let pairs = form::pairs(query);
        let find = |wanted: &str| pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
        Self {
            generation: find("generation").or_else(|| find("job")),
            before: find("before").and_then(|time| time.parse().ok()),
            post_error: find("post_error"),
            index: find("image")
                .or_else(|| find("picture"))
                .and_then(|index| index.parse().ok())
                .unwrap_or_default(),
            values: form::parse(&pairs),
        }
    }
}

impl Page {
    /// The page as it starts, from the server's data and the address.
    pub(crate) fn new(data: StudioData, address: Address) -> Self {
        let adapters = form::by_name(&data.adapters);
        let names = adapters.iter().map(|(name, _)| name.clone());
        let offered: Vec<String> = if adapters.len() <= ROWS { names.collect() } else { Vec::new() };
        let mut values = FormValues::defaults(&data.model);
        // Adapters of an address or of a generation win, even where there are none.
        let says_adapters =
            !address.values.adapters.is_empty() || data.named.is_some() || data.active.is_some();
        if let Some(generation) = data.named.as_ref().or(data.active.as_ref()) {
            // The next generation gets a new seed unless the address has one.
            let spec = FormValues { seed: String::new(), ..FormValues::of_spec(&generation.spec) };
            values = values.overlaid(spec);
        }
        values = values.overlaid(address.values);
        form::settle_size(&mut values, &data.model);
        let missing = form::settle(&mut values, &data.adapters);
        if !says_adapters {
            form::choose(&mut values, &adapters);
        }
        let errors = match address.post_error.as_deref() {
            Some("form") => values.check(&data.model.limits, &data.model.defaults).err().unwrap_or_default(),
            Some(post_error) => upload_error(post_error).into_iter().collect(),
            None => Vec::new(),
        };
        let notice = notice(&data, address.post_error.as_deref(), &missing);
        Self {
            form: FormState::new(&values, errors, &offered),
            model: StoredValue::new(data.model.clone()),
            adapters: StoredValue::new(adapters),
            known: StoredValue::new(data.adapters.clone()),
            embeddings: StoredValue::new(data.embeddings.clone()),
            wildcards: StoredValue::new(data.wildcards.clone()),
            offered: StoredValue::new(offered),
            workspace: Workspace::new(data, notice, address.index),
        }
    }

    /// The page that the component is on.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// Cost of the form as it stands; tracks the fields that matter.
    pub(crate) fn work(&self) -> Work {
        let values = self.form.values();
        self.model.with_value(|model| {
            let native = f64::from(model.native_size.max(1));
            let (width, height) =
                form::pixels(&values).unwrap_or((model.defaults.width, model.defaults.height));
            let steps = values.steps.trim().parse().unwrap_or(model.defaults.steps);
            // Steps of one call of the model, as the server measures them.
            let calls = |steps: f64| {
                let name = values.sampler.parse::<SamplerName>();
                let sampler = name.map_or(model.defaults.sampling.sampler, |name| name.sampler);
                f64::from(sampler.model_calls(steps as u32))
            };
            let number =
                |text: &str, default: f64| decimal::read(text.trim()).unwrap_or(default).clamp(0.0, 1000.0);
            let area = f64::from(width) * f64::from(height) / (native * native);
            let mut work = Work {
                count: values.count.trim().parse().unwrap_or(1).clamp(1, model.limits.count),
                steps: calls(f64::from(steps)) * area,
                area,
            };
            if !values.init_image.is_empty() {
                work.steps =
                    calls(f64::from(steps) * number(&values.denoising_strength, INIT_STRENGTH)) * area;
            } else if !values.hires.is_empty() {
                // A size instead of a factor is rare, and this is a forecast.
                work.area *= number(&values.hires_scale, HIRES_SCALE).powi(2);
                work.steps += calls(number(&values.hires_steps, f64::from(steps))) * work.area;
            }
            work
        })
    }

    /// Sends the form, unless a generation is in progress or a field is invalid.
    pub(crate) fn submit(self) {
        let workspace = self.workspace;
        if workspace.sending.get_untracked() || untrack(|| workspace.is_busy()) {
            return;
        }
        let values = untrack(|| self.form.values());
        if let Err(errors) = self.model.with_value(|model| values.check(&model.limits, &model.defaults)) {
            return self.refuse(errors);
        }
        self.form.errors.set(Vec::new());
        workspace.sending.set(true);
        spawn_local(async move {
            match client::generate(&values).await {
                Ok(generation) => {
                    browser::show_address(&generation.links.page);
                    workspace.begin(generation);
                    super::follow(workspace);
                }
                Err(AppError { fields, .. }) if !fields.is_empty() => self.refuse(fields),
                Err(error) => workspace.notify(Notice::Problem(error.message)),
            }
            workspace.sending.set(false);
        });
    }

    fn refuse(self, errors: Vec<FieldError>) {
        let first = errors.first().map(|error| error.field.clone()).unwrap_or_default();
        self.form.errors.set(errors);
        browser::focus_field(&first);
    }

    /// Cancels the generation in progress.
    pub(crate) fn cancel(self) {
        let workspace = self.workspace;
        let id = workspace
            .generation
            .with_untracked(|generation| generation.as_ref().map(|generation| generation.id.clone()));
        let Some(id) = id.filter(|_| untrack(|| workspace.is_busy()) && !workspace.stopping.get_untracked())
        else {
            return;
        };
        workspace.stopping.set(true);
        spawn_local(async move {
            if let Err(error) = client::cancel(&id).await {
                workspace.stopping.set(false);
                workspace.notify(Notice::Problem(error.message));
            }
        });
    }

    /// Deletes an image permanently and shows the next one; `None`: every image of this visitor.
    pub(crate) fn delete(self, image: Option<ImageRecord>) {
        let workspace = self.workspace;
        spawn_local(async move {
            let done = match &image {
                Some(image) => client::delete_image(&image.generation, image.index).await,
                None => client::delete_all().await,
            };
            if let Err(error) = done {
                return workspace.notify(Notice::Problem(error.message));
            }
            workspace.forget(image.as_ref());
            browser::show_address("/");
            let announcement = if image.is_some() { "Image deleted." } else { "All your images deleted." };
            workspace.announcement.set(announcement.to_owned());
        });
    }

    /// Keeps what the visitor thinks of the image on the canvas.
    pub(crate) fn rate(self, rating: Rating) {
        let workspace = self.workspace;
        let Some(image) = workspace.shown.get_untracked() else { return };
        let before = workspace.rating.get_untracked();
        workspace.rating.set(Some(rating));
        spawn_local(async move {
            if let Err(error) = client::rate(&image.generation, image.index, rating).await {
                if workspace.shows(&image) {
                    workspace.rating.set(before);
                }
                workspace.notify(Notice::Problem(error.message));
            }
        });
    }

    /// Reads the rating of the image that has just come onto the canvas.
    pub(crate) fn load_rating(self) {
        let workspace = self.workspace;
        let Some(image) = workspace.shown.get_untracked() else { return };
        // The buttons stay in their place until the answer.
        workspace.rating.set(Some(Rating::default()));
        spawn_local(async move {
            let rating = client::load_rating(&image.generation, image.index).await.ok();
            if workspace.shows(&image) {
                workspace.rating.set(rating);
            }
        });
    }

    /// Shows an image on the canvas; `None`: the generation in progress.
    pub(crate) fn show(self, image: Option<ImageRecord>) {
        if !untrack(|| self.workspace.is_busy())
            && let Some(image) = &image
        {
            browser::show_address(&address_of(image));
        }
        self.workspace.shown.set(image);
    }

    /// Fills the form from a request; warns about adapters that are not installed.
    pub(crate) fn reuse(self, request: GenerationRequest, announcement: &str) {
        let mut values = FormValues::of_request(request);
        let missing = self.known.with_value(|known| form::settle(&mut values, known));
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.fill(&values, offered));
        self.workspace.announcement.set(announcement.to_owned());
        self.workspace.notice.set(form::left_out(&missing).map(Notice::Warning));
    }

    /// Loads a request and generates it.
    pub(crate) fn generate_as(self, request: GenerationRequest) {
        let seed = request.seed;
        self.reuse(request, "Parameters loaded.");
        if seed.is_none() {
            self.form.seed.set(String::new());
        }
        self.submit();
    }

    /// Loads single values: a chip, an example.
    pub(crate) fn take_over(self, values: &FormValues, announcement: &str) {
        let mut values = values.clone();
        self.known.with_value(|known| form::settle(&mut values, known));
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.take_over(&values, offered));
        self.workspace.announcement.set(announcement.to_owned());
    }

    /// Restores what [`FormState::kept`] wrote. `begun`: the form's values when the page loaded.
    pub(crate) fn restore(self, text: &str, begun: &FormValues) {
        let pairs = form::pairs(text);
        let mut values = form::parse(&pairs);
        self.known.with_value(|known| form::settle(&mut values, known));
        self.offered.with_value(|offered| self.form.restore(&values, begun, offered));
        self.form.restore_off(&pairs);
    }

    /// Loads an example's prompt, and the adapter whose trigger word it holds.
    pub(crate) fn take_example(self, prompt: &str) {
        let called = self.called(prompt);
        let announcement = match &called {
            Some(version) => format!("Prompt loaded, with adapter {}.", version.name),
            None => "Prompt loaded.".to_owned(),
        };
        self.take_over(&FormValues { prompt: prompt.to_owned(), ..FormValues::default() }, &announcement);
        if let Some(version) = called {
            self.form.switch_on(version.id());
        }
    }

    /// The adapter whose trigger word is in the prompt and that the form lacks. Tracks the rows.
    pub(crate) fn called(self, prompt: &str) -> Option<AdapterVersion> {
        let rows = self.form.adapters.get();
        let name = |row: &RowState| {
            row.name.with(|id| id.split('@').next().filter(|name| !name.is_empty()).map(str::to_owned))
        };
        let on: Vec<String> = rows.iter().filter_map(name).collect();
        self.adapters.with_value(|adapters| form::called(prompt, adapters, &on).cloned())
    }

    /// Fills the form from an image's parameters, reports which were ignored, and offers it as init image. For an image
    /// without parameters it asks what the image is for.
    pub(crate) fn take_image(self, file: web_sys::File) {
        let name = file.name();
        spawn_local(async move {
            if browser::is_too_large(&file) {
                return self.workspace.notify(Notice::Problem(too_large(&name)));
            }
            match client::read_recipe(&file).await {
                Ok(mut request) => {
                    let mut announcement = format!("Loaded the parameters from {name}.");
                    let (warnings, unknown) = (take(&mut request.warnings), take(&mut request.unknown));
                    let has_init_image = request.init_image.is_some();
                    self.reuse(request, "");
                    if let Some(Notice::Warning(missing)) = self.workspace.notice.get_untracked() {
                        announcement = format!("{announcement} {missing}");
                    }
                    for warning in &warnings {
                        announcement = format!("{announcement} {warning}");
                    }
                    if !unknown.is_empty() {
                        announcement = format!("{announcement} Ignored: {}.", unknown.join("; "));
                    }
                    self.workspace.announcement.set(announcement.clone());
                    self.workspace.notify(if has_init_image {
                        Notice::Warning(announcement)
                    } else {
                        browser::keep_file(file);
                        Notice::Offer(announcement)
                    });
                }
                Err(error) if browser::is_image(&file) => {
                    browser::keep_file(file);
                    self.workspace.asking.set(Some((name, error.message)));
                }
                Err(error) => self.workspace.notify(Notice::Problem(format!("{name}: {}", error.message))),
            }
        });
    }

    /// Uploads a file as init image or mask.
    pub(crate) fn upload_as(self, file: web_sys::File, role: UploadRole) {
        spawn_local(self.upload(file, role));
    }

    async fn upload(self, file: web_sys::File, role: UploadRole) {
        let workspace = self.workspace;
        workspace.uploading.set(true);
        let answer = if browser::is_too_large(&file) {
            Err(AppError::new(too_large(&file.name())))
        } else {
            client::upload(&file, role.field()).await
        };
        workspace.uploading.set(false);
        let field = role.field();
        self.form.errors.update(|errors| errors.retain(|error| error.field != field));
        match (answer, role) {
            (Ok(image), UploadRole::InitImage) => {
                self.start_from(&image);
                self.warn(image.warnings);
            }
            (Ok(mask), UploadRole::Mask) => {
                self.form.mask.set(mask.hash);
                workspace.announcement.set("Mask set.".to_owned());
                let mut warnings = mask.warnings;
                // The engine stretches it, which may not be intended.
                if browser::image_size("init-image").is_some_and(|(width, height)| {
                    u64::from(width) * u64::from(mask.height) != u64::from(height) * u64::from(mask.width)
                }) {
                    let sentence = "The mask's aspect ratio differs, so it is stretched to the init image.";
                    warnings.push(sentence.to_owned());
                }
                self.warn(warnings);
            }
            (Err(error), _) => {
                let message = error.message;
                workspace.announcement.set(message.clone());
                self.form.errors.update(|errors| {
                    errors.push(FieldError { field: field.to_owned(), message });
                });
                browser::focus_field(field);
            }
        }
        self.remember();
    }

    /// Shows warnings, if there are any.
    fn warn(self, sentences: Vec<String>) {
        if !sentences.is_empty() {
            let announcement = sentences.join(" ");
            self.workspace.announcement.set(announcement.clone());
            self.workspace.notify(Notice::Warning(announcement));
        }
    }

    /// Sets an uploaded image as init image, and the size to its own.
    pub(crate) fn start_from(self, image: &Upload) {
        let size =
            self.model.with_value(|model| form::size_of_image(image.width, image.height, &model.limits));
        let mut values = FormValues { init_image: image.hash.clone(), size, ..FormValues::default() };
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.take_over(&values, offered));
        self.form.mask.set(String::new());
        // Hires fix cannot be combined with an init image.
        self.form.hires.set(String::new());
        self.workspace.notice.set(None);
        self.workspace.announcement.set("Init image set.".to_owned());
        self.remember();
        // The field becomes visible with the next frame.
        request_animation_frame(|| browser::focus_field("denoising_strength"));
    }

    /// Sets a generated image as init image, with its other parameters.
    pub(crate) fn continue_from(self, image: &ImageRecord) {
        let spec = &image.recipe.spec;
        let (width, height) = spec.final_size();
        let mut request = GenerationRequest::from(spec.clone());
        (request.init_image, request.mask, request.hires, request.seed) = (None, None, None, None);
        self.reuse(request, "");
        self.form.seed.set(String::new());
        self.start_from(&Upload { hash: image.hash.clone(), width, height, warnings: Vec::new() });
    }

    /// Removes the init image and its mask.
    pub(crate) fn forget_init_image(self) {
        self.form.init_image.set(String::new());
        self.forget_mask();
    }

    /// Removes the mask.
    pub(crate) fn forget_mask(self) {
        self.form.mask.set(String::new());
        self.form.errors.update(|errors| errors.retain(|error| error.field != "mask"));
        self.remember();
    }

    /// Puts the form into the address, so that a reload keeps its images.
    pub(crate) fn remember(self) {
        if !untrack(|| self.workspace.is_busy()) {
            browser::show_address(&format!("/?{}", form::encode(&untrack(|| self.form.values()))));
        }
    }

    /// Refreshes the state of the queue.
    pub(crate) fn refresh_queue(self) {
        spawn_local(async move {
            // Ignored: the next request or the stream reports the problem.
            if let Ok(queue) = client::load_queue().await {
                self.workspace.queue.set(queue);
            }
        });
    }
}

/// What an uploaded file is used as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadRole {
    /// The init image.
    InitImage,
    /// The mask.
    Mask,
}

impl UploadRole {
    fn field(self) -> &'static str {
        match self {
            Self::InitImage => "init_image",
            Self::Mask => "mask",
        }
    }
}

fn too_large(name: &str) -> String {
    format!("{name} is larger than 20 MiB. Resize it and try again.")
}

/// Why an image of a plain form post was refused; see `submit_form_post`.
fn upload_error(post_error: &str) -> Option<FieldError> {
    let (why, what) = post_error.split_once('-')?;
    let field = match what {
        "init-image" => UploadRole::InitImage,
        "mask" => UploadRole::Mask,
        _ => return None,
    }
    .field();
    let message = match why {
        "large" => "The file is larger than 20 MiB. Resize it and try again.",
        "no" => "Unsupported file. Use PNG, JPEG or WebP.",
        "busy" => "Too many uploads. Try again later.",
        "gone" => "The image was deleted from this server. Upload it again.",
        _ => return None,
    };
    Some(FieldError { field: field.to_owned(), message: message.to_owned() })
}

/// Address of the page that shows an image.
pub(crate) fn address_of(image: &ImageRecord) -> String {
    match image.index {
        0 => format!("/?generation={}", image.generation),
        index => format!("/?generation={}&image={index}", image.generation),
    }
}

fn notice(data: &StudioData, post_error: Option<&str>, missing: &[String]) -> Option<Notice> {
    let problem = |text: &str| Some(Notice::Problem(text.to_owned()));
    if let Some(text) = &data.problem {
        return Some(Notice::Problem(text.clone()));
    }
    match post_error {
        Some("long") => Some(Notice::Problem(format!(
            "The prompt was cut to the limit of {} characters.",
            data.model.limits.prompt_chars
        ))),
        Some("full") => problem("The queue is full, so nothing was started. Try again later."),
        Some("waiting") => {
            problem("You have reached the limit of queued generations. Wait for one to finish.")
        }
        Some("delete") => problem("Couldn't delete it. Try again."),
        Some("paused") => {
            problem("New requests are paused by the admin, so nothing was started. Try again later.")
        }
        Some("disk") => problem("The server is low on disk space, so nothing was started. Try again later."),
        Some("failed") => problem("Couldn't save the request, so nothing was started. Try again."),
        _ => data.warning.clone().or_else(|| form::left_out(missing)).map(Notice::Warning),
    }
}
