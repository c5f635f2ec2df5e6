//! One dataset: its images with their captions, what to change about all of them, and what to know before training.

use adire_protocol::{DatasetImageRecord, DatasetRecord, ImportWarning};
use leptos::prelude::*;

use super::{
    datasets::trigger,
    fields::{Field, FormInput, alert, in_textarea},
    icons::Icon,
    shapes,
};
use crate::words::images;

/// What the page of a dataset shows.
#[derive(Clone, Debug)]
pub(crate) struct DatasetPage {
    pub(crate) dataset: DatasetRecord,
    /// Its name, trigger and caption as they stand in the form, and what was wrong with what was sent.
    pub(crate) form: FormInput,
    /// What was just done, in a sentence.
    pub(crate) flash: Option<String>,
    /// Folders of the server that images can be taken from.
    pub(crate) import_from: Vec<String>,
}

/// Fields that the page shows errors beside.
const FIELDS: [&str; 7] = ["name", "trigger", "caption", "prefix", "find", "with", "folder"];

pub(super) fn dataset(data: DatasetPage) -> AnyView {
    let DatasetPage { dataset, form, flash, import_from } = data;
    let draft = dataset.is_draft();
    let count = dataset.images.len();
    let own = dataset.images.iter().filter(|image| !image.caption.is_empty()).count();
    let lead = format!("{} · {own} with a caption of their own", images(count as u32));
    let train = (count > 0).then(|| {
        view! {
            <a class="primary" href=format!("/admin/training/new?dataset={}", dataset.id)>
                "Train on it"
            </a>
        }
    });
    let upload = draft.then(|| view! { {upload(&dataset)} {import(&dataset.id, &form, &import_from)} });
    let remarks = remarks(&dataset.id, dataset.remarks.clone(), draft);
    let tools = draft.then(|| tools(&dataset, &form, own));
    let about = (count > 0).then(|| about(&dataset));
    view! {
        <p class="crumb">
            <a href="/admin/datasets">"Datasets"</a>
        </p>
        <div class="head">
            <div>
                <h1>{dataset.name.clone()}</h1>
                <p class="lead">{lead}</p>
            </div>
            <div class="head-actions">{train}</div>
        </div>
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {alert(form.general(&FIELDS))}
        {dataset.frozen.clone().map(|hash| frozen(&dataset.id, hash))}
        {upload}
        {remarks}
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
                "A training has used this dataset, so it never changes: what was trained can always be traced back to it. Its content is "
                <code title=hash>{short}</code> "."
            </p>
            <form method="post" action=format!("/admin/datasets/{id}")>
                <input type="hidden" name="action" value="copy" />
                <button type="submit" class="button">
                    "Make a copy to change"
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
                    <span class="scripted">"Drop pictures, folders or a zip file here, or choose them"</span>
                    <span class="unscripted">"Choose pictures or a zip file"</span>
                </b>
            </p>
            <p class="hint">
                "JPEG, PNG or WebP. Captions come along: a text file beside each image, a list ("
                <code>"metadata.jsonl"</code> " or " <code>".csv"</code> "), or folders named like "
                <code>"10_words"</code> ". What cannot be used is said."
            </p>
            <div class="drop-inputs">
                <label class="pick">
                    <span>"Files"</span>
                    <input type="file" name="files" multiple accept=".jpg,.jpeg,.png,.webp,.zip,.txt,.caption,.jsonl,.json,.csv,.tsv" />
                </label>
                <label class="pick">
                    <span>"A whole folder"</span>
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

/// Images that are on the server's machine already.
fn import(id: &str, form: &FormInput, from: &[String]) -> AnyView {
    let wrong = form.errors.iter().any(|error| error.field == "folder");
    let help = match from {
        [] => "This server was not started with --import-from DIR, so it reads no folders.".to_owned(),
        all => format!(
            "Its whole path on the server's machine, in {}. The pictures are copied, with captions as above.",
            all.join(" or ")
        ),
    };
    view! {
        <details class="panel" id="import" open=wrong>
            <summary>"Take pictures from a folder on the server"</summary>
            <form method="post" action=format!("/admin/datasets/{id}") class="inline-form">
                <input type="hidden" name="action" value="import" />
                {Field {
                    name: "folder",
                    label: "Folder",
                    help: &help,
                }
                    .text(form)}
                <button type="submit" class="button">
                    "Take them in"
                </button>
            </form>
        </details>
    }
    .into_any()
}

/// The way to be rid of it, folded away.
fn delete(dataset: &DatasetRecord) -> AnyView {
    let frozen = !dataset.is_draft();
    let words = match dataset.images.len() {
        0 => "Delete the dataset".to_owned(),
        count => format!("Delete it with {}", images(count as u32)),
    };
    view! {
        <details class="panel" id="delete">
            <summary>"Delete this dataset"</summary>
            <p class="hint">
                "It cannot be brought back. "
                {frozen
                    .then_some(
                        "What was trained on it stays, but can no longer be trained again with changes.",
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

fn remarks(id: &str, remarks: Vec<ImportWarning>, draft: bool) -> Option<AnyView> {
    if remarks.is_empty() {
        return None;
    }
    let count = remarks.len();
    let title = if count == 1 {
        "1 thing deserves a look".to_owned()
    } else {
        format!("{count} things deserve a look")
    };
    let rows = remarks.into_iter().map(|remark| {
        view! {
            <li>
                <b>{remark.name}</b>
                " "
                <span>{remark.message}</span>
            </li>
        }
    });
    let rows = rows.collect::<Vec<_>>();
    let forget = draft.then(|| {
        view! {
            <form method="post" action=format!("/admin/datasets/{id}")>
                <input type="hidden" name="action" value="clear_remarks" />
                <button type="submit" class="button">
                    "Forget these remarks"
                </button>
            </form>
        }
    });
    Some(
        view! {
            <details class="panel remarks" open id="remarks">
                <summary>{title}</summary>
                <ul class="lines">{rows}</ul>
                {forget}
            </details>
        }
        .into_any(),
    )
}

fn grid(dataset: &DatasetRecord) -> AnyView {
    if dataset.images.is_empty() {
        return view! { <p class="nothing">"There are no pictures in it yet."</p> }.into_any();
    }
    let draft = dataset.is_draft();
    let cells = dataset.images.iter().map(|image| cell(dataset, image, draft)).collect::<Vec<_>>();
    view! {
        <section aria-labelledby="images" class="images">
            <div class="line-up">
                <h2 id="images">"Pictures"</h2>
                <fieldset class="segments end">
                    <legend class="off-screen">"How the pictures are shown"</legend>
                    <label>
                        <input type="radio" name="shown" value="whole" checked autocomplete="off" />
                        <span>"Whole"</span>
                    </label>
                    <label>
                        <input type="radio" name="shown" value="square" autocomplete="off" />
                        <span>"As trained: the square in the middle"</span>
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
                                    "Save the captions"
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
    let repeats = (!draft && image.repeats > 1).then(|| format!(" · {} times", image.repeats));
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
                "Counts"
                <input
                    type="text"
                    inputmode="numeric"
                    autocomplete="off"
                    name=format!("repeats.{}", image.hash)
                    value=image.repeats.to_string()
                    data-kept
                    aria-label=format!("How often {} counts", image.name)
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
                aria-label=format!("Take {} out", image.name)
            >
                "Take out"
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
                <h2 id="all">"All captions at once"</h2>
                <form method="post" action=action.clone() class="inline-form">
                    <input type="hidden" name="action" value="prefix" />
                    {Field { name: "prefix", label: "Put in front", help: "With the comma or blank that follows." }.text(form)}
                    <button type="submit" class="button">
                        {format!("Put it in front of {}", captions(own))}
                    </button>
                </form>
                <form method="post" action=action.clone() class="inline-form">
                    <input type="hidden" name="action" value="replace" />
                    {Field { name: "find", label: "Find", help: "" }.text(form)}
                    {Field { name: "with", label: "Replace with", help: "" }.text(form)}
                    <button type="submit" class="button">
                        "Replace everywhere"
                    </button>
                </form>
            </section>
        }
    });
    view! {
        <div class="columns two">
            {all}
            <section class="panel" aria-labelledby="describe">
                <h2 id="describe">"About the dataset"</h2>
                <form method="post" action=action class="stack">
                    <input type="hidden" name="action" value="describe" />
                    {Field { name: "name", label: "Name", help: "" }.text(form)} {trigger().text(form)}
                    {Field {
                        name: "caption",
                        label: "Caption for pictures without one",
                        help: "For example “a cloth in adire style”.",
                    }
                        .text(form)}
                    <button type="submit" class="button">
                        "Save"
                    </button>
                </form>
            </section>
        </div>
    }
    .into_any()
}

fn captions(count: usize) -> String {
    if count == 1 { "1 caption".to_owned() } else { format!("{count} captions") }
}

/// What the sizes and shapes say about training on it.
fn about(dataset: &DatasetRecord) -> AnyView {
    let sizes: Vec<_> = dataset.images.iter().map(|image| (image.width, image.height)).collect();
    view! {
        <div class="columns two">
            {shapes::bars(
                "Resolution",
                "The shorter side, in pixels. Pictures smaller than the training's resolution are enlarged, and stay blurred.",
                shapes::by_size(&sizes),
            )}
            {shapes::bars(
                "Shape",
                "With “whole image” as the crop each is trained in the nearest of these shapes; otherwise as a square.",
                shapes::by_shape(&sizes),
            )}
        </div>
    }
    .into_any()
}
