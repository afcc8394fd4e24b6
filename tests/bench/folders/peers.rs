//! The peers: OpenSSH's sftp, rclone, lftp and curl, each with the settings that made it fastest.

use crate::folders::site::{CONNECTIONS, Protocol, Site};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A public tool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Sftp,
    Rclone,
    Lftp,
    Curl,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::Sftp, Self::Rclone, Self::Lftp, Self::Curl];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sftp => "OpenSSH sftp",
            Self::Rclone => "rclone",
            Self::Lftp => "lftp",
            Self::Curl => "curl",
        }
    }

    pub(crate) fn speaks(self, protocol: Protocol) -> bool {
        match self {
            Self::Sftp => protocol == Protocol::Sftp,
            Self::Lftp => protocol != Protocol::Webdav,
            Self::Rclone | Self::Curl => true,
        }
    }

    /// Copies every file of a local directory into one of the server, or back.
    pub(crate) fn copy(self, site: &Site, local: &Path, directory: &str, is_upload: bool) {
        match self {
            Self::Sftp => sftp(site, local, directory, is_upload),
            Self::Rclone => rclone(site, local, directory, is_upload),
            Self::Lftp => lftp(site, local, directory, is_upload),
            Self::Curl => curl(site, local, directory, is_upload),
        }
    }
}

fn run(command: &mut Command, input: &str) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// A known_hosts file for the port that is connected to.
fn known_hosts(site: &Site) -> String {
    let known = site.server.info["known_hosts"]["port"].as_str().unwrap();
    let key = std::fs::read_to_string(known).unwrap();
    let key: Vec<&str> = key.split_whitespace().skip(1).collect();
    let path = format!("{known}.bench-{}", site.port);
    std::fs::write(&path, format!("[{}]:{} {}\n", site.host, site.port, key.join(" "))).unwrap();
    path
}

fn sftp(site: &Site, local: &Path, directory: &str, is_upload: bool) {
    let known = format!("UserKnownHostsFile={}", known_hosts(site));
    let batch = match is_upload {
        true => format!("cd {directory}\nlcd {}\nput *\n", local.display()),
        false => format!("cd {directory}\nlcd {}\nget *\n", local.display()),
    };
    run(
        Command::new("sftp")
            .args(["-q", "-b", "-", "-B", "262000", "-R", "256", "-o", &known, "-o", "IdentitiesOnly=yes"])
            .args(["-o", "Ciphers=aes256-gcm@openssh.com", "-i", site.server.text("key")])
            .args(["-P", &site.port.to_string(), &format!("{}@{}", site.server.text("user"), site.host)]),
        &batch,
    );
}

