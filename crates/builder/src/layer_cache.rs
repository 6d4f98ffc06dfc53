//! The caches of a build, as it asks for them.

use std::sync::Arc;

use cache::{DirectoryCache, LayerCache, LayoutCache, RegistryCache, TieredCache};
use registry::Client;

use crate::error::Error;
use crate::request::{BuildRequest, CachePlace, LayerCaching};

/// Opens them, before the keychain is sealed. Registries are reached as those that are pushed to; a
/// place that cannot be used is a warning.
pub(crate) async fn open(
    request: &BuildRequest,
    push: Option<&Client>,
) -> Result<Option<(Arc<dyn LayerCache>, LayerCaching)>, Error> {
    let Some(options) = &request.layer_cache else { return Ok(None) };
    let mut caches: Vec<Arc<dyn LayerCache>> = Vec::new();
    for place in &options.places {
        match place {
            CachePlace::Repository(repository) => {
                let client = match push {
                    // It knows what it pushed, and takes it from there.
                    Some(client) => client.clone(),
                    None => Client::new(request.push.clone())
                        .map_err(|source| Error::Client(Box::new(source)))?,
                };
                let keychain = &client.options().keychain;
                keychain.ask_programs(repository.registry(), repository.repository()).await;
                caches.push(Arc::new(RegistryCache::new(client.clone(), repository.clone())));
            }
            CachePlace::Layouts(path) => caches.push(Arc::new(LayoutCache::new(path))),
            CachePlace::Directory(path) => caches.push(Arc::new(DirectoryCache::new(path))),
        }
    }
    if caches.is_empty() {
        return Ok(None);
    }
    // Also of one alone: it bears the failures of its caches, and tells of them once.
    Ok(Some((Arc::new(TieredCache::new(caches)), options.clone())))
}
