//! Where a runtime may be: on this machine by plain HTTP, or at a cloud by HTTPS. Nothing else is ever dialled.

use reqwest::Url;
use std::net::{IpAddr, SocketAddr};
use tender_base::{Code, Problem};

/// Where a runtime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, by plain HTTP on a loopback address.
    Loopback,
    /// A cloud, by HTTPS with a certificate that the system trusts.
    Cloud,
}

/// An address that was checked.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Scheme, host and port, with `/` at the end: for what a runtime offers beside OpenAI's API.
    pub(super) origin: Url,
    /// What OpenAI's paths are appended to, with `/` at the end.
    pub(super) api: Url,
    /// For a name on this machine: the addresses it stood for when it was checked, which are the only ones dialled.
    pub(super) pinned: Option<(String, Vec<SocketAddr>)>,
}

impl Address {
    /// Checks what the owner typed, and resolves the name of a runtime on this machine.
    ///
    /// # Errors
    /// [`Code::Invalid`] when it is not where a runtime may be.
    pub(super) async fn check(typed: &str, place: Place) -> Result<Self, Problem> {
        let address = Self::parse(typed, place)?;
        let (Place::Loopback, Some(host)) = (place, address.origin.host_str()) else { return Ok(address) };
        if literal(host).is_some() {
            return Ok(address);
        }
        let port = address.origin.port_or_known_default().unwrap_or(80);
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|e| bad(typed, &format!("has a name that nobody knows: {e}"), place))?
            .collect();
        if !on_this_machine(&found) {
            return Err(bad(typed, "is not on this machine", place));
        }
        Ok(Self { pinned: Some((host.to_owned(), found)), ..address })
    }

    fn parse(typed: &str, place: Place) -> Result<Self, Problem> {
        let bad = |why: &str| Err(bad(typed, why, place));
        let text = typed.trim();
        let text = match place {
            Place::Loopback if !text.contains("://") => format!("http://{text}"),
            Place::Cloud if !text.contains("://") => format!("https://{text}"),
            _ => text.to_owned(),
        };
        let Ok(url) = Url::parse(&text) else { return bad("is not a URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return bad("has a user name or password in it");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad("has more than a path in it");
        }
        let Some(host) = url.host_str() else { return bad("has no host") };
        let path = url.path().trim_end_matches('/').to_owned();
        match (place, url.scheme()) {
            (Place::Loopback, "http") if literal(host).is_some_and(|ip| !ip.to_canonical().is_loopback()) => {
                return bad("is not on this machine");
            }
            // What a runtime on this machine offers beside OpenAI's API is found from its root.
            (Place::Loopback, "http") if !matches!(path.as_str(), "" | "/v1") => {
                return bad("has another path than /v1");
            }
            (Place::Loopback, "http") | (Place::Cloud, "https") => {}
            (Place::Loopback, _) => return bad("is not plain HTTP"),
            (Place::Cloud, _) => return bad("is not encrypted"),
        }
        let mut origin = url.clone();
        origin.set_path("/");
        let mut api = url;
        api.set_path(&if path.is_empty() { "/v1/".to_owned() } else { format!("{path}/") });
        Ok(Self { origin, api, pinned: None })
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Every address a name stands for must be here: one that is elsewhere could be the one that is dialled.
fn on_this_machine(addresses: &[SocketAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

fn bad(typed: &str, why: &str, place: Place) -> Problem {
    let hint = match place {
        Place::Loopback => "write it as http://127.0.0.1:PORT; a runtime must run on this machine",
        Place::Cloud => "write it as https://HOST/v1, as the provider documents it",
    };
    Problem::new(Code::Invalid, format!("the address {} {why}", super::transport::readable(typed)), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_on_this_machine_and_a_cloud_is_encrypted() {
        for (typed, place, api) in [
            ("127.0.0.1:8080", Place::Loopback, "http://127.0.0.1:8080/v1/"),
            (" http://[::1]:11434/ ", Place::Loopback, "http://[::1]:11434/v1/"),
            ("http://127.9.9.9:1/v1", Place::Loopback, "http://127.9.9.9:1/v1/"),
            ("localhost:8000/v1/", Place::Loopback, "http://localhost:8000/v1/"),
            ("https://api.example/v1", Place::Cloud, "https://api.example/v1/"),
            ("api.example/openai/v1/", Place::Cloud, "https://api.example/openai/v1/"),
            ("https://api.example", Place::Cloud, "https://api.example/v1/"),
        ] {
            assert_eq!(Address::parse(typed, place).unwrap().api.as_str(), api);
        }
        for (typed, place) in [
            ("http://192.0.2.7:8080", Place::Loopback),
            ("http://[::ffff:192.0.2.7]:80", Place::Loopback),
            ("http://0.0.0.0:8080", Place::Loopback),
            ("https://127.0.0.1:8080", Place::Loopback),
            ("http://user:secret@127.0.0.1", Place::Loopback),
            ("http://127.0.0.1/admin", Place::Loopback),
            ("http://127.0.0.1/?x=1", Place::Loopback),
            ("ftp://127.0.0.1", Place::Loopback),
            ("", Place::Loopback),
            ("http://api.example/v1", Place::Cloud),
            ("https://key@api.example/v1", Place::Cloud),
            ("https://api.example/v1?key=x", Place::Cloud),
        ] {
            let problem = Address::parse(typed, place).unwrap_err();
            assert!(problem.code == Code::Invalid && !problem.hint.is_empty(), "{typed}: {problem}");
        }
    }

    #[test]
    fn a_name_must_stand_for_nothing_but_this_machine() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(on_this_machine(&[at("127.0.0.1:80"), at("[::1]:80")]));
        assert!(on_this_machine(&[at("[::ffff:127.0.0.1]:80")]));
        assert!(!on_this_machine(&[at("127.0.0.1:80"), at("192.0.2.7:80")]));
        assert!(!on_this_machine(&[at("169.254.169.254:80")]));
        assert!(!on_this_machine(&[]));
    }

    #[tokio::test]
    async fn a_name_on_this_machine_is_pinned() {
        let address = Address::check("http://localhost:8080", Place::Loopback).await.unwrap();
        let (name, found) = address.pinned.unwrap();
        assert!(name == "localhost" && on_this_machine(&found));
        let literal = Address::check("http://127.0.0.1:8080", Place::Loopback).await.unwrap();
        assert!(literal.pinned.is_none());
        let nowhere = Address::check("http://no-such-host.invalid:1", Place::Loopback).await.unwrap_err();
        assert_eq!(nowhere.code, Code::Invalid);
    }
}
