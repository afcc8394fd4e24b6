//! The image and the compose file. No container engine is wanted: a linter reads the one, the compose specification's
//! schema checks the other, and what the image's base lacks is looked for in the binary.

use crate::{checker, done, ran, shipped};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use suites::{repository, waybill};

/// The shared libraries that the image's base brings.
const BROUGHT: [&str; 7] = [
    "linux-vdso.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libssl.so.3",
    "libcrypto.so.3",
];

#[test]
fn the_dockerfile_passes_its_linter() {
    let dockerfile = shipped("docker/Dockerfile");
    assert_eq!(ran(checker("hadolint").arg(&dockerfile)), (0, String::new()));
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("Dockerfile");
    fs::write(&wrong, fs::read_to_string(&dockerfile).unwrap().replace("1.95-bookworm", "latest")).unwrap();
    let (code, told) = ran(checker("hadolint").arg(&wrong));
    assert!(code != 0 && told.contains("DL3007"), "{told}");
}

#[test]
fn the_image_runs_without_privileges_and_is_built_by_our_compiler() {
    let dockerfile = fs::read_to_string(shipped("docker/Dockerfile")).unwrap();
    let (_, image) = dockerfile.rsplit_once("\nFROM ").unwrap();
    assert!(image.lines().any(|line| line == "USER 65532:65532"), "{image}");
    assert!(!image.contains("\nRUN "), "the base has no shell");
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let wanted = format!("/rust:{}-bookworm AS build", version.trim_end_matches('"'));
    assert!(dockerfile.contains(&wanted), "not built by the compiler that Cargo.toml names: {wanted}");
}

#[test]
fn the_binary_needs_no_library_that_the_image_lacks() {
    let needed = done(Command::new("ldd").arg(waybill()));
    for line in needed.lines().filter(|line| !line.trim().is_empty()) {
        let path = line.split_whitespace().next().unwrap();
        let name = path.rsplit('/').next().unwrap();
        assert!(BROUGHT.contains(&name), "{name} is not in the image's base: {needed}");
    }
}

#[test]
fn the_compose_file_is_one() {
    let compose = shipped("docker/compose.yaml");
    let check =
        |path| ran(checker("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(path));
    let (code, told) = check(compose.clone());
    assert_eq!(code, 0, "{told}");
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("compose.yaml");
    fs::write(&wrong, fs::read_to_string(compose).unwrap().replace("healthcheck:", "healthchek:")).unwrap();
    let (code, told) = check(wrong);
    assert!(code != 0 && told.contains("healthchek"), "{told}");
}

#[test]
fn the_settings_of_the_image_take_the_password_that_compose_gives() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().display().to_string();
    let compose = fs::read_to_string(shipped("docker/compose.yaml")).unwrap();
    let settings = fs::read_to_string(shipped("docker/waybill.toml")).unwrap();
    for shared in ["/var/lib/waybill", "/srv/waybill", "8420", "4080", "database_password"] {
        assert!(compose.contains(shared) && settings.contains(shared), "{shared}");
    }
    let password = directory.path().join("database_password");
    fs::write(&password, "secret\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o440)).unwrap();
    fs::write(
        directory.path().join("waybill.toml"),
        settings.replace("/run/secrets", &own).replace("/srv/waybill", &own),
    )
    .unwrap();
    fs::create_dir(directory.path().join("definitions")).unwrap();
    let mut validate = Command::new(waybill());
    validate.args(["--config", "waybill.toml", "validate"]).current_dir(directory.path());
    let told = done(&mut validate);
    assert!(!told.contains("waybill.toml"), "{told}");
}
