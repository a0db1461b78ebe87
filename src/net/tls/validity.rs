//! Until when a certificate is good.

use std::time::Duration;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::files::{CertificateFiles, failed};
use super::{TlsError, TlsOptions};

impl TlsOptions {
    /// The date on which the certificate of this server has ended, if it has at `now` (since 1970). Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError::File`] if it cannot be read.
    pub fn ended(&self, now: Duration) -> Result<Option<String>, TlsError> {
        self.certificate.as_ref().map_or(Ok(None), |files| ended(files, now))
    }
}

fn ended(files: &CertificateFiles, now: Duration) -> Result<Option<String>, TlsError> {
    let chain = files.chain()?;
    let own = chain.first().map(|certificate| &certificate[..]).unwrap_or_default();
    let (_, certificate) = X509Certificate::from_der(own).map_err(|error| failed(&files.cert, error))?;
    let end = certificate.validity().not_after;
    let has_ended = u64::try_from(end.timestamp()).is_ok_and(|end| end < now.as_secs());
    Ok(has_ended.then(|| end.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::unix_time;
    use crate::net::testing::Authority;

    #[test]
    fn a_certificate_that_has_ended_is_told_with_its_date() {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
        let ended = |certificate: CertificateFiles| {
            TlsOptions { certificate: Some(certificate), ..TlsOptions::default() }.ended(unix_time())
        };
        let good = authority.issue(dir.path(), "good", "good", 1, &["127.0.0.1"]);
        assert_eq!(ended(good.clone()).unwrap(), None);
        let since = ended(authority.issue_ended(dir.path(), "ended", &["127.0.0.1"])).unwrap().unwrap();
        assert!(since.contains("2020"), "{since}");
        let odd = CertificateFiles { cert: good.key.clone(), ..good };
        assert!(ended(odd).unwrap_err().to_string().contains("good.key"));
        assert_eq!(TlsOptions::default().ended(unix_time()).unwrap(), None, "there is none");
    }
}
