//! Refuses circles of imports between the files of a folder. A file that can be read without the
//! files that import it can be changed without them.
//!
//! An arrow leads from a file to every file whose items it names, by `use` or by a path in the code.
//! A name that a file re-exports leads to the file that defines it. What a file re-exports of its
//! own children is no arrow, nor are tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Source, none, sources};

/// The folders below `src` that are free of circles.
const FOLDERS: &[&str] = &["args", "commands", "config", "fuzzing", "hub", "net", "proto"];

#[test]
fn files_do_not_import_each_other_in_circles() {
    let sources = sources("src");
    let mut circles = BTreeSet::new();
    for folder in FOLDERS {
        // A file `no_x.rs` replaces the module `x` in a build without a feature.
        circles.extend(Tree::new(&sources, false).circles(folder));
        circles.extend(Tree::new(&sources, true).circles(folder));
    }
    none(&circles.into_iter().collect::<Vec<_>>());
}

/// A path of names from the root of the crate; a module or an item in one.
type Path = Vec<String>;

struct Module {
    file: String,
    /// The paths it names, with those of `use`.
    named: Vec<Path>,
    /// What it re-exports: the name, and the path it stands for.
    exported: BTreeMap<String, Path>,
}

/// All modules that are files.
struct Tree(BTreeMap<Path, Module>);

impl Tree {
    fn new(sources: &[Source], without_features: bool) -> Self {
        let mut files: BTreeMap<Path, &Source> = BTreeMap::new();
        for source in sources {
            files.insert(module_path(&source.name), source);
        }
        let substitutes: Vec<Path> = files
            .keys()
            .filter(|path| path.last().is_some_and(|name| name.starts_with("no_")))
            .cloned()
            .collect();
        for path in substitutes {
            let source = files.remove(&path);
            let mut replaced = path.clone();
            if let Some(name) = replaced.last_mut() {
                *name = name["no_".len()..].to_owned();
            }
            if let (true, Some(source)) = (without_features, source) {
                files.retain(|path, _| !path.starts_with(&replaced));
                files.insert(replaced, source);
            }
        }
        let known: BTreeSet<Path> = files.keys().cloned().collect();
        let modules = files.into_iter().map(|(path, source)| {
            let module = Module::new(source, &path, &known);
            (path, module)
        });
        Tree(modules.collect())
    }

    /// The file that defines what a path names.
    fn file_of(&self, path: &[String], hops: u32) -> Option<&str> {
        let (len, module) =
            (1..=path.len()).rev().find_map(|len| Some((len, self.0.get(&path[..len])?)))?;
        let exported = path.get(len).and_then(|name| module.exported.get(name));
        match exported.filter(|_| hops > 0) {
            Some(exported) => self.file_of(exported, hops - 1),
            None => Some(&module.file),
        }
    }

    /// The shortest circle through each file of a folder, as the names of the files.
    fn circles(&self, folder: &str) -> BTreeSet<String> {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let modules = self.0.iter().filter(|(path, _)| path.first().is_some_and(|it| it == folder));
        for (_, module) in modules {
            let to = module.named.iter().filter_map(|path| self.file_of(path, 8));
            arrows.entry(&module.file).or_default().extend(to.filter(|to| *to != module.file));
        }
        let mut circles = BTreeSet::new();
        for start in arrows.keys() {
            let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
            let mut queue = VecDeque::from([*start]);
            while let Some(file) = queue.pop_front() {
                for to in arrows.get(file).into_iter().flatten() {
                    if came_from.contains_key(to) {
                        continue;
                    }
                    came_from.insert(to, file);
                    queue.push_back(to);
                }
            }
            if came_from.contains_key(start) {
                let (mut circle, mut at) = (vec![*start], came_from[start]);
                while at != *start {
                    circle.push(at);
                    at = came_from[at];
                }
                circle.reverse();
                // Each circle is found once from each of its files.
                let first = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or(0);
                circle.rotate_left(first);
                circle.push(circle[0]);
                circles.insert(format!("a circle of imports: {}", circle.join(" -> ")));
            }
        }
        circles
    }
}

