//! The decoder of the configuration file, for whoever feeds it any bytes: the fuzz targets in `fuzz/`.

use std::path::Path;

use super::{Config, Error, file, validate};

/// Reads the bytes of a configuration file.
///
/// # Errors
/// What is wrong with it.
pub fn config_file(bytes: &[u8]) -> Result<Config, Error> {
    let settings = file::read_bytes(Path::new("etcd.conf.yml"), bytes, &mut Vec::new())?;
    validate::validate(settings)
}
