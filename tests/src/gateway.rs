//! A gateway as a child process.

use crate::watchdog::Watchdog;
use crate::{eventually, free_port};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The binary under test.
pub fn waybill() -> PathBuf {
    // Beside this test's own binary: target/<profile>/deps/… → target/<profile>/waybill-under-test.
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|path| path.join("waybill-under-test").is_file());
    profile.expect("waybill-under-test is not built").join("waybill-under-test")
}

/// Runs a command of the binary to its end: whether it succeeded, standard output, standard error.
pub fn run(arguments: &[&str]) -> (ExitStatus, String, String) {
    let output = Command::new(waybill()).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

/// What a gateway is started with.
pub struct GatewayBuilder {
    root: PathBuf,
    name: String,
    database: Option<String>,
    staging: Option<PathBuf>,
    more: String,
    variables: Vec<(String, String)>,
}

impl GatewayBuilder {
    /// A gateway whose own files lie in `root/NAME`; definitions may reach everything below `root`.
    pub fn new(root: &Path, name: &str) -> Self {
        Self {
            root: root.to_owned(),
            name: name.to_owned(),
            database: None,
            staging: None,
            more: String::new(),
            variables: Vec::new(),
        }
    }

    /// Another database than SQLite in its own directory.
    #[must_use]
    pub fn database(mut self, url: Option<&str>) -> Self {
        self.database = url.map(str::to_owned);
        self
    }

    /// A staging directory shared with other nodes.
    #[must_use]
    pub fn staging(mut self, directory: &Path) -> Self {
        self.staging = Some(directory.to_owned());
        self
    }

    /// More settings, as TOML sections (not `node`, `listen`, `roots`, `egress`, `database`, `staging`).
    #[must_use]
    pub fn settings(mut self, toml: &str) -> Self {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// An environment variable of the process, such as WAYBILL_CRASH_AT.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the settings; nothing is started yet.
    pub fn build(self) -> Gateway {
        let own = self.root.join(&self.name);
        std::fs::create_dir_all(own.join("definitions")).unwrap();
        let (console, http) = (free_port(), free_port());
        let database_url = self.database.clone();
        let database = self.database.map(|url| format!("[database]\nurl = \"{url}\"\n")).unwrap_or_default();
        let staging = self.staging.unwrap_or_else(|| own.join("state/staging"));
        let text = format!(
            "state_directory = \"state\"\n[node]\nname = \"{name}\"\nlease = \"6s\"\n{database}\
             [listen]\nconsole = \"127.0.0.1:{console}\"\n[listen.http.partners]\naddress = \"127.0.0.1:{http}\"\n\
             [staging]\ndirectory = \"{staging}\"\nmin_free = \"16MiB\"\n\
             [roots]\nfiles = [\"{root}\"]\nsecrets = [\"{root}\"]\n[egress]\nallow_loopback = true\n{more}",
            name = self.name,
            staging = staging.display(),
            root = self.root.display(),
            more = self.more,
        );
        std::fs::write(own.join("waybill.toml"), text).unwrap();
        Gateway {
            own,
            console,
            http,
            database_url,
            variables: self.variables,
            serve: Vec::new(),
            program: waybill(),
            user: None,
            child: None,
            watchdog: None,
        }
    }
}

/// A gateway; killed when dropped, and by its watchdog when this process is killed.
pub struct Gateway {
    own: PathBuf,
    /// The console's port.
    pub console: u16,
    /// The port at which it receives AS2 (path `/as2`).
    pub http: u16,
    database_url: Option<String>,
    variables: Vec<(String, String)>,
    serve: Vec<String>,
    program: PathBuf,
    user: Option<u32>,
    child: Option<Child>,
    /// Dropped after the child has ended.
    watchdog: Option<Watchdog>,
}

impl Gateway {
    /// Its own directory.
    pub fn directory(&self) -> &Path {
        &self.own
    }

    /// Its settings file.
    pub fn config(&self) -> PathBuf {
        self.own.join("waybill.toml")
    }

    /// The URL of its database.
    pub fn database_url(&self) -> String {
        let own = || format!("sqlite://{}", self.own.join("state/waybill.db").display());
        self.database_url.clone().unwrap_or_else(own)
    }

    /// Writes a document of definitions.
    pub fn define(&self, name: &str, toml: &str) {
        std::fs::write(self.own.join("definitions").join(name), toml).unwrap();
    }

    /// Sets or clears a variable for the next start.
    pub fn set_variable(&mut self, name: &str, value: Option<&str>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts with these arguments of `serve` from the next time on.
    pub fn serve_with(&mut self, arguments: &[&str]) {
        self.serve = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    }

    /// Runs as another user from the next start on. A copy of the program lies in its own directory: that user may not
    /// reach the one under test.
    pub fn run_as(&mut self, user: u32) {
        self.program = self.own.join("waybill");
        std::fs::copy(waybill(), &self.program).unwrap();
        self.user = Some(user);
    }

    /// Starts the process without waiting.
    pub fn spawn(&mut self) {
        let log = File::options().append(true).create(true).open(self.own.join("log")).unwrap();
        let mut command = Command::new(&self.program);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
            .arg("--config")
            .arg(self.config())
            .arg("serve")
            .arg("--definitions")
            .arg(self.own.join("definitions"))
            .args(&self.serve);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // As the service and the image have it.
        command.env("MALLOC_ARENA_MAX", "2");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().unwrap();
        self.watchdog = Some(Watchdog::over(&child));
        self.child = Some(child);
    }

    /// Starts the process and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn();
        eventually("the gateway is ready", Duration::from_secs(60), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the gateway ended: {ended:?}\n{}", self.log());
            (self.readiness()?.0 == 200).then_some(())
        });
    }

    /// What `/metrics` answers.
    pub fn metrics(&self) -> String {
        get(self.console, "/metrics").unwrap().1
    }

    /// What `/readyz` answers: status and the reasons. `None` when nobody answers.
    pub fn readiness(&self) -> Option<(u16, String)> {
        get(self.console, "/readyz")
    }

    /// Waits until the node says that it is not ready, with these words among the reasons.
    pub fn wait_until_not_ready(&self, words: &str) {
        eventually(&format!("a node that is not ready: {words}"), Duration::from_secs(60), || {
            self.readiness().filter(|(status, reasons)| *status == 503 && reasons.contains(words))
        });
    }

    /// Waits until the node says that it is ready.
    pub fn wait_until_ready(&self) {
        eventually("a node that is ready", Duration::from_secs(60), || {
            self.readiness().filter(|(status, _)| *status == 200)
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the gateway runs").id()
    }

    /// Kills it as a power switch would, and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the gateway runs");
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        child.wait().unwrap()
    }

    /// Whether the process runs still.
    pub fn is_running(&self) -> bool {
        // One that nobody waited for is a zombie: its state stands behind its name in parentheses.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    /// Whether the process has ended by itself (a crash point), and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Sends a signal by name: STOP, CONT …
    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .arg(format!("-{name}"))
                .arg(self.pid().to_string())
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.own.join("log")).unwrap_or_default()
    }

    /// Runs a command with this gateway's settings, as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let config = self.config();
        let mut all = vec!["--config", config.to_str().unwrap(), "--output", "json"];
        all.extend(arguments);
        let (status, out, error) = run(&all);
        serde_json::from_str(&out)
            .unwrap_or_else(|e| panic!("{arguments:?} {status}: {e}\n{out}\n{error}\n{}", self.log()))
    }

    /// Waits until so many transfers are in a state.
    pub fn wait_for(&self, state: &str, count: usize, patience: Duration) -> Vec<Value> {
        eventually(&format!("{count} transfers {state}\n{}", self.log()), patience, || {
            let found = self.json(&["transfer", "list", "--state", state, "--limit", "1000"]);
            let found = found.as_array().unwrap();
            (found.len() >= count).then(|| found.clone())
        })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A GET over plain HTTP: status and body. `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
