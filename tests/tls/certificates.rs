//! Certificates for the tests, made by `openssl` in a temporary folder.

use std::path::PathBuf;
use std::process::{Command, Output, id};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The default host names of a certificate.
pub const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// A folder with an authority, `ca`, and a certificate that it has issued, `server`.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = Folder::empty();
        folder.authority("ca");
        folder.issue("server", "ca", NAMES, 30);
        folder
    }

    pub fn empty() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("reverb-tls-{}-{number}", id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Runs `openssl` in the folder. Spaces separate the arguments.
    #[track_caller]
    pub fn openssl(&self, arguments: &str) -> Output {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(&self.0).output();
        let output = output.unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {printed}");
        output
    }

    /// Makes `NAME.pem` and `NAME.key`, a self-signed authority.
    #[track_caller]
    pub fn authority(&self, name: &str) {
        // Two authorities of one name would be confused with each other.
        let folder = self.0.file_name().unwrap().to_str().unwrap();
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -out {name}.pem -days 30 -subj /CN={name}{folder}"
        ));
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by an authority of the folder, valid for `days`.
    #[track_caller]
    pub fn issue(&self, name: &str, authority: &str, host_names: &str, days: i32) {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key \
             -out {name}.csr -subj /CN={name}"
        ));
        let text = format!("subjectAltName={host_names}\nbasicConstraints=CA:FALSE\n");
        self.write(&format!("{name}.ext"), text);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -days {days} \
             -extfile {name}.ext -out {name}.pem"
        ));
    }

    /// Replaces the certificate `server` as tools do: by renaming new files over the old ones.
    #[track_caller]
    pub fn renew(&self) {
        self.issue("new", "ca", NAMES, 60);
        for kind in ["pem", "key"] {
            let (from, to) = (format!("new.{kind}"), format!("server.{kind}"));
            fs::rename(self.0.join(from), self.0.join(to)).unwrap();
        }
    }

    /// The roots of a client that trusts only this authority.
    pub fn roots(&self, authority: &str) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate(authority)).unwrap();
        roots
    }

    pub fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()
    }

    pub fn key(&self, name: &str) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
