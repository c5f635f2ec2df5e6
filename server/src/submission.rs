//! Who asks for generations and in whose name, and the one way in which a request enters the queue.

use adire_protocol::{Generation, GenerationRequest};
use adire_studio::{Client, Visitor};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use sha2::{Digest, Sha256};

use crate::{
    admin::auth::tokens::{OverLimit, Token},
    error::{Problem, ProblemKind},
    layers::credentials::Sent,
    state::AppState,
};

/// Who asks: a browser, a token, or a program without either.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) token: Option<Token>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let client = parts.extensions.get::<Client>().cloned().unwrap_or_default();
        Ok(Self { client, token: parts.extensions.get::<Sent>().map(|sent| sent.token.clone()) })
    }
}

/// The caller of another program's API, which always has an identity: programs without cookies are distinguished by their
/// network and by what they call themselves, so that they neither see nor stop each other's work.
#[derive(Clone, Debug)]
pub(crate) struct Program(pub(crate) Caller);

impl Program {
    /// What it is known by.
    pub(crate) fn key(&self) -> &str {
        self.0.client.visitor_id().unwrap_or_default()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Program {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let mut caller = Caller::from_request_parts(parts, state).await?;
        if caller.client.visitor.is_none() {
            let network = caller.client.network.map(|network| network.to_string()).unwrap_or_default();
            let agent = parts.headers.get(header::USER_AGENT).map(|agent| agent.as_bytes());
            let digest = Sha256::new()
                .chain_update(network)
                .chain_update([0])
                .chain_update(agent.unwrap_or_default())
                .finalize();
            caller.client.visitor = Some(Visitor(format!("program:{}", hex::encode(&digest[..16]))));
        }
        Ok(Self(caller))
    }
}

/// Puts a request into the queue. It counts for the caller's token.
pub(crate) async fn submit(
    state: &AppState,
    caller: &Caller,
    request: GenerationRequest,
) -> Result<Generation, Problem> {
    let Some(token) = &caller.token else {
        return Ok(state.studio.submit(request, &caller.client).await?);
    };
    let images = request.images();
    let tokens = state.auth.tokens();
    tokens.charge(token, images).map_err(Problem::internal)?.map_err(over)?;
    let submitted = state.studio.submit(request, &caller.client).await;
    if submitted.is_err() {
        tokens.refund(token, images);
    }
    let tokens = tokens.clone();
    tokio::task::spawn_blocking(move || tokens.save_usage()).await.map_err(Problem::internal)?;
    Ok(submitted?)
}

fn over(OverLimit { limit, retry_after }: OverLimit) -> Problem {
    let sentence = format!("This token's limit of {limit} images is reached; try again in {retry_after} s.");
    Problem::new(ProblemKind::TooMany, sentence).retry_after(retry_after)
}
