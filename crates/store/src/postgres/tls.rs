//! TLS to PostgreSQL: what `sslmode` and `sslrootcert` of a URL ask for, with the meaning they have for libpq, which
//! zkevm-prover uses.
//!
//! | `sslmode` | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | never | |
//! | `allow`, `prefer`, none | if the server offers it | not looked at |
//! | `require` | always | not looked at; with `sslrootcert` as with `verify-ca` |
//! | `verify-ca` | always | by an authority |
//! | `verify-full` | always | by an authority, and for this host |
//!
//! The authorities are those in the file `sslrootcert`, and those of the system if it is `system` or absent. Unlike libpq's,
//! `allow` encrypts if it can. Certificates of clients are not known here.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::pem;

/// PostgreSQL's name among protocols; asked for when TLS comes before any word of PostgreSQL.
const PROTOCOL: &[u8] = b"postgresql";
/// For the authorities of the system, in place of a file.
const SYSTEM: &str = "system";
/// What a URL begins with; everything else is a text of pairs.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// How much is asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "disable" => Some(Self::Disable),
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            "verify-ca" => Some(Self::VerifyCa),
            "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }
}

/// A URL without the keys that concern TLS, and these.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TlsRequest {
    /// For the driver, whose parser knows neither all modes nor `sslrootcert`.
    pub(super) url: String,
    mode: Option<Mode>,
    authorities: Option<String>,
}

impl TlsRequest {
    /// Parses a URL, or a text of `key=value` pairs. Fails with a sentence if the mode is not one.
    pub(super) fn of(url: &str) -> Result<Self, String> {
        let (before, pairs, separator) = if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            // Where the driver begins to read pairs: a user and a password before them may hold question marks.
            let place = url.find('@').unwrap_or(0);
            let (before, pairs) = url.split_at(url[place..].find('?').map_or(url.len(), |pairs| place + pairs + 1));
            (before, pairs, '&')
        } else {
            ("", url, ' ')
        };
        let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
        for pair in pairs.split(separator) {
            match pair.split_once('=') {
                Some(("sslmode", name)) => {
                    let named = text(name, separator);
                    let sentence = || format!("sslmode={named} is none of those PostgreSQL has");
                    mode = Some(Mode::parse(&named).ok_or_else(sentence)?);
                }
                Some(("sslrootcert", path)) => authorities = Some(text(path, separator).into_owned()),
                _ => others.push(pair),
            }
        }
        if mode == Some(Mode::Require) && authorities.is_some() {
            mode = Some(Mode::VerifyCa);
        }
        Ok(Self { url: before.to_owned() + &others.join(&separator.to_string()), mode, authorities })
    }

    /// Returns the mode as far as the driver knows it; `None` leaves it to what the driver reads.
    pub(super) fn ssl_mode(&self) -> Option<SslMode> {
        self.mode.map(|mode| match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        })
    }

    /// Reads the authorities and returns what connects. Fails with a sentence if there are none.
    pub(super) fn connector(&self, negotiation: SslNegotiation) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode.unwrap_or(Mode::Prefer) {
            Mode::Disable | Mode::Prefer | Mode::Require => Arc::new(AnyHost { authorities: None, provider }),
            Mode::VerifyCa => Arc::new(AnyHost { authorities: Some(self.verifier(Arc::clone(&provider))?), provider }),
            Mode::VerifyFull => self.verifier(provider)?,
        };
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        if negotiation == SslNegotiation::Direct {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
        let roots = match self.authorities.as_deref() {
            None | Some(SYSTEM) => of_the_system()?,
            Some(path) => pem::authorities(Path::new(path)).map_err(|error| error.to_string())?,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map_err(|error| error.to_string())
    }
}

/// Reads the value of a pair: of a URL, or of a text, where quotes may stand around it.
fn text(value: &str, separator: char) -> Cow<'_, str> {
    match separator {
        '&' => percent_decode_str(value).decode_utf8_lossy(),
        _ => Cow::Borrowed(value.trim_matches('\'')),
    }
}

fn of_the_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // The system may hold certificates that no library reads.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!("this system has no authorities{reason}: name a file of them with sslrootcert"));
    }
    Ok(roots)
}

/// Asks for a certificate by an authority, or for none, of whatever host.
#[derive(Debug)]
struct AnyHost {
    /// Without them every server is taken for the right one: that encrypts against those who only listen.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl AnyHost {
    /// Checks a signature only if certificates are checked: whoever may have any certificate may have its key as well.
    fn verify_signature(
        &self,
        verify: impl FnOnce(&WebPkiServerVerifier) -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.as_deref().map_or_else(|| Ok(HandshakeSignatureValid::assertion()), verify)
    }
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(verifier) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        // Names are looked at last: one that does not fit says that all before was right.
        match verifier.verify_server_cert(certificate, intermediates, server, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(|verifier| verifier.verify_tls12_signature(message, certificate, signature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(|verifier| verifier.verify_tls13_signature(message, certificate, signature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_asks_of_tls_is_taken_out_of_it() {
        let cases = [
            ("postgresql://me@db/x", "postgresql://me@db/x", None, None),
            ("postgresql://me@db/x?sslmode=disable", "postgresql://me@db/x?", Some(Mode::Disable), None),
            ("postgres://db/x?a=1&sslmode=allow&b=2", "postgres://db/x?a=1&b=2", Some(Mode::Prefer), None),
            ("postgresql://db/x?sslmode=require", "postgresql://db/x?", Some(Mode::Require), None),
            ("postgresql://db/x?sslmode=verify-full", "postgresql://db/x?", Some(Mode::VerifyFull), None),
            ("postgresql://me:a?b=c@db/x?sslmode=require", "postgresql://me:a?b=c@db/x?", Some(Mode::Require), None),
            (
                "postgresql://db/x?sslrootcert=%2Fa%20b.pem&sslmode=require",
                "postgresql://db/x?",
                Some(Mode::VerifyCa),
                Some("/a b.pem"),
            ),
            (
                "host=db password='a  b' sslmode=verify-ca sslrootcert='/c.pem' user=me",
                "host=db password='a  b' user=me",
                Some(Mode::VerifyCa),
                Some("/c.pem"),
            ),
        ];
        for (text, url, mode, authorities) in cases {
            let expected = TlsRequest { url: url.to_owned(), mode, authorities: authorities.map(str::to_owned) };
            assert_eq!(TlsRequest::of(text), Ok(expected), "{text}");
        }
        assert!(TlsRequest::of("postgresql://db/x?sslmode=always").unwrap_err().contains("sslmode=always"));
    }
}
