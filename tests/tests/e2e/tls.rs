//! The way to a registry: certificates on both sides, proxies, versions of HTTP, addresses of IPv6.
//! Each case is one push and one pull, against Debian's docker-registry.

use std::sync::Arc;

use anyhow::{Error, Result, ensure};
use kaniko_tests::{Finished, Lab};
use testkit::registry::{AUTHORITY, CLIENT, CLIENT_KEY, Registry};
use testkit::relay::Relay;

use crate::{Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test("tls::certificates", certificates),
        test("tls::versions_of_http", versions),
        test("tls::proxies", proxies),
        test("tls::a_literal_address_of_ipv6", ipv6),
    ]
}

/// `{TLS}` is a registry with a certificate, `{MUTUAL}` one that wants one of its clients as well, and
/// `{DIR}` holds files: `ca.pem`, `client.pem`, `client.key`.
struct Case {
    registry: &'static str,
    args: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    push: Expected,
    pull: Expected,
}

/// Nothing, or what the error says.
type Expected = Option<&'static str>;

const UNTRUSTED: Expected = Some("invalid peer certificate: UnknownIssuer");
/// Which alert it is depends on the version of TLS.
const UNKNOWN: Expected = Some("received fatal alert: ");
const TLS: Case = Case { registry: "{TLS}", args: &[], variables: &[], push: None, pull: None };
const MUTUAL: Case = Case { registry: "{MUTUAL}", ..TLS };

const CASES: &[Case] = &[
    Case { push: UNTRUSTED, pull: UNTRUSTED, ..TLS },
    Case { args: &["--registry-certificate={TLS}={DIR}/ca.pem"], ..TLS },
    Case {
        args: &["--registry-certificate={MUTUAL}={DIR}/ca.pem"],
        push: UNTRUSTED,
        pull: UNTRUSTED,
        ..TLS
    },
    Case { args: &["--skip-tls-verify"], ..TLS },
    Case { args: &["--skip-tls-verify-pull"], push: UNTRUSTED, ..TLS },
    Case { args: &["--skip-tls-verify-registry={TLS}"], ..TLS },
    Case {
        args: &["--skip-tls-verify-registry={MUTUAL}"],
        push: UNTRUSTED,
        pull: UNTRUSTED,
        ..TLS
    },
    Case { variables: &[("SSL_CERT_FILE", "{DIR}/ca.pem")], ..TLS },
    Case { variables: &[("SSL_CERT_DIR", "/nowhere:{DIR}")], ..TLS },
    Case {
        args: &["--registry-certificate={TLS}={DIR}/none.pem"],
        push: Some("none.pem`, which --registry-certificate names for `{TLS}`: No such file"),
        pull: Some("none.pem`, which --registry-certificate names for `{TLS}`: No such file"),
        ..TLS
    },
    Case {
        args: &["--registry-certificate={TLS}={DIR}/client.key"],
        push: Some("holds no PEM certificate"),
        pull: Some("holds no PEM certificate"),
        ..TLS
    },
    Case { args: &["--skip-tls-verify"], push: UNKNOWN, pull: UNKNOWN, ..MUTUAL },
    Case {
        args: &[
            "--registry-certificate={MUTUAL}={DIR}/ca.pem",
            "--registry-client-cert={MUTUAL}={DIR}/client.pem,{DIR}/client.key",
        ],
        ..MUTUAL
    },
    Case {
        args: &[
            "--skip-tls-verify-registry={MUTUAL}",
            "--registry-client-cert={MUTUAL}={DIR}/client.pem,{DIR}/client.key",
        ],
        ..MUTUAL
    },
    Case {
        args: &[
            "--skip-tls-verify",
            "--registry-client-cert={TLS}={DIR}/client.pem,{DIR}/client.key",
        ],
        push: UNKNOWN,
        pull: UNKNOWN,
        ..MUTUAL
    },
    Case {
        args: &["--registry-client-cert={MUTUAL}={DIR}/client.pem,{DIR}/ca.pem"],
        push: Some("cannot set up http with the client certificate"),
        pull: Some("cannot set up http with the client certificate"),
        ..MUTUAL
    },
    Case {
        args: &["--registry-client-cert={MUTUAL}={DIR}/client.pem"],
        push: Some("expected format: my.registry.url=/path/to/client.crt,/path/to/client.key"),
        pull: Some("expected format: my.registry.url=/path/to/client.crt,/path/to/client.key"),
        ..MUTUAL
    },
];

fn certificates(lab: &Arc<Lab>) -> Result<()> {
    let tls = Registry::start_tls().map_err(Error::msg)?;
    let mutual = Registry::start_mutual_tls().map_err(Error::msg)?;
    let directory = lab.scratch("certificates")?;
    for (name, text) in [("ca.pem", AUTHORITY), ("client.pem", CLIENT), ("client.key", CLIENT_KEY)]
    {
        std::fs::write(directory.join(name), text)?;
    }
    let fill = |text: &str| {
        text.replace("{TLS}", &tls.host())
            .replace("{MUTUAL}", &mutual.host())
            .replace("{DIR}", &directory.display().to_string())
    };
    // What pulls that must succeed find.
    for (registry, more) in [
        (&tls, None),
        (&mutual, Some("--registry-client-cert={MUTUAL}={DIR}/client.pem,{DIR}/client.key")),
    ] {
        let host = registry.host();
        let args: Vec<String> =
            std::iter::once("--skip-tls-verify").chain(more).map(&fill).collect();
        let filled = push(lab, &format!("{host}/base:v1"), &args, &[])?;
        ensure!(filled.code == Some(0), "{}", filled.stderr);
    }
    for Case { registry, args, variables, push: pushed, pull: pulled } in CASES {
        let args: Vec<String> = args.iter().map(|arg| fill(arg)).collect();
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, fill(value))).collect();
        let host = fill(registry);
        let found = push(lab, &format!("{host}/app:v1"), &args, &variables)?;
        compare(&format!("push {args:?} {variables:?}"), &found, pushed.map(&fill))?;
        let found = pull(lab, &format!("{host}/base:v1"), &args, &variables)?;
        compare(&format!("pull {args:?} {variables:?}"), &found, pulled.map(&fill))?;
    }
    Ok(())
}

