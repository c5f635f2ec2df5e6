//! Adapter versions: which visitors may use and download, and the way to delete one.

use adire_protocol::ListedVersion;
use leptos::prelude::*;

use super::{frame::head, times::ago};

/// What the page shows.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// By name, newest first.
    pub(crate) all: Vec<ListedVersion>,
    /// What was just done, or why it was not.
    pub(crate) flash: Option<String>,
}

pub(super) fn versions(data: Versions) -> AnyView {
    let Versions { all, flash } = data;
    let empty = all.is_empty();
    let rows = all.into_iter().map(row).collect::<Vec<_>>();
    view! {
        {head(
            "Versions",
            "Hidden versions cannot be seen, used or downloaded by visitors. Images that were generated with them keep naming them.",
            (),
        )}
        {flash.map(|flash| view! { <p class="flash" role="status">{flash}</p> })}
        {empty
            .then(|| {
                view! {
                    <div class="nothing">
                        <p>"There are no adapter versions yet. A training that ends makes one."</p>
                        <a class="primary" href="/admin/training/new">
                            "Train an adapter"
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
        (None, false) => ("Shown", "badge done"),
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
                    {act(&id, "delete", format!("Delete {id} and its file"), "stop")}
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
