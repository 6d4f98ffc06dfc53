//! Several caches as one, the nearest first; and how little a build minds when one of them fails.
//!
//! This is what a build uses, also of one cache alone. A cache that cannot be asked or written to is
//! told of once, and after a few failures in a row not used any more; no look-up takes longer than a
//! cap. Bytes that come from a farther cache are put into the nearer ones in the background.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci::Reference;
use store::BlobStore;
use tokio::task::JoinHandle;

use crate::Result;
use crate::directory::is_damage;
use crate::error::Error;
use crate::health::{Direction, Health};
use crate::key::CacheKey;
use crate::layer_cache::{BoxFuture, CachedLayer, LayerCache};

/// A look-up that takes longer costs more than it can save.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(30);

/// Caches in the order in which they are asked.
#[derive(Debug)]
pub struct TieredCache {
    tiers: Vec<Tier>,
    longest_look_up: Duration,
    background: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Clone, Debug)]
struct Tier {
    cache: Arc<dyn LayerCache>,
    health: Arc<Health>,
}

impl TieredCache {
    /// Of these caches, the nearest first. Nothing is touched yet.
    pub fn new(caches: Vec<Arc<dyn LayerCache>>) -> Self {
        let tiers = caches.into_iter().map(|cache| Tier { cache, health: Arc::default() });
        Self {
            tiers: tiers.collect(),
            longest_look_up: LONGEST_LOOK_UP,
            background: Mutex::default(),
        }
    }

    /// The same with another cap.
    #[cfg(test)]
    pub(crate) fn with_longest_look_up(mut self, longest: Duration) -> Self {
        self.longest_look_up = longest;
        self
    }

    async fn find(&self, key: &CacheKey, oldest: Option<i64>) -> Option<CachedLayer> {
        for tier in &self.tiers {
            let found = tier.look_up(key, oldest, self.longest_look_up).await;
            if found.is_some() {
                return found;
            }
        }
        None
    }

    async fn bring(&self, key: &CacheKey, layer: &CachedLayer, blobs: &BlobStore) -> Result<()> {
        let mut last = None;
        for (at, tier) in self.tiers.iter().enumerate() {
            if tier.health.is_off(Direction::Reading) {
                continue;
            }
            match tier.cache.fetch(key, layer, blobs).await {
                Ok(()) => {
                    tier.health.good(Direction::Reading);
                    self.write_through(&self.tiers[..at], key, layer, blobs);
                    return Ok(());
                }
                Err(error) => {
                    tier.not_fetched(key, &error);
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::NotKept(key.to_string())))
    }

    fn write_through(
        &self,
        nearer: &[Tier],
        key: &CacheKey,
        layer: &CachedLayer,
        from: &BlobStore,
    ) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        for tier in nearer {
            let (tier, key, layer, from) = (tier.clone(), *key, layer.clone(), from.clone());
            background.push(tokio::spawn(async move {
                // It was told where that is of interest.
                let _ = tier.put(&key, &layer, &from).await;
            }));
        }
    }

    async fn put_into_all(
        &self,
        key: &CacheKey,
        layer: &CachedLayer,
        blobs: &BlobStore,
    ) -> Result<()> {
        let puts = self.tiers.iter().map(|tier| tier.put(key, layer, blobs));
        let mut first = Err(Error::NotKept(key.to_string()));
        for outcome in futures_util::future::join_all(puts).await {
            match (&first, outcome) {
                (_, Ok(())) => first = Ok(()),
                (Err(Error::NotKept(_)), Err(error)) => first = Err(error),
                (_, Err(_)) => {}
            }
        }
        first
    }
}

impl Tier {
    async fn look_up(
        &self,
        key: &CacheKey,
        oldest: Option<i64>,
        longest: Duration,
    ) -> Option<CachedLayer> {
        if self.health.is_off(Direction::Reading) {
            return None;
        }
        match tokio::time::timeout(longest, self.cache.look_up(key, oldest)).await {
            Ok(Ok(found)) => {
                self.health.good(Direction::Reading);
                found
            }
            Ok(Err(error)) => {
                self.health.failed(&self.cache.name(), Direction::Reading, &error);
                None
            }
            Err(_) => {
                self.health.silent(&self.cache.name(), longest);
                None
            }
        }
    }

    async fn put(&self, key: &CacheKey, layer: &CachedLayer, blobs: &BlobStore) -> Result<()> {
        if self.health.is_off(Direction::Writing) {
            return Err(Error::NotKept(key.to_string()));
        }
        let put = self.cache.put(key, layer, blobs).await;
        match &put {
            Ok(()) => self.health.good(Direction::Writing),
            // That the bytes are elsewhere is no fault of this cache.
            Err(Error::Store(error)) if error.is_not_found() => {}
            Err(error) => self.health.failed(&self.cache.name(), Direction::Writing, error),
        }
        put
    }

