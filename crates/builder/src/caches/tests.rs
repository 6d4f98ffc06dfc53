//! Who may have which cache, and when.

use testkit::{ScratchRoot, tree};

use super::*;

fn fill(place: &NewCache<'_>) -> Result<(), StepError> {
    Ok(place.dir.create_dir(place.name, 0o755)?)
}

struct Scene {
    scratch: ScratchRoot,
    stop: StopHandle,
}

impl Scene {
    fn new() -> Self {
        let stop = StopHandle::new().expect("because an eventfd can be had");
        Self { scratch: ScratchRoot::new(), stop }
    }

    fn lease(&self, id: &str, sharing: CacheSharing, alone: bool) -> Result<Lease, StepError> {
        Caches::new(self.scratch.path(), "1").lease(id, sharing, alone, &self.stop, &fill)
    }

    fn taken(&self, id: &str, sharing: CacheSharing) -> Lease {
        self.lease(id, sharing, false).expect("because nobody is in the way")
    }
}

use CacheSharing::{Locked, Private, Shared};

#[test]
fn a_cache_is_known_by_its_id_and_stays() {
    let scene = Scene::new();
    let first = scene.taken("/root/.cache", Shared).path;
    tree::make(&first, "f 0644 /kept \"x\"");
    assert_eq!(scene.taken("/root/.cache", Locked).path, first);
    assert_ne!(scene.taken("other", Shared).path, first);
    assert!(first.join("kept").exists());
    let name = Digest::sha256_of(b"/root/.cache").hex().to_owned();
    assert_eq!(first, scene.scratch.path().join("caches").join(name));
}

#[test]
fn sharing_says_who_waits() {
    let scene = Scene::new();
    let (one, two) = (scene.taken("a", Shared), scene.taken("a", Shared));
    assert_eq!(one.path, two.path);
    // A step that must be alone waits, and gives up when the build is stopped.
    scene.stop.stop();
    for (sharing, alone) in [(Locked, false), (Shared, true)] {
        assert!(matches!(scene.lease("a", sharing, alone), Err(StepError::Stopped)));
    }
    drop((one, two));
    let alone = scene.taken("a", Locked);
    assert!(matches!(scene.lease("a", Shared, false), Err(StepError::Stopped)));
    drop(alone);
    scene.taken("a", Shared);
}

#[test]
fn a_private_cache_is_the_first_that_is_free() {
    let scene = Scene::new();
    let (one, two) = (scene.taken("a", Private), scene.taken("a", Private));
    assert_ne!(one.path, two.path);
    let freed = one.path.clone();
    drop(one);
    assert_eq!(scene.taken("a", Private).path, freed);
}

#[test]
fn a_cache_that_cannot_be_filled_is_not_there() {
    let scene = Scene::new();
    let fail = |place: &NewCache<'_>| {
        fill(place)?;
        Err(StepError::MountSource { path: "/none".to_owned() })
    };
    let caches = Caches::new(scene.scratch.path(), "1");
    let error = caches.lease("a", Shared, false, &scene.stop, &fail).expect_err("it fails");
    assert_eq!(error.to_string(), "\"/none\": not found");
    let left = tree::print(&scene.scratch.path().join("caches"));
    assert_eq!(left.lines().filter(|line| !line.contains(".lock")).count(), 0, "{left}");
}
