//! The supported options of PHP's SSL context, and the errors for others.

use super::*;
use serde_json::json;
use std::fs;

fn read(options: Value) -> Result<Tls, String> {
    read_with_remarks(options).map(|(tls, ..)| tls)
}

/// The options, likely mistakes and other findings.
fn read_with_remarks(options: Value) -> Result<(Tls, Vec<String>, Vec<String>), String> {
    let mut tls = Tls::default();
    let line = |(key, reason): &(&str, String)| format!("{key}: {reason}");
    let read = tls.read(options.as_object().unwrap());
    let remarks = read.map_err(|fault| line(&fault))?;
    let [mistakes, others] =
        [remarks.mistakes, remarks.others].map(|list| list.iter().map(line).collect());
    Ok((tls, mistakes, others))
}

#[test]
fn options_that_are_null_or_empty_are_ignored() {
    let names = KEYS.iter().chain(MEANINGLESS.iter().map(|(name, _)| name));
    for empty in [Value::Null, json!("")] {
        let options = names.clone().map(|name| ((*name).to_owned(), empty.clone())).collect();
        let nothing = (Tls::default(), Vec::new(), Vec::new());
        assert_eq!(read_with_remarks(Value::Object(options)), Ok(nothing));
    }
    let (_, mistakes, _) = read_with_remarks(json!({"local_crt": null})).unwrap();
    assert_eq!(mistakes, [format!("local_crt: {UNKNOWN_KEY}; did you mean local_cert?")]);
}

#[test]
fn each_option_without_effect_has_a_reason() {
    for (name, reason) in MEANINGLESS {
        for value in [json!(true), json!(false), json!("a"), json!([1])] {
            let (tls, mistakes, others) = read_with_remarks(json!({*name: value})).unwrap();
            assert_eq!(others, [format!("{name}: has no effect: {reason}")]);
            assert_eq!((tls, mistakes), (Tls::default(), Vec::new()));
        }
    }
    for key in ["cafile", "capath"] {
        let (tls, mistakes, _) = read_with_remarks(json!({"local_cert": "c", key: "/a"})).unwrap();
        assert_eq!((tls.cafile, tls.capath), (None, None));
        assert!(mistakes[0].starts_with(&format!("{key}: has no effect without verify_peer")));
    }
}

#[test]
fn values_of_a_wrong_type_are_rejected() {
    for key in KEYS {
        for value in [json!({"a": {}}), json!([[]]), json!(1.5)] {
            let message = read(json!({*key: value})).unwrap_err();
            assert!(message.starts_with(&format!("{key}: ")), "{message}");
        }
    }
}

#[test]
fn versions_are_what_all_options_allow() {
    for (options, spoken) in [
        (json!({}), [true, true]),
        (json!({"crypto_method": 96}), [true, true]),
        (json!({"crypto_method": "126"}), [true, true]),
        (json!({"crypto_method": "STREAM_CRYPTO_METHOD_ANY_SERVER"}), [true, true]),
        (json!({"crypto_method": 48}), [true, false]),
        (json!({"crypto_method": "TLSv1_3"}), [false, true]),
        (json!({"min_proto_version": 4}), [true, true]),
        (json!({"min_proto_version": "STREAM_CRYPTO_PROTO_TLSv1_3"}), [false, true]),
        (json!({"max_proto_version": "TLSv1.2"}), [true, false]),
        (json!({"min_proto_version": 32, "max_proto_version": 32}), [true, false]),
    ] {
        let tls = read(options.clone()).unwrap();
        assert_eq!([tls.tls12, tls.tls13], spoken, "{options}");
    }
    for options in [
        json!({"crypto_method": 24}),
        json!({"max_proto_version": 16}),
        json!({"min_proto_version": 64, "max_proto_version": 32}),
        json!({"min_proto_version": 64, "crypto_method": 32}),
        json!({"max_proto_version": 32, "ciphers": "TLS_AES_128_GCM_SHA256"}),
    ] {
        let message = read(options.clone()).unwrap_err();
        assert!(message.starts_with(": leave no supported version"), "{options}: {message}");
    }
    for wrong in [json!(0), json!(1), json!(65), json!(128), json!(-2), json!("TLSv1_2_CLIENT")] {
        let message = read(json!({"crypto_method": wrong})).unwrap_err();
        assert!(message.contains("is not one of PHP's methods for servers"), "{message}");
    }
    let message = read(json!({"min_proto_version": 96})).unwrap_err();
    assert_eq!(message, "min_proto_version: must be one version: 32 is TLS 1.2, 64 is TLS 1.3");
}

