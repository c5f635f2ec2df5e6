//! How many event streams a client may have open. Each is a connection that may stay for as long as a queue is.

use adire_studio::{Client, Network, Visitor};

use crate::{
    error::{Problem, ProblemKind},
    tally::{Mark, Tally},
};

/// A browser has one for each tab that follows something.
const PER_VISITOR: usize = 16;
/// An office behind one address.
const PER_NETWORK: usize = 100;

/// Who has how many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    visitors: Tally<Visitor>,
    networks: Tally<Option<Network>>,
}

/// Held by a stream for as long as it lasts.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    _visitor: Option<Mark<Visitor>>,
    _network: Mark<Option<Network>>,
}

impl Streams {
    /// A place for one more.
    ///
    /// # Errors
    /// The client has as many as it may.
    pub(crate) fn open(&self, client: &Client) -> Result<StreamPlace, Problem> {
        let visitor = client.visitor.clone().map(|visitor| self.visitors.take(visitor, PER_VISITOR));
        let visitor = match visitor {
            Some(None) => return Err(too_many(PER_VISITOR)),
            Some(mark) => mark,
            None => None,
        };
        let network = self.networks.take(client.network, PER_NETWORK).ok_or_else(|| too_many(PER_NETWORK))?;
        Ok(StreamPlace { _visitor: visitor, _network: network })
    }
}

fn too_many(most: usize) -> Problem {
    let sentence = format!("You already follow {most} generations, the limit. Close some and try again.");
    Problem::new(ProblemKind::TooMany, sentence).retry_after(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_browser_nor_a_network_has_more_than_its_share() {
        let streams = Streams::default();
        let network = |last| Some(Network::of(std::net::IpAddr::from([192, 0, 2, last])));
        let client =
            |name: &str, last| Client { visitor: Some(Visitor(name.to_owned())), network: network(last) };
        let mine: Vec<_> = std::iter::from_fn(|| streams.open(&client("me", 1)).ok()).collect();
        assert_eq!(mine.len(), PER_VISITOR);
        assert_eq!(streams.open(&client("me", 2)).unwrap_err().status, 429);
        let others: Vec<_> =
            (0..200).filter_map(|it| streams.open(&client(&format!("{it}"), 1)).ok()).collect();
        assert_eq!(others.len(), PER_NETWORK - PER_VISITOR);
        assert!(streams.open(&Client { visitor: None, network: network(1) }).is_err());
        assert!(streams.open(&client("you", 3)).is_ok());
        drop((mine, others));
        assert!(streams.open(&client("me", 1)).is_ok());
    }
}
