//! State that lasts, through the public doors: the HashDB service, flush ids, restarts, kills.

mod answers;
mod balanced;
mod chains;
mod damage;
mod disk;
mod disk_full;
mod kill;
mod lasting;
mod postgres;
mod postgres_rows;
mod postgres_server;
mod postgres_tls;
mod remote;
mod service;
mod sessions;
mod support;
mod vectors;
