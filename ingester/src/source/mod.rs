//! Where messages come from: brokers, the built-in listener, HTTP.

pub mod broker;
pub mod http;
pub mod listener;
