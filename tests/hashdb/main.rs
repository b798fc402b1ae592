//! State that lasts, through the public doors: the HashDB service, flush ids, restarts, kills.

mod balanced;
mod kill;
mod lasting;
mod postgres;
mod postgres_rows;
mod postgres_server;
mod service;
mod support;
mod vectors;
