//! What a cloud answered, kept for as long as it is good, and in memory alone.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use registry::Grant;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Result;

/// Nothing is kept longer, whatever is said.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// What is said to be good for less is good for so long: else every request would ask anew.
const SHORTEST: Duration = Duration::from_secs(60);
/// Renewed so long before its end.
const MARGIN: Duration = Duration::from_secs(30);

/// Until when something is good that is good for so long from now.
pub(crate) fn end_of(lifetime: Duration) -> Option<Instant> {
    Some(Instant::now() + lifetime.clamp(SHORTEST, LONGEST).saturating_sub(MARGIN))
}

/// Answers by what was asked.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<String, Option<Grant>>>);

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(***)")
    }
}

impl Memory {
    /// What is known, or what `ask` says. That nothing says who we are does not change; a failure
    /// may, and is not kept.
    pub(crate) async fn get_or(
        &self,
        key: &str,
        ask: impl Future<Output = Result<Option<Grant>>>,
    ) -> Result<Option<Grant>> {
        let mut known = self.0.lock().await;
        if let Some(grant) = known.get(key)
            && is_good(grant.as_ref())
        {
            return Ok(grant.clone());
        }
        let grant = ask.await?;
        known.insert(key.to_owned(), grant.clone());
        Ok(grant)
    }
}

fn is_good(grant: Option<&Grant>) -> bool {
    grant.and_then(|grant| grant.until).is_none_or(|until| until > Instant::now())
}
