//! The program's own paths below `/-/`: its health, its metrics, and the page.
//!
//! Limits: [`crate::admission`] decides who may ask; nothing can be changed from here.

mod answer;
mod assets;
mod models;

pub use self::answer::{Request, answer, is_public, is_quick};
