//! File uploads to a dataset.

use adire_protocol::DatasetRecord;
use adire_studio::{Studio, UploadedFile};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
};

use crate::{
    admin::one_file::{self, Purpose, broken},
    error::{Problem, ProblemKind},
    extract::Segment,
};

/// Most files of one request.
const MAX_FILES: usize = 30_000;

/// Add files to a dataset
///
/// A form with any number of files (`multipart/form-data`): images as PNG, JPEG or WebP; captions beside them (`a.txt`
/// or `a.caption` for `a.png`; lists as `.jsonl`, `.json`, `.csv` or `.tsv`), also later than their images; zip files with
/// both. A file's name may have folders; in one that is called `10_indigo cloth` each image counts ten times and has that
/// caption. Of a project of kohya's scripts, `img` is taken; `reg` becomes the dataset that `class_dataset` names. Every
/// file, line and caption that is not used is named among the warnings.
#[utoipa::path(
    post,
    path = "/admin/api/datasets/{id}/files",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body(content = Vec<u8>, description = "The form", content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The updated dataset", body = DatasetRecord),
        (status = 400, description = "The form was not received completely", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Dataset not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The dataset is frozen", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many files, a file larger than 4294967296 bytes, or more than 8589934592 bytes at once", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a multipart form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No file was sent, or too many images", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    State(studio): State<Studio>,
    Segment(id): Segment,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<DatasetRecord>, Problem> {
    let mut form = form.map_err(|_| {
        let sentence = "This address takes files; send them as multipart/form-data.";
        Problem::new(ProblemKind::MediaType, sentence)
    })?;
    // Before gigabytes are on their way.
    let dataset = studio.dataset(&id).await?;
    if !dataset.is_draft() {
        return Err(adire_studio::StudioError::Frozen { name: dataset.name }.into());
    }
    Ok(Json(studio.add_to_dataset(&id, receive(&studio, &mut form).await?).await?))
}

/// Every file of a form, on the disk.
///
/// # Errors
/// The form breaks off, holds no file or too many, or cannot be stored.
pub(crate) async fn receive(studio: &Studio, form: &mut Multipart) -> Result<Vec<UploadedFile>, Problem> {
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        // A file input that was left empty sends a file without a name.
        let Some(name) = field.file_name().filter(|name| !name.is_empty()).map(str::to_owned) else {
            continue;
        };
        if files.len() == MAX_FILES {
            let sentence = format!("More than {MAX_FILES} files in one request; send fewer, or a zip file.");
            return Err(Problem::new(ProblemKind::TooLarge, sentence));
        }
        files.push(one_file::receive(studio, Purpose::Dataset, &name, field).await?);
    }
    if files.is_empty() {
        return Err(Problem::field("files", "No file was sent; choose images or a zip file."));
    }
    Ok(files)
}
