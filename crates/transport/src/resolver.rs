//! Names to addresses without libc: `hosts` and `resolv.conf` are read once at start, before a
//! rootfs is in place, so no NSS module and no file of an image has a say in where we connect.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns::{self, Answer, Family};

/// Configuration files larger than this are cut.
const FILE_LIMIT: u64 = 1 << 20;

/// Resolves names by `hosts`, then by the name servers of `resolv.conf`.
#[derive(Clone, Debug)]
pub struct Resolver {
    config: Arc<Config>,
    public_only: bool,
}

/// Whether an address is of this machine, of its link, or of a private network.
pub fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some_and(|ip| is_private_address(ip.into()))
        }
    }
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("no address for the name `{0}`")]
    NoAddress(String),
    #[error("no name server answered for `{0}`")]
    NoAnswer(String),
    #[error("the name `{0}` has private addresses only, and is not for them")]
    Private(String),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Config {
    hosts: BTreeMap<String, Vec<IpAddr>>,
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    wait: Duration,
    attempts: u32,
}

impl Resolver {
    /// Reads the two files; a missing one is an empty one.
    pub fn load(hosts: &Path, resolv_conf: &Path) -> Self {
        Self::from_texts(&read(hosts), &read(resolv_conf))
    }

    /// From the texts of `hosts` and `resolv.conf`.
    pub fn from_texts(hosts: &str, resolv_conf: &str) -> Self {
        let mut config = parse_resolv_conf(resolv_conf);
        config.hosts = parse_hosts(hosts);
        Self { config: Arc::new(config), public_only: false }
    }

    /// The same for names that somebody on the internet gave us: one that leads to this machine or
    /// into a private network has no address. What is connected to is what was looked at.
    #[must_use]
    pub fn public_only(&self) -> Self {
        Self { public_only: true, ..self.clone() }
    }

    /// The addresses that may be connected to.
    async fn usable(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut addresses = self.lookup(name).await?;
        if self.public_only {
            addresses.retain(|address| !is_private_address(*address));
        }
        match addresses.is_empty() {
            true => Err(ResolveError::Private(name.to_owned())),
            false => Ok(addresses),
        }
    }

    /// The addresses of a name, IPv4 first as most networks can use only these.
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let lower = name.to_ascii_lowercase();
        let bare = lower.trim_end_matches('.');
        if let Some(addresses) = self.config.hosts.get(bare) {
            return Ok(addresses.clone());
        }
        if bare == "localhost" || bare.ends_with(".localhost") {
            // RFC 6761: never asked on the network.
            return Ok(vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1]),
            ]);
        }
        let mut silent = false;
        for candidate in self.config.candidates(&lower) {
            let (v4, v6) =
                tokio::join!(self.ask(&candidate, Family::V4), self.ask(&candidate, Family::V6));
            silent |= v4.is_none() && v6.is_none();
            let mut addresses = v4.unwrap_or_default();
            addresses.extend(v6.unwrap_or_default());
            if !addresses.is_empty() {
                return Ok(addresses);
            }
        }
        Err(if silent {
            ResolveError::NoAnswer(name.to_owned())
        } else {
            ResolveError::NoAddress(name.to_owned())
        })
    }

    /// Asks the servers in turn. `None`: none answered.
    async fn ask(&self, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        for _ in 0..self.config.attempts {
            for server in &self.config.servers {
                let asked = timeout(self.config.wait, exchange(*server, name, family)).await;
                match asked {
                    Ok(Ok(Answer::Addresses(addresses))) => return Some(addresses),
                    Ok(Ok(Answer::NoSuchName)) => return Some(Vec::new()),
                    Ok(Ok(Answer::Truncated | Answer::Failed(_)) | Err(_)) | Err(_) => {}
                }
            }
        }
        None
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.usable(name.as_str()).await?;
            let addresses: reqwest::dns::Addrs =
                Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl Config {
    /// The full names a name may stand for, in order, as libc's resolver tries them.
    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        if name.matches('.').count() >= self.ndots {
            std::iter::once(name.to_owned()).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(name.to_owned())).collect()
        }
    }
}

async fn exchange(server: SocketAddr, name: &str, family: Family) -> std::io::Result<Answer> {
    let Some(query) = dns::query(random_id(), name, family) else {
        return Ok(Answer::NoSuchName);
    };
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    // The kernel picks a random port; together with the id that is what an off-path forger must
    // guess. Connected: datagrams of others are not delivered.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut buffer = [0u8; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match dns::answer(&query, &buffer[..length], family) {
            Some(Answer::Truncated) => return exchange_tcp(server, &query, family).await,
            Some(answer) => return Ok(answer),
            None => {}
        }
    }
}

async fn exchange_tcp(server: SocketAddr, query: &[u8], family: Family) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(query).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(dns::answer(query, &message, family).unwrap_or(Answer::Failed(1)))
}

/// An id that cannot be guessed, from the only source of randomness in std: the keys of its hash
/// maps.
fn random_id() -> u16 {
    let bits = std::hash::RandomState::new().build_hasher().finish();
    (bits >> 17) as u16
}

