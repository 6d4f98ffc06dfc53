//! Uploads that registries keep open for us. Whoever gives up, or is dropped in the middle, leaves
//! its entry here, so that what the registry keeps can be ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use transport::Request;
use url::Url;

use crate::endpoint::{Scopes, SharedEndpoint};

/// Registries purge uploads that nobody ends: they are not worth a longer wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The uploads of one client that have begun and not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    open: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    open: HashMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// What is uploaded, for messages; the same for all sessions of one blob.
    object: String,
    endpoint: SharedEndpoint,
    scopes: Scopes,
    url: Url,
}

/// One upload on a registry.
#[derive(Debug)]
pub(crate) struct Session {
    sessions: Sessions,
    id: u64,
    pub(crate) url: Url,
    /// How much the registry has; unknown after a fault.
    pub(crate) offset: Option<u64>,
}

impl Session {
    /// The registry wants to be asked elsewhere from now on.
    pub(crate) fn moved(&mut self, url: Url) {
        if let Some(open) = self.sessions.books().open.get_mut(&self.id) {
            open.url = url.clone();
        }
        self.url = url;
    }

    /// The registry has ended it.
    pub(crate) fn ended(&self) {
        self.sessions.books().open.remove(&self.id);
    }
}

impl Sessions {
    /// Notes an upload that the registry has just opened.
    pub(crate) fn opened(
        &self,
        object: &str,
        endpoint: &SharedEndpoint,
        scopes: &Scopes,
        url: Url,
    ) -> Session {
        let mut books = self.books();
        let id = books.next;
        books.next += 1;
        let open = Open {
            object: object.to_owned(),
            endpoint: Arc::clone(endpoint),
            scopes: scopes.clone(),
            url: url.clone(),
        };
        books.open.insert(id, open);
        drop(books);
        Session { sessions: self.clone(), id, url, offset: Some(0) }
    }

    /// Ends what is still open for this object.
    pub(crate) async fn cancel(&self, object: &str) {
        self.cancel_where(|open| open.object == object).await;
    }

    /// Ends all that are open.
    pub(crate) async fn cancel_all(&self) {
        self.cancel_where(|_| true).await;
    }

    async fn cancel_where(&self, which: impl Fn(&Open) -> bool) {
        let ended: Vec<Open> =
            self.books().open.extract_if(|_, open| which(open)).map(|(_, open)| open).collect();
        let questions = ended.into_iter().map(|open| async move {
            let request = Request::new(Method::DELETE, open.url);
            if let Ok(answer) = open.endpoint.send(&open.scopes, request).await {
                answer.discard().await;
            }
        });
        let all = futures_util::future::join_all(questions);
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
