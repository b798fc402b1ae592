//! State that lasts, through the public doors: the HashDB service, flush ids, restarts, kills.

mod balanced;
mod chains;
mod kill;
mod lasting;
mod postgres;
mod postgres_server;
mod remote;
mod service;
mod support;
mod vectors;
