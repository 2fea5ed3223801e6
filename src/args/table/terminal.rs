//! The rows of the commands that use a running server from the terminal.

use super::entry::{CONFIG, CommandEntry, ENV, Flag, HOST, PORT};

pub(super) const TAIL: CommandEntry = CommandEntry {
    name: "tail",
    argument: None,
    about: "Print what happens to the connections and channels of an app.",
    own_flags: &[
        Flag {
            name: "--channel",
            value: Some("PATTERN..."),
            about: "Only these channels; * stands for any text.",
        },
        Flag {
            name: "--kind",
            value: Some("KIND..."),
            about: "Only these kinds or groups of kinds, such as api, client and error.",
        },
        Flag {
            name: "--event",
            value: Some("PATTERN..."),
            about: "Only events with these names; * stands for any text.",
        },
        Flag { name: "--socket", value: Some("ID"), about: "Only the connection with this id." },
        Flag { name: "--user", value: Some("ID"), about: "Only this user." },
        Flag { name: "--no-payload", value: None, about: "Omit the data of events." },
        Flag { name: "--json", value: None, about: "Print one JSON object a line." },
    ],
    shared_flags: SERVER,
};

pub(super) const TOP: CommandEntry = CommandEntry {
    name: "top",
    argument: None,
    about: "Show the channels of an app by subscribers, messages and bytes.",
    own_flags: &[
        Flag {
            name: "--sort",
            value: Some("KEY"),
            about: "The order: subscribers, messages, bytes or name. Default: subscribers.",
        },
        Flag {
            name: "--once",
            value: None,
            about: "Print the table once, after a second. This is the default without a terminal.",
        },
    ],
    shared_flags: SERVER,
};

pub(super) const PUBLISH: CommandEntry = CommandEntry {
    name: "publish",
    argument: Some("CHANNEL EVENT JSON"),
    about: "Publish an event. JSON is its data; - reads it from standard input.",
    own_flags: &[
        Flag {
            name: "--except",
            value: Some("SOCKET"),
            about: "The id of a connection that does not receive the event.",
        },
        ANSWER,
    ],
    shared_flags: SERVER,
};

pub(super) const SUBSCRIBE: CommandEntry = CommandEntry {
    name: "subscribe",
    argument: Some("CHANNEL..."),
    about: "Print the events of channels, private and presence channels included.",
    own_flags: &[
        Flag {
            name: "--user",
            value: Some("ID"),
            about: "The user that joins presence channels. Default: reverb-subscribe.",
        },
        Flag {
            name: "--info",
            value: Some("JSON"),
            about: "What the other members see about this user. Default: none.",
        },
        Flag { name: "--json", value: None, about: "Print the messages of channels as JSON." },
    ],
    shared_flags: SERVER,
};

pub(super) const KICK: CommandEntry = CommandEntry {
    name: "kick",
    argument: Some("[SOCKET]"),
    about: "Close the connection with this id, or those of a user.",
    own_flags: &[
        Flag { name: "--user", value: Some("ID"), about: "Close all connections of this user." },
        ANSWER,
    ],
    shared_flags: SERVER,
};

/// The flags that identify a running server and one of its apps.
const SERVER: &[Flag] = &[APP, URL, HOST, PORT, CONFIG, ENV];

const ANSWER: Flag =
    Flag { name: "--json", value: None, about: "Print the response of the server." };

const APP: Flag = Flag {
    name: "--app",
    value: Some("ID"),
    about: "The id of the app. Default: that of REVERB_APP_ID, or the first.",
};

const URL: Flag = Flag {
    name: "--url",
    value: Some("URL"),
    about: "The server, as in https://ws.example.com. Default: the server on this machine.",
};
