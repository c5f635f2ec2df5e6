//! The studio page as a whole: its form, its workspace, and what a person can do.

use adire_protocol::{
    AdapterVersion, FieldError, GenerationRequest, HIRES_SCALE, INIT_STRENGTH, ImageRecord, ModelInfo,
    Sampler, Upload,
};
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{FormState, Notice, RowState, Workspace};
use crate::{
    api::{self, AppError, StudioData},
    browser,
    form::{self, FormValues},
    words::Work,
};

/// More adapters than this are offered through a menu instead of a row each.
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
    /// Adapters that have a row even while they are off.
    offered: StoredValue<Vec<String>>,
}

/// What the page's address says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// The generation to show.
    pub(crate) generation: Option<String>,
    /// Show history older than this.
    pub(crate) before: Option<i64>,
    pub(crate) values: FormValues,
    /// A plain form post came back; why (`form`, `long`, `full`, `failed`).
    pub(crate) post_error: Option<String>,
    /// Which image of the generation is shown.
    pub(crate) index: u32,
}

impl Address {
    /// Reads what stands behind the `?`.
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
        // What an address or a generation says of adapters counts, also that there is none.
        let says_adapters =
            !address.values.adapters.is_empty() || data.named.is_some() || data.active.is_some();
        if let Some(generation) = data.named.as_ref().or(data.active.as_ref()) {
            // The next image gets its own seed unless someone asks for this one.
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
            offered: StoredValue::new(offered),
            workspace: Workspace::new(data, notice, address.index),
        }
    }

    /// The page that the component is on.
    pub(crate) fn here() -> Self {
        expect_context()
    }

    /// What the form would cost; tracks the fields that matter.
    pub(crate) fn work(&self) -> Work {
        let values = self.form.values();
        self.model.with_value(|model| {
            let native = f64::from(model.native_size.max(1));
            let (width, height) =
                form::pixels(&values).unwrap_or((model.defaults.width, model.defaults.height));
            let steps = values.steps.trim().parse().unwrap_or(model.defaults.steps);
            // Steps of one call of the model, as the server measures them.
            let calls = |steps: f64| {
                let sampler: Sampler = values.sampler.parse().unwrap_or(model.defaults.sampler);
                f64::from(sampler.model_calls(steps as u32))
            };
            let number = |text: &str, default: f64| text.trim().parse().unwrap_or(default).clamp(0.0, 1000.0);
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

    /// Sends the form, unless a generation is under way or the form is wrong.
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
            match api::generate(&values).await {
                Ok(generation) => {
                    browser::show_address(&generation.links.page);
                    workspace.begin(generation);
                    browser::follow(workspace);
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

    /// Stops what is under way.
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
            if let Err(error) = api::cancel(&id).await {
                workspace.stopping.set(false);
                workspace.notify(Notice::Problem(error.message));
            }
        });
    }

    /// Deletes an image for good and shows the next one; `None`: everything that this browser has.
    pub(crate) fn delete(self, image: Option<ImageRecord>) {
        let workspace = self.workspace;
        spawn_local(async move {
            let done = match &image {
                Some(image) => api::delete_image(&image.generation, image.index).await,
                None => api::delete_all().await,
            };
            if let Err(error) = done {
                return workspace.notify(Notice::Problem(error.message));
            }
            workspace.forget(image.as_ref());
            browser::show_address("/");
            let told =
                if image.is_some() { "The image is deleted." } else { "Everything of yours is deleted." };
            workspace.announcement.set(told.to_owned());
        });
    }

    /// Puts an image on the canvas; `None`: what is being made.
    pub(crate) fn show(self, image: Option<ImageRecord>) {
        if !untrack(|| self.workspace.is_busy())
            && let Some(image) = &image
        {
            browser::show_address(&address_of(image));
        }
        self.workspace.shown.set(image);
    }

    /// Fills the form from a request; says what it had to leave out.
    pub(crate) fn reuse(self, request: &GenerationRequest, told: &str) {
        let mut values = FormValues::of_request(request);
        let missing = self.known.with_value(|known| form::settle(&mut values, known));
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.fill(&values, offered));
        self.workspace.announcement.set(told.to_owned());
        self.workspace.notice.set(form::left_out(&missing).map(Notice::Remark));
    }

    /// Takes single values over: a chip, an example.
    pub(crate) fn take_over(self, values: &FormValues, told: &str) {
        let mut values = values.clone();
        self.known.with_value(|known| form::settle(&mut values, known));
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.take_over(&values, offered));
        self.workspace.announcement.set(told.to_owned());
    }

    /// Puts back what [`FormState::kept`] wrote. `begun`: what the form held when the page came.
    pub(crate) fn restore(self, text: &str, begun: &FormValues) {
        let pairs = form::pairs(text);
        let mut values = form::parse(&pairs);
        self.known.with_value(|known| form::settle(&mut values, known));
        self.offered.with_value(|offered| self.form.restore(&values, begun, offered));
        self.form.restore_off(&pairs);
    }

    /// Takes an example's prompt over, and the adapter that it calls for.
    pub(crate) fn take_example(self, prompt: &str) {
        let called = self.called(prompt);
        let told = match &called {
            Some(version) => format!("The prompt is in the form, with the adapter {}.", version.name),
            None => "The prompt is in the form.".to_owned(),
        };
        self.take_over(&FormValues { prompt: prompt.to_owned(), ..FormValues::default() }, &told);
        if let Some(version) = called {
            self.form.switch_on(version.id());
        }
    }

    /// The adapter that a prompt calls for and the form does not have. Tracks the rows.
    pub(crate) fn called(self, prompt: &str) -> Option<AdapterVersion> {
        let rows = self.form.adapters.get();
        let name = |row: &RowState| {
            row.name.with(|id| id.split('@').next().filter(|name| !name.is_empty()).map(str::to_owned))
        };
        let on: Vec<String> = rows.iter().filter_map(name).collect();
        self.adapters.with_value(|adapters| form::called(prompt, adapters, &on).cloned())
    }

    /// Fills the form from an image's parameters, says what of them was not used, and offers to start from it. Of an image
    /// without any it asks what it is for.
    pub(crate) fn take_image(self, file: web_sys::File) {
        let name = file.name();
        spawn_local(async move {
            if browser::is_too_large(&file) {
                return self.workspace.notify(Notice::Problem(too_large(&name)));
            }
            match api::read_recipe(&file).await {
                Ok(request) => {
                    let mut told = format!("The parameters of {name} are in the form.");
                    self.reuse(&request, "");
                    if let Some(Notice::Remark(missing)) = self.workspace.notice.get_untracked() {
                        told = format!("{told} {missing}");
                    }
                    for warning in &request.warnings {
                        told = format!("{told} {warning}");
                    }
                    if !request.unknown.is_empty() {
                        told = format!("{told} Not used: {}.", request.unknown.join("; "));
                    }
                    self.workspace.announcement.set(told.clone());
                    self.workspace.notify(match request.init_image {
                        None => {
                            browser::keep_file(file);
                            Notice::Offer(told)
                        }
                        Some(_) => Notice::Remark(told),
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

    /// Uploads a file, and starts from it or masks with it.
    pub(crate) fn upload_as(self, file: web_sys::File, role: UploadRole) {
        spawn_local(self.upload(file, role));
    }

    async fn upload(self, file: web_sys::File, role: UploadRole) {
        let workspace = self.workspace;
        workspace.uploading.set(true);
        let answer = if browser::is_too_large(&file) {
            Err(AppError::new(too_large(&file.name())))
        } else {
            api::upload(&file, role.field()).await
        };
        workspace.uploading.set(false);
        let field = role.field();
        self.form.errors.update(|errors| errors.retain(|error| error.field != field));
        match (answer, role) {
            (Ok(image), UploadRole::InitImage) => {
                self.start_from(&image);
                self.remark(image.warnings);
            }
            (Ok(mask), UploadRole::Mask) => {
                self.form.mask.set(mask.hash);
                workspace.announcement.set("The mask is there.".to_owned());
                let mut remarks = mask.warnings;
                // The engine stretches it; a person may have meant another image.
                if browser::image_size("init-image").is_some_and(|(width, height)| {
                    u64::from(width) * u64::from(mask.height) != u64::from(height) * u64::from(mask.width)
                }) {
                    let told = "The mask has another shape than the picture; it is stretched to fit.";
                    remarks.push(told.to_owned());
                }
                self.remark(remarks);
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

    /// Says what is not as one might think, if anything is.
    fn remark(self, sentences: Vec<String>) {
        if !sentences.is_empty() {
            let told = sentences.join(" ");
            self.workspace.announcement.set(told.clone());
            self.workspace.notify(Notice::Remark(told));
        }
    }

    /// Starts from an image that the server has, in its own size.
    pub(crate) fn start_from(self, image: &Upload) {
        let size =
            self.model.with_value(|model| form::size_of_image(image.width, image.height, &model.limits));
        let mut values = FormValues { init_image: image.hash.clone(), size, ..FormValues::default() };
        self.model.with_value(|model| form::settle_size(&mut values, model));
        self.offered.with_value(|offered| self.form.take_over(&values, offered));
        self.form.mask.set(String::new());
        // A second pass follows an image from words alone.
        self.form.hires.set(String::new());
        self.workspace.notice.set(None);
        self.workspace.announcement.set("The next picture starts from this one.".to_owned());
        self.remember();
        // The field is shown with the next frame.
        request_animation_frame(|| browser::focus_field("denoising_strength"));
    }

    /// Starts from an image made here, with what made it.
    pub(crate) fn continue_from(self, image: &ImageRecord) {
        let spec = &image.recipe.spec;
        let (width, height) = spec.final_size();
        let mut request = GenerationRequest::from(spec.clone());
        (request.init_image, request.mask, request.hires, request.seed) = (None, None, None, None);
        self.reuse(&request, "");
        self.form.seed.set(String::new());
        self.start_from(&Upload { hash: image.hash.clone(), width, height, warnings: Vec::new() });
    }

    /// Starts from words alone again.
    pub(crate) fn forget_init_image(self) {
        self.form.init_image.set(String::new());
        self.forget_mask();
    }

    /// All of the image is made anew again.
    pub(crate) fn forget_mask(self) {
        self.form.mask.set(String::new());
        self.form.errors.update(|errors| errors.retain(|error| error.field != "mask"));
        self.remember();
    }

    /// Puts the form into the address, so that a reload finds its images again.
    pub(crate) fn remember(self) {
        if !untrack(|| self.workspace.is_busy()) {
            browser::show_address(&format!("/?{}", form::encode(&untrack(|| self.form.values()))));
        }
    }

    /// Asks how busy the worker is.
    pub(crate) fn refresh_queue(self) {
        spawn_local(async move {
            // A failure here is no news: the next press or the stream will tell.
            if let Ok(queue) = api::load_queue().await {
                self.workspace.queue.set(queue);
            }
        });
    }
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadRole {
    /// The image to start from.
    InitImage,
    /// What of it is made anew.
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
    format!("{name} is larger than 20 MB; make it smaller and try again.")
}

/// Why an image of a plain form post was not taken; see `submit_form_post`.
fn upload_error(post_error: &str) -> Option<FieldError> {
    let (why, what) = post_error.split_once('-')?;
    let field = match what {
        "init-image" => UploadRole::InitImage,
        "mask" => UploadRole::Mask,
        _ => return None,
    }
    .field();
    let message = match why {
        "large" => "The file is larger than 20 MB; make it smaller and try again.",
        "no" => "The file is no picture in PNG, JPEG or WebP; save it as one of these.",
        "busy" => "The server takes no more images from you just now; try again later.",
        "gone" => "The picture is not on this server any more; choose it again.",
        _ => return None,
    };
    Some(FieldError { field: field.to_owned(), message: message.to_owned() })
}

/// Where an image is found again.
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
            "That was longer than the {} characters that are taken, so it has been shortened here.",
            data.model.limits.prompt_chars
        ))),
        Some("full") => problem("The queue was full, so nothing was started. Try again in a moment."),
        Some("waiting") => {
            problem("You have as much waiting as this server takes, so nothing was started. Let one finish.")
        }
        Some("delete") => problem("This could not be deleted. Try again in a moment."),
        Some("disk") => problem("The server's disk is nearly full, so nothing was started. Try again later."),
        Some("failed") => {
            problem("The request could not be stored, so nothing was started. Try again in a moment.")
        }
        _ => form::left_out(missing).map(Notice::Remark),
    }
}
