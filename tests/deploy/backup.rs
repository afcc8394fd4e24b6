//! `docs/backup.md`, carried out: its commands, as they stand there, in the installed system. What it promises is counted at the
//! partner's, by content: each file that it should have, how often it has it.

use crate::running::Running;
use crate::throwaway::{Debian, package};
use crate::{ran, shipped};
use openssl::sha::sha256;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::pair::{PATIENCE, events, files_in, parties, random};
use suites::{Gateway, GatewayBuilder, KeyPair, eventually, fresh_database, repository};
use tempfile::TempDir;

/// Where the backup is carried to between two machines.
const BACKUPS: &str = "/var/backups/waybill";

#[test]
fn nothing_is_lost_or_doubled_as_the_page_promises_on_sqlite() {
    lives(None);
}

#[test]
fn nothing_is_lost_or_doubled_as_the_page_promises_on_postgres() {
    lives(Some("backup"));
}

/// Messages whose sending has begun.
const SENT: &str = "select count(*) from notes where key = 'as2'";

/// One gateway's lives: a backup while it runs, its machine lost, restored; moved; its database alone restored.
fn lives(database: Option<&str>) {
    let mut scene = Scene::new(database);

    // These are on their way, and their first attempt is made: the partner keeps them waiting.
    scene.partner.signal("STOP");
    let sent = scene.put("sent", 12);
    scene.wait_for_row(SENT, 12);
    // More come, and seals are made, between every two steps of the backup.
    let mut meanwhile = Vec::new();
    let backup = scene.back_up(|| {
        let before = scene.newest_seal();
        meanwhile.extend(scene.put(&format!("meanwhile-{}", meanwhile.len()), 1));
        scene.wait_for_row(SENT, 12 + i64::try_from(meanwhile.len()).unwrap());
        scene.wait_for_seals_after(before);
    });
    // All of them are delivered after the backup; then the machine is gone.
    scene.partner.signal("CONT");
    scene.wait_until_arrived(sent.iter().chain(&meanwhile));
    scene.lose_the_machine(&backup);
    scene.restore(&backup);
    assert!(!scene.metrics().contains("waybill_audit_alarm 1"), "the alarm was raised");
    scene.wait_until_quiet();
    let later = scene.put("later", 4);
    scene.wait_until_arrived(&later);
    scene.wait_until_quiet();
    scene.assert_once(sent.iter().chain(&meanwhile).chain(&later));
    // All that the restored database knew was sent again, and recognised.
    assert_eq!(events(&scene.partner, "message.repeated").len(), 13, "sent again");

    // Moved on purpose, with files that the partner could not take yet.
    scene.partner.kill();
    let moved = scene.put("moved", 6);
    scene.wait_for_row("select count(*) from transfers where state <> 'completed'", 6);
    scene.stop();
    let backup = scene.back_up(|| ());
    scene.lose_the_machine(&backup);
    scene.partner.start();
    scene.restore(&backup);
    scene.wait_until_arrived(&moved);
    scene.wait_until_quiet();
    scene.assert_once(moved.iter().chain(&sent).chain(&later));

    // The database alone is taken back.
    let backup = scene.back_up(|| ());
    let before = scene.newest_seal();
    let forgotten = scene.put("forgotten", 2);
    scene.wait_until_arrived(&forgotten);
    scene.wait_until_quiet();
    scene.wait_for_seals_after(before);
    scene.stop();
    scene.restore_the_database_alone(&backup);
    let after = scene.put("after", 2);
    scene.wait_until_arrived(&after);
    scene.wait_until_quiet();
    scene.assert_once(moved.iter().chain(&forgotten).chain(&after));
}

fn page() -> String {
    fs::read_to_string(repository().join("docs/backup.md")).unwrap()
}

/// How a block of the page begins.
fn fence(name: &str) -> String {
    format!("```sh {name}\n")
}

