//! The service through its public doors: gRPC, HTTP, with a test double in the place of the engine, and with the engine.

mod aggregator;
mod configuration;
mod connections;
mod doors;
mod endurance;
mod engine;
mod faults;
mod lanes;
mod load;
mod process;
mod records;
mod responses;
mod spans;
mod stateless;
mod statistics;
mod support;
mod tls;
mod validation;
