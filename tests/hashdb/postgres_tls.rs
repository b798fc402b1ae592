//! TLS to PostgreSQL: `sslmode` and `sslrootcert` of `store.url`, with certificates made here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use zkevm_store::{Database, PostgresDatabase, PostgresOptions, WriteSet};
use zkevm_tree::Digest;
use zkevm_tree::StateReader;

use super::postgres::options;
use super::postgres_server::PostgresServer;

/// An authority, and its certificate as a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Certificate and key for a host.
    fn issue(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Opens the database with this at the end of its URL.
fn open(postgres: &PostgresServer, pairs: &str) -> Result<PostgresDatabase, String> {
    let few = PostgresOptions { retries: 1, retry_after: Duration::from_millis(1), ..options(postgres) };
    let url = format!("{}?{pairs}", postgres.url());
    PostgresDatabase::open(PostgresOptions { url, ..few }, true, false).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(opened: Result<PostgresDatabase, String>, reason: &str) {
    let refused = opened.err().expect("refused");
    assert!(refused.contains(reason) && !refused.contains("secret"), "{refused}");
}

#[test]
fn a_server_with_tls_is_asked_for_what_the_url_says() {
    let Some(mut postgres) = PostgresServer::start("TLS to PostgreSQL") else { return };
    assert_refused(open(&postgres, "sslmode=require"), "TLS");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority.pem");
    let stranger = Authority::new(folder.path(), "stranger.pem");
    let of = |authority: &Authority, mode: &str| format!("sslmode={mode}&sslrootcert={}", authority.file.display());

    let (certificate, key) = authority.issue("127.0.0.1");
    postgres.with_tls(&certificate, &key);
    assert_refused(open(&postgres, "sslmode=disable"), "no encryption");
    for pairs in ["", "sslmode=prefer", "sslmode=require", &of(&authority, "verify-ca"), &of(&authority, "verify-full")]
    {
        let database = open(&postgres, pairs).unwrap_or_else(|error| panic!("{pairs}: {error}"));
        // More than one record of TLS.
        let nodes = (0..2000).map(|number| (Digest([number; 4]), [number; 12])).collect();
        database.commit(&[&WriteSet { nodes, ..WriteSet::default() }]).unwrap();
        assert_eq!(database.node(&Digest([1999; 4])), Ok(Some([1999; 12])), "{pairs}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_refused(open(&postgres, &of(&stranger, mode)), "invalid peer certificate");
    }
    assert_refused(open(&postgres, "sslmode=verify-full&sslrootcert=/nowhere.pem"), "/nowhere.pem");
    assert_refused(open(&postgres, "sslmode=never"), "sslmode=never");

    let (certificate, key) = authority.issue("elsewhere");
    postgres.with_tls(&certificate, &key);
    open(&postgres, &of(&authority, "verify-ca")).unwrap();
    assert_refused(open(&postgres, &of(&authority, "verify-full")), "not valid for name");
    assert_refused(open(&postgres, &of(&stranger, "verify-ca")), "invalid peer certificate");
}
