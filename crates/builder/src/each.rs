//! One thing done for every destination, also after it has failed for one: an image that is wanted in
//! five places is better in four of them than in the first.

use std::sync::Arc;

use oci::Reference;

use crate::error::Error;
use crate::event::{Event, Observer};

/// The destinations that have it, and the first failure.
pub(crate) struct Reached<'a> {
    pub(crate) destinations: Vec<&'a Reference>,
    pub(crate) failure: Option<Error>,
}

impl<'a> Reached<'a> {
    /// Without a push, what is said is said of all of them.
    pub(crate) fn unpushed(destinations: &'a [Reference]) -> Reached<'a> {
        Reached { destinations: destinations.iter().collect(), failure: None }
    }

    /// The same after a failure before.
    pub(crate) fn after(self, earlier: Option<Error>) -> Reached<'a> {
        Reached { failure: earlier.or(self.failure), ..self }
    }
}

/// Pushes to each destination in turn. Where there are several, each failure is told at once.
pub(crate) async fn to_each<'a, F>(
    destinations: impl ExactSizeIterator<Item = &'a Reference>,
    observer: &Arc<dyn Observer>,
    push: impl Fn(&'a Reference) -> F,
) -> Reached<'a>
where
    F: Future<Output = Result<(), Error>>,
{
    let several = destinations.len() > 1;
    let mut reached = Reached { destinations: Vec::new(), failure: None };
    for destination in destinations {
        match push(destination).await {
            Ok(()) => reached.destinations.push(destination),
            Err(error) => {
                if several {
                    observer.observe(&Event::PushFailed {
                        destination: destination.to_string(),
                        reason: transport::chain(&error),
                    });
                }
                reached.failure.get_or_insert(error);
            }
        }
    }
    reached
}
