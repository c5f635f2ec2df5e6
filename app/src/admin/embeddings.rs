//! The embeddings that prompts may name, and the form for a file.

use adire_protocol::EmbeddingRecord;
use leptos::prelude::*;

use super::{
    fields::{Field, FormInput, alert},
    frame::{crumbs, flash_line, head},
    times::ago,
};

/// Data of the page.
#[derive(Clone, Debug)]
pub(crate) struct Embeddings {
    /// By their words.
    pub(crate) all: Vec<EmbeddingRecord>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
    /// The form for a file.
    pub(crate) new: FormInput,
}

pub(super) fn embeddings(data: Embeddings) -> AnyView {
    let Embeddings { all, flash, new } = data;
    let word = Field {
        name: "word",
        label: "Word",
        help: "Activates it in prompts. The file's own word, or its name, when left empty.",
    };
    let file = Field {
        name: "file",
        label: "File",
        help: "A .safetensors file for the loaded model, at most 16 MiB.",
    };
    view! {
        {crumbs([("/admin/versions", "Versions")])}
        {head("Embeddings", "Words of prompts that stand for trained vectors (textual inversions).", ())}
        {flash_line(flash)}
        {match all.is_empty() {
            true => {
                view! { <p class="nothing">"No embeddings yet. Add a file below; prompts can use its word at once."</p> }
                    .into_any()
            }
            false => table(all),
        }}
        <section class="panel narrow" id="add" aria-labelledby="add-title">
            <h2 id="add-title">"Add an embedding"</h2>
            {alert(new.general(&["word", "file"]))}
            <form method="post" enctype="multipart/form-data" action="/admin/embeddings" class="stack">
                {word.text(&new)} {file.file(&new, ".safetensors")}
                <button type="submit" class="primary">
                    "Add embedding"
                </button>
            </form>
        </section>
    }
    .into_any()
}

fn table(all: Vec<EmbeddingRecord>) -> AnyView {
    let rows = all.into_iter().map(|embedding| {
        let label = format!("Remove: {}", embedding.word);
        view! {
            <tr>
                <th scope="row" class="grow strong">
                    {embedding.word.clone()}
                </th>
                <td class="count">{embedding.vectors}</td>
                <td class="soft age">{ago(embedding.created_at)}</td>
                <td>
                    <form method="post" enctype="multipart/form-data" action="/admin/embeddings">
                        <button type="submit" name="remove" value=embedding.word class="stop" aria-label=label>
                            "Remove"
                        </button>
                    </form>
                </td>
            </tr>
        }
    });
    view! {
        <div class="wide" tabindex="0" role="region" aria-label="Embeddings">
            <table class="list">
                <thead>
                    <tr>
                        <th scope="col">"Word"</th>
                        <th scope="col">"Vectors"</th>
                        <th scope="col">"Added"</th>
                        <td></td>
                    </tr>
                </thead>
                <tbody>{rows.collect::<Vec<_>>()}</tbody>
            </table>
        </div>
        <p class="hint">"A word that is removed means nothing in new prompts. Its file stays, so that images made with it can be verified."</p>
    }
    .into_any()
}
