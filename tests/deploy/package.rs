//! The Debian package: what a machine has of it after its installation, its removal and its purge.

use crate::running::Running;
use crate::throwaway::{Debian, package};
use crate::{done, ran};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::{KeyPair, eventually, repository};

#[test]
fn a_machine_with_it_has_a_gateway_and_without_it_its_files() {
    let package = package();
    let debian = Debian::new();
    let told = debian.install(&package);
    assert!(!told.contains("warning"), "{told}");

    is_installed(&debian);
    manual_pages_can_be_read(&debian);
    a_shell_completes_commands(&debian);
    the_examples_are_valid(&debian);
    let mut gateway = Running::start(&debian);
    assert!(!revisions(&debian).contains("endpoint.later"));
    debian.write("/etc/waybill/definitions/later.toml", LATER);
    gateway.reload();
    eventually("the new definition in force", Duration::from_secs(60), || {
        revisions(&debian).contains("endpoint.later").then_some(())
    });
    assert!(gateway.stop().success());
    assert!(debian.path("/var/lib/waybill/waybill.db").is_file());

    // Another version comes: what the administrator has changed stays.
    let settings = debian.path("/etc/waybill/waybill.toml");
    let changed = fs::read_to_string(&settings).unwrap() + "\n[log]\nlevel = \"warn\"\n";
    fs::write(&settings, &changed).unwrap();
    fs::set_permissions(debian.path("/etc/waybill"), fs::Permissions::from_mode(0o700)).unwrap();
    debian.install(&package);
    assert_eq!(fs::read_to_string(&settings).unwrap(), changed);
    assert_eq!(mode(&debian, "/etc/waybill"), 0o700, "a right that the administrator took away came back");

    debian.write("/etc/waybill/definitions/mine.toml", b"# flows\n");
    debian.done(&["dpkg", "--remove", "waybill"]);
    assert!(!debian.path("/usr/bin/waybill").exists());
    assert!(!debian.path("/usr/lib/systemd/system/waybill.service").exists());
    assert_eq!(fs::read_to_string(&settings).unwrap(), changed);
    assert!(debian.path("/var/lib/waybill/waybill.db").is_file());

    // It comes again, and goes on where it was.
    debian.install(&package);
    fs::set_permissions(debian.path("/etc/waybill"), fs::Permissions::from_mode(0o750)).unwrap();
    let (code, out) = debian.ran("waybill", &["waybill", "audit", "verify"]);
    assert_eq!(code, 0, "{out}");

    let told = debian.done(&["dpkg", "--purge", "waybill"]);
    assert!(told.contains("/var/lib/waybill stays"), "{told}");
    assert!(!settings.exists());
    for kept in
        ["/var/lib/waybill/waybill.db", "/var/lib/waybill/seal.key", "/etc/waybill/definitions/mine.toml"]
    {
        assert!(debian.path(kept).is_file(), "{kept} is gone");
    }
    let (code, out) = ran(&mut debian.command(None, &["dpkg", "--status", "waybill"]));
    assert!(code != 0 && out.contains("not installed"), "{out}");
    an_unused_installation_leaves_nothing(&package);
}

fn an_unused_installation_leaves_nothing(package: &Path) {
    let debian = Debian::new();
    debian.install(package);
    let told = debian.done(&["dpkg", "--purge", "waybill"]);
    assert!(!told.contains("stays"), "{told}");
    for gone in ["/etc/waybill", "/var/lib/waybill", "/usr/bin/waybill", "/usr/share/doc/waybill"] {
        assert!(!debian.path(gone).exists(), "{gone} is left");
    }
}

/// A definition that needs nothing else.
const LATER: &[u8] = b"[endpoint.later]\ntransport = \"file\"\nurl = \"file:///srv/waybill/later\"\n";

/// The revisions of the definitions, with what each changed.
fn revisions(debian: &Debian) -> String {
    let (code, list) = debian.ran("waybill", &["waybill", "revisions"]);
    assert_eq!(code, 0, "{list}");
    list
}

fn mode(debian: &Debian, inside: &str) -> u32 {
    debian.path(inside).metadata().unwrap().permissions().mode() & 0o7777
}

