//! `executor login`: a password for a registry goes into docker's config, or to the credential helper
//! that the config names. No registry is asked whether it is right, as in kaniko.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use cli::{Environment, LoginFlags, console};
use registry::{Helpers, Login, Stored};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Carries it out.
pub(crate) fn run(line: Vec<OsString>, environment: &Environment) -> ExitCode {
    let flags = match console::flags_or_end(cli::login_flags(line)) {
        Ok(flags) => flags,
        Err(end) => return end,
    };
    cli::log::init(&flags.log);
    match log_in(&flags, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::failed("error logging in", error.as_ref()),
    }
}

fn log_in(flags: &LoginFlags, environment: &Environment) -> Result<()> {
    let path = environment.login_file();
    let path = path.ok_or("neither DOCKER_CONFIG nor HOME says where docker's config is")?;
    let password = match &flags.password {
        Some(password) => {
            tracing::warn!(
                "a password in an argument is there for everybody to see; use --password-stdin"
            );
            password.clone()
        }
        None => cli::password(std::io::stdin().lock())?,
    };
    let password = password.expose_str().ok_or("the password is not text")?;
    let login = Login { registry: &flags.registry, user: &flags.user, password };
    let text = cli::read_config(&path)?;
    let stored = login.store(&path.display().to_string(), text.as_deref())?;
    if let Some(name) = &stored.helper {
        let helpers = Helpers::new(environment.authentication()?.environment);
        give(&helpers, name, &stored, &login)?;
    }
    store::write_private(&path, &stored.config)?;
    tell(&stored, &path);
    Ok(())
}

/// The password to a credential helper, which must have it before the config says so.
fn give(helpers: &Helpers, name: &str, stored: &Stored, login: &Login<'_>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let given = helpers.store(name, &stored.server, login.user, login.password);
    runtime.block_on(given).map_err(|error| {
        format!("docker-credential-{name} does not keep the password: {error}").into()
    })
}

fn tell(stored: &Stored, path: &Path) {
    let (server, path) = (&stored.server, path.display());
    match &stored.helper {
        Some(name) => tracing::info!("docker-credential-{name} keeps the password for {server}"),
        // The first sentence is docker's, which people look for.
        None => tracing::warn!(
            "WARNING! Your credentials are stored unencrypted in '{path}': the password for \
             {server}, for whoever can read that file"
        ),
    }
}