fn rclone(site: &Site, local: &Path, directory: &str, is_upload: bool) {
    let mut command = Command::new("rclone");
    command.args([
        "copy",
        "--transfers",
        &CONNECTIONS,
        "--checkers",
        &CONNECTIONS,
        "--no-traverse",
        "--no-check-dest",
    ]);
    command.args(["--ignore-checksum", "--retries", "1", "--config", "/dev/null"]);
    let user = site.server.text("user").to_owned();
    let secret = || {
        let obscured = Command::new("rclone")
            .args(["obscure", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut obscured = obscured.unwrap();
        obscured.stdin.take().unwrap().write_all(site.password().as_bytes()).unwrap();
        String::from_utf8(obscured.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let port = site.port.to_string();
    let set: Vec<(&str, String)> = match site.protocol {
        Protocol::Sftp => vec![
            ("TYPE", "sftp".into()),
            ("HOST", site.host.into()),
            ("PORT", port),
            ("USER", user),
            ("KEY_FILE", site.server.text("key").into()),
            ("KNOWN_HOSTS_FILE", known_hosts(site)),
            ("DISABLE_HASHCHECK", "true".into()),
            ("SHELL_TYPE", "none".into()),
            ("CHUNK_SIZE", "255k".into()),
            ("CONCURRENCY", "64".into()),
        ],
        Protocol::Ftp | Protocol::Ftps => vec![
            ("TYPE", "ftp".into()),
            ("HOST", site.host.into()),
            ("PORT", port),
            ("USER", user),
            ("PASS", secret()),
            ("EXPLICIT_TLS", (site.protocol == Protocol::Ftps).to_string()),
            ("NO_CHECK_CERTIFICATE", "true".into()),
            // Otherwise it ends each connection after a minute without use, and waits for it at its end.
            ("CONCURRENCY", CONNECTIONS.clone()),
        ],
        Protocol::Webdav => vec![
            ("TYPE", "webdav".into()),
            ("URL", format!("http://{}:{}", site.host, site.port)),
            ("VENDOR", "other".into()),
            ("USER", user),
            ("PASS", secret()),
        ],
    };
    for (name, value) in set {
        command.env(format!("RCLONE_CONFIG_SITE_{name}"), value);
    }
    let remote = format!("site:{}", site.remote(directory));
    let local = local.display().to_string();
    match is_upload {
        true => command.args([&local, &remote]),
        false => command.args([&remote, &local]),
    };
    run(&mut command, "");
}

fn lftp(site: &Site, local: &Path, directory: &str, is_upload: bool) {
    let mut script = String::from("set cmd:fail-exit yes\nset net:max-retries 1\nset xfer:log no\n");
    script.push_str("set ssl:verify-certificate no\nset ftp:ssl-protect-data yes\n");
    let is_tls = site.protocol == Protocol::Ftps;
    writeln!(script, "set ftp:ssl-allow {is_tls}\nset ftp:ssl-force {is_tls}").unwrap();
    let user = site.server.text("user");
    match site.protocol {
        Protocol::Sftp => {
            let (key, known) = (site.server.text("key"), known_hosts(site));
            writeln!(script, "set sftp:connect-program \"ssh -a -x -i {key} -o UserKnownHostsFile={known} -o IdentitiesOnly=yes -c aes256-gcm@openssh.com\"").unwrap();
            // With larger pieces it stops for good in the middle of an upload.
            script.push_str("set sftp:max-packets-in-flight 64\n");
            writeln!(script, "open -u {user}, sftp://{}:{}", site.host, site.port).unwrap();
        }
        _ => {
            writeln!(script, "open -u {user},{} ftp://{}:{}", site.password(), site.host, site.port).unwrap()
        }
    }
    let (remote, local) = (site.remote(directory), local.display());
    let connections = &*CONNECTIONS;
    match is_upload {
        true => writeln!(script, "mirror -R --no-perms --parallel={connections} {local} {remote}").unwrap(),
        false => writeln!(script, "mirror --no-perms --parallel={connections} {remote} {local}").unwrap(),
    }
    run(Command::new("lftp").arg("--norc"), &script);
}

fn curl(site: &Site, local: &Path, directory: &str, is_upload: bool) {
    let base = match site.protocol {
        Protocol::Sftp => format!("sftp://{}:{}/~/", site.host, site.port),
        Protocol::Ftp | Protocol::Ftps => format!("ftp://{}:{}/", site.host, site.port),
        Protocol::Webdav => format!("http://{}:{}/", site.host, site.port),
    };
    let mut config =
        format!("parallel\nparallel-max = {}\nparallel-immediate\nsilent\nshow-error\nfail\n", *CONNECTIONS);
    let names = match is_upload {
        true => std::fs::read_dir(local).unwrap(),
        false => std::fs::read_dir(site.files.join(directory)).unwrap(),
    };
    for name in names.flatten().map(|entry| entry.file_name().into_string().unwrap()) {
        if config.contains("url = ") {
            config.push_str("next\nsilent\nshow-error\nfail\n");
        }
        let (url, path) = (format!("{base}{}/{name}", site.remote(directory)), local.join(&name));
        let way = if is_upload { "upload-file" } else { "output" };
        writeln!(config, "url = \"{url}\"\n{way} = \"{}\"", path.display()).unwrap();
        let user = site.server.text("user");
        match site.protocol {
            Protocol::Sftp => {
                let key = site.server.text("key");
                writeln!(config, "user = \"{user}:\"\nkey = \"{key}\"\npubkey = \"{key}.pub\"\ninsecure")
                    .unwrap();
            }
            Protocol::Ftps => {
                let login = format!("user = \"{user}:{}\"", site.password());
                writeln!(config, "{login}\nssl-reqd\ninsecure").unwrap();
            }
            Protocol::Ftp | Protocol::Webdav => {
                writeln!(config, "user = \"{user}:{}\"", site.password()).unwrap();
            }
        }
    }
    run(Command::new("curl").args(["--disable", "--config", "-"]), &config);
}
