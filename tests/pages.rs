//! The pages of the built program: forms that work without a script, roles, order, words of safety, floods; and how
//! they look in a real browser.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot go on fails; its parts share a fixture"
)]

mod common;

#[path = "pages/forms.rs"]
mod forms;
#[path = "pages/looks.rs"]
mod looks;
#[path = "pages/night.rs"]
mod night;
