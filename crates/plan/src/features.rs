//! What of the language can be carried out, in one table: instruction × feature.
//!
//! Whatever is accepted must have its effect. A feature that has none yet is refused by
//! [`lower`](crate::lower) with its name and its line, and the table is the only place that says
//! which ones those are.

/// Whether a feature has its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Support {
    /// It has.
    Implemented,
    /// It has not; the text says what is missing.
    NotYet(&'static str),
}

impl Support {
    /// What is missing.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Support::Implemented => None,
            Support::NotYet(reason) => Some(reason),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Feature {
    /// The instruction.
    pub instruction: &'static str,
    /// The feature as a user knows it, the instruction in front.
    pub name: &'static str,
    /// Whether it has its effect.
    pub support: Support,
    /// A Dockerfile that uses it and nothing else that is missing.
    pub example: &'static str,
}

use Support::Implemented;

macro_rules! features {
    ($($instruction:literal, $name:literal, $support:expr, $example:literal;)*) => {
        &[$(Feature {
            instruction: $instruction,
            name: $name,
            support: $support,
            example: $example,
        },)*]
    };
}

/// The table.
pub const FEATURES: &[Feature] = features![
    "FROM", "FROM image", Implemented, "FROM busybox\n";
    "FROM", "FROM scratch", Implemented, "FROM scratch\n";
    "FROM", "FROM stage", Implemented, "FROM scratch AS a\nFROM a\n";
    "FROM", "FROM --platform", Implemented, "FROM --platform=linux/arm64 busybox\n";
    "ARG", "ARG before FROM", Implemented, "ARG A=busybox\nFROM $A\n";
    "ARG", "ARG", Implemented, "FROM scratch\nARG A=b\n";
    "ENV", "ENV", Implemented, "FROM scratch\nENV A=b\n";
    "LABEL", "LABEL", Implemented, "FROM scratch\nLABEL a=b\n";
    "MAINTAINER", "MAINTAINER", Implemented, "FROM scratch\nMAINTAINER me\n";
    "EXPOSE", "EXPOSE", Implemented, "FROM scratch\nEXPOSE 80-82/udp\n";
    "VOLUME", "VOLUME", Implemented, "FROM scratch\nVOLUME /v\n";
    "USER", "USER", Implemented, "FROM scratch\nUSER 1\n";
    "WORKDIR", "WORKDIR", Implemented, "FROM scratch\nWORKDIR /w\n";
    "SHELL", "SHELL", Implemented, "FROM scratch\nSHELL [\"/sh\"]\n";
    "STOPSIGNAL", "STOPSIGNAL", Implemented, "FROM scratch\nSTOPSIGNAL KILL\n";
    "HEALTHCHECK", "HEALTHCHECK CMD", Implemented, "FROM scratch\nHEALTHCHECK --retries=2 CMD x\n";
    "HEALTHCHECK", "HEALTHCHECK NONE", Implemented, "FROM scratch\nHEALTHCHECK NONE\n";
    "ONBUILD", "ONBUILD", Implemented, "FROM scratch\nONBUILD ENV A=b\n";
    "CMD", "CMD", Implemented, "FROM scratch\nCMD [\"/x\"]\n";
    "ENTRYPOINT", "ENTRYPOINT", Implemented, "FROM scratch\nENTRYPOINT [\"/x\"]\n";
    "COPY", "COPY", Implemented, "FROM scratch\nCOPY a b\n";
    "COPY", "COPY with a here-document", Implemented, "FROM scratch\nCOPY <<a /b\nx\na\n";
    "COPY", "COPY --from=stage", Implemented, "FROM scratch AS a\nFROM scratch\nCOPY --from=a / /\n";
    "COPY", "COPY --from=index", Implemented, "FROM scratch\nFROM scratch\nCOPY --from=0 / /\n";
    "COPY", "COPY --from=image", Implemented, "FROM scratch\nCOPY --from=busybox / /\n";
    "COPY", "COPY --chown", Implemented, "FROM scratch\nCOPY --chown=1:2 a b\n";
    "COPY", "COPY --chmod", Implemented, "FROM scratch\nCOPY --chmod=u=rwX a b\n";
    "COPY", "COPY --link", Implemented, "FROM scratch\nCOPY --link a b\n";
    "COPY", "COPY --parents", Implemented, "FROM scratch\nCOPY --parents a b/\n";
    "COPY", "COPY --exclude", Implemented, "FROM scratch\nCOPY --exclude=*.md a b\n";
    "ADD", "ADD", Implemented, "FROM scratch\nADD a b\n";
    "ADD", "ADD with a here-document", Implemented, "FROM scratch\nADD <<a /b\nx\na\n";
    "ADD", "ADD of a URL", Implemented, "FROM scratch\nADD https://example.com/a /\n";
    "ADD", "ADD of a git repository", Implemented, "FROM scratch\nADD https://example.com/a.git /\n";
    "ADD", "ADD --chown", Implemented, "FROM scratch\nADD --chown=1:2 a b\n";
    "ADD", "ADD --chmod", Implemented, "FROM scratch\nADD --chmod=644 a b\n";
    "ADD", "ADD --link", Implemented, "FROM scratch\nADD --link a b\n";
    "ADD", "ADD --exclude", Implemented, "FROM scratch\nADD --exclude=*.md a b\n";
    "ADD", "ADD --unpack", Implemented, "FROM scratch\nADD --unpack=false a b\n";
    "ADD", "ADD --keep-git-dir", Implemented,
        "FROM scratch\nADD --keep-git-dir=true https://example.com/a.git /\n";
    "ADD", "ADD --checksum", Implemented,
        "FROM scratch\nADD --checksum=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 https://example.com/a /\n";
    "RUN", "RUN", Implemented, "FROM busybox\nRUN [\"x\"]\n";
    "RUN", "RUN with a here-document", Implemented, "FROM busybox\nRUN <<a\nx\na\n";
    "RUN", "RUN --mount=type=bind", Implemented, "FROM busybox\nRUN --mount=target=/m x\n";
    "RUN", "RUN --mount=type=cache", Implemented,
        "FROM busybox\nRUN --mount=type=cache,target=/m x\n";
    "RUN", "RUN --mount=type=tmpfs", Implemented,
        "FROM busybox\nRUN --mount=type=tmpfs,target=/m x\n";
    "RUN", "RUN --mount=type=secret", Implemented,
        "FROM busybox\nRUN --mount=type=secret,id=s x\n";
    "RUN", "RUN --mount=type=ssh", Implemented, "FROM busybox\nRUN --mount=type=ssh x\n";
    "RUN", "RUN --network=default", Implemented, "FROM busybox\nRUN --network=default x\n";
    "RUN", "RUN --network=none", Implemented, "FROM busybox\nRUN --network=none x\n";
    "RUN", "RUN --network=host", Implemented, "FROM busybox\nRUN --network=host x\n";
    "RUN", "RUN --security=sandbox", Implemented, "FROM busybox\nRUN --security=sandbox x\n";
    "RUN", "RUN --security=insecure", Implemented,
        "FROM busybox\nRUN --security=insecure x\n";
    "RUN", "RUN --device", Implemented,
        "FROM busybox\nRUN --device=vendor.com/class=x x\n";
];

/// The row with this name.
pub fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}
