//! `.github/install.sh` in two shells, against a local HTTP server: what it installs, and that a wrong
//! download installs nothing.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.github/install.sh");
const NAME: &str = "reverb-1.2.3-x86_64-unknown-linux-gnu";
/// What stands for the binary.
const BINARY: &str = "#!/bin/sh\necho reverb 1.2.3\n";
/// Busybox in place of every program that the script uses; there is no curl then.
const APPLETS: [&str; 15] = [
    "cat",
    "chmod",
    "cp",
    "cut",
    "gzip",
    "head",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sh",
    "sha256sum",
    "tar",
    "wget",
    "gunzip",
];

/// A folder with the tools of a machine and a home, removed after the test.
struct Machine {
    root: PathBuf,
    shell: &'static [&'static str],
    path: String,
}

impl Machine {
    fn new(shell: &'static [&'static str], kernel: &str, processor: &str, user: u32) -> Machine {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reverb-install-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let tools = root.join("tools");
        fs::create_dir_all(&tools).unwrap();
        let uname = format!("case $1 in -s) echo {kernel} ;; *) echo {processor} ;; esac");
        tool(&tools, "uname", &uname);
        tool(&tools, "id", &format!("echo {user}"));
        tool(&tools, "ldd", "echo GNU libc");
        let mut path = tools.display().to_string();
        if shell[0] == "busybox" {
            APPLETS.iter().for_each(|name| symlink("/bin/busybox", tools.join(name)).unwrap());
        } else {
            path += ":/usr/bin:/bin";
        }
        Machine { root, shell, path }
    }

    /// Runs the script, and returns whether it succeeded and what it printed.
    fn run(&self, releases: &str, arguments: &[&str]) -> (bool, String) {
        let shell = ["/bin/", "/usr/bin/"].map(|folder| format!("{folder}{}", self.shell[0]));
        let shell = shell.iter().find(|shell| Path::new(shell).exists()).expect("the shell");
        let mut command = Command::new(shell);
        command.args(&self.shell[1..]).arg(SCRIPT).args(arguments).env_clear();
        command.env("PATH", &self.path).env("HOME", self.root.join("home"));
        command.env("TMPDIR", &self.root).env("REVERB_RELEASES", releases);
        let output = command.output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(printed).unwrap())
    }

    fn installed(&self) -> PathBuf {
        self.root.join("home/.local/bin/reverb")
    }

    /// Fails unless nothing is left of an installation.
    #[track_caller]
    fn is_untouched(&self) {
        assert!(!self.root.join("home").exists());
        let left: Vec<_> = fs::read_dir(&self.root).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [self.root.join("tools")]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.root);
    }
}

fn tool(folder: &Path, name: &str, body: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The archive of a release.
fn archive() -> Vec<u8> {
    let machine = Machine::new(&["dash"], "Linux", "x86_64", 0);
    fs::create_dir(machine.root.join(NAME)).unwrap();
    tool(&machine.root.join(NAME), "reverb", BINARY.trim_start_matches("#!/bin/sh\n").trim_end());
    let mut tar = Command::new("tar");
    let output = tar.args(["-czf", "-", NAME]).current_dir(&machine.root).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn sha256(bytes: &[u8]) -> String {
    let mut command = Command::new("sha256sum");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let sum = String::from_utf8(output.stdout).unwrap();
    format!("{}  {NAME}.tar.gz\n", &sum[..64])
}

/// The files of a server of releases; of the second value only so many bytes arrive.
type Files = HashMap<String, (Vec<u8>, usize)>;

fn files(archive: &[u8], sum: &str) -> Files {
    let whole = |bytes: &[u8]| (bytes.to_vec(), bytes.len());
    HashMap::from([
        (format!("/v1.2.3/{NAME}.tar.gz"), whole(archive)),
        (format!("/v1.2.3/{NAME}.tar.gz.sha256"), whole(sum.as_bytes())),
    ])
}

/// Serves these files until the test process ends, and returns the address.
fn serve(files: Files) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &files);
        }
    });
    address
}

fn answer(mut stream: TcpStream, files: &Files) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap();
    let (status, (bytes, arrive)) = match files.get(path) {
        Some(file) => ("200 OK", file.clone()),
        None => ("404 Not Found", (Vec::new(), 0)),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    // The client may have closed the connection.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes[..arrive]));
}

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

