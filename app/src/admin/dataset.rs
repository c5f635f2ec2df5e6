//! One dataset: its images with captions, bulk edits, import warnings and statistics.

use adire_protocol::{DatasetImageRecord, DatasetRecord, ImportWarning};
use leptos::prelude::*;

use super::{
    datasets::trigger,
    fields::{Field, FormInput, alert, in_textarea},
    frame::{crumbs, flash_line},
    icons::Icon,
    shapes,
};
use crate::words::{counted, images};

/// Data of a dataset's page.
#[derive(Clone, Debug)]
pub(crate) struct DatasetPage {
    pub(crate) dataset: DatasetRecord,
    /// Name, trigger word and caption as typed, with their errors.
    pub(crate) form: FormInput,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
    /// Server folders that images can be imported from.
    pub(crate) import_from: Vec<String>,
}

/// Fields whose errors are shown beside them.
const FIELDS: [&str; 7] = ["name", "trigger", "caption", "prefix", "find", "with", "folder"];

pub(super) fn dataset(data: DatasetPage) -> AnyView {
    let DatasetPage { dataset, form, flash, import_from } = data;
    let draft = dataset.is_draft();
    let count = dataset.images.len();
    let own = dataset.images.iter().filter(|image| !image.caption.is_empty()).count();
    let lead = format!("{} · {own} with their own caption", images(count as u32));
    let train = (count > 0).then(|| {
        view! {
            <a class="primary" href=format!("/admin/training/new?dataset={}", dataset.id)>
                "Train adapter"
            </a>
        }
    });
    let upload = draft.then(|| view! { {upload(&dataset)} {import(&dataset.id, &form, &import_from)} });
    let warnings = import_warnings(&dataset.id, dataset.warnings.clone(), draft);
    let tools = draft.then(|| tools(&dataset, &form, own));
    let about = (count > 0).then(|| about(&dataset));
    view! {
        {crumbs([("/admin/datasets", "Datasets")])}
        <div class="head">
            <div>
                <h1>{dataset.name.clone()}</h1>
                <p class="lead">{lead}</p>
            </div>
            <div class="head-actions">{train}</div>
        </div>
        {flash_line(flash)}
        {alert(form.general(&FIELDS))}
        {dataset.frozen.clone().map(|hash| frozen(&dataset.id, hash))}
        {upload}
        {warnings}
        {grid(&dataset)}
        {tools}
        {about}
        {delete(&dataset)}
    }
    .into_any()
}

fn frozen(id: &str, hash: String) -> impl IntoView + use<> {
    let short: String = hash.chars().take(12).collect();
    view! {
        <div class="note line-up">
            <p class="grow">
                "Frozen: a training run uses this dataset, so it can't be edited. Content hash "
                <code title=hash>{short}</code> "."
            </p>
            <form method="post" action=format!("/admin/datasets/{id}")>
                <input type="hidden" name="action" value="copy" />
                <button type="submit" class="button">
                    "Duplicate to edit"
                </button>
            </form>
        </div>
    }
}

fn upload(dataset: &DatasetRecord) -> AnyView {
    let action = format!("/admin/datasets/{}/files", dataset.id);
    view! {
        <form class="drop" method="post" enctype="multipart/form-data" action=action data-upload=dataset.id.clone()>
            {Icon::Upload.draw()}
            <p class="drop-title">
                <b>
                    <span class="scripted">"Drop images, folders or a ZIP file here, or choose them"</span>
                    <span class="unscripted">"Choose images or a ZIP file"</span>
                </b>
            </p>
            <p class="hint">
                "JPEG, PNG or WebP. Captions are imported from a text file beside each image, from a list ("
                <code>"metadata.jsonl"</code> " or " <code>".csv"</code> ") or from folder names like "
                <code>"10_words"</code> ". Unsupported files are skipped and listed."
            </p>
            <div class="drop-inputs">
                <label class="pick">
                    <span>"Files"</span>
                    <input type="file" name="files" multiple accept=".jpg,.jpeg,.png,.webp,.zip,.txt,.caption,.jsonl,.json,.csv,.tsv" />
                </label>
                <label class="pick">
                    <span>"Folder"</span>
                    <input type="file" name="files" multiple webkitdirectory />
                </label>
                <button type="submit" class="button unscripted">
                    "Upload"
                </button>
            </div>
            <div class="uploading" hidden role="status">
                <p></p>
                <div class="progress running" aria-hidden="true">
                    <i></i>
                </div>
            </div>
        </form>
    }
    .into_any()
}

