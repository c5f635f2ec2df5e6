//! Uploads of a version to the Hugging Face Hub: a form, and what became of earlier ones.

use adire_protocol::{PushRecord, PushState};
use leptos::prelude::*;

use super::times::ago;

/// The section of a version's page. `id`: `name@vN`.
pub(super) fn push(id: &str, is_there: bool, pushes: Vec<PushRecord>) -> AnyView {
    let rows: Vec<_> = pushes.into_iter().map(row).collect();
    let action = format!("/admin/versions/{id}");
    let known = (!rows.is_empty()).then(|| view! { <ul class="lines">{rows}</ul> });
    let form = is_there.then(|| {
        view! {
            <form method="post" action=action class="stack">
                <input type="hidden" name="action" value="push" />
                <div class="columns two">
                    <div class="field">
                        <label for="repository">"Repository"</label>
                        <input
                            type="text"
                            id="repository"
                            name="repository"
                            required
                            autocomplete="off"
                            autocapitalize="none"
                            spellcheck="false"
                            placeholder="owner/name"
                        />
                    </div>
                    <div class="field">
                        <label for="license">"Licence"</label>
                        <input
                            type="text"
                            id="license"
                            name="license"
                            autocomplete="off"
                            autocapitalize="none"
                            spellcheck="false"
                            placeholder="creativeml-openrail-m"
                        />
                    </div>
                    <div class="field">
                        <label for="base_model">"Base model on the Hub"</label>
                        <input
                            type="text"
                            id="base_model"
                            name="base_model"
                            autocomplete="off"
                            autocapitalize="none"
                            spellcheck="false"
                            placeholder="owner/name"
                        />
                    </div>
                    <div class="field check">
                        <input type="checkbox" id="public" name="public" value="on" aria-describedby="public-help" />
                        <label for="public">"Public"</label>
                        <p class="hint" id="public-help">
                            "Private unless checked. Uploads both file formats, a card, and images of evaluations."
                        </p>
                    </div>
                </div>
                <button type="submit" class="button">
                    "Push to Hub"
                </button>
            </form>
        }
    });
    view! {
        <section class="panel" aria-labelledby="push">
            <h2 id="push">"Hugging Face Hub"</h2>
            {known}
            {form}
        </section>
    }
    .into_any()
}

fn row(push: PushRecord) -> AnyView {
    let (word, class) = match push.state {
        PushState::Queued => ("Queued", "badge queued"),
        PushState::Running => ("Running", "badge running"),
        PushState::Done => ("Done", "badge done"),
        PushState::Failed => ("Failed", "badge failed"),
        PushState::Cancelled => ("Cancelled", "badge cancelled"),
    };
    let open = matches!(push.state, PushState::Queued | PushState::Running);
    let name = match &push.url {
        Some(url) => view! {
            <a class="strong" href=url.clone()>
                {push.request.repository.clone()}
            </a>
        }
        .into_any(),
        None => view! { <span class="strong">{push.request.repository.clone()}</span> }.into_any(),
    };
    let status = match (&push.error, push.state) {
        (Some(error), _) => error.clone(),
        (None, PushState::Done) if push.commit.is_none() => "It held everything already.".to_owned(),
        _ => push.progress.clone(),
    };
    let cancel = open.then(|| {
        let label = format!("Cancel push to {}", push.request.repository);
        view! {
            <form method="post" action=format!("/admin/versions/{}", push.version)>
                <input type="hidden" name="action" value="cancel-push" />
                <input type="hidden" name="push" value=push.id.clone() />
                <button type="submit" class="button" aria-label=label>
                    "Cancel"
                </button>
            </form>
        }
    });
    view! {
        <li class="tall">
            <span>{name} " " <span class=class>{word}</span></span>
            <span class="end line-up">{ago(push.created_at)} {cancel}</span>
            <span class="soft">{status}</span>
        </li>
    }
    .into_any()
}