fn compare(what: &str, found: &Finished, expected: Option<String>) -> Result<()> {
    let Finished { code, stderr, .. } = found;
    match expected {
        None => ensure!(*code == Some(0), "{what}: {stderr}"),
        Some(text) => {
            ensure!(*code == Some(1), "{what}: it ended with {code:?}, not `{text}`: {stderr}");
            ensure!(stderr.contains(&text), "{what}: `{text}` is not in {stderr}");
        }
    }
    Ok(())
}

type Variables<'a> = &'a [(&'a str, String)];

/// Pushes a small image there.
fn push(lab: &Arc<Lab>, to: &str, args: &[String], variables: Variables<'_>) -> Result<Finished> {
    let text = "FROM scratch\nCOPY Dockerfile /\n";
    run(lab, text, &[&[format!("--destination={to}")], args].concat(), variables)
}

/// Builds on the image there, with a file that needs its layer.
fn pull(lab: &Arc<Lab>, from: &str, args: &[String], variables: Variables<'_>) -> Result<Finished> {
    let text = format!("FROM scratch\nCOPY --from={from} /Dockerfile /\n");
    run(lab, &text, &[&["--no-push".to_owned()], args].concat(), variables)
}

fn run(lab: &Arc<Lab>, text: &str, args: &[String], variables: Variables<'_>) -> Result<Finished> {
    let build = lab.build("way")?.dockerfile(text)?;
    let build = args.iter().fold(build, |build, arg| build.arg(arg));
    let set =
        |command: kaniko_tests::Tool, (name, value): &(&str, String)| command.env(name, value);
    variables.iter().fold(build.command(), set).finish()
}

/// HTTP/2 where there is TLS, unless it is switched off.
fn versions(lab: &Arc<Lab>) -> Result<()> {
    for (args, variables, expected) in [
        (&[][..], &[][..], "2.0"),
        (&["--disable-http2".to_owned()], &[], "1.1"),
        (&[], &[("GODEBUG", "madvdontneed=1,http2client=0".to_owned())], "1.1"),
    ] {
        let registry = Registry::start_tls().map_err(Error::msg)?;
        let args = [&["--skip-tls-verify".to_owned()], args].concat();
        let pushed = push(lab, &format!("{}/app:v1", registry.host()), &args, variables)?;
        compare(&format!("{args:?} {variables:?}"), &pushed, None)?;
        ensure!(registry.protocols() == [expected], "{args:?}: {:?}", registry.protocols());
    }
    Ok(())
}

/// Names that only the proxy knows, over TLS and in clear; this machine is asked directly.
fn proxies(lab: &Arc<Lab>) -> Result<()> {
    let tls = Registry::start_tls().map_err(Error::msg)?;
    let plain = Registry::start().map_err(Error::msg)?;
    let args = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
    for (registry, flags, head) in [
        (&tls, ["--skip-tls-verify", "-v=info"], "CONNECT registry.example:443 HTTP/1.1\r\n"),
        (&plain, ["--insecure", "-v=info"], "GET http://registry.example/v2/ HTTP/1.1\r\n"),
    ] {
        let proxy = Relay::proxy(registry.address());
        let address = format!("http://user:s3cret@{}", proxy.host());
        let variables = [("HTTP_PROXY", address.clone()), ("https_proxy", address)];
        let pushed = push(lab, "registry.example/app:v1", &args(&flags), &variables)?;
        compare(head, &pushed, None)?;
        let heads = proxy.heads();
        let seen = heads.iter().find(|seen| seen.starts_with(head));
        let seen = seen.map(|seen| seen.to_ascii_lowercase()).unwrap_or_default();
        // user:s3cret
        let expected = "proxy-authorization: basic dxnlcjpzm2nyzxq=\r\n";
        ensure!(seen.contains(expected), "{head:?} came with {seen:?} in {heads:?}");
        ensure!(!pushed.stderr.contains("s3cret"), "{}", pushed.stderr);
    }
    // Nobody listens there, so whoever asks it fails.
    let nobody = "http://127.0.0.1:9".to_owned();
    let variables = [("HTTP_PROXY", nobody.clone()), ("HTTPS_PROXY", nobody.clone())];
    let direct = push(lab, &format!("{}/app:v1", plain.host()), &[], &variables)?;
    compare("loopback", &direct, None)?;
    let asked = push(lab, "10.255.255.1:5000/app:v1", &[], &variables)?;
    compare("elsewhere", &asked, Some("cannot connect to `https://10.255.255.1:5000/".to_owned()))
}

fn ipv6(lab: &Arc<Lab>) -> Result<()> {
    // Where the machine has no such address there is nothing to be tested.
    let registry = Registry::start().map_err(Error::msg)?;
    let Some(relay) = Relay::ipv6(registry.address()) else { return Ok(()) };
    let name = format!("{}/app:v1", relay.host());
    compare("push", &push(lab, &name, &[], &[])?, None)?;
    compare("pull", &pull(lab, &name, &[], &[])?, None)?;
    let map = format!("--registry-map=gcr.io={}", relay.host());
    compare("mapped", &pull(lab, "gcr.io/app:v1", &[map], &[])?, None)
}