/// Import from a folder on the server.
fn import(id: &str, form: &FormInput, from: &[String]) -> AnyView {
    let wrong = form.errors.iter().any(|error| error.field == "folder");
    let help = match from {
        [] => "Start the server with --import-from DIR to import folders.".to_owned(),
        all => {
            format!("Absolute path on the server, in {}. Images and captions are copied.", all.join(" or "))
        }
    };
    view! {
        <details class="panel" id="import" open=wrong>
            <summary>"Import from a server folder"</summary>
            <form method="post" action=format!("/admin/datasets/{id}") class="inline-form">
                <input type="hidden" name="action" value="import" />
                {Field {
                    name: "folder",
                    label: "Folder",
                    help: &help,
                }
                    .text(form)}
                <button type="submit" class="button">
                    "Import"
                </button>
            </form>
        </details>
    }
    .into_any()
}

/// Deletion, folded.
fn delete(dataset: &DatasetRecord) -> AnyView {
    let frozen = !dataset.is_draft();
    let words = match dataset.images.len() {
        0 => "Delete dataset".to_owned(),
        count => format!("Delete dataset and {}", images(count as u32)),
    };
    view! {
        <details class="panel" id="delete">
            <summary>"Delete dataset"</summary>
            <p class="hint">
                "This can't be undone. "
                {frozen
                    .then_some(
                        "Adapters trained on it are kept; those runs can't be duplicated.",
                    )}
            </p>
            <form method="post" action=format!("/admin/datasets/{}", dataset.id)>
                <input type="hidden" name="action" value="delete" />
                <button type="submit" class="stop">
                    {words}
                </button>
            </form>
        </details>
    }
    .into_any()
}

