//! The program's own paths below `/-/`: its health, its metrics, and the page.
//!
//! Limits: [`crate::admission`] decides who may ask; only the page may change something, and only
//! the files that `rules` names.

mod answer;
mod assets;
mod find;
mod models;
mod program;
mod rules;
mod save;

pub use self::answer::{Request, answer, is_public, is_quick};
pub use self::program::Program;
