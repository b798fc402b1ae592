//! The places of a port's connections, of all peers and of each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bits of an IPv6 address that tell peers apart: a host has the rest for itself (RFC 6177).
const IPV6_PEER_BITS: u32 = 64;

/// How many connections may be open at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Of all peers.
    pub(crate) all: usize,
    /// Of one peer.
    pub(crate) per_peer: usize,
}

/// Who is at the other end of a connection: an address, of IPv6 the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Gives connections their places.
pub(crate) struct Admission {
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The reason why a connection has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// All places are taken.
    #[error("{0} are open, the bound of this port")]
    All(usize),
    /// The peer has all it may have.
    #[error("{limit} of {peer} are open, the bound of one peer")]
    Peer {
        /// The address, of IPv6 the network.
        peer: IpAddr,
        /// The bound.
        limit: usize,
    },
}

/// The place of one connection. Freed when dropped.
pub(crate) struct Place {
    peer: IpAddr,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self { limits, places: Arc::new(Semaphore::new(limits.all)), peers: Arc::default() }
    }

    /// Gives a connection of this peer a place, if there is one.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<Place, NoPlace> {
        let peer = peer_of(peer);
        let full = NoPlace::All(self.limits.all);
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full)?;
        let mut peers = self.peers.lock();
        let open = peers.entry(peer).or_default();
        if *open >= self.limits.per_peer {
            return Err(NoPlace::Peer { peer, limit: self.limits.per_peer });
        }
        *open += 1;
        Ok(Place { peer, peers: Arc::clone(&self.peers), _place: place })
    }
}

impl Place {
    /// Returns who has the place.
    pub(crate) fn peer(&self) -> Peer {
        Peer(self.peer)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.lock();
        match peers.get_mut(&self.peer) {
            Some(open) if *open > 1 => *open -= 1,
            _ => drop(peers.remove(&self.peer)),
        }
    }
}

/// Returns what stands for the peer with this address.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> (128 - IPV6_PEER_BITS) << (128 - IPV6_PEER_BITS);
            Ipv6Addr::from(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_peer_and_for_all_and_come_back() {
        let admission = Admission::new(ConnectionLimits { all: 3, per_peer: 2 });
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let (first, second) = (admit("10.0.0.1").unwrap(), admit("::ffff:10.0.0.1").unwrap());
        let peer = "10.0.0.1".parse().unwrap();
        assert_eq!(admit("10.0.0.1").err(), Some(NoPlace::Peer { peer, limit: 2 }));
        let other = admit("10.0.0.2").unwrap();
        assert_eq!(admit("10.0.0.3").err(), Some(NoPlace::All(3)));
        drop(first);
        let again = admit("10.0.0.1").unwrap();
        drop((second, other, again));
        assert!(admission.peers.lock().is_empty());
        assert_eq!(admission.places.available_permits(), 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let peer = |address: &str| peer_of(address.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
