//! How much a stranger may take before anyone looks at who it is.

use crate::{A2aError, ErrorKind};
use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tender_base::Did;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of the A2A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second from one address (an IPv6 /64 counts as one), after a burst of twice as many.
    pub requests_per_address: u32,
    /// Requests per second of one key, from wherever, after a burst of twice as many. A key that anyone can make counts
    /// against its address too.
    pub requests_per_caller: u32,
    /// Requests per second from all addresses, after a burst of twice as many.
    pub requests_in_total: u32,
    /// Open connections of one address.
    pub connections_per_address: u32,
    /// Open connections of all addresses.
    pub connections_in_total: u32,
    /// Open event streams and waiting `SendMessage`s of one address.
    pub streams_per_address: u32,
    /// Open event streams and waiting `SendMessage`s of one key, from wherever.
    pub streams_per_caller: u32,
    /// Bodies of paired peers above `anonymous_body_bytes` that are in memory at the same time; more wait. Holders of API
    /// keys have places of their own.
    pub large_bodies: u32,
    /// Largest body of a caller that is a stranger.
    pub anonymous_body_bytes: usize,
    /// Largest body of a paired peer.
    pub peer_body_bytes: usize,
    /// A connection of which nothing is read for so long, while something is written to it, is closed; a response over
    /// HTTP/2 of which nothing is read for so long is dropped.
    pub write_time: Duration,
}

impl Default for Limits {
    /// For one desktop machine: a peer that runs 16 jobs at once and asks for proposals meanwhile stays far below;
    /// 64 KiB holds every message but an award; 96 MiB holds an input of 64 MiB in base64 (×4/3) with its award;
    /// two of those at once, parsed, stay below 512 MiB.
    fn default() -> Self {
        Self {
            requests_per_address: 50,
            requests_per_caller: 50,
            requests_in_total: 500,
            connections_per_address: 64,
            connections_in_total: 512,
            streams_per_address: 32,
            streams_per_caller: 32,
            large_bodies: 2,
            anonymous_body_bytes: 64 << 10,
            peer_body_bytes: 96 << 20,
            write_time: Duration::from_secs(30),
        }
    }
}

/// Addresses, and callers, that are remembered at most: a flood from many must not fill the memory.
const MAX_KEYS: usize = 4096;

/// Who counts as one sender: an IPv4 address, or the /64 that one IPv6 subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
            v4 => v4,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A token bucket that holds two seconds' worth.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(per_second: u32, now: Instant) -> Self {
        Self { tokens: 2.0 * f64::from(per_second), at: now }
    }

    fn refill(&mut self, per_second: u32, now: Instant) {
        let rate = f64::from(per_second);
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(2.0 * rate);
        self.at = now;
    }

    /// Takes one token, or says when there will be one.
    fn take(&mut self, per_second: u32, now: Instant) -> Result<(), Duration> {
        self.refill(per_second, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.tokens) / f64::from(per_second.max(1))).clamp(0.0, 60.0)))
    }
}

/// Counts the requests of each address or each caller.
struct Rates<K> {
    per_second: u32,
    buckets: HashMap<K, Bucket>,
}

impl<K: Eq + Hash> Rates<K> {
    fn new(per_second: u32) -> Self {
        Self { per_second, buckets: HashMap::new() }
    }

    /// Lets one request of `key` in, or says when the next may come; `of` names the limit.
    fn admit(&mut self, key: K, now: Instant, of: &str) -> Result<(), A2aError> {
        let per_second = self.per_second;
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(&key) {
            self.buckets.retain(|_, bucket| {
                bucket.refill(per_second, now);
                bucket.tokens < 2.0 * f64::from(per_second)
            });
            if self.buckets.len() >= MAX_KEYS {
                return Err(too_many("too many are asking at once", Duration::from_secs(1)));
            }
        }
        let bucket = self.buckets.entry(key).or_insert_with(|| Bucket::full(per_second, now));
        bucket
            .take(per_second, now)
            .map_err(|wait| too_many(format!("more than {per_second} requests per second {of}"), wait))
    }
}

/// Counts requests.
pub(crate) struct Requests {
    in_total: u32,
    addresses: Mutex<(Bucket, Rates<Origin>)>,
    callers: Mutex<Rates<Did>>,
}

impl Requests {
    pub(crate) fn new(limits: &Limits) -> Self {
        let total = Bucket::full(limits.requests_in_total, Instant::now());
        Self {
            in_total: limits.requests_in_total,
            addresses: Mutex::new((total, Rates::new(limits.requests_per_address))),
            callers: Mutex::new(Rates::new(limits.requests_per_caller)),
        }
    }

    /// Lets one request of `origin` in, or says when the next may come. One address alone cannot use up the total.
    pub(crate) fn admit(&self, origin: Origin, now: Instant) -> Result<(), A2aError> {
        let mut state = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, addresses) = &mut *state;
        addresses.admit(origin, now, "from this address")?;
        total.take(self.in_total, now).map_err(|wait| too_many("this agent is asked too often", wait))
    }

    /// The same for a caller that proved its key, from whichever addresses.
    pub(crate) fn admit_caller(&self, caller: Did, now: Instant) -> Result<(), A2aError> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).admit(caller, now, "with this key")
    }
}

/// Counts what is open at the same time, per key and in total.
#[derive(Debug)]
pub(crate) struct Open<K> {
    per_key: u32,
    in_total: u32,
    counts: Mutex<(u32, HashMap<K, u32>)>,
}