fn is_installed(debian: &Debian) {
    let version = debian.done(&["waybill", "--version"]);
    assert_eq!(version.trim(), format!("waybill {}", env!("CARGO_PKG_VERSION")));
    let user = debian.done(&["getent", "passwd", "waybill"]);
    assert!(user.trim().ends_with(":/var/lib/waybill:/usr/sbin/nologin"), "{user}");
    let number: u32 = debian.done(&["id", "--user", "waybill"]).trim().parse().unwrap();
    assert_eq!(debian.path("/var/lib/waybill").metadata().unwrap().uid(), number);
    assert_eq!(mode(debian, "/var/lib/waybill"), 0o750);
    assert_eq!(mode(debian, "/etc/waybill"), 0o750);
    assert_eq!(mode(debian, "/etc/waybill/definitions"), 0o750);
    assert_eq!(mode(debian, "/etc/waybill/credentials"), 0o700);
    for file in
        ["copyright", "licences.txt.gz", "install.md", "backup.md", "reference.md", "examples/waybill.toml"]
    {
        assert!(debian.path("/usr/share/doc/waybill").join(file).is_file(), "{file} is missing");
    }
    // It runs when the administrator says so, not before there are settings.
    assert!(!debian.path("/etc/systemd/system/multi-user.target.wants/waybill.service").exists());
    assert_eq!(
        fs::read(debian.path("/usr/lib/systemd/system/waybill.service")).unwrap(),
        fs::read(repository().join("deploy/systemd/waybill.service")).unwrap()
    );
}

fn manual_pages_can_be_read(debian: &Debian) {
    let mut names = Vec::new();
    for entry in fs::read_dir(debian.path("/usr/share/man/man1")).unwrap() {
        let path = entry.unwrap().path();
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"]).arg(&path).env("LC_ALL", "C.UTF-8").env("MANPAGER", "cat");
        let out = man.stdin(Stdio::null()).output().unwrap();
        let complaints = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
        let page = String::from_utf8(out.stdout).unwrap();
        assert!(page.contains("NAME") && page.contains("SYNOPSIS"), "{}: {page}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    for page in ["waybill.1.gz", "waybill-serve.1.gz", "waybill-audit-accept-restored.1.gz"] {
        assert!(names.iter().any(|name| name == page), "{page} is missing: {names:?}");
    }
}

fn a_shell_completes_commands(debian: &Debian) {
    let script = debian.path("/usr/share/bash-completion/completions/waybill");
    let complete = |words: &str, at: usize| {
        let told = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _waybill waybill \"${{COMP_WORDS[at]}}\"; echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        done(Command::new("bash").args(["--norc", "-c", &format!("at={at}; {told}")]))
    };
    assert_eq!(complete("waybill vali", 1).trim(), "validate");
    assert_eq!(complete("waybill audit accept", 2).trim(), "accept-restored");
    assert!(complete("waybill serve --def", 2).contains("--definitions"));
    let begins = |inside: &str, with: &str| {
        let text = fs::read_to_string(debian.path(inside)).unwrap();
        assert!(text.starts_with(with) && text.contains("accept-restored"), "{inside}");
    };
    begins("/usr/share/zsh/vendor-completions/_waybill", "#compdef waybill");
    begins("/usr/share/fish/vendor_completions.d/waybill.fish", "#");
}

/// As the service sees them: its credentials are files that systemd has put where the unit says.
fn the_examples_are_valid(debian: &Debian) {
    let keys = tempfile::tempdir().unwrap();
    let (acme, globex) = (KeyPair::make(keys.path(), "acme"), KeyPair::make(keys.path(), "globex"));
    let put = |from: &Path, inside: &str| {
        debian.write(inside, &fs::read(from).unwrap());
        debian.done(&["chown", "waybill", inside]);
        debian.done(&["chmod", "0400", inside]);
    };
    put(&acme.key, "/etc/waybill/acme-2026.key");
    put(&acme.certificate, "/etc/waybill/acme-2026.pem");
    put(&globex.certificate, "/etc/waybill/globex-2026.pem");
    put(&acme.key, "/run/credentials/waybill.service/secret_acme_key");
    debian.done(&["install", "-d", "-o", "waybill", "/srv/waybill"]);
    let validate = ["waybill", "validate", "--definitions", "/usr/share/doc/waybill/examples/definitions"];
    let (code, out) = debian.ran("waybill", &validate);
    assert!(code == 0 && out.contains(": 0 errors"), "{out}");
    // The settings with every line in them are sound as well.
    let every = [
        "--config",
        "/usr/share/doc/waybill/examples/waybill.toml",
        "validate",
        "--definitions",
        "/srv/waybill",
    ];
    let (code, out) = debian.ran("waybill", &[&["waybill"][..], &every].concat());
    assert_eq!(code, 0, "{out}");
    // It is the settings in /etc that were used: without that root the folders are out of reach.
    let settings = debian.path("/etc/waybill/waybill.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("\"/srv/waybill\"", "\"/srv/other\"")).unwrap();
    let (code, out) = debian.ran("waybill", &validate);
    assert!(code == 2 && out.contains("/srv/waybill"), "{code} {out}");
    fs::write(&settings, text).unwrap();
}
