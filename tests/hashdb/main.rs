//! State that lasts, through the public doors: the HashDB service, flush ids, restarts, kills.

mod lasting;
mod service;
mod support;
mod vectors;