/// The commands of a block of the page, by the word behind `sh` on its fence.
fn block(name: &str) -> String {
    let page = page();
    let (_, rest) =
        page.split_once(&fence(name)).unwrap_or_else(|| panic!("docs/backup.md has no block {name}"));
    rest.split_once("```").unwrap().0.to_owned()
}

/// A file that was put into the folder: its name, and the hash of its content.
struct Given {
    name: String,
    hash: [u8; 32],
}

struct Scene {
    package: PathBuf,
    database: Option<String>,
    name: Option<&'static str>,
    // Dropped before the machine: a running gateway writes into directories that are being removed.
    gateway: Option<Running>,
    machine: Debian,
    partner: Gateway,
    root: TempDir,
}

impl Scene {
    fn new(name: Option<&str>) -> Self {
        let name = name.map(|_| "backup");
        let root = tempfile::Builder::new().prefix("waybill-backup-").tempdir().unwrap();
        let keys = root.path().join("keys");
        KeyPair::make(&keys, "acme");
        KeyPair::make(&keys, "globex");
        fs::create_dir(root.path().join("warehouse")).unwrap();
        let mut partner = GatewayBuilder::new(root.path(), "globex").build();
        let warehouse = format!(
            r#"{parties}[endpoint.warehouse]
transport = "file"
url = "file://{root}/warehouse"
[listener.as2]
transport = "as2"
server = "partners"
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
"#,
            parties = parties(&keys, ("globex", "GLOBEX"), ("acme", "ACME")),
            root = root.path().display(),
        );
        partner.define("globex.toml", &warehouse);
        partner.start();
        let package = package();
        let database = name.map(fresh_database);
        let mut scene =
            Self { machine: Debian::new(), package, database, name, gateway: None, partner, root };
        scene.machine.install(&scene.package);
        scene.settle_in();
        scene.gateway = Some(Running::start(&scene.machine));
        scene
    }

    /// Writes what an administrator writes on the first machine.
    fn settle_in(&self) {
        let machine = &self.machine;
        let url = self.database.as_ref().map(|url| format!("url = \"{url}\"")).unwrap_or_default();
        let settings = fs::read_to_string(shipped("waybill.toml")).unwrap();
        let settings = settings.replace("[database]", &format!("[database]\n{url}"));
        let settings = settings.replace("127.0.0.1:4080", "127.0.0.1:0")
            + "\n[egress]\nallow_loopback = true\n[audit]\nseal_every = \"1s\"\n[staging]\nmin_free = \"16MiB\"\n";
        machine.write("/etc/waybill/waybill.toml", settings.as_bytes());
        for file in ["acme.key.pem", "acme.cert.pem", "globex.cert.pem"] {
            let inside = format!("/etc/waybill/{file}");
            machine.write(&inside, &fs::read(self.root.path().join("keys").join(file)).unwrap());
            machine.done(&["chown", "waybill:waybill", &inside]);
            machine.done(&["chmod", "0400", &inside]);
        }
        let flow = format!(
            r#"{parties}
[endpoint.orders]
transport = "file"
url = "file:///srv/waybill/orders"
[endpoint.globex-as2]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{port}/as2"
[flow.orders]
source = {{ endpoint = "orders", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "/srv/waybill/bad" }}
[[flow.orders.destination]]
endpoint = "globex-as2"
retry = {{ attempts = 100, first = "1s", longest = "1s" }}
"#,
            parties = parties(Path::new("/etc/waybill"), ("acme", "ACME"), ("globex", "GLOBEX")),
            port = self.partner.http,
        );
        machine.write("/etc/waybill/definitions/orders.toml", flow.as_bytes());
        self.make_folders();
    }

    fn make_folders(&self) {
        for folder in ["/srv/waybill", "/srv/waybill/orders"] {
            self.machine.done(&["install", "-d", "-o", "waybill", "-g", "waybill", folder]);
        }
    }

    /// Runs commands of the page as root, in the installed system: what they wrote.
    fn carry_out(&self, variables: &[(&str, &str)], commands: &str) -> String {
        let (code, out) = self.try_out(variables, commands);
        let log = self.gateway.as_ref().map(Running::log).unwrap_or_default();
        assert_eq!(code, 0, "{commands}\n{out}\n{log}");
        out
    }

