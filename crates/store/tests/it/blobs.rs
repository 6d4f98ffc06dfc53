//! Blobs are visible when they are whole and verified, and not before.

use std::io::{Read, Write};

use oci::Digest;
use store::{BlobStore, Error};

use super::{names, store};

#[test]
fn a_blob_is_visible_from_its_commit_on() {
    let (_scratch, store) = store();
    let digest = Digest::sha256_of(b"content");
    let mut writer = store.writer().expect("a fresh store");
    writer.write_all(b"content").expect("room");
    assert!(!store.contains(&digest));
    writer.commit(&digest, 7).expect("it is what was expected");
    assert!(store.contains(&digest));
    assert_eq!(store.size(&digest).expect("it is there"), Some(7));
    let mut content = String::new();
    store.open_blob(&digest).expect("it is there").read_to_string(&mut content).expect("text");
    assert_eq!(content, "content");
    assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new());
}

#[test]
fn what_is_not_expected_is_refused_and_leaves_nothing() {
    let (_scratch, store) = store();
    let check = |expected: &Digest, size: u64, text: &str| {
        let mut writer = store.writer().expect("a fresh store");
        writer.write_all(b"content").expect("room");
        let error = writer.commit(expected, size).expect_err(text);
        assert_eq!(error.to_string(), text);
        assert!(!store.contains(expected));
        assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new());
    };
    let (right, wrong) = (Digest::sha256_of(b"content"), Digest::sha256_of(b"other"));
    check(&wrong, 7, &format!("content has the digest `{right}`, expected `{wrong}`"));
    check(&right, 6, &format!("blob `{right}` has 7 bytes, expected 6"));
}

#[test]
fn longer_digests_are_verified_too() {
    let (_scratch, store) = store();
    // sha512sum of `content`.
    let hex = "b2d1d285b5199c85f988d03649c37e44fd3dde01e5d69c50fef90651962f48110e9340b60d49a479c4c0b53f5f07d690686dd87d2481937a512e8b85ee7c617f";
    let digest = Digest::parse(&format!("sha512:{hex}")).expect("a digest");
    let mut writer = store.writer().expect("a fresh store");
    writer.write_all(b"content").expect("room");
    writer.commit(&digest, 7).expect("it is what was expected");
    store.verify(&digest).expect("it still is");
    let mut writer = store.writer().expect("a fresh store");
    writer.write_all(b"contenx").expect("room");
    assert!(matches!(writer.commit(&digest, 7), Err(Error::Digest { .. })));
}

#[test]
fn a_damaged_blob_is_found_and_removed() {
    let (_scratch, store) = store();
    let digest = store.put(b"content").expect("room");
    store.verify(&digest).expect("it is whole");
    std::fs::write(store.path(&digest), "contenx").expect("it is ours");
    assert!(matches!(store.verify(&digest), Err(Error::Digest { .. })));
    assert!(matches!(store.open_blob(&digest), Err(Error::Missing(_))));
    assert_eq!(store.put(b"content").expect("room"), digest);
    store.verify(&digest).expect("it is whole again");
}

#[test]
fn what_dead_writers_left_goes_and_what_living_ones_write_stays() {
    let (_scratch, store) = store();
    let mut alive = store.writer().expect("a fresh store");
    alive.write_all(b"half").expect("room");
    let tmp = store.root().join("tmp");
    std::fs::write(tmp.join("4242-0"), "left by a writer that was killed").expect("room");
    let again = BlobStore::open(store.root()).expect("the store can be shared");
    assert_eq!(names(&tmp).len(), 1);
    let digest = Digest::sha256_of(b"half");
    alive.commit(&digest, 4).expect("nobody took the file away");
    assert!(again.contains(&digest));
}

/// A store that is opened again and again while others write into it.
#[test]
fn many_writers_and_sweeps_at_once() {
    let (_scratch, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..25u8 {
                    let mine = BlobStore::open(store.root()).expect("the store can be shared");
                    // Half of the blobs are written by everyone.
                    let content = if round % 2 == 0 { vec![round] } else { vec![round, thread] };
                    let digest = mine.put(&content).expect("room");
                    store.verify(&digest).expect("it is whole");
                }
            });
        }
    });
    assert_eq!(names(&store.root().join("blobs/sha256")).len(), 13 + 12 * 4);
    assert_eq!(names(&store.root().join("tmp")), Vec::<String>::new());
}
