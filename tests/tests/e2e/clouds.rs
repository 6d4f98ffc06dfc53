//! Registries of clouds under their real names, in an internet on loopback: a build there needs no
//! docker config, asks for nothing that it does not need, and a step sees nothing of it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Error, Result, ensure};
use kaniko_tests::{Finished, Lab, Tool};
use testkit::cloud::{AWS_KEY, CloudServer, Mood};
use testkit::internet::{AUTHORITY, Behind, Internet};
use testkit::registry::Registry;

use crate::{Test, root_test};

const GOOGLE: &str = "europe-docker.pkg.dev";
const GOOGLE_TOKENS: &str = "oauth2.googleapis.com";
const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const ECR_SERVICE: &str = "api.ecr.eu-west-1.amazonaws.com";
/// It answers as the clouds' registries do, and is none of theirs.
const OTHER: &str = "registry.test";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        root_test("clouds::pushed_to_and_pulled_from", push_and_pull),
        root_test("clouds::nothing_is_asked_that_is_not_needed", only_when_needed),
        root_test("clouds::names_of_helpers_and_sources", names),
        root_test("clouds::the_doctor_says_whose_credentials_it_takes", doctor),
    ]
}

/// What a person of a cloud gives a pod.
const KEY_FILE: &str = r#"{"type": "authorized_user", "client_id": "client",
    "client_secret": "s3cret", "refresh_token": "refresh"}"#;

/// A step that looks for what the builder was given, in words that are not what it looks for.
const STEP: &str = "! env | grep -e AWS -e GOOGLE -e PROXY && \
                    ! grep -rs -e s3cre[t] -e google-toke[n] -e ecr-passwor[d] /proc/1/environ /kaniko /root";

struct World {
    lab: Arc<Lab>,
    registry: Registry,
    servers: CloudServer,
    internet: Internet,
    directory: PathBuf,
}

impl World {
    fn new(lab: &Arc<Lab>) -> Result<Self> {
        let registry = Registry::start_in_a_cloud().map_err(Error::msg)?;
        let servers = CloudServer::start(Mood::Good);
        let internet = Internet::start(&[
            (GOOGLE, Behind::Tls(registry.address())),
            (ECR, Behind::Tls(registry.address())),
            (OTHER, Behind::Tls(registry.address())),
            (GOOGLE_TOKENS, Behind::Plain(servers.address())),
            (ECR_SERVICE, Behind::Plain(servers.address())),
        ]);
        let directory = lab.scratch("clouds")?;
        std::fs::write(directory.join("ca.pem"), AUTHORITY)?;
        std::fs::write(directory.join("key.json"), KEY_FILE)?;
        std::fs::create_dir_all(directory.join("home/.docker"))?;
        Ok(Self { lab: Arc::clone(lab), registry, servers, internet, directory })
    }

    /// A program that has the world's internet, and the keys of both clouds.
    fn given(&self, program: Tool) -> Tool {
        program
            .env("HOME", self.directory.join("home"))
            .env("HTTPS_PROXY", self.internet.proxy())
            .env("NO_PROXY", "127.0.0.1")
            .env("SSL_CERT_FILE", self.directory.join("ca.pem"))
            .env("GOOGLE_APPLICATION_CREDENTIALS", self.directory.join("key.json"))
            .env("AWS_ACCESS_KEY_ID", AWS_KEY.0)
            .env("AWS_SECRET_ACCESS_KEY", AWS_KEY.1)
    }

    /// A build from an image to a name; nothing of a secret is ever told.
    fn build(&self, from: &str, to: &str, arguments: &[&str]) -> Result<Finished> {
        let text = format!("FROM {from}\nRUN {STEP}\nRUN echo here > /x\n");
        let build = self.lab.build("cloud")?.dockerfile(&text)?;
        let build = arguments.iter().fold(build, |build, argument| build.arg(*argument));
        let build = build.arg(format!("--destination={to}")).arg("--verbosity=trace");
        let finished = self.given(build.command()).finish()?;
        for secret in ["s3cret", "google-token", "ecr-password"] {
            ensure!(!finished.stderr.contains(secret), "`{secret}` in {}", finished.stderr);
        }
        Ok(finished)
    }

    fn base(&self) -> String {
        format!("{}/busybox", self.lab.host())
    }
}