    fn try_out(&self, variables: &[(&str, &str)], commands: &str) -> (i32, String) {
        let mut shell = self.machine.command(None, &["sh", "-e", "-c", commands]);
        shell.env("DATABASE", self.database.as_deref().unwrap_or_default());
        shell.envs(variables.iter().copied());
        ran(&mut shell)
    }

    fn of_database(&self, what: &str) -> String {
        block(&format!("{what}-{}", if self.database.is_some() { "postgres" } else { "sqlite" }))
    }

    /// The page's backup, block by block in the order in which they stand there.
    fn blocks_of_backup(&self) -> Vec<String> {
        let database = if self.database.is_some() { "backup-postgres" } else { "backup-sqlite" };
        let page = page();
        let mut names = ["backup", database, "backup-staging"];
        names.sort_by_key(|name| page.find(&fence(name)));
        names.map(block).to_vec()
    }

    /// Carries out the page's backup, with something to do between two blocks of it; the directory that it printed.
    fn back_up(&self, mut between: impl FnMut()) -> String {
        let mut backup = String::new();
        for (number, block) in self.blocks_of_backup().iter().enumerate() {
            if number > 0 {
                between();
            }
            // A shell of its own would not know what the first block has set.
            let out = self.carry_out(&[("BACKUP", &backup)], &format!("{block}\necho \"$BACKUP\""));
            out.lines().last().unwrap().trim().clone_into(&mut backup);
        }
        assert!(backup.starts_with(BACKUPS), "{backup}");
        backup
    }

    /// The gateway is killed, and all that is left of its machine is the backup: on a new one, where the package was installed
    /// after another service, so that its user has another number.
    fn lose_the_machine(&mut self, backup: &str) {
        self.gateway = None;
        let new = Debian::new();
        new.done(&["useradd", "--system", "other"]);
        new.install(&self.package);
        fs::create_dir_all(new.path(BACKUPS)).unwrap();
        let copy =
            Command::new("cp").arg("-a").arg(self.machine.path(backup)).arg(new.path(BACKUPS)).status();
        assert!(copy.unwrap().success());
        self.machine = new;
        self.make_folders();
    }

    /// Carries out the page's restore on a new machine, and starts the gateway where it says so.
    fn restore(&mut self, backup: &str) {
        let commands = block("restore") + &self.of_database_elsewhere("restore");
        self.carry_out(&[("BACKUP", backup)], &commands);
        self.name_the_database();
        let start = block("restore-start");
        let (before, after) = start.split_once("systemctl start waybill\n").unwrap();
        self.carry_out(&[], before);
        self.gateway = Some(Running::start(&self.machine));
        let told = self.carry_out(&[], after);
        assert!(told.contains("the rows agree"), "{told}");
    }

    /// As the page says for PostgreSQL: into an empty database.
    fn of_database_elsewhere(&mut self, what: &str) -> String {
        self.database = self.name.map(fresh_database);
        self.of_database(what)
    }

    /// "name it in `database.url` where it is another than before"
    fn name_the_database(&self) {
        let Some(url) = &self.database else { return };
        let path = self.machine.path("/etc/waybill/waybill.toml");
        let settings = fs::read_to_string(&path).unwrap();
        let is_url = |line: &&str| line.starts_with("url = ");
        let old = settings.lines().find(is_url).unwrap();
        fs::write(&path, settings.replace(old, &format!("url = \"{url}\""))).unwrap();
    }