impl<K: Eq + Hash + Copy> Open<K> {
    pub(crate) fn new(per_key: u32, in_total: u32) -> Arc<Self> {
        Arc::new(Self { per_key, in_total, counts: Mutex::new((0, HashMap::new())) })
    }

    /// A place, given back when dropped; `None` when all are taken.
    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, per_key) = &mut *counts;
        let count = per_key.get(&key).copied().unwrap_or(0);
        if *total >= self.in_total || count >= self.per_key {
            return None;
        }
        *total += 1;
        per_key.insert(key, count + 1);
        Some(Place { open: self.clone(), key })
    }
}

/// One place among those that may be taken at the same time.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash + Copy> {
    open: Arc<Open<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.open.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 = counts.0.saturating_sub(1);
        let left = counts.1.get(&self.key).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            counts.1.remove(&self.key);
        } else {
            counts.1.insert(self.key, left);
        }
    }
}

/// Places for which one waits, of which each key has only some: who uses up its own keeps no other from the rest.
pub(crate) struct Shares<K> {
    per_key: usize,
    all: Arc<Semaphore>,
    keys: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Shares<K> {
    pub(crate) fn new(per_key: usize, in_total: usize) -> Self {
        Self { per_key, all: Arc::new(Semaphore::new(in_total)), keys: Mutex::default() }
    }

    /// The places of `key`. They are remembered while somebody waits there, or has one.
    pub(crate) fn of(&self, key: K) -> Share {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, own| Arc::strong_count(own) > 1);
        let own = keys.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.per_key))).clone();
        Share { own, all: self.all.clone() }
    }
}

/// The places of one key.
#[derive(Clone)]
pub(crate) struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl Share {
    /// Waits for a place, first among the key's own. None when there will be none any more.
    pub(crate) async fn take(&self) -> Option<Taken> {
        let own = self.own.clone().acquire_owned().await.ok()?;
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some(Taken { _own: own, _all: all })
    }
}

/// A place, given back when dropped.
pub(crate) struct Taken {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

pub(crate) fn too_many(message: impl Into<String>, wait: Duration) -> A2aError {
    A2aError::new(ErrorKind::TooMany, message, "wait as long as Retry-After says").retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(per_address: u32, in_total: u32) -> Requests {
        Requests::new(&Limits { requests_per_address: per_address, requests_in_total: in_total, ..Limits::default() })
    }

    fn v4(last: u8) -> Origin {
        Origin::of(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_address_gets_its_burst_and_then_its_rate() {
        let (requests, now) = (requests(2, 100), Instant::now());
        let admitted = (0..10).filter(|_| requests.admit(v4(1), now).is_ok()).count();
        assert_eq!(admitted, 4);
        let refused = requests.admit(v4(1), now).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (ErrorKind::TooMany, Some(Duration::from_millis(500))));
        assert!(requests.admit(v4(2), now).is_ok(), "another address has its own");
        assert!(requests.admit(v4(1), now + Duration::from_millis(500)).is_ok());
        assert!(requests.admit(v4(1), now + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn all_addresses_together_have_a_limit_too() {
        let (requests, now) = (requests(10, 3), Instant::now());
        let admitted = (0..20).filter(|i| requests.admit(v4(*i), now).is_ok()).count();
        assert_eq!(admitted, 6);
    }

    #[test]
    fn a_caller_has_one_rate_from_all_its_addresses() {
        use tender_base::{Signer, signed::KeySigner};
        let limits = Limits { requests_per_caller: 2, ..Limits::default() };
        let (requests, now) = (Requests::new(&limits), Instant::now());
        let [one, two] = [1, 2].map(|seed| KeySigner::from_seed(&[seed; 32]).did());
        assert_eq!((0..10).filter(|_| requests.admit_caller(one, now).is_ok()).count(), 4);
        let refused = requests.admit_caller(one, now).unwrap_err();
        assert_eq!((refused.kind, refused.retry_after), (ErrorKind::TooMany, Some(Duration::from_millis(500))));
        assert!(requests.admit_caller(two, now).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_memory() {
        let (requests, now) = (requests(1, 1_000_000), Instant::now());
        for i in 0..10_000_u32 {
            let _ = requests.admit(Origin::of(IpAddr::from(i.to_be_bytes())), now);
        }
        assert!(requests.addresses.lock().unwrap().1.buckets.len() <= MAX_KEYS);
        assert!(requests.admit(Origin::of(IpAddr::from([255, 0, 0, 1])), now + Duration::from_secs(9)).is_ok());
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_origin() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn places_come_back_when_dropped() {
        let open = Open::new(2, 3);
        let held: Vec<_> = [1, 1, 2].iter().filter_map(|key| open.enter(*key)).collect();
        assert_eq!(held.len(), 3);
        assert!(open.enter(1).is_none() && open.enter(3).is_none());
        drop(held);
        assert!(open.enter(1).is_some());
        assert!(open.counts.lock().unwrap().1.is_empty());
    }

    #[tokio::test]
    async fn who_uses_up_its_own_places_keeps_nobody_from_the_others() {
        let shares = Shares::new(1, 2);
        let held = shares.of("one").take().await.unwrap();
        let waits = async |key| tokio::time::timeout(Duration::from_millis(20), shares.of(key).take()).await.is_err();
        assert!(waits("one").await, "it has a second place");
        let other = shares.of("two").take().await.unwrap();
        assert!(waits("three").await, "there is a third place");
        drop(held);
        assert!(!waits("one").await && !waits("three").await);
        drop(other);
        shares.of("four");
        assert_eq!(shares.keys.lock().unwrap().len(), 1, "keys without places are remembered");
    }
}