fn import_warnings(id: &str, warnings: Vec<ImportWarning>, draft: bool) -> Option<AnyView> {
    if warnings.is_empty() {
        return None;
    }
    let count = warnings.len();
    let title = counted(count as u64, "import warning");
    let rows = warnings.into_iter().map(|warning| {
        view! {
            <li>
                <b>{warning.name}</b>
                " "
                <span>{warning.message}</span>
            </li>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    let dismiss = draft.then(|| {
        view! {
            <form method="post" action=format!("/admin/datasets/{id}")>
                <input type="hidden" name="action" value="clear_warnings" />
                <button type="submit" class="button">
                    "Dismiss"
                </button>
            </form>
        }
    });
    Some(
        view! {
            <details class="panel warnings" open id="warnings">
                <summary>{title}</summary>
                <ul class="lines">{rows}</ul>
                {dismiss}
            </details>
        }
        .into_any(),
    )
}

fn grid(dataset: &DatasetRecord) -> AnyView {
    if dataset.images.is_empty() {
        return view! { <p class="nothing">"No images yet. Add 20–30 images in one style above."</p> }
            .into_any();
    }
    let draft = dataset.is_draft();
    let cells = dataset.images.iter().map(|image| cell(dataset, image, draft)).collect::<Vec<_>>();
    view! {
        <section aria-labelledby="images" class="images">
            <div class="line-up">
                <h2 id="images">"Images"</h2>
                <fieldset class="segments end">
                    <legend class="off-screen">"Image view"</legend>
                    <label>
                        <input type="radio" name="shown" value="whole" checked autocomplete="off" />
                        <span>"Full image"</span>
                    </label>
                    <label>
                        <input type="radio" name="shown" value="square" autocomplete="off" />
                        <span>"Centre crop"</span>
                    </label>
                </fieldset>
            </div>
            <form method="post" action=format!("/admin/datasets/{}", dataset.id) data-captions=dataset.id.clone()>
                <input type="hidden" name="action" value="captions" />
                <ul class="thumbs">{cells}</ul>
                {draft
                    .then(|| {
                        view! {
                            <div class="save">
                                <button type="submit" class="primary">
                                    "Save captions"
                                </button>
                                <p class="soft" role="status" data-saved></p>
                            </div>
                        }
                    })}
            </form>
        </section>
    }
    .into_any()
}

fn cell(dataset: &DatasetRecord, image: &DatasetImageRecord, draft: bool) -> AnyView {
    let id = format!("caption-{}", image.hash);
    let size = format!("{} × {}", image.width, image.height);
    let repeats = (!draft && image.repeats > 1).then(|| format!(" · {} repeats", image.repeats));
    let caption = if draft {
        view! {
            <label class="off-screen" for=id.clone()>
                {format!("Caption of {}", image.name)}
            </label>
            <textarea
                id=id
                name=format!("caption.{}", image.hash)
                data-kept
                rows="2"
                autocomplete="off"
                placeholder=image.text.clone()
            >
                {in_textarea(&image.caption)}
            </textarea>
        }
        .into_any()
    } else {
        view! { <p class="says">{image.text.clone()}</p> }.into_any()
    };
    let times = draft.then(|| {
        view! {
            <label class="times">
                "Repeats"
                <input
                    type="text"
                    inputmode="numeric"
                    autocomplete="off"
                    name=format!("repeats.{}", image.hash)
                    value=image.repeats.to_string()
                    data-kept
                    aria-label=format!("Repeats of {}", image.name)
                />
                "×"
            </label>
        }
    });
    let last = image.name.rsplit('/').next().unwrap_or_default();
    let remove = draft.then(|| {
        view! {
            <button
                type="submit"
                class="quiet remove"
                name="remove"
                value=image.hash.clone()
                aria-label=format!("Remove {}", image.name)
            >
                "Remove"
            </button>
        }
    });
    view! {
        <li>
            <div class="thumb">
                <img src=dataset.thumbnail(&image.hash) alt=image.text.clone() loading="lazy" decoding="async" />
            </div>
            <p class="thumb-name">
                <b title=image.name.clone()>{last.to_owned()}</b>
                <span class="soft">{size} {repeats}</span>
                {remove}
            </p>
            {caption}
            {times}
        </li>
    }
    .into_any()
}

fn tools(dataset: &DatasetRecord, form: &FormInput, own: usize) -> AnyView {
    let action = format!("/admin/datasets/{}", dataset.id);
    let all = (own > 0).then(|| {
        view! {
            <section class="panel" aria-labelledby="all">
                <h2 id="all">"Edit all captions"</h2>
                <form method="post" action=action.clone() class="inline-form">
                    <input type="hidden" name="action" value="prefix" />
                    {Field { name: "prefix", label: "Prefix", help: "Include the trailing comma or space." }.text(form)}
                    <button type="submit" class="button">
                        {format!("Add to {}", counted(own as u64, "caption"))}
                    </button>
                </form>
                <form method="post" action=action.clone() class="inline-form">
                    <input type="hidden" name="action" value="replace" />
                    {Field { name: "find", label: "Find", help: "" }.text(form)}
                    {Field { name: "with", label: "Replace with", help: "" }.text(form)}
                    <button type="submit" class="button">
                        "Replace all"
                    </button>
                </form>
            </section>
        }
    });
    view! {
        <div class="columns two">
            {all}
            <section class="panel" aria-labelledby="describe">
                <h2 id="describe">"Details"</h2>
                <form method="post" action=action class="stack">
                    <input type="hidden" name="action" value="describe" />
                    {Field { name: "name", label: "Name", help: "" }.text(form)} {trigger().text(form)}
                    {Field {
                        name: "caption",
                        label: "Default caption",
                        help: "For images without a caption, e.g. “a cloth in adire style”.",
                    }
                        .text(form)}
                    <button type="submit" class="button">
                        "Save details"
                    </button>
                </form>
            </section>
        </div>
    }
    .into_any()
}

/// Counts of sizes and aspect ratios.
fn about(dataset: &DatasetRecord) -> AnyView {
    let sizes: Vec<_> = dataset.images.iter().map(|image| (image.width, image.height)).collect();
    view! {
        <div class="columns two">
            {shapes::bars(
                "Resolution",
                "Shorter side in pixels. Images below the training resolution are upscaled and look soft.",
                shapes::by_size(&sizes),
            )}
            {shapes::bars(
                "Aspect ratio",
                "With bucketing, each image trains at the nearest aspect ratio; otherwise as a square.",
                shapes::by_shape(&sizes),
            )}
        </div>
    }
    .into_any()
}
