//! Flags, subcommands and variables of kaniko that are not there yet.
//!
//! Giving one is an error that names it. A flag given with its default, which describes what is
//! done anyway, is accepted: nothing is ignored then.

use crate::flag::Flag;
use crate::flag::Status::NotYet;
use crate::flag::Value::{self, Bool, Duration, KeyValue, List, Number, Text};

const FORK: &str = "a flag of one kaniko fork";

const fn row(name: &'static str, value: Value, default: &'static str, what: &'static str) -> Flag {
    Flag::new(name, value, "").default(default).status(NotYet(what))
}

pub(crate) const EXECUTOR: &[Flag] = &[
    row("bucket", Text, "", "the old form of a bucket context; write --context=gs://BUCKET")
        .short('b'),
    row("git", KeyValue, "", "options of a git context"),
    row("single-snapshot", Bool, "false", "one layer for the whole build"),
    // One fork's own flags. They are known by name so that the error is about the feature, and
    // not about the spelling.
    row("cache-disable-http2", Bool, "false", FORK),
    row("cache-max-concurrent-requests", Number, "", FORK),
    row("cache-max-conns", Number, "", FORK),
    row("cache-max-conns-per-host", Number, "", FORK),
    row("cache-request-timeout", Duration, "", FORK),
    row("cache-result-max-entries", Number, "", FORK),
    row("cache-result-max-memory-mb", Number, "", FORK),
    row("cache-result-ttl", Duration, "", FORK),
    row("debug-build-steps", Bool, "false", FORK),
    row("debug-cache", Bool, "false", FORK),
    row("debug-components", List, "", FORK),
    row("debug-drivers", Bool, "false", FORK),
    row("debug-filesystem", Bool, "false", FORK),
    row("debug-full", Bool, "false", FORK),
    row("debug-level", Text, "", FORK),
    row("debug-multi-platform", Bool, "false", FORK),
    row("debug-oci", Bool, "false", FORK),
    row("debug-output-files", Bool, "false", FORK),
    row("debug-registry", Bool, "false", FORK),
    row("debug-signing", Bool, "false", FORK),
    row("default-user", Text, "", FORK),
    row("disable-compression", Bool, "false", FORK),
    row("enable-lazy-image-loading", Bool, "true", FORK),
    row("enable-parallel-exec", Bool, "false", FORK),
    row("enable-predictive-cache", Bool, "false", FORK),
    row("enable-smart-cache", Bool, "false", FORK),
    row("enable-unified-cache", Bool, "false", FORK),
    row("file-hash-cache-max-entries", Number, "", FORK),
    row("file-hash-cache-max-memory-mb", Number, "", FORK),
    row("full-scan-backup", Bool, "true", FORK),
    row("gc-threshold", Number, "", FORK),
    row("generate-provenance", Bool, "false", FORK),
    row("incremental-snapshots", Bool, "true", FORK),
    row("integrity-check", Bool, "true", FORK),
    row("layer-load-max-concurrent", Number, "", FORK),
    row("local-cache-compress", Bool, "false", FORK),
    row("local-cache-compression", Text, "", FORK),
    row("local-cache-use-mmap", Bool, "false", FORK),
    row("max-cache-entries", Number, "", FORK),
    row("max-concurrent-cache-checks", Number, "", FORK),
    row("max-expected-changes", Number, "", FORK),
    row("max-file-hash-size", Text, "", FORK),
    row("max-file-size", Text, "", FORK),
    row("max-file-size-bytes", Number, "", FORK),
    row("max-memory-usage-bytes", Text, "", FORK),
    row("max-parallel-commands", Number, "0", FORK),
    row("max-parallel-copy", Number, "0", FORK),
    row("max-parallel-hashing", Number, "0", FORK),
    row("max-preload-size", Text, "", FORK),
    row("max-tar-file-size", Text, "", FORK),
    row("max-total-archive-size", Text, "", FORK),
    row("max-total-file-size-bytes", Number, "", FORK),
    row("max-workers", Number, "0", FORK),
    row("memory-monitoring", Bool, "true", FORK),
    row("monitoring-interval", Number, "", FORK),
    row("optimize-execution-order", Bool, "false", FORK),
    row("predictive-cache-max-layers", Number, "", FORK),
    row("predictive-cache-max-memory-mb", Number, "", FORK),
    row("prefetch-window", Number, "", FORK),
    row("preload-timeout", Duration, "", FORK),
    row("require-signature", Bool, "false", FORK),
    row("use-oci-stages", Bool, "false", FORK),
];

/// Subcommands of kaniko's executor that are not there.
pub(crate) const SUBCOMMANDS: &[&str] = &["completion"];

/// Variables that ask for something that is not there, and whether a false value asks for nothing.
pub(crate) const VARIABLES: &[(&str, bool)] =
    &[("KANIKO_PRINT_PLAN", true), ("KANIKO_TELEMETRY_ENDPOINT", false)];
