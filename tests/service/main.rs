//! The service through its public interfaces: gRPC, HTTP, with a test double in the place of the engine, and with the engine.

mod aggregator;
mod capture;
mod configuration;
mod connections;
mod doors;
mod endpoints;
mod endurance;
mod engine;
mod faults;
mod lanes;
mod load;
mod log;
mod out_of_counters;
mod process;
mod responses;
mod stateless;
mod statistics;
mod support;
mod telemetry;
mod tls;
mod validation;