    fn restore_the_database_alone(&mut self, backup: &str) {
        let commands = self.of_database_elsewhere("restore");
        self.carry_out(&[("BACKUP", backup)], &commands);
        self.name_the_database();
        self.machine.done(&["chown", "--recursive", "waybill:waybill", "/var/lib/waybill"]);
        self.gateway = Some(Running::start(&self.machine));
        eventually("the alarm", PATIENCE, || self.metrics().contains("waybill_audit_alarm 1").then_some(()));
        let verify = "runuser -u waybill -- waybill audit verify";
        let (code, told) = self.try_out(&[], verify);
        assert!(code == 2 && told.contains("accept-restored"), "{code} {told}");
        self.carry_out(&[], &block("restored-database"));
        eventually("the end of the alarm", PATIENCE, || {
            self.metrics().contains("waybill_audit_alarm 0").then_some(())
        });
        let (code, told) = self.try_out(&[], verify);
        assert_eq!(code, 0, "{told}");
    }

    fn stop(&mut self) {
        assert!(self.gateway.take().unwrap().stop().success());
    }

    fn metrics(&self) -> String {
        self.gateway.as_ref().unwrap().get("/metrics").unwrap()
    }

    /// Puts files into the folder that is polled, each whole at once.
    fn put(&self, name: &str, count: usize) -> Vec<Given> {
        let given = (0..count).map(|number| {
            let name = format!("{name}-{number}.edi");
            let content = random(20_000);
            let beside = format!("/srv/waybill/{name}");
            self.machine.write(&beside, &content);
            let own = fs::metadata(self.machine.path("/srv/waybill/orders")).unwrap();
            let owner = std::os::unix::fs::MetadataExt::uid(&own);
            std::os::unix::fs::chown(self.machine.path(&beside), Some(owner), Some(owner)).unwrap();
            let target = self.machine.path(&format!("/srv/waybill/orders/{name}"));
            fs::rename(self.machine.path(&beside), target).unwrap();
            Given { name, hash: sha256(&content) }
        });
        given.collect()
    }

    /// A number that the database answers, by its own tools.
    fn number(&self, sql: &str) -> i64 {
        let command = match &self.database {
            Some(_) => format!("psql -qAtXw -v ON_ERROR_STOP=1 -c \"{sql}\" \"$DATABASE\""),
            None => format!(
                "runuser -u waybill -- sqlite3 /var/lib/waybill/waybill.db \".timeout 20000\" \"{sql}\""
            ),
        };
        let out = self.carry_out(&[], &command);
        out.trim().parse().unwrap_or_else(|error| panic!("{sql}: {out}: {error}"))
    }

    fn wait_for_row(&self, sql: &str, wanted: i64) {
        eventually(&format!("{sql} = {wanted}"), PATIENCE, || (self.number(sql) == wanted).then_some(()));
    }

    /// Nothing is on its way any more.
    fn wait_until_quiet(&self) {
        let open = "select count(*) from deliveries where state <> 'delivered'";
        eventually("deliveries that are all made", PATIENCE, || (self.number(open) == 0).then_some(()));
    }

    fn newest_seal(&self) -> i64 {
        self.number("select coalesce(max(seq), -1) from audit_seals")
    }

    /// Waits for a seal that was made after another, which was read before something happened: afterwards that may be sealed
    /// already, and what is quiet is not sealed again.
    fn wait_for_seals_after(&self, before: i64) {
        eventually("newer seals", PATIENCE, || (self.newest_seal() > before).then_some(()));
    }

    /// How often the partner has each content.
    fn arrived(&self) -> BTreeMap<[u8; 32], usize> {
        let mut times = BTreeMap::new();
        for (_, content) in files_in(&self.root.path().join("warehouse")) {
            *times.entry(sha256(&content)).or_default() += 1;
        }
        times
    }

    fn wait_until_arrived<'a>(&self, given: impl IntoIterator<Item = &'a Given>) {
        let given: Vec<_> = given.into_iter().collect();
        eventually("files at the partner's", PATIENCE, || {
            let arrived = self.arrived();
            given.iter().all(|given| arrived.contains_key(&given.hash)).then_some(())
        });
    }

    fn assert_once<'a>(&self, given: impl IntoIterator<Item = &'a Given>) {
        let arrived = self.arrived();
        for given in given {
            assert_eq!(arrived.get(&given.hash), Some(&1), "times that {} arrived", given.name);
        }
    }
}
