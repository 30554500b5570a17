//! Which addresses a webhook may have: what a stranger tells this machine to call must not reach what only this machine
//! can reach. Checked when a webhook is made and again whenever it is called, on the very addresses that are then
//! connected to, so that a name which changes its mind in between gains nothing.

use super::{WebhookRules, home::Home};
use crate::{
    A2aError, Owner,
    limits::{Share, Shares},
};
use a2a::TaskPushNotificationConfig;
use reqwest::Url;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Longest URL of a webhook, in bytes.
const MAX_URL: usize = 2048;
/// Longest token and longest credentials, in bytes.
const MAX_SECRET: usize = 4096;
/// A name that is not resolved by then counts as unknown.
const RESOLVE_TIME: Duration = Duration::from_secs(5);
/// Names that are resolved at the same time. The system's resolver cannot be interrupted and takes a thread of those
/// that read files too, so that one slow name server must not get them all.
const LOOKUPS: usize = 8;
/// Of these, for the webhooks of one owner, so that its silent name servers take no place from others.
const LOOKUPS_OF_ONE: usize = 2;

/// Where names are waited for.
pub(super) fn lookups() -> Shares<Owner> {
    Shares::new(LOOKUPS_OF_ONE, LOOKUPS)
}

/// Whether a webhook may be kept; `home` is where its owner's own node listens. A name is resolved only when there are
/// `lookups`: this machine's resolver knows names that are nobody else's business. Delivering looks at the addresses
/// anyway.
///
/// # Errors
/// [`crate::ErrorKind::InvalidParams`] naming the member. A name that does not resolve is no error: it may later.
pub(crate) async fn check(
    hook: &TaskPushNotificationConfig,
    rules: WebhookRules,
    home: Option<&Home>,
    lookups: Option<&Share>,
) -> Result<(), A2aError> {
    let url = url(&hook.url, rules, home)?;
    if let Some(id) = &hook.id
        && id.len() > 256
    {
        return Err(A2aError::invalid("the push notification config's id is longer than 256 characters"));
    }
    if let Some(token) = &hook.token {
        secret("token", token)?;
    }
    if let Some(authentication) = &hook.authentication {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if authentication.scheme.is_empty() || !authentication.scheme.chars().all(is_token) {
            return Err(A2aError::invalid("authentication.scheme must be one word, such as Bearer"));
        }
        if let Some(credentials) = &authentication.credentials {
            secret("authentication.credentials", credentials)?;
        }
    }
    if home.is_some_and(|home| home.has(&url)) {
        return Ok(());
    }
    let found = match (url.host_str().filter(|host| literal(host).is_none()), lookups) {
        (Some(name), Some(lookups)) => lookup(name, rules, lookups).await.map(drop),
        _ => literally(&url, rules),
    };
    match found {
        Ok(()) | Err(Refused::Unresolved) => Ok(()),
        // Which one it is, is not told: a name of this network stays a name.
        Err(Refused::NotPublic(_)) => {
            Err(A2aError::invalid("the webhook's host has no public address; webhooks go to public addresses only"))
        }
    }
}

/// Credentials travel in a header: visible ASCII and spaces, nothing that ends a line.
fn secret(name: &str, text: &str) -> Result<(), A2aError> {
    if text.len() > MAX_SECRET {
        return Err(A2aError::invalid(format!("{name} is longer than {MAX_SECRET} bytes")));
    }
    if !text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err(A2aError::invalid(format!("{name} must be visible ASCII")));
    }
    Ok(())
}

/// Reads a webhook's URL.
///
/// # Errors
/// [`crate::ErrorKind::InvalidParams`] unless it is https with a host, without user and fragment; plain http only to
/// loopback, where the rules allow it or the owner's node listens.
pub(crate) fn url(text: &str, rules: WebhookRules, home: Option<&Home>) -> Result<Url, A2aError> {
    if text.len() > MAX_URL {
        return Err(A2aError::invalid(format!("the webhook's url is longer than {MAX_URL} bytes")));
    }
    let url = Url::parse(text).map_err(|error| A2aError::invalid(format!("the webhook's url is not one: {error}")))?;
    let plain = url.scheme() == "http" && rules.loopback && url.host_str().is_some_and(may_be_loopback);
    if url.scheme() != "https" && !plain && !home.is_some_and(|home| home.has(&url)) {
        return Err(A2aError::invalid("the webhook's url must begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(A2aError::invalid("the webhook's url must not have a user; use authentication"));
    }
    if url.fragment().is_some() {
        return Err(A2aError::invalid("the webhook's url must not have a fragment"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(A2aError::invalid("the webhook's url has no host"));
    }
    Ok(url)
}

pub(super) fn may_be_loopback(host: &str) -> bool {
    host == "localhost" || literal(host).is_some_and(|ip| ip.is_loopback())
}

/// The host as an address, without the brackets of version 6.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Why a host is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody knows the name now.
    Unresolved,
    /// At least one of its addresses is not public.
    NotPublic(IpAddr),
}

/// Whether the address that stands in a URL itself may be called. A name is for [`lookup`].
pub(crate) fn literally(url: &Url, rules: WebhookRules) -> Result<(), Refused> {
    url.host_str().and_then(literal).map_or(Ok(()), |ip| allowed(ip, rules))
}

/// The addresses of a name, without ports, all of which may be called.
pub(crate) async fn lookup(name: &str, rules: WebhookRules, lookups: &Share) -> Result<Vec<SocketAddr>, Refused> {
    let addresses = tokio::time::timeout(RESOLVE_TIME, addresses(name.to_owned(), lookups)).await.unwrap_or_default();
    if addresses.is_empty() {
        return Err(Refused::Unresolved);
    }
    addresses.iter().try_for_each(|address| allowed(address.ip(), rules))?;
    Ok(addresses)
}

fn allowed(ip: IpAddr, rules: WebhookRules) -> Result<(), Refused> {
    let allowed = is_public(ip) || (rules.loopback && ip.to_canonical().is_loopback());
    if allowed { Ok(()) } else { Err(Refused::NotPublic(ip)) }
}

/// What the system knows of a name. The place is held until it has answered, also when nobody waits for that any more.
async fn addresses(name: String, lookups: &Share) -> Vec<SocketAddr> {
    let Some(place) = lookups.take().await else { return Vec::new() };
    let found = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, 0)).await.map(Iterator::collect);
        drop(place);
        found
    });
    found.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Whether an address is somewhere on the internet (IANA special-purpose registries), and not a way to one that is
