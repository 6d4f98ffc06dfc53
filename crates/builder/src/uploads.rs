//! Layers on their way to the destinations while later steps are still at work.
//!
//! A layer of the image starts when it is sealed, into one repository of each registry; others of
//! the same registry mount it when the image is pushed. What fails is told then, as the failure of
//! that push: until then it disturbs nobody. Uploads end with the last who could wait for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{Descriptor, Reference};
use registry::{Client, Silent};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::blobs::Blobs;
use crate::request::Outputs;

type Upload = JoinHandle<Result<(), registry::Error>>;

/// The uploads of one build. Without a client there are none.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Option<Client>,
    blobs: Blobs,
    runtime: Handle,
    /// One destination of each registry, and what is on its way there.
    lines: Mutex<BTreeMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    destination: Reference,
    uploads: Vec<Upload>,
}

/// Tells when a layer is no longer on its way, wherever it got to.
#[derive(Debug)]
pub(crate) struct Arrival(tokio::sync::mpsc::Receiver<()>);

impl Arrival {
    pub(crate) async fn wait(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

impl Uploads {
    /// To the destinations of a build.
    pub(crate) fn new(
        client: Option<&Client>,
        outputs: &Outputs,
        blobs: &Blobs,
        runtime: Handle,
    ) -> Uploads {
        let mut lines = BTreeMap::new();
        for destination in outputs.destinations.iter().filter(|_| client.is_some()) {
            let line = || Line { destination: destination.clone(), uploads: Vec::new() };
            lines.entry(destination.registry().to_owned()).or_insert_with(line);
        }
        let (client, blobs) = (client.cloned(), blobs.clone());
        Uploads { shared: Arc::new(Shared { client, blobs, runtime, lines: Mutex::new(lines) }) }
    }

    /// Starts to upload a layer; from where it comes is for the blobs to know.
    pub(crate) fn start(&self, layer: &Descriptor) -> Arrival {
        let (on_its_way, arrival) = tokio::sync::mpsc::channel(1);
        let Some(client) = &self.shared.client else { return Arrival(arrival) };
        for line in self.shared.lines().values_mut() {
            let (client, blobs) = (client.clone(), self.shared.blobs.clone());
            let (destination, layer) = (line.destination.clone(), layer.clone());
            let on_its_way = on_its_way.clone();
            line.uploads.push(self.shared.runtime.spawn(async move {
                let _on_its_way = on_its_way;
                client.push_blob(&destination, &layer, &blobs, &Silent).await
            }));
        }
        Arrival(arrival)
    }

    /// Waits for what is on its way to a registry; the first failure is the one that is told, once.
    pub(crate) async fn arrived(&self, registry: &str) -> Result<(), registry::Error> {
        let mut uploads = {
            let mut lines = self.shared.lines();
            let line = lines.get_mut(registry);
            Waiting(line.map(|line| std::mem::take(&mut line.uploads)).unwrap_or_default())
        };
        let mut outcome = Ok(());
        for upload in &mut uploads.0 {
            // One that was lost is sent by the push itself.
            outcome = outcome.and(upload.await.unwrap_or(Ok(())));
        }
        outcome
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lines().values().flat_map(|line| &line.uploads).for_each(Upload::abort);
    }
}

/// Uploads that are waited for; they end with whoever waits.
struct Waiting(Vec<Upload>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.iter().for_each(Upload::abort);
    }
}