fn succeeded(finished: &Finished) -> Result<()> {
    ensure!(finished.code == Some(0), "it failed: {}", finished.stderr);
    Ok(())
}

fn push_and_pull(lab: &Arc<Lab>) -> Result<()> {
    let world = World::new(lab)?;
    let image = format!("{GOOGLE}/project/app:v1");
    succeeded(&world.build(&world.base(), &image, &[])?)?;
    // Pulled from one cloud and pushed to the other.
    succeeded(&world.build(&image, &format!("{ECR}/app:v1"), &[])?)?;
    let pushed = world.registry.requests();
    let manifest = |name: &str| {
        let line = format!("PUT /v2/{name}/manifests/v1 201");
        ensure!(pushed.contains(&line), "no `{line}` in {pushed:?}");
        Ok(())
    };
    manifest("project/app")?;
    manifest("app")?;
    let mut expected = vec![GOOGLE, GOOGLE_TOKENS, ECR, ECR_SERVICE];
    expected.sort_unstable();
    ensure!(world.internet.asked() == expected, "{:?}", world.internet.asked());
    // Once for the first build, once for each cloud of the second.
    let asked = world.servers.asked();
    ensure!(asked.len() == 3, "{asked:?}");
    Ok(())
}

fn only_when_needed(lab: &Arc<Lab>) -> Result<()> {
    let world = World::new(lab)?;
    let own = format!("{}/cloud/own:v1", lab.host());
    succeeded(&world.build(&world.base(), &own, &[])?)?;
    // A registry of nobody's that asks for a password learns nothing of the clouds.
    let other = world.build(&world.base(), &format!("{OTHER}/app:v1"), &[])?;
    ensure!(other.code == Some(1), "{}", other.stderr);
    let refusal = "asks for credentials (Basic), and none are configured";
    ensure!(other.stderr.contains(refusal), "{}", other.stderr);
    ensure!(world.servers.asked().is_empty(), "{:?}", world.servers.asked());
    ensure!(world.internet.asked() == [OTHER], "{:?}", world.internet.asked());
    Ok(())
}

fn names(lab: &Arc<Lab>) -> Result<()> {
    let world = World::new(lab)?;
    let config = world.directory.join("home/.docker/config.json");
    let check = |text: &str, to: &str, arguments: &[&str], expected: bool| -> Result<()> {
        std::fs::write(&config, text)?;
        let finished = world.build(&world.base(), &format!("{to}/app:v1"), arguments)?;
        let succeeded = finished.code == Some(0);
        ensure!(succeeded == expected, "{text} {arguments:?}: {}", finished.stderr);
        Ok(())
    };
    let none = "--credential-helpers=";
    check("{}", GOOGLE, &[none], false)?;
    check("{}", GOOGLE, &["--credential-helpers=ecr"], false)?;
    check("{}", GOOGLE, &["--credential-helpers=no-such", "--credential-helpers=google"], true)?;
    let named = format!(r#"{{"credHelpers": {{"{GOOGLE}": "gcr"}}}}"#);
    check(&named, GOOGLE, &[none], true)?;
    check(r#"{"credsStore": "ecr-login"}"#, ECR, &[none], true)?;
    // The name of another cloud's program gives nothing of this one.
    check(r#"{"credsStore": "ecr-login"}"#, GOOGLE, &[none], false)
}

fn doctor(lab: &Arc<Lab>) -> Result<()> {
    let world = World::new(lab)?;
    let program = kaniko_tests::tool(lab.executor())
        .args(["doctor", "--isolation=namespaces"])
        .arg(format!("--kaniko-dir={}", world.directory.join("state").display()))
        .args([format!("--destination={GOOGLE}/app"), format!("--destination={OTHER}/app")]);
    let told = world.given(program).finish()?.stdout;
    let key = world.directory.join("key.json");
    for line in [
        format!("credentials for `{GOOGLE}`: from Google, by `{}`", key.display()),
        format!("push to `{GOOGLE}/app:latest`: allowed"),
        format!("credentials for `{OTHER}`: none are configured"),
    ] {
        ensure!(told.lines().any(|found| found.starts_with(&line)), "no `{line}` in {told}");
    }
    ensure!(!told.contains("s3cret") && !told.contains("google-token"), "{told}");
    Ok(())
}