/// not: mapped, translated (RFC 6052) and 6to4 addresses are judged by the address inside.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        // Carrier-grade NAT.
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments, benchmarks, the old 6to4 relay.
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Protocol assignments (Teredo, ORCHID), documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3; everything else is unspecified, loopback, unique-local, link-local, multicast, or
        // reserved.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use a2a::AuthenticationInfo;

    const PRODUCT: WebhookRules = WebhookRules { loopback: false };
    const TARGET: WebhookRules = WebhookRules { loopback: true };

    fn owner(name: &str) -> Owner {
        Owner::stored(name.to_owned())
    }

    fn hook(url: &str) -> TaskPushNotificationConfig {
        TaskPushNotificationConfig {
            url: url.into(),
            id: None,
            task_id: String::new(),
            token: None,
            authentication: None,
            tenant: None,
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for text in [
            "127.0.0.1",
            "127.255.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
            "2a00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn what_a_stranger_may_not_have_called_is_refused() {
        let known = lookups().of(owner("one"));
        for text in [
            "",
            "x",
            "http://example.com/",
            "ftp://1.1.1.1/",
            "https://u@1.1.1.1/",
            "https://u:p@1.1.1.1/",
            "https://1.1.1.1/#x",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://localhost/",
            "https://169.254.169.254/latest",
            "https://[::ffff:10.0.0.1]/",
            "http://127.0.0.1/",
            "https://",
            "file:///etc/passwd",
        ] {
            let error = check(&hook(text), PRODUCT, None, Some(&known)).await.unwrap_err();
            assert_eq!(error.kind, crate::ErrorKind::InvalidParams, "{text}");
        }
        // A name is not looked up for everybody, and what it leads to is told to nobody.
        check(&hook("https://localhost/"), PRODUCT, None, None).await.unwrap();
        check(&hook("https://127.0.0.1/"), PRODUCT, None, None).await.unwrap_err();
        let error = check(&hook("https://localhost/"), PRODUCT, None, Some(&known)).await.unwrap_err();
        assert!(!error.problem.message.contains(['1', ':']), "{error}");
        assert!(
            check(&hook(&format!("https://1.1.1.1/{}", "x".repeat(2048))), PRODUCT, None, Some(&known)).await.is_err()
        );
        for text in ["https://1.1.1.1/", "https://1.1.1.1:8443/a?b", "https://does-not-exist.invalid/"] {
            check(&hook(text), PRODUCT, None, Some(&known)).await.unwrap();
        }
        for text in ["http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/", "https://127.0.0.1/"] {
            check(&hook(text), TARGET, None, Some(&known)).await.unwrap();
        }
        for text in ["http://1.1.1.1/", "http://10.0.0.1/", "https://10.0.0.1/"] {
            check(&hook(text), TARGET, None, Some(&known)).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn credentials_that_would_break_a_header_are_refused() {
        let known = lookups().of(owner("one"));
        let with = |scheme: &str, credentials: &str| TaskPushNotificationConfig {
            authentication: Some(AuthenticationInfo { scheme: scheme.into(), credentials: Some(credentials.into()) }),
            ..hook("https://1.1.1.1/")
        };
        check(&with("Bearer", "a b+/="), PRODUCT, None, Some(&known)).await.unwrap();
        for (scheme, credentials) in
            [("", "x"), ("Bea rer", "x"), ("B\r\n", "x"), ("Bearer", "x\r\nHost: y"), ("Bearer", "\0"), ("Bearer", "ü")]
        {
            check(&with(scheme, credentials), PRODUCT, None, Some(&known)).await.unwrap_err();
        }
        check(&with("Bearer", &"x".repeat(4097)), PRODUCT, None, Some(&known)).await.unwrap_err();
        let token = TaskPushNotificationConfig { token: Some("a\nb".into()), ..hook("https://1.1.1.1/") };
        check(&token, PRODUCT, None, Some(&known)).await.unwrap_err();
    }

    #[tokio::test]
    async fn name_servers_that_do_not_answer_one_owner_keep_no_name_from_another() {
        let lookups = lookups();
        // As many look-ups as one owner has, none of which comes back.
        let mut stuck = Vec::new();
        for _ in 0..LOOKUPS_OF_ONE {
            stuck.push(lookups.of(owner("one")).take().await.unwrap());
        }
        let found = lookup("localhost", TARGET, &lookups.of(owner("two"))).await;
        assert!(found.is_ok_and(|found| !found.is_empty()), "another waits for them");
        let own = lookups.of(owner("one"));
        assert!(tokio::time::timeout(Duration::from_millis(50), own.take()).await.is_err(), "there are more of them");
    }
}
