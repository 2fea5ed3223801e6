//! A session over a real pair of sockets, whose other end reads only when the test wants it to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as StdTcpStream};
use std::process::Command;
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::config;
use crate::hub::Now;

type Client = StreamOwned<ClientConnection, StdTcpStream>;

/// Both ends of a session whose handshake is done.
fn pair() -> (Tls, TcpStream, Client) {
    let folder = std::env::temp_dir().join(format!("reverb-session-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key \
                     -out certificate -days 2 -subj /CN=x -addext subjectAltName=DNS:localhost \
                     -addext basicConstraints=critical,CA:FALSE";
    let made =
        Command::new("openssl").args(arguments.split(' ')).current_dir(&folder).output().unwrap();
    assert!(made.status.success());
    let settings = config::Tls {
        local_cert: Some(folder.join("certificate")),
        local_pk: Some(folder.join("key")),
        ..config::Tls::default()
    };
    let secure = TlsAcceptor::load(&settings, 1_000, Now::default()).unwrap().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("certificate")).unwrap()).unwrap();
    std::fs::remove_dir_all(folder).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let config =
            ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let stream = StdTcpStream::connect(address).unwrap();
        let mut client = StreamOwned::new(connection, stream);
        client.write_all(b"hello").unwrap();
        client
    });
    let (stream, address) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(stream);
    let mut tls = secure.session(address);
    let mut buffer = [0; 64];
    while !matches!(tls.read(&mut stream, &mut buffer, false), Received::Bytes { len: 5, .. }) {
        assert!(tls.flush(&mut stream).unwrap());
        thread::yield_now();
    }
    (tls, stream, client.join().unwrap())
}

#[test]
fn no_more_than_one_record_is_ahead_of_the_socket() {
    let (mut tls, mut stream, mut client) = pair();
    let frame = vec![7; 1_000_000];
    let slices = [IoSlice::new(&frame)];
    let mut sent = 0;
    loop {
        match tls.write(&mut stream, &slices) {
            Ok(len) => {
                assert!((1..=RECORD_BYTES).contains(&len), "{len}");
                sent += len;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(tls.wants_write());
    assert!((1..=RECORD_BYTES).contains(&tls.in_flight), "{}", tls.in_flight);
    // It accepts no more bytes, however often it is called.
    for _ in 0..100 {
        assert!(tls.write(&mut stream, &slices).is_err());
    }
    let expected = sent + tls.in_flight;
    let reader = thread::spawn(move || {
        let mut got = vec![0; expected];
        client.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        let rest = client.read(&mut [0]).unwrap();
        assert_eq!(rest, 0, "a goodbye follows, and nothing else");
    });
    while tls.wants_write() {
        tls.flush(&mut stream).unwrap();
        thread::yield_now();
    }
    tls.close(&mut stream, true);
    reader.join().unwrap();
}
