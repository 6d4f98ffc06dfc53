//! `EXPOSE`: `[address:][host port:]port[-port][/protocol]`, of which the image keeps the last.

use std::net::IpAddr;

use dockerfile::quote;

/// The ports of one word, `80/tcp`; the message where it is wrong.
pub(super) fn parse(spec: &str) -> Result<Vec<String>, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (address, host, container) = match parts.as_slice() {
        [container] => (String::new(), "", *container),
        [host, container] => (String::new(), *host, *container),
        [address @ .., host, container] => (address.join(":"), *host, *container),
        [] => (String::new(), "", ""),
    };
    let invalid = |problem: &str| format!("invalid port: {}: {problem}", quote(spec));
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    if ports.is_empty() {
        return Err(invalid("no port specified"));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(invalid(&format!("invalid proto: {other}"))),
    };
    check_address(&address)?;
    let (first, last) = range(ports).ok_or_else(|| format!("invalid containerPort: {ports}"))?;
    if !host.is_empty() {
        let (host_first, host_last) =
            range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        // A range of host ports to choose from is fine for a single port.
        if last - first != host_last - host_first && last != first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {ports} and {host}"
            ));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn check_address(address: &str) -> Result<(), String> {
    let bare = match address.strip_prefix('[') {
        None => address,
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|rest| !rest.contains(['[', ']']))
            .ok_or_else(|| format!("invalid IP address {address}"))?,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(spec: &str, expected: &str) {
        let found = parse(spec).map_or_else(|error| error, |ports| ports.join(" "));
        assert_eq!(found, expected, "{spec}");
    }

    #[test]
    fn words() {
        check("80", "80/tcp");
        check("80/", "80/tcp");
        check("0", "0/tcp");
        check("80/UDP", "80/udp");
        check("9/sctp", "9/sctp");
        check("80-82", "80/tcp 81/tcp 82/tcp");
        check("8080:80", "80/tcp");
        check("8000-9000:80", "80/tcp");
        check("8080-8081:80-81/udp", "80/udp 81/udp");
        check("127.0.0.1:80:80", "80/tcp");
        check("127.0.0.1::80", "80/tcp");
        check("[::1]:80:80", "80/tcp");
        check("::1:80:80", "80/tcp");
        check("65536", "invalid containerPort: 65536");
        check("90-80", "invalid containerPort: 90-80");
        check("-1", "invalid containerPort: -1");
        check("1-2-3", "invalid containerPort: 1-2-3");
        check("abc", "invalid containerPort: abc");
        check("[80]", "invalid containerPort: [80]");
        check("+80", "invalid containerPort: +80");
        check("x:80", "invalid hostPort: x");
        check("host:1:80", "invalid IP address: host");
        check("[::1:1:80", "invalid IP address [::1");
        check(
            "80-81:80-82",
            "invalid ranges specified for container and host Ports: 80-82 and 80-81",
        );
        check("80/foo", "invalid port: \"80/foo\": invalid proto: foo");
        check("80/tcp/udp", "invalid port: \"80/tcp/udp\": invalid proto: tcp/udp");
        check("/tcp", "invalid port: \"/tcp\": no port specified");
        check("80:", "invalid port: \"80:\": no port specified");
        check("", "invalid port: \"\": no port specified");
    }
}