impl Module {
    fn new(source: &Source, path: &Path, known: &BTreeSet<Path>) -> Self {
        let code = source.code();
        let mut module =
            Module { file: source.name.clone(), named: Vec::new(), exported: BTreeMap::new() };
        let mut at = 0;
        while at < code.len() {
            let before = at.checked_sub(1).map_or("", |at| code[at].as_str());
            if code[at] == "use" {
                let end = code[at..].iter().position(|it| it == ";").map_or(code.len(), |n| at + n);
                let is_exported = before == "pub" || before == ")";
                for (used, name) in expanded(&code[at + 1..end]) {
                    let Some(used) = resolved(&used, path, known) else { continue };
                    let is_child = used.len() > path.len() && used.starts_with(path);
                    if !(is_exported && is_child) {
                        module.named.push(used.clone());
                    }
                    if is_exported {
                        module.exported.insert(name, used);
                    }
                }
                at = end;
            } else if is_name(&code[at])
                && code.get(at + 1..at + 3).is_some_and(|signs| signs == [":", ":"])
                && ![":", "in"].contains(&before)
            {
                let mut named = vec![code[at].clone()];
                while code.get(at + 1..at + 3).is_some_and(|signs| signs == [":", ":"])
                    && code.get(at + 3).is_some_and(|name| is_name(name))
                {
                    named.push(code[at + 3].clone());
                    at += 3;
                }
                if named.len() > 1 {
                    module.named.extend(resolved(&named, path, known));
                }
            }
            at += 1;
        }
        module
    }
}

/// The path of the module that a file is: `src/net/tls/files.rs` is `net::tls::files`.
fn module_path(file: &str) -> Path {
    let name = file.trim_start_matches("src/").trim_end_matches(".rs");
    let name = name.strip_suffix("/mod").unwrap_or(name);
    name.split('/').map(str::to_owned).collect()
}

/// A path as seen from the root of the crate; `None` if it leads out of the crate.
fn resolved(path: &[String], module: &Path, known: &BTreeSet<Path>) -> Option<Path> {
    let mut from = module.clone();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => (from, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {}
        child => {
            from.push(child.to_owned());
            if !known.contains(&from) {
                return None;
            }
            from.pop();
        }
    }
    while rest.first().is_some_and(|name| name == "super") {
        from.pop();
        rest = &rest[1..];
    }
    from.extend(rest.iter().cloned());
    Some(from)
}

/// The paths of a `use`, and the name that each gets.
fn expanded(tokens: &[String]) -> Vec<(Path, String)> {
    let (mut path, mut at): (Path, usize) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                let (mut paths, mut depth, mut start) = (Vec::new(), 0, at + 1);
                for (end, token) in tokens.iter().enumerate().skip(at) {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (token == "," && depth == 1) || (token == "}" && depth == 0) {
                        let inner = expanded(&tokens[start..end]).into_iter();
                        paths.extend(inner.map(|(rest, name)| ([&path[..], &rest].concat(), name)));
                        start = end + 1;
                    }
                }
                return paths;
            }
            "as" => {
                let name = tokens.get(at + 1).cloned().unwrap_or_default();
                return vec![(path, name)];
            }
            // In a list it stands for the module itself.
            "self" if tokens.len() == 1 => return vec![(path, "self".to_owned())],
            ":" | "*" => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    if path.is_empty() { Vec::new() } else { vec![(path, name)] }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn a_circle_is_found_and_named() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let circles = |files: &[(&str, &str)]| {
        let files: Vec<Source> = files.iter().map(|(name, text)| file(name, text)).collect();
        Tree::new(&files, false).circles("a")
    };
    let parent = ("src/a/b.rs", "mod c; pub use c::C; pub struct B; use super::d::{self, D as E};");
    let child = ("src/a/b/c.rs", "use super::B; pub struct C; impl B {}");
    assert_eq!(circles(&[parent, child, ("src/a/d.rs", "")]), BTreeSet::new());
    let found = circles(&[parent, child, ("src/a/d.rs", "fn f() { crate::a::b::C; }")]);
    let text = "a circle of imports: src/a/b.rs -> src/a/d.rs -> src/a/b/c.rs -> src/a/b.rs";
    assert_eq!(found, BTreeSet::from([text.to_owned()]));
    let imports = ("src/a/b.rs", "mod c; use c::{C, x::{Y}};");
    assert_eq!(circles(&[imports, child]).len(), 1);
    assert_eq!(circles(&[("src/a/b.rs", "use std::c;"), child]), BTreeSet::new());
    let calls = ("src/a/b.rs", "mod c; pub struct B; fn f() { c::g(); }");
    assert_eq!(circles(&[calls, child]).len(), 1);
}
