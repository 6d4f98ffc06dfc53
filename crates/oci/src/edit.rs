//! What one instruction changes in an image config.

use serde_json::Map;

use crate::config::GoSet;
use crate::{Healthcheck, ImageConfig, Platform};

/// One change of an image config. Values are final: nothing in them is expanded any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConfigEdit {
    /// Sets an environment variable where it stands, or adds it at the end.
    Env {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// Sets a label.
    Label {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// Sets the command, and marks it as Docker does.
    Cmd(Vec<String>),
    /// Forgets the command.
    ClearCmd,
    /// Sets the entrypoint; the command is another edit's business.
    Entrypoint(Vec<String>),
    /// Sets the user.
    User(String),
    /// Sets the working directory.
    WorkingDir(String),
    /// Adds a port, `80/tcp`.
    ExposedPort(String),
    /// Adds a volume.
    Volume(String),
    /// Sets the stop signal.
    StopSignal(String),
    /// Replaces the health check.
    Healthcheck(Healthcheck),
    /// Sets the shell of the shell forms.
    Shell(Vec<String>),
    /// Adds a trigger.
    OnBuild(String),
    /// Forgets the triggers: they have fired.
    ClearOnBuild,
    /// Sets the author (MAINTAINER).
    Author(String),
    /// Declares the image one for this platform.
    Platform(Platform),
}

impl ConfigEdit {
    /// Carries the change out.
    pub fn apply(&self, image: &mut ImageConfig) {
        let config = &mut image.config;
        match self {
            ConfigEdit::Env { key, value } => set_env(&mut config.env, key, value),
            ConfigEdit::Label { key, value } => {
                config.labels.insert(key.clone(), value.clone());
            }
            ConfigEdit::Cmd(words) => {
                config.cmd.clone_from(words);
                config.args_escaped = true;
            }
            ConfigEdit::ClearCmd => config.cmd.clear(),
            ConfigEdit::Entrypoint(words) => config.entrypoint.clone_from(words),
            ConfigEdit::User(user) => config.user.clone_from(user),
            ConfigEdit::WorkingDir(path) => config.working_dir.clone_from(path),
            ConfigEdit::ExposedPort(port) => add(&mut config.exposed_ports, port),
            ConfigEdit::Volume(path) => add(&mut config.volumes, path),
            ConfigEdit::StopSignal(signal) => config.stop_signal.clone_from(signal),
            ConfigEdit::Healthcheck(check) => config.healthcheck = Some(check.clone()),
            ConfigEdit::Shell(words) => config.shell.clone_from(words),
            ConfigEdit::OnBuild(trigger) => config.on_build.push(trigger.clone()),
            ConfigEdit::ClearOnBuild => config.on_build.clear(),
            ConfigEdit::Author(author) => image.author = Some(author.clone()),
            ConfigEdit::Platform(platform) => image.set_platform(platform),
        }
    }
}

fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let named = |entry: &&mut String| entry.split('=').next() == Some(key);
    let text = format!("{key}={value}");
    match env.iter_mut().find(named) {
        Some(entry) => *entry = text,
        None => env.push(text),
    }
}

fn add(set: &mut GoSet, key: &str) {
    set.insert(key.to_owned(), Map::new());
}
