//! Credentials that variables of the environment hold, for a registry that is known by its name.

use std::collections::BTreeMap;

use super::Credential;

/// `KANIKO_<HOST>_USER` and `KANIKO_<HOST>_PASSWORD`: the host in capitals, with `_` for `-`, `.` and
/// `:`. A variable named after the end of a host, from one of its labels on, serves all such hosts.
#[derive(Clone, Default)]
pub struct HostVariables(BTreeMap<String, String>);

const PREFIX: &str = "KANIKO_";

impl HostVariables {
    /// From variables and their values; only those of this form are kept.
    #[must_use]
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let is_ours = |name: &str| {
            name.starts_with(PREFIX) && (name.ends_with("_USER") || name.ends_with("_PASSWORD"))
        };
        let ours = variables.into_iter().filter(|(name, _)| is_ours(name));
        Self(ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn find(&self, registry: &str) -> Option<Credential> {
        let labels: Vec<String> = registry.split('.').map(capitals).collect();
        (0..labels.len()).find_map(|first| {
            let host = labels[first..].join("_");
            let value = |what: &str| self.0.get(&format!("{PREFIX}{host}_{what}"));
            let (user, password) = (value("USER")?, value("PASSWORD")?);
            Some(Credential::Password { user: user.clone(), password: password.clone() })
        })
    }
}

fn capitals(label: &str) -> String {
    label.to_ascii_uppercase().replace(['-', ':'], "_")
}

impl std::fmt::Debug for HostVariables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What GitLab gives a job for its own registry: `CI_REGISTRY` and its user and password.
#[derive(Clone)]
pub struct GitLab {
    /// The registry, as `CI_REGISTRY` has it: a host, perhaps with a port or a scheme.
    pub registry: String,
    /// `CI_REGISTRY_USER`.
    pub user: String,
    /// `CI_REGISTRY_PASSWORD`.
    pub password: String,
}

impl GitLab {
    /// From variables and their values, if all three are there; an empty one counts as unset.
    #[must_use]
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let given: BTreeMap<_, _> =
            variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let value = |name: &str| given.get(name).map(|value| (*value).to_owned());
        Some(Self {
            registry: value("CI_REGISTRY")?,
            user: value("CI_REGISTRY_USER")?,
            password: value("CI_REGISTRY_PASSWORD")?,
        })
    }

    pub(super) fn find(&self, registry: &str) -> Option<Credential> {
        let name = self.registry.strip_prefix("https://").unwrap_or(&self.registry);
        let name = name.trim_end_matches('/').split('/').next().unwrap_or_default();
        let credential =
            || Credential::Password { user: self.user.clone(), password: self.password.clone() };
        (!name.is_empty() && name.eq_ignore_ascii_case(registry)).then(credential)
    }
}

impl std::fmt::Debug for GitLab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GitLab({})", self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(credential: Option<Credential>) -> String {
        match credential {
            Some(Credential::Password { user, password }) => format!("{user}:{password}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn variables_are_named_after_the_end_of_a_host() {
        let variables = HostVariables::new([
            ("KANIKO_REGISTRY_GITLAB_COM_USER", "exact"),
            ("KANIKO_REGISTRY_GITLAB_COM_PASSWORD", "1"),
            ("KANIKO_GITLAB_COM_USER", "domain"),
            ("KANIKO_GITLAB_COM_PASSWORD", "2"),
            ("KANIKO_COM_USER", "half"),
            ("KANIKO_MY_REG_5000_USER", "port"),
            ("KANIKO_MY_REG_5000_PASSWORD", ""),
            ("PATH", "/bin"),
        ]);
        let check = |registry: &str, expected: &str| {
            assert_eq!(user(variables.find(registry)), expected, "{registry}");
        };
        check("registry.gitlab.com", "exact:1");
        check("other.gitlab.com", "domain:2");
        check("gitlab.com", "domain:2");
        check("notgitlab.com", "None");
        check("x.com", "None");
        check("my-reg:5000", "port:");
        assert!(!format!("{variables:?}").contains("exact"), "{variables:?}");
        assert!(!format!("{variables:?}").contains("PATH"), "{variables:?}");
    }

    #[test]
    fn a_jobs_variables_count_together() {
        let check = |variables: &[(&str, &str)], expected: bool| {
            let found = GitLab::new(variables.iter().copied());
            assert_eq!(found.is_some(), expected);
            assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        };
        let all =
            [("CI_REGISTRY", "r"), ("CI_REGISTRY_USER", "u"), ("CI_REGISTRY_PASSWORD", "s3cret")];
        check(&all, true);
        check(&all[..2], false);
        check(&[all[0], all[1], ("CI_REGISTRY_PASSWORD", "")], false);
    }

    #[test]
    fn a_job_serves_its_own_registry() {
        let check = |named: &str, registry: &str, expected: &str| {
            let (user_name, password) = ("job".to_owned(), "p".to_owned());
            let gitlab = GitLab { registry: named.to_owned(), user: user_name, password };
            assert_eq!(user(gitlab.find(registry)), expected, "{named} {registry}");
        };
        check("registry.gitlab.com", "registry.gitlab.com", "job:p");
        check("https://reg.example:5050/", "reg.example:5050", "job:p");
        check("reg.example:5050/group", "reg.example:5050", "job:p");
        check("http://reg.example", "reg.example", "None");
        check("reg.example", "evil.reg.example", "None");
        check("", "", "None");
    }
}
