//! What the caller decides about a plan.

use std::fmt;

use oci::Platform;

/// What is asked of the planner, all defaults explicit.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The stages to build, by name or by place; empty for the last one.
    pub targets: Vec<String>,
    /// `--build-arg`, in order; of a name given twice the last counts.
    pub build_args: Vec<(String, String)>,
    /// The platform of the image, where the caller asks for one.
    pub platform: Option<Platform>,
    /// The platform the build runs on.
    pub build_platform: Platform,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// What becomes of the linter's findings.
    pub lint: Lint,
    /// What happens to a step that cannot be carried out yet.
    pub unimplemented: Unimplemented,
    /// What the operator lets the Dockerfile ask for.
    pub allow: Vec<Entitlement>,
    /// The patterns of the ignore file, for the lint that looks for ignored sources.
    pub ignore: Option<glob::IgnoreFile>,
}

/// What becomes of the linter's findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lint {
    /// There are none.
    Off,
    /// They are in the plan; they are errors only if the file says so.
    Warn,
    /// They are errors.
    Error,
}

/// What happens to a step that cannot be carried out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unimplemented {
    /// It is an error that names the feature.
    Refuse,
    /// It stays in the plan, for one who only wants to read it.
    Plan,
}

/// What a step may have beyond its usual confinement, by BuildKit's names (`--allow`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entitlement {
    /// `RUN --network=host`
    NetworkHost,
    /// `RUN --security=insecure`
    SecurityInsecure,
    /// `RUN --device` of any device.
    AnyDevice,
    /// `RUN --device` of the device with this name.
    Device(String),
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entitlement::NetworkHost => f.write_str("network.host"),
            Entitlement::SecurityInsecure => f.write_str("security.insecure"),
            Entitlement::AnyDevice => f.write_str("device"),
            Entitlement::Device(name) => write!(f, "device={name}"),
        }
    }
}

impl PlanOptions {
    /// Options of a build that nobody gave a flag.
    pub fn new(build_platform: Platform) -> PlanOptions {
        PlanOptions {
            targets: Vec::new(),
            build_args: Vec::new(),
            platform: None,
            build_platform,
            labels: Vec::new(),
            lint: Lint::Warn,
            unimplemented: Unimplemented::Refuse,
            allow: Vec::new(),
            ignore: None,
        }
    }

    /// Whether the operator has granted this, or all of its kind.
    pub fn allows(&self, asked: &Entitlement) -> bool {
        let whole = match asked {
            Entitlement::Device(_) => &Entitlement::AnyDevice,
            Entitlement::NetworkHost | Entitlement::SecurityInsecure | Entitlement::AnyDevice => {
                asked
            }
        };
        self.allow.iter().any(|granted| granted == asked || granted == whole)
    }

    /// The value of a build argument.
    pub fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The platform of the image.
    pub fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }
}