    fn not_fetched(&self, key: &CacheKey, error: &Error) {
        let name = self.cache.name();
        match error {
            Error::Layer { source, .. } if source.is_not_found() => {}
            Error::Registry(error) if error.is_not_found() => {}
            Error::Layer { source, .. } if is_damage(source) => {
                tracing::warn!(%key, "a layer in the cache `{name}` is damaged: {}", error.told());
            }
            error => self.health.failed(&name, Direction::Reading, error),
        }
    }
}

impl LayerCache for TieredCache {
    fn name(&self) -> String {
        let names: Vec<String> = self.tiers.iter().map(|tier| tier.cache.name()).collect();
        names.join(", ")
    }

    fn repository(&self) -> Option<&Reference> {
        self.tiers.iter().find_map(|tier| tier.cache.repository())
    }

    /// Never an error: what cannot be asked has nothing.
    fn look_up<'a>(
        &'a self,
        key: &'a CacheKey,
        oldest: Option<i64>,
    ) -> BoxFuture<'a, Result<Option<CachedLayer>>> {
        Box::pin(async move { Ok(self.find(key, oldest).await) })
    }

    /// An error where no cache has good bytes.
    fn fetch<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.bring(key, layer, blobs))
    }

    /// An error where no cache kept it; a person has been told why, where that is of interest.
    fn put<'a>(
        &'a self,
        key: &'a CacheKey,
        layer: &'a CachedLayer,
        blobs: &'a BlobStore,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.put_into_all(key, layer, blobs))
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let background = {
                let mut tasks = self.background.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *tasks)
            };
            for task in background {
                // One that panicked has nothing to hand over.
                let _ = task.await;
            }
            for tier in &self.tiers {
                tier.cache.settle().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use oci::{Descriptor, DiffId, Digest, LayerRef, MediaType};
    use testkit::ScratchRoot;

    use super::*;
    use crate::KeyBuilder;

    /// A cache that can do nothing, and counts how often it was asked.
    #[derive(Debug, Default)]
    struct Broken {
        never_answers: bool,
        asked: AtomicU32,
    }

    impl Broken {
        fn ask<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let error = Error::Directory {
                path: "/cache".into(),
                source: std::io::ErrorKind::ReadOnlyFilesystem.into(),
            };
            match self.never_answers {
                true => Box::pin(std::future::pending()),
                false => Box::pin(std::future::ready(Err(error))),
            }
        }
    }

    impl LayerCache for Broken {
        fn name(&self) -> String {
            "broken".to_owned()
        }

        fn repository(&self) -> Option<&Reference> {
            None
        }

        fn look_up<'a>(
            &'a self,
            _: &'a CacheKey,
            _: Option<i64>,
        ) -> BoxFuture<'a, Result<Option<CachedLayer>>> {
            self.ask()
        }

        fn fetch<'a>(
            &'a self,
            _: &'a CacheKey,
            _: &'a CachedLayer,
            _: &'a BlobStore,
        ) -> BoxFuture<'a, Result<()>> {
            self.ask()
        }

        fn put<'a>(
            &'a self,
            _: &'a CacheKey,
            _: &'a CachedLayer,
            _: &'a BlobStore,
        ) -> BoxFuture<'a, Result<()>> {
            self.ask()
        }
    }

    /// How often a broken cache was asked when it could have been ten times, for each way of asking.
    async fn check(broken: Broken, expected_look_ups: u32, expected_puts: u32) {
        let scratch = ScratchRoot::new();
        let blobs = BlobStore::open(scratch.path()).expect("because it is new");
        let key = KeyBuilder::new().finish().key;
        let digest = Digest::sha256_of(b"");
        let descriptor = Descriptor::new(MediaType::OciLayer, digest.clone(), 0);
        let layer = CachedLayer {
            layer: LayerRef { descriptor, diff_id: DiffId(digest) },
            content: key,
            below: None,
            created: 0,
            created_by: String::new(),
            parts: Vec::new(),
        };
        let broken = Arc::new(broken);
        let tiers =
            TieredCache::new(vec![broken.clone()]).with_longest_look_up(Duration::from_millis(20));
        for _ in 0..10 {
            let found = tiers.look_up(&key, None).await;
            assert_eq!(found.expect("because tiers bear it"), None);
        }
        assert_eq!(broken.asked.swap(0, Ordering::Relaxed), expected_look_ups);
        for _ in 0..10 {
            tiers.put(&key, &layer, &blobs).await.expect_err("because nobody kept it");
        }
        assert_eq!(broken.asked.load(Ordering::Relaxed), expected_puts);
    }

    #[tokio::test]
    async fn a_broken_cache_is_not_asked_for_ever() {
        check(Broken::default(), 3, 3).await;
        // One that is silent costs its cap once.
        check(Broken { never_answers: true, ..Broken::default() }, 1, 0).await;
    }
}
