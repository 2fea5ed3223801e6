//! The row of `reverb apps`.

use super::entry::{CommandEntry, Flag, RUNNING};

pub(super) const APPS: CommandEntry = CommandEntry {
    name: "apps",
    argument: Some("ACTION [ID]"),
    about: "List the apps of the server, and edit those in the folder of REVERB_APPS_DIR.",
    own_flags: &[
        Flag {
            name: "--id",
            value: Some("ID"),
            about: "The id of the new app. Default: six random digits.",
        },
        Flag {
            name: "--key",
            value: Some("KEY"),
            about: "The key of the new app. Default: 20 random letters and digits.",
        },
        Flag {
            name: "--secret",
            value: Some("SECRET"),
            about: "The secret that add or rotate writes. Default: 20 random letters and digits.",
        },
        Flag {
            name: "--set",
            value: Some("KEY=VALUE..."),
            about: "A setting of the new app, as in max_connections=100; the value may be JSON.",
        },
        Flag { name: "--finish", value: None, about: "Drop the old secret after a rotation." },
        Flag { name: "--secrets", value: None, about: "List the secrets as well." },
        Flag { name: "--json", value: None, about: "Print the result as one JSON object." },
        Flag {
            name: "--no-signal",
            value: None,
            about: "Do not send SIGHUP to the running server.",
        },
    ],
    shared_flags: RUNNING,
};
