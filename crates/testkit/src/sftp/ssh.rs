//! The SSH side: connections, logins, and one SFTP session on each channel.

use super::switches::Switches;
use super::{PASSWORD, USER, session};
use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, SshId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, host_key: PrivateKey, switches: Arc<Switches>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(connection(stream, host_key.clone(), Arc::clone(&switches)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, host_key: PrivateKey, switches: Arc<Switches>) {
    let greeting = switches.greeting(|greeting| greeting.clone());
    if stream.set_nodelay(true).is_err() || stream.write_all(&greeting.before).await.is_err() {
        return;
    }
    let mut config = Config {
        keys: vec![host_key],
        // Nobody guesses here.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        ..Config::default()
    };
    if !greeting.identification.is_empty() {
        config.server_id = SshId::Standard(greeting.identification.clone().into());
    }
    let cut = Arc::new(Notify::new());
    let handler =
        Login { switches, banner: greeting.banner, channels: HashMap::new(), cut: Arc::clone(&cut) };
    if let Ok(running) = russh::server::run_stream(Arc::new(config), stream, handler).await {
        let handle = running.handle();
        tokio::select! {
            _ = running => {}
            () = cut.notified() => {
                let _ = handle.disconnect(russh::Disconnect::ByApplication, "cut by the test".into(), String::new()).await;
            }
        }
    }
}

struct Login {
    switches: Arc<Switches>,
    banner: Option<String>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    /// Ends the connection.
    cut: Arc<Notify>,
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if user == USER && password == PASSWORD { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(if user == USER { Auth::Accept } else { Auth::reject() })
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.banner.clone())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.channels.remove(&channel) {
            Some(opened) if name == "sftp" => {
                session.channel_success(channel)?;
                let (switches, cut) = (Arc::clone(&self.switches), Arc::clone(&self.cut));
                tokio::spawn(async move {
                    // A client that goes in the middle of a packet is nothing to report.
                    let _ = session::serve(opened.into_stream(), switches).await;
                    cut.notify_one();
                });
            }
            _ => session.channel_failure(channel)?,
        }
        Ok(())
    }
}