fn parse_hosts(text: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words {
            let addresses =
                hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

/// resolv.conf(5), with its limits: three servers, six domains.
fn parse_resolv_conf(text: &str) -> Config {
    let mut config =
        Config { ndots: 1, wait: Duration::from_secs(5), attempts: 2, ..Config::default() };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                // A scope id (fe80::1%eth0) needs an interface index we do not look up.
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                config.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
            }
            Some("search" | "domain") => {
                config.search = words
                    .map(|domain| domain.trim_end_matches('.').to_ascii_lowercase())
                    .filter(|domain| !domain.is_empty())
                    .take(6)
                    .collect();
            }
            Some("options") => {
                for option in words {
                    let (key, value) = option.split_once(':').unwrap_or((option, ""));
                    let Ok(value) = value.parse::<u32>() else { continue };
                    match key {
                        "ndots" => config.ndots = value.min(15) as usize,
                        "timeout" => {
                            config.wait = Duration::from_secs(u64::from(value.clamp(1, 30)));
                        }
                        "attempts" => config.attempts = value.clamp(1, 5),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if config.servers.is_empty() {
        config.servers.push(([127, 0, 0, 1], 53).into());
    }
    config.servers.truncate(3);
    config
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rim: read once at start, on the builder's own /"
)]
fn read(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let _ = std::fs::File::open(path).map(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file() {
        let hosts = parse_hosts(
            "127.0.0.1 localhost # me\n::1 localhost ip6-localhost\n\n# 1.2.3.4 no\nbad x\n10.0.0.9\tReg.Example.\n",
        );
        let check = |name: &str, expected: &[&str]| {
            let got: Vec<String> =
                hosts.get(name).into_iter().flatten().map(ToString::to_string).collect();
            assert_eq!(got, expected, "{name}");
        };
        check("localhost", &["127.0.0.1", "::1"]);
        check("ip6-localhost", &["::1"]);
        check("reg.example", &["10.0.0.9"]);
        check("no", &[]);
        check("x", &[]);
    }

    #[test]
    fn resolv_conf_and_its_candidates() {
        let config = parse_resolv_conf(
            "search ns.svc.cluster.local svc.cluster.local.\nnameserver 10.96.0.10 # dns\noptions ndots:5 timeout:2 attempts:9\n; x\n",
        );
        assert_eq!(config.servers, [SocketAddr::from(([10, 96, 0, 10], 53))]);
        assert_eq!((config.wait, config.attempts), (Duration::from_secs(2), 5));
        let check = |name: &str, first: &str, count: usize| {
            let candidates = config.candidates(name);
            assert_eq!((candidates[0].as_str(), candidates.len()), (first, count));
        };
        check("registry", "registry.ns.svc.cluster.local", 3);
        check("ghcr.io", "ghcr.io.ns.svc.cluster.local", 3);
        check("ghcr.io.", "ghcr.io.", 1);
        check("a.b.c.d.e.f", "a.b.c.d.e.f", 3);
        assert_eq!(parse_resolv_conf("").servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
    }

    #[tokio::test]
    async fn names_that_lead_into_a_private_network() {
        let hosts = "10.0.0.1 inside\n10.0.0.1 both\n198.51.100.7 both\n::ffff:10.0.0.1 mapped\n";
        let resolver = Resolver::from_texts(hosts, "");
        let check = async |name: &str, expected: Option<&str>| {
            let everywhere = resolver.usable(name).await.expect("because it has an address");
            assert!(!everywhere.is_empty(), "{name}");
            let found = match resolver.public_only().usable(name).await {
                Ok(addresses) => {
                    Some(addresses.iter().map(ToString::to_string).collect::<String>())
                }
                Err(ResolveError::Private(_)) => None,
                Err(error) => Some(error.to_string()),
            };
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("inside", None).await;
        check("both", Some("198.51.100.7")).await;
        check("mapped", None).await;
        check("localhost", None).await;
        check("any.localhost", None).await;
    }

    #[tokio::test]
    async fn a_server_on_loopback_is_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr().expect("bound");
        let mut config = parse_resolv_conf("search corp.example");
        config.servers = vec![address];
        let resolver = Resolver { config: Arc::new(config), public_only: false };
        let serve = async move {
            let mut buffer = [0u8; 512];
            loop {
                let (length, peer) = server.recv_from(&mut buffer).await.expect("a query");
                let mut reply = buffer[..length].to_vec();
                reply[2..4].copy_from_slice(&[0x81, 0x80]);
                let is_v4 = reply[length - 3] == 1;
                if !buffer[..length].windows(4).any(|part| part == b"corp") {
                    reply[3] = 0x83;
                } else if is_v4 {
                    reply[7] = 1;
                    reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3]);
                }
                server.send_to(&reply, peer).await.expect("sent");
            }
        };
        let ask = async {
            let found = resolver.lookup("registry").await.expect("found by its search domain");
            assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
            let error = resolver.lookup("other.example.").await.expect_err("is not there");
            assert_eq!(error.to_string(), "no address for the name `other.example.`");
        };
        tokio::select! {
            () = serve => unreachable!("serves for ever"),
            () = ask => {}
        }
    }
}
