//! Where messages come from: brokers, the built-in listener, HTTP; and the TLS of our own sockets.

pub mod broker;
pub mod http;
pub mod listener;
pub mod server_tls;
