//! How closely a step is held: its network, its rights, the devices it gets.
//!
//! The default is what a container of Docker has. Everything else is asked for by the Dockerfile
//! and, where it gives more, granted by the operator before it comes here.

/// What is different from a container of Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Which network it has.
    pub network: Network,
    /// What it may do.
    pub rights: Rights,
    /// The devices it gets, in order.
    pub devices: Vec<DeviceRequest>,
}

/// The network of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The builder's own.
    #[default]
    Shared,
    /// None: a network namespace with nothing but the loopback interface. Where none can be had,
    /// a filter that refuses sockets; programs on the same machine can then still be reached by
    /// the abstract names of unix sockets, and without CAP_SYS_ADMIN the step gets
    /// `no_new_privs`, under which sudo and file capabilities give nothing.
    None,
}

/// What a step may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// What a container of Docker may.
    #[default]
    Container,
    /// All that the builder may: every capability it has, no filter but the pod's, `/proc` and
    /// `/sys` uncovered and every device that the builder sees.
    Builder,
}

/// A device that a step asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// Its path (`/dev/fuse`) or its name in the Container Device Interface
    /// (`vendor.com/class=name`, `vendor.com/class` for the first one, `=*` for all).
    pub name: String,
    /// Whether the step fails without it; else it is left out.
    pub required: bool,
}
