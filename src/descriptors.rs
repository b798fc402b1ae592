//! File descriptors of the process: as many as the system allows, and never fewer than the configured connections may take.

use std::fmt;

use crate::config::{Config, StoreKind};

/// Descriptors beside the connections: files of the store, of requests and of the log, pipes of the runtime, outgoing connections.
const OTHERS: usize = 64;
/// Share of the descriptors that are too few that the HTTP port gets at most.
const HTTP_SHARE: usize = 4;
/// gRPC ports, each with the configured bound.
const GRPC_PORTS: usize = 2;

/// The configured connections that the system does not allow, and the bounds that hold instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Descriptors the process may have.
    pub allowed: usize,
    /// Descriptors the configured bounds can take.
    pub needed: usize,
    /// Connections of each gRPC port now.
    pub grpc: usize,
    /// Connections of the HTTP port now.
    pub http: usize,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, needed, grpc, http } = self;
        write!(
            f,
            "the system allows {allowed} open files and the configured connections can take {needed}: limits.connections \
             is {grpc} and http.connections {http} instead; raise the hard limit (ulimit -Hn, LimitNOFILE) to \
             have all of them"
        )
    }
}

/// Raises the soft limit of descriptors to the hard one. If the configured connections could still take more, lowers their
/// bounds, so that one port cannot take the descriptors of the others and of the store.
pub fn fit(config: &mut Config) -> Option<Shortage> {
    shrink(config, raise()?)
}

fn shrink(config: &mut Config, allowed: usize) -> Option<Shortage> {
    let others = OTHERS + if config.store.kind == StoreKind::Postgres { config.store.connections } else { 0 };
    let (grpc, http) = (config.limits.connections, config.http.connections);
    let needed = grpc.saturating_mul(GRPC_PORTS).saturating_add(http).saturating_add(others);
    if needed <= allowed {
        return None;
    }
    let left = allowed.saturating_sub(others);
    let http = http.min(left / HTTP_SHARE).max(1);
    let grpc = grpc.min(left.saturating_sub(http) / GRPC_PORTS).max(1);
    (config.limits.connections, config.http.connections) = (grpc, http);
    Some(Shortage { allowed, needed, grpc, http })
}

/// Returns the descriptors the process may have now, `None` if there is no bound.
#[cfg(target_os = "linux")]
fn raise() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if raised { maximum } else { current };
    allowed.map(|allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// Elsewhere the limits stay as they are and are not known.
#[cfg(not(target_os = "linux"))]
fn raise() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;

    #[test]
    fn bounds_of_connections_give_way_to_the_descriptors_there_are() {
        let config = ConfigBuilder::new().unwrap().build().unwrap();
        for (allowed, want) in
            [(1 << 20, None), (8512, None), (8511, Some((4095, 256))), (256, Some((72, 48))), (0, Some((1, 1)))]
        {
            let mut config = config.clone();
            let shortage = shrink(&mut config, allowed);
            assert_eq!(shortage.as_ref().map(|s| (s.grpc, s.http)), want, "{allowed}");
            let Some((grpc, http)) = want else { continue };
            assert_eq!((config.limits.connections, config.http.connections), (grpc, http));
            assert!(allowed < OTHERS || 2 * grpc + http + OTHERS <= allowed, "{allowed}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_soft_limit_becomes_the_hard_one() {
        use rustix::process::{Resource, getrlimit};
        raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
