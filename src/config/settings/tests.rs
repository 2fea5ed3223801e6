//! The valid values of each kind of setting, and the errors for others.

use super::super::App;
use super::super::app_draft::DEFAULT_RATE_LIMIT;
use super::*;
use crate::config::ClientEvents;
use crate::config::app_draft::AppDraft;
use serde_json::json;

fn server(key: &str, value: Value) -> Result<Config, String> {
    let mut config = Config::default();
    let setting = SERVER.iter().find(|setting| setting.key == key).unwrap();
    setting.set_json(&mut config, &value).map(|()| config)
}

fn app(key: &str, value: Value) -> Result<App, String> {
    let mut draft = AppDraft::new();
    let setting = APP.iter().find(|setting| setting.key == key).unwrap();
    setting.set_json(&mut draft, &value).map(|()| draft.finish())
}

#[test]
fn a_number_may_be_a_number_or_text() {
    for port in [json!(9000), json!("9000"), json!(" 9000 ")] {
        assert_eq!(server("port", port).unwrap().server.port, 9000);
    }
    let refused = |value| server("port", value).unwrap_err();
    assert_eq!(refused(json!("abc")), "\"abc\" is not a whole number");
    assert_eq!(refused(json!("-1")), "\"-1\" is not a whole number");
    assert_eq!(refused(json!(1.5)), "\"1.5\" is not a whole number");
    assert_eq!(refused(json!(65_536)), "65536 is not between 0 and 65535");
    let huge = format!("{}… is not between 0 and 65535", "9".repeat(40));
    assert_eq!(refused(json!("9".repeat(50))), huge);
    assert_eq!(refused(json!(true)), "must be a whole number");
    assert_eq!(refused(json!([1])), "must be a whole number");
}

#[test]
fn a_boolean_may_be_a_boolean_a_number_or_text() {
    for on in [json!(true), json!("true"), json!("(true)"), json!("TRUE"), json!(1)] {
        assert!(server("scaling.enabled", on).unwrap().server.scaling.enabled);
    }
    for off in [json!(false), json!("false"), json!("0"), json!(0), json!(""), json!(null)] {
        assert!(!server("scaling.enabled", off).unwrap().server.scaling.enabled);
    }
    let refused = server("scaling.enabled", json!("off")).unwrap_err();
    assert_eq!(refused, "\"off\" is neither true nor false");
    let refused = server("scaling.enabled", json!({})).unwrap_err();
    assert_eq!(refused, "must be true or false");
}

#[test]
fn null_and_empty_text_leave_the_default() {
    for absent in [json!(null), json!("")] {
        assert_eq!(server("host", absent.clone()).unwrap(), Config::default());
        assert_eq!(server("hostname", absent.clone()).unwrap(), Config::default());
        assert_eq!(server("port", absent).unwrap(), Config::default());
    }
}

#[test]
fn only_the_text_of_an_app_id_may_be_a_number() {
    assert_eq!(server("host", json!(1)).unwrap_err(), "must be text");
    assert_eq!(app("secret", json!(123)).unwrap_err(), "must be text");
    assert_eq!(app("app_id", json!(123)).unwrap().id, "123");
    assert_eq!(app("app_id", json!([])).unwrap_err(), "must be text");
}

#[test]
fn brackets_of_an_address_are_removed() {
    assert_eq!(server("host", json!("[::1]")).unwrap().server.host, "::1");
    let refused = server("host", json!("a b")).unwrap_err();
    assert_eq!(refused, "\"a b\" is not a host name");
}

#[test]
fn an_activity_timeout_of_zero_is_rejected() {
    let refused = app("activity_timeout", json!(0)).unwrap_err();
    assert_eq!(refused, "0 is not between 1 and 31536000");
}

#[test]
fn origins_are_a_list_of_texts() {
    let origins = app("allowed_origins", json!(["a", "*.b"])).unwrap().allowed_origins;
    assert_eq!(origins, ["a", "*.b"]);
    for wrong in [json!("a"), json!([1]), json!({"0": "a"})] {
        assert_eq!(app("allowed_origins", wrong).unwrap_err(), "must be a list of texts");
    }
    let mut draft = AppDraft::new();
    let setting = APP.iter().find(|s| s.key == "allowed_origins").unwrap();
    setting.set_text(&mut draft, "a.example, ,*.b").unwrap();
    assert_eq!(draft.app.allowed_origins, ["a.example", "*.b"]);
    assert_eq!(setting.set_text(&mut draft, " , "), Err("is an empty list".into()));
}

#[test]
fn client_events_come_from_all_members_or_none() {
    let from = |word: &str| app("accept_client_events_from", json!(word));
    assert_eq!(from("all").unwrap().accept_client_events_from, ClientEvents::All);
    assert_eq!(from("none").unwrap().accept_client_events_from, ClientEvents::None);
    assert_eq!(from("members").unwrap().accept_client_events_from, ClientEvents::Members);
    assert_eq!(from("some").unwrap_err(), "\"some\" is not one of all, members, none");
}

#[test]
fn a_rate_limit_must_be_enabled() {
    assert_eq!(app("rate_limiting.max_attempts", json!(5)).unwrap().rate_limit, None);
    let on = app("rate_limiting.enabled", json!(true)).unwrap();
    assert_eq!(on.rate_limit, Some(DEFAULT_RATE_LIMIT));
}

#[test]
fn the_scheme_is_validated_although_unused() {
    let scheme = SERVER.iter().find(|s| s.variable == "REVERB_SCHEME").unwrap();
    let mut config = Config::default();
    assert_eq!(scheme.set_text(&mut config, "https"), Ok(()));
    let refused = scheme.set_text(&mut config, "wss").unwrap_err();
    assert_eq!(refused, "\"wss\" is neither http nor https");
}

#[test]
fn keys_and_variables_are_unique() {
    let keys = SERVER.iter().map(|s| ("server", s.key));
    let keys: Vec<_> = keys.chain(APP.iter().map(|s| ("app", s.key))).collect();
    for (at, key) in keys.iter().enumerate() {
        assert!(key.1.is_empty() || !keys[..at].contains(key), "{key:?}");
    }
    let names = SERVER.iter().map(|s| s.variable);
    let names: Vec<_> = names.chain(APP.iter().map(|s| s.variable)).collect();
    for (at, name) in names.iter().enumerate() {
        assert!(name.is_empty() || !names[..at].contains(name), "{name}");
    }
}
