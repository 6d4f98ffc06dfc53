//! The table of hostile archives, through `COPY --from` of an image and through `ADD`. The tests
//! of `layer` try it as layers and as contexts.
#![allow(clippy::disallowed_methods, reason = "tests look at the tree from outside")]

use layer::ApplyOptions;
use rootfs::{Protected, RootDir};
use testkit::ScratchRoot;
use testkit::hostile::{Way, check};

use crate::{Trees, can_run};

/// The error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn trees() -> Trees {
    let (context, root) = (ScratchRoot::in_memory(), ScratchRoot::in_memory());
    Trees { context, root, protected: Protected::none(), threads: 2 }
}

#[test]
fn root_copied_from_an_image() {
    if !can_run() {
        return;
    }
    check(Way::CopyFrom, |archives| {
        // The other image's root is the context here.
        let trees = trees();
        let image = RootDir::open(trees.context.path()).map_err(|error| chain(&error))?;
        for archive in archives {
            layer::apply(&image, &archive[..], &ApplyOptions::default(), &|| false)
                .map_err(|error| chain(&error))?;
        }
        // A link that is named itself is followed, which may well lead nowhere.
        drop(trees.changes("COPY --from=0 l* s* d* /p/", &|| false));
        trees.changes("COPY --from=0 / /o/", &|| false).map(drop).map_err(|error| chain(&error))
    });
}

#[test]
fn root_added_as_local_files() {
    if !can_run() {
        return;
    }
    check(Way::Add, |archives| {
        let trees = trees();
        for (at, archive) in archives.iter().enumerate() {
            let name = format!("{at}.tar");
            std::fs::write(trees.context.path().join(&name), archive)
                .map_err(|error| chain(&error))?;
            // The second time everything is there already.
            for _ in 0..2 {
                trees
                    .changes(&format!("ADD {name} /dest/"), &|| false)
                    .map_err(|error| chain(&error))?;
            }
        }
        Ok(())
    });
}
