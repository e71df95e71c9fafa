//! What another node received for us.
