//! The running program, as the paths below `/-/` need it.

/// The running program.
pub trait Program: Sync {
    /// Reads the configuration again and waits until it is in use.
    ///
    /// # Errors
    /// The mistake in it.
    fn reload(&self) -> Result<(), String>;

    /// The configuration file.
    fn config_file(&self) -> Option<String>;
}