#[test]
fn a_release_is_installed_and_removed() {
    let archive = archive();
    let releases = serve(files(&archive, &sha256(&archive)));
    for shell in SHELLS {
        let machine = Machine::new(shell, "Linux", "x86_64", 1000);
        let (ok, printed) = machine.run(&releases, &["--version", "1.2.3"]);
        assert!(ok, "{shell:?}: {printed}");
        let place = machine.installed();
        let expected = format!("installed reverb 1.2.3 to {}", place.display());
        assert!(printed.starts_with(&expected), "{printed}");
        assert!(printed.contains("is not in PATH"), "{printed}");
        assert_eq!(fs::read_to_string(&place).unwrap(), BINARY);
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);
        // Again, as an update.
        assert!(machine.run(&releases, &["--version=v1.2.3"]).0);
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
        let (ok, printed) = machine.run(&releases, &["--uninstall"]);
        assert!(ok && printed.starts_with("removed "), "{printed}");
        assert!(!place.exists());
        let (ok, printed) = machine.run(&releases, &["--uninstall"]);
        assert!(!ok && printed.contains("there is no "), "{printed}");
    }
}

#[test]
fn a_wrong_download_installs_nothing() {
    let archive = archive();
    let (good, sum) = (files(&archive, &sha256(&archive)), sha256(&archive));
    let path = format!("/v1.2.3/{NAME}.tar.gz");
    let changed = |change: &dyn Fn(&mut Files)| {
        let mut files = good.clone();
        change(&mut files);
        serve(files)
    };
    let cases = [
        // The connection ends in the middle of the file.
        (changed(&|files| files.get_mut(&path).unwrap().1 -= 9), ""),
        // The file on the server is cut, or another.
        (serve(files(&archive[..archive.len() - 9], &sum)), "nothing was installed"),
        (serve(files(b"something else", &sum)), "nothing was installed"),
        // The sum is of another file, empty, or missing.
        (serve(files(&archive, &sha256(b"x"))), "nothing was installed"),
        (serve(files(&archive, "")), "nothing was installed"),
        (changed(&|files| drop(files.remove(&format!("{path}.sha256")))), "cannot download"),
        // The archive is missing.
        (changed(&|files| drop(files.remove(&path))), "cannot download"),
        // The sum is right, but the file is no archive.
        (serve(files(b"text", &sha256(b"text"))), "cannot unpack"),
    ];
    for shell in SHELLS {
        for (releases, expected) in &cases {
            let machine = Machine::new(shell, "Linux", "x86_64", 1000);
            let (ok, printed) = machine.run(releases, &["--version", "1.2.3"]);
            assert!(!ok && printed.contains(expected), "{shell:?}, {expected}: {printed}");
            machine.is_untouched();
        }
    }
}

#[test]
fn the_archive_is_that_of_the_machine() {
    let releases = serve(Files::new());
    for shell in SHELLS {
        for (kernel, processor, expected) in [
            ("Linux", "x86_64", "reverb-0.9.0-x86_64-unknown-linux-gnu.tar.gz"),
            ("Linux", "aarch64", "reverb-0.9.0-aarch64-unknown-linux-gnu.tar.gz"),
            ("Linux", "armv7l", "reverb-0.9.0-armv7-unknown-linux-gnueabihf.tar.gz"),
            ("Linux", "riscv64", "there are no binaries for riscv64"),
            ("Darwin", "arm64", "there are no binaries for Darwin"),
        ] {
            let machine = Machine::new(shell, kernel, processor, 1000);
            let (ok, printed) = machine.run(&releases, &["--version", "0.9.0"]);
            assert!(!ok && printed.contains(expected), "{shell:?}: {printed}");
        }
        // The binary of glibc is static, and serves where there is none for musl.
        let archive = archive();
        let machine = Machine::new(shell, "Linux", "x86_64", 0);
        tool(&machine.root.join("tools"), "ldd", "echo 'musl libc (x86_64)' >&2; exit 1");
        let prefix = machine.root.join("elsewhere");
        let arguments = ["--version", "1.2.3", "--prefix", prefix.to_str().unwrap()];
        let (ok, printed) = machine.run(&serve(files(&archive, &sha256(&archive))), &arguments);
        assert!(ok, "{shell:?}: {printed}");
        assert!(prefix.join("bin/reverb").exists());
    }
}

#[test]
fn wrong_arguments_are_rejected() {
    for shell in SHELLS {
        let machine = Machine::new(shell, "Linux", "x86_64", 1000);
        for (arguments, expected) in [
            (&["--verison"][..], "unknown argument --verison"),
            (&["--version"], "--version needs a value"),
            (&["--version", "../1"], "is not a version"),
            (&[], "REVERB_RELEASES is not set"),
        ] {
            let (ok, printed) = machine.run("", arguments);
            assert!(!ok && printed.contains(expected), "{shell:?}: {printed}");
            machine.is_untouched();
        }
    }
}

#[test]
fn the_script_is_posix_and_installs_this_version() {
    let output = Command::new("shellcheck").args(["--shell=sh", SCRIPT]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let script = fs::read_to_string(SCRIPT).unwrap();
    let line = concat!("\ndefault_version=", env!("CARGO_PKG_VERSION"), "\n");
    assert!(script.contains(line));
}