#[test]
fn suites_have_two_names_and_keep_their_order() {
    for (list, taken) in [
        (
            "ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"][..],
        ),
        ("TLS_AES_128_GCM_SHA256,DHE-RSA-AES128-SHA !aNULL", &["TLS_AES_128_GCM_SHA256"]),
    ] {
        assert_eq!(read(json!({"ciphers": list})).unwrap().ciphers, taken);
    }
    let rest = read(json!({"ciphers": "HIGH:!ECDHE-RSA-AES128-GCM-SHA256:!MD5"})).unwrap();
    assert_eq!(rest.ciphers.len(), CIPHERS.len() - 1);
    let message = read(json!({"ciphers": "!MD5:RC4-SHA"})).unwrap_err();
    assert!(
        message.starts_with("ciphers: has no supported cipher suite; supported are TLS_AES_256"),
        "{message}"
    );
}

#[test]
fn names_of_certificates_are_validated() {
    let tls = read(json!({"SNI_server_certs": {
        "A.test": "/a", "*.b.test": {"local_cert": "/b", "local_pk": "/k"}
    }}));
    let tls = tls.unwrap();
    let names: Vec<_> = tls.sni_server_certs.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["*.b.test", "a.test"]);
    for (name, value, fault) in [
        ("a b", json!("/a"), "is neither a host name nor *. and a host name"),
        ("a.*", json!("/a"), "is neither a host name nor *. and a host name"),
        ("", json!("/a"), "is neither a host name nor *. and a host name"),
        ("a", json!({}), "must be a path, or have one as local_cert"),
        ("a", json!({"local_cert": "/a", "local_pk": 1}), "must be the path of a file"),
    ] {
        let message = read(json!({"SNI_server_certs": {name: value}})).unwrap_err();
        assert!(message.contains(fault), "{message}");
    }
    let unknown = json!({"a": {"local_cert": "/a", "passphrase": "hush"}});
    let (_, mistakes, _) = read_with_remarks(json!({"SNI_server_certs": unknown})).unwrap();
    assert_eq!(mistakes, [format!("SNI_server_certs: \"a\": \"passphrase\" {UNKNOWN_KEY}")]);
}

#[test]
fn the_passphrase_is_never_shown() {
    let tls = read(json!({"local_cert": "c", "passphrase": "hush"})).unwrap();
    assert!(!format!("{tls:?}").contains("hush"));
}

#[test]
fn certificates_of_herd_and_valet_are_found() {
    let home = std::env::temp_dir().join(format!("reverb-home-{}", std::process::id()));
    let [herd, valet] = HOST_CERTIFICATES.map(|folder| home.join(folder));
    fs::create_dir_all(&herd).unwrap();
    fs::create_dir_all(&valet).unwrap();
    assert_eq!(of_host(&home, "a.test"), None);
    fs::write(valet.join("a.test.crt"), "").unwrap();
    assert_eq!(of_host(&home, "a.test"), None, "there is no key");
    fs::write(valet.join("a.test.key"), "").unwrap();
    let pair = |folder: &Path| Some((folder.join("a.test.crt"), folder.join("a.test.key")));
    for name in ["a.test", "https://a.test", "wss://a.test:8080/path", "a.test:8080"] {
        assert_eq!(of_host(&home, name), pair(&valet), "{name}");
    }
    fs::write(herd.join("a.test.crt"), "").unwrap();
    fs::write(herd.join("a.test.key"), "").unwrap();
    assert_eq!(of_host(&home, "a.test"), pair(&herd));
    for name in ["", "..", "../Certificates/a.test", "https://", "/a.test"] {
        assert_eq!(of_host(&home, name), None, "{name}");
    }
    fs::remove_dir_all(home).unwrap();
}
