//! An address of the server, and the collection that `routes` fills: the routers, and the list of what is in them.

use std::fmt;

use adire_studio::MAX_UPLOAD_BYTES;
use axum::{Router, extract::DefaultBodyLimit, routing::MethodRouter};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::{admin::one_file::Purpose, api::recipe, compat::bodies, layers::body, state::AppState};

/// Who may call an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Anyone.
    Anyone,
    /// The visitor whose generations and images are meant, known by their cookie; for anyone else there are none, or the
    /// answer is 403.
    Owner,
    /// The admin, holders of the metrics token, and this machine where `--metrics` allows that.
    Scraper,
    /// Whoever can sign in: it needs a password or the printed link.
    SignIn,
    /// The admin.
    Admin,
}

/// What a request may bring along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// No body is read.
    Empty,
    /// Text: 256 KiB.
    Small,
    /// All captions of a large dataset: 8 MiB.
    Captions,
    /// An image whose text is read: 32 MiB.
    Png,
    /// An image, which the studio ends at 20 MiB while it goes to the disk.
    Upload,
    /// The studio's form with two images.
    Form,
    /// JSON or a form with images in it, for other programs' APIs: 56 MiB, which wait for room.
    Images,
    /// A form with an adapter file: 2 GiB, which go to the disk as they come, within an hour.
    Adapter,
    /// A form with an embedding file: 16 MiB.
    Embedding,
    /// Images to train on: 8 GiB, which go to the disk as they come, within an hour.
    Files,
}

/// Largest form with all captions of a dataset, in bytes.
const MAX_CAPTIONS_BYTES: usize = 8 << 20;
/// Largest request with files for a dataset, in bytes.
const MAX_FILES_BYTES: usize = 8 << 30;

impl BodyLimit {
    /// Bytes; `None` where the handler itself ends a longer one.
    fn bytes(self) -> Option<usize> {
        Some(match self {
            Self::Empty | Self::Small => body::MAX_BODY_BYTES,
            Self::Captions => MAX_CAPTIONS_BYTES,
            Self::Png => recipe::MAX_PNG_BYTES,
            Self::Form => 2 * MAX_UPLOAD_BYTES as usize + body::MAX_BODY_BYTES,
            Self::Files => MAX_FILES_BYTES,
            Self::Adapter => Purpose::Adapter.body_limit()? as usize,
            Self::Embedding => Purpose::Embedding.body_limit()? as usize,
            Self::Images => bodies::MAX_BYTES,
            Self::Upload => return None,
        })
    }
}

/// One address.
#[derive(Clone, Debug)]
pub struct Address {
    /// Upper case, in alphabetical order.
    pub methods: Vec<String>,
    /// With placeholders, such as `/api/v1/generations/{id}`.
    pub path: String,
    /// Who may call it.
    pub who: Who,
    /// What a request may bring along.
    pub body: BodyLimit,
    /// Whether it is in the description of the API.
    pub described: bool,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { methods, path, who, body, .. } = self;
        write!(f, "{} {path}: {who:?}, {body:?}", methods.join(" "))
    }
}

/// Routers, and what is in them.
pub(crate) struct Addresses {
    pub(crate) list: Vec<Address>,
    pub(crate) api: OpenApiRouter<AppState>,
    pub(crate) pages: Router<AppState>,
}

impl Addresses {
    /// None yet, for an API with this description.
    pub(crate) fn new(description: utoipa::openapi::OpenApi) -> Self {
        Self { list: Vec::new(), api: OpenApiRouter::with_openapi(description), pages: Router::new() }
    }

    /// Endpoints of the API, which describe themselves.
    pub(crate) fn api(mut self, routes: UtoipaMethodRouter<AppState>, who: Who, body: BodyLimit) -> Self {
        for (path, item) in &routes.1.paths {
            let methods = [
                ("DELETE", item.delete.is_some()),
                ("GET", item.get.is_some()),
                ("PATCH", item.patch.is_some()),
                ("POST", item.post.is_some()),
                ("PUT", item.put.is_some()),
            ];
            let methods = methods.into_iter().filter(|(_, is_there)| *is_there);
            let methods = methods.map(|(name, _)| name.to_owned()).collect();
            self.list.push(Address { methods, path: path.clone(), who, body, described: true });
        }
        let router = OpenApiRouter::new().routes(routes);
        self.api = self.api.merge(match body.bytes() {
            Some(bytes) => router.layer(DefaultBodyLimit::max(bytes)),
            None => router,
        });
        self
    }

    /// A page, or what a form posts to.
    pub(crate) fn page(
        mut self,
        methods: &str,
        path: &str,
        handlers: MethodRouter<AppState>,
        who: Who,
        body: BodyLimit,
    ) -> Self {
        let handlers = match body.bytes() {
            Some(bytes) => handlers.layer(DefaultBodyLimit::max(bytes)),
            None => handlers,
        };
        self.pages = self.pages.route(path, handlers);
        self.elsewhere(methods, path, who, body)
    }

    /// What is routed elsewhere.
    pub(crate) fn elsewhere(mut self, methods: &str, path: &str, who: Who, body: BodyLimit) -> Self {
        let methods = methods.split(", ").map(str::to_owned).collect();
        self.list.push(Address { methods, path: path.to_owned(), who, body, described: false });
        self
    }
}
