//! `--secret` and `--ssh`: what the operator hands to steps that ask for it.
//!
//! Only says where a secret is; whoever reads it wraps it at once.

use std::path::PathBuf;

use crate::environment::Environment;
use crate::error::Error;

/// One `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFlag {
    /// The name that steps ask for.
    pub id: String,
    /// Where it is.
    pub source: SecretSource,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the program.
    Variable(String),
}

/// One `--ssh`: an agent that steps may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshFlag {
    /// The name that steps ask for.
    pub id: String,
    /// The agent's socket.
    pub socket: PathBuf,
}

/// `id=ID[,src=PATH][,env=VARIABLE][,type=file|env]`.
pub(crate) fn secrets(
    texts: &[String],
    environment: &Environment,
) -> Result<Vec<SecretFlag>, Error> {
    let mut found: Vec<SecretFlag> = Vec::new();
    for text in texts {
        let secret = secret(text, environment).map_err(|reason| invalid("secret", text, reason))?;
        if found.iter().any(|earlier| earlier.id == secret.id) {
            let reason = format!("duplicate secret id {}", secret.id);
            return Err(invalid("secret", text, reason));
        }
        found.push(secret);
    }
    Ok(found)
}

fn secret(text: &str, environment: &Environment) -> Result<SecretFlag, String> {
    let (mut id, mut src, mut env, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        let place = match key.to_ascii_lowercase().as_str() {
            "id" => &mut id,
            "src" | "source" => &mut src,
            "env" => &mut env,
            "type" => &mut kind,
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        };
        *place = Some(value.to_owned());
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("secret id is required")?;
    let source = match (kind.as_deref(), src, env) {
        (Some(kind), ..) if kind != "file" && kind != "env" => {
            return Err(format!("invalid secret type {kind:?}"));
        }
        (_, Some(_), Some(_)) => return Err("src and env cannot both be given".to_owned()),
        (Some("file"), None, Some(_)) => return Err("a file has no env".to_owned()),
        (_, None, Some(name)) | (Some("env"), Some(name), None) => SecretSource::Variable(name),
        (_, Some(path), None) => SecretSource::File(path.into()),
        (Some("file"), None, None) => SecretSource::File(id.clone().into()),
        (Some(_), None, None) => SecretSource::Variable(id.clone()),
        // As kaniko: a variable of this name if there is one, else a file.
        (None, None, None) if environment.raw_text(&id).is_some() => {
            SecretSource::Variable(id.clone())
        }
        (None, None, None) => SecretSource::File(id.clone().into()),
    };
    Ok(SecretFlag { id, source })
}

/// `default`, or `ID=SOCKET`. Without a socket it is that of `SSH_AUTH_SOCK`.
pub(crate) fn agents(texts: &[String], environment: &Environment) -> Result<Vec<SshFlag>, Error> {
    let mut found: Vec<SshFlag> = Vec::new();
    for text in texts {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (text.as_str(), environment.get("SSH_AUTH_SOCK").map(PathBuf::from)),
        };
        let reason = match &socket {
            _ if id.is_empty() => Some("the name is empty"),
            None => Some("SSH_AUTH_SOCK is not set; write NAME=SOCKET"),
            Some(path) if path.as_os_str().is_empty() => Some("the socket is empty"),
            Some(_) if found.iter().any(|earlier| earlier.id == id) => Some("it is given twice"),
            Some(_) => None,
        };
        match (reason, socket) {
            (None, Some(socket)) => found.push(SshFlag { id: id.to_owned(), socket }),
            (reason, _) => return Err(invalid("ssh", text, reason.unwrap_or_default().to_owned())),
        }
    }
    Ok(found)
}

/// The text may hold what should have been secret, so only the name in it is shown.
fn invalid(flag: &str, text: &str, reason: String) -> Error {
    let value = text.split(',').find(|field| field.starts_with("id=")).unwrap_or(match flag {
        "ssh" => text,
        _ => "…",
    });
    Error::InvalidValue { value: value.to_owned(), flag: format!("--{flag}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, SecretSource), &str>) {
        let environment = Environment::from_pairs(&[("TOKEN", "t")]);
        let expected = expected
            .map(|(id, source)| SecretFlag { id: id.to_owned(), source })
            .map_err(str::to_owned);
        assert_eq!(secret(text, &environment), expected, "{text}");
    }

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let file = |path: &str| SecretSource::File(path.into());
        let variable = |name: &str| SecretSource::Variable(name.to_owned());
        check("id=a,src=/run/a", Ok(("a", file("/run/a"))));
        check("ID=a,source=b", Ok(("a", file("b"))));
        check("id=a,env=B", Ok(("a", variable("B"))));
        check("id=a,type=env,src=B", Ok(("a", variable("B"))));
        check("id=a,type=env", Ok(("a", variable("a"))));
        check("id=a,type=file", Ok(("a", file("a"))));
        check("id=TOKEN", Ok(("TOKEN", variable("TOKEN"))));
        check("id=other", Ok(("other", file("other"))));
        check("id=", Err("secret id is required"));
        check("src=a", Err("secret id is required"));
        check("id=a,src=b,env=c", Err("src and env cannot both be given"));
        check("id=a,type=file,env=c", Err("a file has no env"));
        check("id=a,type=vault", Err("invalid secret type \"vault\""));
        check("id=a,colour=red", Err("unexpected key 'colour' in 'colour=red'"));
        check("id=a,b", Err("invalid field 'b' must be a key=value pair"));
    }

    #[test]
    fn an_id_is_given_once_and_values_are_not_shown() {
        let none = Environment::from_pairs(&[]);
        let texts = ["id=a,src=x".to_owned(), "id=a,src=hunter2".to_owned()];
        let error = secrets(&texts, &none).expect_err("because it is given twice").to_string();
        assert!(error.contains("duplicate secret id a") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_agent_is_that_of_the_environment_or_named() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let environment = Environment::from_pairs(&[("SSH_AUTH_SOCK", "/agent")]);
            let found = agents(&[text.to_owned()], &environment);
            match (found, expected) {
                (Ok(found), Ok((id, socket))) => {
                    assert_eq!(found, [SshFlag { id: id.to_owned(), socket: socket.into() }]);
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected)),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        check("default", Ok(("default", "/agent")));
        check("other=/s", Ok(("other", "/s")));
        check("=/s", Err("the name is empty"));
        check("a=", Err("the socket is empty"));
        let none = agents(&["default".to_owned()], &Environment::from_pairs(&[]));
        assert!(none.expect_err("because nothing is set").to_string().contains("SSH_AUTH_SOCK"));
    }
}
