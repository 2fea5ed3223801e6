//! Replies of Redis: rejected and accepted commands.

use super::*;
use crate::config::Config;

#[test]
fn rejected_commands_are_logged_once_an_episode_and_so_is_the_recovery() {
    let config = Config::default();
    let target = RedisTarget::of(&config.server.scaling).unwrap();
    let mut session = RedisSession::new(&target, "reverb", &config.limits);
    session.state = State::Up;
    let mut is_rejected = |reply: &[u8], now_ms| {
        session.publish(b"text\r\n".as_slice().into(), now_ms);
        assert!(matches!(
            session.next_event(BusLink::Publisher, &mut &reply[..], now_ms),
            Ok(Some(_))
        ));
        session.is_rejected
    };
    let (refusal, other) = (b"-NOPERM no\r\n", b"-LOADING not yet\r\n");
    assert!(is_rejected(refusal, 0));
    assert!(!is_rejected(b":1\r\n", 1));
    assert!(!is_rejected(refusal, 2), "within the episode");
    assert!(!is_rejected(other, 59_000), "and for another reason");
    assert!(is_rejected(refusal, 119_000), "a minute after the last");
    assert!(is_rejected(refusal, 119_001));
    assert!(!is_rejected(b":1\r\n", 119_002));
}
