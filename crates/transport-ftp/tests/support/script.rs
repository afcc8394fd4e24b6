//! A scripted FTP server: a good one, but for what the script says. It keeps its files in memory.
#![allow(clippy::disallowed_methods, reason = "a server of the tests' own")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How the server answers NOOP while a transfer runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Noop {
    #[default]
    AtOnce,
    AfterTheTransfer,
    Never,
    /// With a code that says that it is not known.
    Unknown,
}

/// What happens to one use of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upset {
    pub verb: &'static str,
    /// Which use of it, over all connections, from 1; 0 for each.
    pub number: usize,
    /// Whether it is carried out.
    pub is_done: bool,
    /// Whether the server falls silent, instead of ending the connection.
    pub is_silent: bool,
}

/// What a scripted server does; everything else as a good one does.
#[derive(Clone, Default)]
pub struct Script {
    pub banner: Option<Vec<u8>>,
    /// The greeting is announced without end, once in each of these times.
    pub delays: Option<std::time::Duration>,
    /// Commands that are never answered.
    pub silent: &'static [&'static str],
    /// A command that is not answered.
    pub upset: Option<Upset>,
    /// What FEAT names beside MLST.
    pub features: &'static str,
    /// Answers by command.
    pub answers: &'static [(&'static str, &'static str)],
    /// What LIST and MLSD send.
    pub listing: Vec<u8>,
    /// Whether the listing never ends.
    pub endless: bool,
    /// Transfers by these commands end with the control connection closed in the answer's stead.
    pub drops: &'static [&'static str],
    /// Downloads are cut to so many bytes, their data connection closed in order, and answered like this.
    pub cuts: Option<(usize, &'static str)>,
    /// Bytes of an upload that are kept; `None` for all.
    pub keeps: Option<usize>,
    /// Whether an upload that is dropped leaves what had its name, as on servers that write to a hidden file first.
    pub hides: bool,
    /// Whether RNTO refuses a name that is taken.
    pub replaces_nothing: bool,
    /// Whether CWD refuses what is no directory.
    pub knows_directories: bool,
    /// Lines that are waited for in the middle of a download.
    pub waits_for: usize,
    pub noop: Noop,
    /// The address that PASV states, with this port or, for 0, that of a listener there.
    pub stated: Option<([u8; 4], u16)>,
    /// Before an active connection, somebody else connects as often.
    pub strangers: usize,
}

pub struct Scripted {
    pub port: u16,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    pub files: Files,
    upset: Arc<Mutex<Option<Upset>>>,
}

pub type Files = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

impl Scripted {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (said, files) = (Arc::new(Mutex::new(Vec::new())), Files::default());
        let (heard, kept) = (Arc::clone(&said), Arc::clone(&files));
        let upset = Arc::new(Mutex::new(script.upset));
        let (upsets, uses) = (Arc::clone(&upset), Arc::<Mutex<HashMap<String, usize>>>::default());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let session = Session {
                    stream: BufReader::new(stream),
                    script: script.clone(),
                    said: Arc::clone(&heard),
                    files: Arc::clone(&kept),
                    upset: Arc::clone(&upsets),
                    uses: Arc::clone(&uses),
                    data: None,
                    offset: 0,
                    renamed: Vec::new(),
                };
                tokio::spawn(session.serve());
            }
        });
        Self { port, said, files, upset }
    }

    /// From now on every command is answered.
    pub fn calm(&self) {
        *self.upset.lock().unwrap() = None;
    }

    /// The names of the files there.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .files
            .lock()
            .unwrap()
            .keys()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    pub fn said_bytes(&self) -> Vec<Vec<u8>> {
        self.said.lock().unwrap().clone()
    }

    pub fn count(&self, verb: &str) -> usize {
        self.said().iter().filter(|line| line.split(' ').next() == Some(verb)).count()
    }

    pub fn put(&self, name: &[u8], content: &[u8]) {
        self.files.lock().unwrap().insert(name.to_vec(), content.to_vec());
    }

    pub fn content(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.files.lock().unwrap().get(name).cloned()
    }
}

/// How the next data connection comes.
enum Data {
    Listening(TcpListener),
    Asked(SocketAddr),
}

struct Session {
    stream: BufReader<TcpStream>,
    script: Script,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    files: Files,
    upset: Arc<Mutex<Option<Upset>>>,
    uses: Arc<Mutex<HashMap<String, usize>>>,
    data: Option<Data>,
    offset: usize,
    renamed: Vec<u8>,
}

