//! What `/proc` of Linux knows of processes: its tables of sockets, and the descriptors, flags,
//! variables and limits of each process, as far as this user may see them. They cannot be out of date,
//! and they include servers of earlier versions, so a server on Linux writes no file.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::runtime_folder;
use super::listening::{Listening, Process};
use crate::config::Server;

pub(super) fn listening_at(server: &Server) -> io::Result<Listening> {
    let inodes = inodes(server)?;
    Ok(Listening { is_open: !inodes.is_empty(), processes: owners(&inodes) })
}

/// The sockets that listen at the addresses of this server.
fn inodes(server: &Server) -> io::Result<Vec<u64>> {
    let (mut addresses, mut inodes) = (Vec::new(), Vec::new());
    for host in server.hosts() {
        match host.starts_with('/') {
            true => inodes.extend(unix_inode(host)),
            false => {
                let resolved = (host, server.port).to_socket_addrs()?;
                addresses.extend(resolved.map(|address| address.ip()));
            }
        }
    }
    inodes.extend(listening_inodes(&addresses, server.port));
    Ok(inodes)
}

/// The socket that listens at this path: the seventh column of `/proc/net/unix`, whose fourth has
/// a flag for listening sockets.
fn unix_inode(path: &str) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, _, flags, _, _, inode, file] = columns[..] else { return None };
        (file == path && flags == "00010000").then(|| inode.parse().ok())?
    })
}

/// The sockets that listen on this port at one of these addresses.
fn listening_inodes(addresses: &[IpAddr], port: u16) -> Vec<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    tables
        .flat_map(|table| table.lines().filter_map(listening).collect::<Vec<_>>())
        .filter(|(address, bound, _)| *bound == port && addresses.contains(address))
        .map(|(_, _, inode)| inode)
        .collect()
}

/// Address, port and inode of a line of `/proc/net/tcp` whose socket listens (state 0A). The
/// address is in hexadecimal, each four bytes in the machine's order.
fn listening(line: &str) -> Option<(IpAddr, u16, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let words: Option<Vec<u8>> = (0..address.len() / 8)
        .map(|n| u32::from_str_radix(address.get(n * 8..n * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let address = match words?.as_slice() {
        v4 @ [_, _, _, _] => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(v4).ok()?)),
        v6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(v6).ok()?)),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?, inode))
}

/// The processes that have one of these sockets open. A binary may be installed under another name;
/// then the command that looks for the server has that name as well.
fn owners(inodes: &[u64]) -> Vec<Process> {
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let own_name = name_in(Path::new("/proc/self"));
    let mut owners = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for process in processes {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_socket = files.filter_map(Result::ok).any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|link| links.iter().any(|l| link.as_os_str() == &**l))
        });
        if has_socket {
            let name = name_in(&process.path());
            let is_server = name == env!("CARGO_PKG_NAME") || name == own_name;
            owners.push(Process { id, name, is_server });
        }
    }
    owners
}

fn name_in(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

pub(super) fn reads(process: i32, file: &Path) -> Option<bool> {
    let arguments = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let arguments = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let Some(named) = config_file(arguments) else { return Some(false) };
    // The path may be relative to the folder of the process, and contain links.
    let folder = fs::read_link(format!("/proc/{process}/cwd")).unwrap_or_default();
    let real = |path: &Path| fs::canonicalize(path).unwrap_or(path.to_owned());
    Some(real(&folder.join(named)) == real(file))
}

/// The value of `--config` in a command line.
fn config_file<'a>(mut arguments: impl Iterator<Item = &'a OsStr>) -> Option<&'a Path> {
    let flag = b"--config";
    let argument = arguments.find(|argument| {
        let rest = argument.as_bytes().strip_prefix(flag);
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'=')
    })?;
    match argument.as_bytes().strip_prefix(b"--config=") {
        Some(value) => Some(Path::new(OsStr::from_bytes(value))),
        None => arguments.next().map(Path::new),
    }
}

pub(super) fn open_files(process: i32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(super) fn handles_hangups(process: i32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(handled?.trim(), 16).ok()?;
    Some(mask & 1 << (libc::SIGHUP - 1) != 0)
}

pub(super) fn runtime_folders(process: i32) -> io::Result<(Vec<PathBuf>, u32)> {
    let own = PathBuf::from(format!("/proc/{process}"));
    let environment = fs::read(own.join("environ"))?;
    let user = fs::metadata(&own)?.uid();
    let variable = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|it| it.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(|value| OsString::from_vec(value.to_vec()))
    };
    // With PrivateTmp= of systemd, the server has another /tmp.
    let root = own.join("root");
    let folders = runtime_folder::candidates(variable, user).into_iter();
    let folders = folders.map(|path| root.join(path.strip_prefix("/").unwrap_or(&path)));
    Ok((folders.collect(), user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_listening_sockets_are_read() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                  0        0 4242 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(v4), Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 8080, 4242)));
        let v6 = "   0: 00000000000000000000000001000000:0050 \
                  00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                  0 0 7 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening(v6), Some((IpAddr::V6(Ipv6Addr::LOCALHOST), 80, 7)));
        assert_eq!(listening(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
        assert_eq!(listening(""), None);
    }

    #[test]
    fn the_configuration_file_is_found_in_a_command_line() {
        for (line, file) in [
            ("reverb start", None),
            ("reverb start --config a.json --debug", Some("a.json")),
            ("reverb start --port=1 --config=a.json", Some("a.json")),
            ("reverb start --configuration a.json", None),
            ("reverb start --config", None),
        ] {
            let found = config_file(line.split(' ').map(OsStr::new));
            assert_eq!(found, file.map(Path::new), "{line}");
        }
    }
}
