//! What a push that ends early leaves behind: no upload that the registry would keep open.

use std::time::Duration;

use testkit::fault::{Action, FaultRegistry, Subject};

use crate::support::{client_with, image, reference, silent};

use Action::{Reset, Silence, Status};
use Subject::{UploadDelete, UploadPatch, UploadPut};

/// Larger than a chunk.
const SIZE: usize = 200_000;

fn refused() -> Action {
    Status(403, vec![], String::new())
}

#[tokio::test]
async fn a_push_that_fails_cancels_its_uploads() {
    for (subject, action) in
        [(UploadPatch, Reset), (UploadPatch, refused()), (UploadPut, refused())]
    {
        let registry = FaultRegistry::start();
        registry.fault(subject, None, action.clone());
        let (image, blobs) = image(SIZE);
        let name = reference(&registry.host(), "app:v1");
        let pushed = client_with(|_| {}).push_image(&name, &image, &blobs, &silent).await;
        pushed.expect_err("because the fault stays");
        assert!(registry.count(UploadDelete) > 0, "{action:?}");
    }
}

#[tokio::test]
async fn a_push_that_is_dropped_can_be_cleared_up() {
    let registry = FaultRegistry::start();
    registry.fault(UploadPatch, None, Silence(1000));
    let (image, blobs) = image(SIZE);
    let name = reference(&registry.host(), "app:v1");
    let client = client_with(|options| options.http.answer_timeout = Duration::from_secs(60));
    let push = client.push_blob(&name, &image.layers()[0].descriptor, &blobs, &silent);
    tokio::select! {
        _ = push => panic!("the registry is silent"),
        () = until(|| registry.count(UploadPatch) > 0) => {}
    }
    assert!(registry.open_uploads() > 0);
    client.abandon_uploads().await;
    assert_eq!(registry.open_uploads(), 0);
    // Once: they are forgotten then.
    let before = registry.count(UploadDelete);
    client.abandon_uploads().await;
    assert_eq!(registry.count(UploadDelete), before);
}

/// Comes back when it holds; fails after a minute.
async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("because it comes about");
}
