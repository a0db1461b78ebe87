//! What is to be said of flags, variables and the file before there is a log to say it in.

use std::path::PathBuf;

/// Something that an operator should be able to read in the log. The texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A variable counted.
    UsedVariable {
        /// The variable.
        name: String,
        /// Its value, but for a password.
        value: String,
    },
    /// A variable that looks as if it were ours.
    UnknownVariable {
        /// With its value.
        variable: String,
        /// What may have been meant.
        near: Option<String>,
    },
    /// A variable that etcd does not allow to be set, and ignores.
    SpecialVariable {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// A file says everything.
    LoadedFile {
        /// Which.
        path: PathBuf,
    },
    /// Keys of that file that mean nothing.
    UnknownKeys {
        /// Which.
        keys: Vec<String>,
    },
    /// A time was too short.
    RaisedTime {
        /// The flag.
        flag: &'static str,
        /// What it is now.
        minimum: &'static str,
    },
}

impl Notice {
    /// Writes a line of the log.
    pub fn log(&self) {
        match self {
            Notice::UsedVariable { name, value } => {
                tracing::info!(
                    "variable-name" = name,
                    "variable-value" = value,
                    "recognized and used environment variable"
                );
            }
            Notice::UnknownVariable { variable, near: None } => {
                tracing::warn!("environment-variable" = variable, "unrecognized environment variable");
            }
            Notice::UnknownVariable { variable, near: Some(near) } => {
                tracing::warn!(
                    "environment-variable" = variable,
                    "did-you-mean" = near,
                    "unrecognized environment variable"
                );
            }
            Notice::SpecialVariable { name, value } => {
                tracing::warn!(key = name, value, "cannot set special environment variable");
            }
            Notice::LoadedFile { path } => {
                tracing::info!(
                    path = %path.display(),
                    "loaded server configuration, other configuration command line flags and environment variables will be \
                     ignored if provided"
                );
            }
            Notice::UnknownKeys { keys } => {
                tracing::warn!(
                    keys = keys.join(", "),
                    "the configuration file has keys that mean nothing, and are ignored"
                );
            }
            Notice::RaisedTime { flag, minimum } => tracing::info!("{flag} increased to minimum value: {minimum}"),
        }
    }
}
