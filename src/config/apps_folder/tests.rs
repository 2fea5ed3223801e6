//! Which apps a folder serves after each change of its files.

use super::*;
use crate::config::render::{app_file, apps_file, kept_apps};

fn app(id: &str) -> App {
    App::new(id, format!("key{id}"), "secret")
}

/// A folder, with the texts of its files.
struct World {
    folder: AppsFolder,
    texts: BTreeMap<String, String>,
    changed: BTreeSet<String>,
}

impl World {
    fn new(own: &[App]) -> Self {
        let folder = AppsFolder::new(own);
        World { folder, texts: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn write(&mut self, name: &str, text: &str) -> &mut Self {
        self.texts.insert(name.to_owned(), text.to_owned());
        self.changed.insert(name.to_owned());
        self
    }

    fn put(&mut self, name: &str, ids: &[&str]) -> &mut Self {
        let apps: Vec<App> = ids.iter().map(|id| app(id)).collect();
        self.write(name, &apps_file(&apps))
    }

    fn remove(&mut self, name: &str) -> &mut Self {
        self.texts.remove(name);
        self
    }

    fn scan(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        let scan = self
            .texts
            .iter()
            .map(|(name, text)| (name.clone(), changed.contains(name).then(|| Ok(text.clone()))));
        self.folder.scan(scan.collect())
    }

    fn ids(&self) -> String {
        let mut ids: Vec<&str> = self.folder.apps().map(|app| &*app.id).collect();
        ids.sort_unstable();
        ids.join(" ")
    }

    fn bad(&self) -> Vec<String> {
        self.folder.bad().map(|(_, error, _)| error.to_string()).collect()
    }
}

fn summary(changes: &Changes) -> String {
    let put: Vec<&str> = changes.put.iter().map(|app| &*app.id).collect();
    format!("+{} -{}", put.join(","), changes.removed.join(","))
}

#[test]
fn a_file_is_one_app_or_a_list() {
    assert_eq!(parse_file("a.json", &app_file(&app("1"))).unwrap().0, [app("1")]);
    assert_eq!(parse_file("a.json", "[]").unwrap().0, []);
    let error = |text: &str| parse_file("a.json", text).unwrap_err().to_string();
    assert_eq!(error("1"), "a.json: must be an app or a list of apps");
    assert_eq!(error(""), "a.json:1:0: EOF while parsing a value");
    assert_eq!(error(r#"{"app_id": "1", "key": "k"}"#), "a.json: secret: is missing");
    assert_eq!(error(r#"[{"app_id": "1", "secret": "s"}]"#), "a.json: [0].key: is missing");
    let text = apps_file(&[app("1"), app("2"), App::new("3", "key1", "s")]);
    assert_eq!(error(&text), "a.json: [2].key: is the same as in [0]");
    let text = r#"{"app_id": "1", "key": "k", "secret": "s", "maxconnections": 1}"#;
    let (_, findings) = parse_file("a.json", text).unwrap();
    assert_eq!(findings.warnings.len(), 1);
    assert!(findings.warnings[0].starts_with("a.json: maxconnections: "), "{findings:?}");
}

#[test]
fn a_bad_file_keeps_its_last_good_apps() {
    let mut world = World::new(&[]);
    assert_eq!(summary(&world.put("a.json", &["1", "2"]).scan()), "+1,2 -");
    let changes = world.write("a.json", "[{").scan();
    assert_eq!((changes.put.len(), changes.removed.len(), changes.bad.len()), (0, 0, 1));
    assert_eq!(world.ids(), "1 2");
    assert_eq!(world.scan(), Changes::default());
    let changes = world.put("a.json", &["2", "3"]).scan();
    assert_eq!(summary(&changes), "+3 -1");
    assert_eq!((changes.added, &*changes.good), (1, &["a.json".to_owned()][..]));
    world.write("a.json", "").scan();
    assert_eq!(summary(&world.remove("a.json").scan()), "+ -2,3");
    assert_eq!(world.bad(), [""; 0]);
}

#[test]
fn an_app_that_moves_to_another_file_stays() {
    let mut world = World::new(&[]);
    world.put("a.json", &["1", "2"]).put("b.json", &["3"]).scan();
    let changes = world.put("a.json", &["3"]).put("b.json", &["2", "1"]).scan();
    assert_eq!(changes, Changes::default());
    let changes = world.remove("a.json").put("c.json", &["3"]).scan();
    assert_eq!(changes, Changes::default());
    assert_eq!(world.ids(), "1 2 3");
}

#[test]
fn of_two_files_the_unchanged_one_wins_and_then_the_first_by_name() {
    let mut world = World::new(&[]);
    world.put("b.json", &["1"]).scan();
    let changes = world.put("a.json", &["1", "2"]).scan();
    assert_eq!(summary(&changes), "+ -");
    assert_eq!(world.bad(), [r#"a.json: app_id: "1" is the same as in b.json"#]);
    assert_eq!(summary(&world.remove("b.json").scan()), "+2 -");
    assert_eq!(world.ids(), "1 2");
    let text = app_file(&App::new("9", "key2", "secret"));
    world.write("b.json", &text).put("d.json", &["4"]).put("c.json", &["4", "5"]).scan();
    let bad = [
        r#"b.json: key: that of the app "9" is the same as in a.json"#,
        r#"d.json: app_id: "4" is the same as in c.json"#,
    ];
    assert_eq!(world.bad(), bad);
    assert_eq!(world.ids(), "1 2 4 5");
}

#[test]
fn a_file_in_conflict_keeps_what_no_other_file_has() {
    let mut world = World::new(&[]);
    world.put("a.json", &["1", "2"]).put("b.json", &["3"]).scan();
    world.put("a.json", &["1", "2", "3"]).scan();
    assert_eq!(world.ids(), "1 2 3");
    // Neither file has changed, so b.json keeps its app.
    assert_eq!(summary(&world.put("c.json", &["2", "4"]).scan()), "+ -");
    assert_eq!(world.bad().len(), 2);
    // The file that waits is tried again in the same scan, and c.json stays bad.
    assert_eq!(world.remove("b.json").scan().good, ["a.json"]);
    assert_eq!(world.ids(), "1 2 3");
    let changes = world.put("a.json", &["3"]).scan();
    assert_eq!((summary(&changes).as_str(), changes.good.len()), ("+4 -1", 1));
    assert_eq!(world.ids(), "2 3 4");
}

#[test]
fn own_apps_win_over_files() {
    let mut world = World::new(&[app("1")]);
    world.put("a.json", &["1", "2"]).scan();
    assert_eq!(
        world.bad(),
        [r#"a.json: app_id: "1" is the same as in the configuration of the server"#]
    );
    assert_eq!(world.ids(), "");
    // The app moves from the configuration to the file: it is no removal.
    world.folder.set_own(&[]);
    assert_eq!(summary(&world.scan()), "+1,2 -");
    world.folder.set_own(&[App::new("7", "key2", "s")]);
    assert_eq!(summary(&world.scan()), "+ -2");
    assert_eq!(world.ids(), "1");
    world.folder.set_own(&[]);
    assert_eq!(summary(&world.scan()), "+2 -7");
}

#[test]
fn apps_of_an_earlier_process_stay_while_their_file_is_bad() {
    let mut world = World::new(&[app("1")]);
    for name in ["a.json", "b.json", "c.json"] {
        world.folder.keep(name, vec![app("1"), app(name)]);
    }
    let kept = [("\"\n".to_owned(), Vec::new()), ("a.json".to_owned(), vec![app("1"), app("2")])];
    assert_eq!(parse_kept(&kept_apps(&kept)).unwrap(), kept);
    assert!(parse_kept("").is_err() && parse_kept("[]").is_err());
    world.write("a.json", "").put("b.json", &["5"]).scan();
    assert_eq!(world.ids(), "5 a.json");
    // The file that lost in the earlier process loses again, although it is the first by name.
    let mut world = World::new(&[]);
    world.folder.keep("a.json", vec![app("1")]);
    world.put("a.json", &["1", "2"]).put("b.json", &["2"]).scan();
    assert_eq!(world.bad(), [r#"a.json: app_id: "2" is the same as in b.json"#]);
    assert_eq!(world.ids(), "1 2");
}