impl Session {
    async fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_ascii_end().to_vec();
        self.said.lock().unwrap().push(line.clone());
        Some(line)
    }

    async fn say(&mut self, answer: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(answer.as_ref()).await.ok()
    }

    async fn serve(mut self) -> Option<()> {
        while let Some(delay) = self.script.delays {
            self.say("120 ready in 5 minutes\r\n").await?;
            tokio::time::sleep(delay).await;
        }
        let banner = self.script.banner.clone().unwrap_or_else(|| b"220 ready\r\n".to_vec());
        self.say(banner).await?;
        loop {
            let line = self.line().await?;
            let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let verb = String::from_utf8_lossy(&line[..end]).into_owned();
            let argument = line.get(end + 1..).unwrap_or_default().to_vec();
            if self.script.silent.contains(&verb.as_str()) {
                std::future::pending::<()>().await;
            }
            let upset = self.upset_of(&verb);
            if let Some(Upset { is_done: false, is_silent, .. }) = upset {
                return leave(is_silent).await;
            }
            if let Some((_, answer)) = self.script.answers.iter().find(|(of, _)| *of == verb) {
                self.say(answer).await?;
                continue;
            }
            let answer = self.answer(&verb, argument).await?;
            if let Some(Upset { is_silent, .. }) = upset {
                return leave(is_silent).await;
            }
            if self.script.drops.contains(&verb.as_str()) {
                return None;
            }
            self.say(answer).await?;
        }
    }

    /// Whether files are below a path.
    fn is_directory(&self, path: &[u8]) -> bool {
        let begin = [path, b"/"].concat();
        self.files.lock().unwrap().keys().any(|name| name.starts_with(&begin))
    }

    /// What is to happen to this use of a command.
    fn upset_of(&self, verb: &str) -> Option<Upset> {
        let upset = (*self.upset.lock().unwrap()).filter(|upset| upset.verb == verb)?;
        let mut uses = self.uses.lock().unwrap();
        let used = uses.entry(verb.to_owned()).or_default();
        *used += 1;
        (upset.number == 0 || upset.number == *used).then_some(upset)
    }

    async fn answer(&mut self, verb: &str, argument: Vec<u8>) -> Option<String> {
        let size = || self.files.lock().unwrap().get(&argument).map(Vec::len);
        Some(match verb {
            "USER" => "331 password\r\n".to_owned(),
            "PASS" => "230 in\r\n".to_owned(),
            "PWD" => "257 \"/\"\r\n".to_owned(),
            "FEAT" => format!("211-\r\n MLST\r\n{}211 end\r\n", self.script.features),
            "NOOP" => "200 here\r\n".to_owned(),
            "MLST" => match size() {
                Some(size) => {
                    format!(
                        "250-\r\n type=file;size={size}; {}\r\n250 end\r\n",
                        String::from_utf8_lossy(&argument)
                    )
                }
                None if self.is_directory(&argument) => {
                    let name = String::from_utf8_lossy(&argument);
                    format!("250-\r\n type=dir; {name}\r\n250 end\r\n")
                }
                None => "550 no such file\r\n".to_owned(),
            },
            "SIZE" => match size() {
                Some(size) => format!("213 {size}\r\n"),
                None => "550 no such file\r\n".to_owned(),
            },
            "CWD" if self.script.knows_directories && argument != b"/" && !self.is_directory(&argument) => {
                "550 no such directory\r\n".to_owned()
            }
            "REST" => {
                self.offset = String::from_utf8_lossy(&argument).parse().ok()?;
                "350 from there\r\n".to_owned()
            }
            "RNFR" => {
                self.renamed = argument;
                "350 and to?\r\n".to_owned()
            }
            "RNTO" if self.script.replaces_nothing && size().is_some() => {
                "553 the name is taken\r\n".to_owned()
            }
            "RNTO" => {
                let moved = self.files.lock().unwrap().remove(&self.renamed);
                match moved {
                    Some(content) => {
                        self.files.lock().unwrap().insert(argument, content);
                        "250 fine\r\n".to_owned()
                    }
                    None => "550 no such file\r\n".to_owned(),
                }
            }
            "DELE" => match self.files.lock().unwrap().remove(&argument) {
                Some(_) => "250 fine\r\n".to_owned(),
                None => "550 no such file\r\n".to_owned(),
            },
            "EPSV" | "PASV" => {
                let (stated, other) = self.script.stated.unwrap_or(([127, 0, 0, 1], 0));
                let listener = TcpListener::bind(SocketAddr::from((stated, 0))).await.ok()?;
                let port = listener.local_addr().ok()?.port();
                self.data = Some(Data::Listening(listener));
                if self.script.stated.is_some() && verb == "PASV" {
                    let ([a, b, c, d], port) = (stated, if other == 0 { port } else { other });
                    format!("227 ({a},{b},{c},{d},{},{})\r\n", port / 256, port % 256)
                } else if verb == "EPSV" {
                    format!("229 (|||{port}|)\r\n")
                } else {
                    // Behind address translation, or somebody's trick.
                    format!("227 (10,99,99,99,{},{})\r\n", port / 256, port % 256)
                }
            }
            "EPRT" | "PORT" => {
                let text = String::from_utf8_lossy(&argument).into_owned();
                let parts: Vec<&str> = text.split(['|', ',']).collect();
                let address = match (verb, parts.as_slice()) {
                    ("EPRT", ["", "1", ip, port, ""]) => format!("{ip}:{port}"),
                    ("PORT", [a, b, c, d, high, low]) => {
                        let port = high.parse::<u16>().ok()? * 256 + low.parse::<u16>().ok()?;
                        format!("{a}.{b}.{c}.{d}:{port}")
                    }
                    _ => return Some("501 what?\r\n".to_owned()),
                };
                self.data = Some(Data::Asked(address.parse().ok()?));
                "200 fine\r\n".to_owned()
            }
            "LIST" | "MLSD" | "RETR" | "STOR" | "APPE" => return self.transfer(verb, argument).await,
            _ => "250 fine\r\n".to_owned(),
        })
    }

    async fn connected(&mut self) -> Option<TcpStream> {
        match self.data.take()? {
            Data::Listening(listener) => Some(listener.accept().await.ok()?.0),
            Data::Asked(address) => {
                for _ in 0..self.script.strangers {
                    let socket = TcpSocket::new_v4().ok()?;
                    socket.bind("127.0.0.2:0".parse().ok()?).ok()?;
                    let mut stranger = socket.connect(address).await.ok()?;
                    let _ = stranger.write_all(b"type=file; forged\r\n").await;
                }
                let socket = TcpSocket::new_v4().ok()?;
                socket.bind("127.0.0.1:0".parse().ok()?).ok()?;
                socket.connect(address).await.ok()
            }
        }
    }

    async fn transfer(&mut self, verb: &str, argument: Vec<u8>) -> Option<String> {
        if verb == "RETR" && !self.files.lock().unwrap().contains_key(&argument) {
            return Some("550 no such file\r\n".to_owned());
        }
        let mut data = self.connected().await?;
        self.say("150 here\r\n").await?;
        let mut owed = 0;
        match verb {
            "RETR" => {
                let content = self.files.lock().unwrap().get(&argument)?.clone();
                let content = content.get(std::mem::take(&mut self.offset)..)?.to_vec();
                if let Some((most, answer)) = self.script.cuts {
                    let _ = data.write_all(content.get(..most.min(content.len()))?).await;
                    let _ = data.shutdown().await;
                    return Some(answer.to_owned());
                }
                let (first, second) = content.split_at(content.len() / 2);
                data.write_all(first).await.ok()?;
                for _ in 0..self.script.waits_for {
                    self.line().await?;
                    match self.script.noop {
                        Noop::AtOnce => self.say("200 here\r\n").await?,
                        Noop::Unknown => self.say("502 not now\r\n").await?,
                        Noop::AfterTheTransfer => owed += 1,
                        Noop::Never => {}
                    }
                }
                // Whoever listens may be gone.
                let _ = data.write_all(second).await;
            }
            "STOR" | "APPE" => {
                let mut content = Vec::new();
                data.read_to_end(&mut content).await.ok()?;
                content.truncate(self.script.keeps.unwrap_or(content.len()));
                let mut files = self.files.lock().unwrap();
                if verb == "APPE" {
                    files.entry(argument).or_default().extend(content);
                } else if !self.script.hides {
                    files.insert(argument, content);
                }
            }
            _ => loop {
                if data.write_all(&self.script.listing).await.is_err() || !self.script.endless {
                    break;
                }
            },
        }
        drop(data);
        Some(format!("226 done\r\n{}", "200 here\r\n".repeat(owed)))
    }
}

/// The end of a session that does not answer.
async fn leave(is_silent: bool) -> Option<()> {
    if is_silent {
        std::future::pending::<()>().await;
    }
    None
}
