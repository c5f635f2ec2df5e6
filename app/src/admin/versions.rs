//! Adapter versions: visibility, downloads and deletion.

use adire_protocol::ListedVersion;
use leptos::prelude::*;

use super::{frame::head, times::ago};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// By name, newest first.
    pub(crate) all: Vec<ListedVersion>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

pub(super) fn versions(data: Versions) -> AnyView {
    let Versions { all, flash } = data;
    let empty = all.is_empty();
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        {head(
            "Versions",
            "Visitors can't see, use or download hidden versions. Existing images keep naming them.",
            (),
        )}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {empty
            .then(|| {
                view! {
                    <div class="nothing">
                        <p>"No adapter versions yet. Each finished run creates one."</p>
                        <a class="primary" href="/admin/training/new">
                            "Train adapter"
                        </a>
                    </div>
                }
            })}
        {(!empty)
            .then(|| {
                view! {
                    <div class="wide" tabindex="0" role="region" aria-label="Versions">
                        <table class="list">
                            <thead>
                                <tr>
                                    <th scope="col">"Version"</th>
                                    <th scope="col">"State"</th>
                                    <th scope="col">"Added"</th>
                                    <td></td>
                                </tr>
                            </thead>
                            <tbody>{rows}</tbody>
                        </table>
                    </div>
                }
            })}
    }
    .into_any()
}

fn row(listed: ListedVersion) -> AnyView {
    let ListedVersion { version, hidden, downloads, deleted_at } = listed;
    let id = version.id();
    let (word, class) = match (deleted_at, hidden) {
        (Some(_), _) => ("Deleted", "badge cancelled"),
        (None, true) => ("Hidden", "badge paused"),
        (None, false) => ("Visible", "badge done"),
    };
    let file = (deleted_at.is_none() && !downloads).then_some("no download");
    let actions = deleted_at.is_none().then(|| {
        let (hide, hide_words) = if hidden { ("show", "Show") } else { ("hide", "Hide") };
        let (give, give_words) =
            if downloads { ("keep-file", "Stop downloads") } else { ("give-file", "Allow downloads") };
        view! {
            <div class="line-up">
                {act(&id, hide, hide_words.to_owned(), "button")} {act(&id, give, give_words.to_owned(), "button")}
                <details class="card-more">
                    <summary>"Delete"</summary>
                    {act(&id, "delete", "Delete version and file".to_owned(), "stop")}
                </details>
            </div>
        }
    });
    let name = if deleted_at.is_none() && !hidden {
        let address = format!("/adapters/{id}");
        view! {
            <a class="strong" href=address>
                {id}
            </a>
        }
        .into_any()
    } else {
        view! { <b>{id}</b> }.into_any()
    };
    view! {
        <tr>
            <th scope="row" class="grow">
                {name} <span class="soft">{version.trigger}</span>
            </th>
            <td>
                <span class=class>{word}</span>
                <span class="soft">{file}</span>
            </td>
            <td class="soft age">{ago(version.created_at)}</td>
            <td>{actions}</td>
        </tr>
    }
    .into_any()
}

fn act(id: &str, action: &'static str, words: String, class: &'static str) -> AnyView {
    let label = format!("{words}: {id}");
    view! {
        <form method="post" action="/admin/versions">
            <input type="hidden" name="version" value=id.to_owned() />
            <input type="hidden" name="action" value=action />
            <button type="submit" class=class aria-label=label>
                {words}
            </button>
        </form>
    }
    .into_any()
}
