//! What keeps a step from what is the builder's, in words for the log. `docs/security.md` says more.
//!
//! It only looks; what it names was set up elsewhere. What is not in force is not named.

use sys::capabilities::{self, DOCKER_DEFAULT};

use crate::Rung;

/// One line: what keeps a step out, and what it reaches all the same.
pub(crate) fn describe(rung: Rung, own_pids: bool, environment_forgotten: bool) -> String {
    let own_root = rung == Rung::Namespaces;
    let limited = !DOCKER_DEFAULT.contains(capabilities::effective());
    let held = [
        (sys::memory_is_hidden(), "the builder's memory is hidden"),
        (environment_forgotten, "its variables are dropped"),
        (own_root, "the step's root holds neither its state nor its files"),
        (own_root, "Docker's capabilities and system call filter"),
        (!own_root && limited, "Docker's capabilities"),
        (own_pids, "its processes are out of sight"),
    ];
    let reached = [
        (!own_root, "every file of this container, the state directory among them"),
        (!own_root, "the other processes of this container"),
        (!own_pids, "signals to the builder"),
    ];
    let list = |all: &[(bool, &'static str)]| {
        let named = all.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name);
        named.collect::<Vec<_>>().join(", ")
    };
    if rung == Rung::FilesOnly {
        return "defences: no step can be run".to_owned();
    }
    let open = match list(&reached) {
        reached if reached.is_empty() => String::new(),
        reached => format!("; not kept from a step: {reached}"),
    };
    format!("defences: {}{open}", list(&held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_says_what_it_keeps_and_what_not() {
        let best = describe(Rung::Namespaces, true, true);
        assert!(best.contains("neither its state") && best.contains("dropped"), "{best}");
        assert!(!best.contains("not kept"), "{best}");
        let shared = describe(Rung::Namespaces, false, true);
        assert!(shared.ends_with("; not kept from a step: signals to the builder"), "{shared}");
        let in_place = describe(Rung::InPlace, false, false);
        assert!(in_place.contains("state directory among them"), "{in_place}");
        assert!(!in_place.contains("dropped") && !in_place.contains("filter"), "{in_place}");
        assert_eq!(describe(Rung::FilesOnly, false, true), "defences: no step can be run");
    }
}
