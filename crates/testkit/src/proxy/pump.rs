//! One connection through the proxy: two directions, each piece passed on as the behaviour says.

use super::{Behaviour, Counts, Direction, Ending, Open};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const PIECE: usize = 64 * 1024;

/// The most bytes under way on a long line in one direction; a sender waits then.
const ON_THE_LINE: usize = 32 << 20;

/// Why a direction stopped before its end.
enum Stop {
    Cut(Ending),
    HalfOpen,
    Broken,
}

/// Serves one connection to its end.
pub(super) async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    mut behaviour: watch::Receiver<Behaviour>,
    open: Open,
) -> io::Result<()> {
    loop {
        let now = *behaviour.borrow_and_update();
        if now != Behaviour::BlackHole {
            break;
        }
        silent(&mut behaviour).await;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else {
        return client.set_zero_linger();
    };
    // Small pieces must not wait for more: the test times what the proxy does, not the kernel.
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let stop = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let up = pump(from_client, to_server, Direction::Up, behaviour.clone(), &open.0);
        let down = pump(from_server, to_client, Direction::Down, behaviour.clone(), &open.0);
        match tokio::try_join!(up, down) {
            Ok(_) => return Ok(()),
            Err(stop) => stop,
        }
    };
    match stop {
        Stop::Cut(Ending::Close) => {
            let _ = tokio::join!(close(&mut client), close(&mut upstream));
            Ok(())
        }
        Stop::HalfOpen => {
            upstream.set_zero_linger()?;
            drop(upstream);
            if behaviour.wait_for(|now| *now != Behaviour::HalfOpen).await.is_err() {
                std::future::pending::<()>().await;
            }
            client.set_zero_linger()
        }
        Stop::Cut(Ending::Reset) | Stop::Broken => {
            client.set_zero_linger()?;
            upstream.set_zero_linger()
        }
    }
}

/// Waits for another behaviour; for ever when there will be none.
async fn silent(behaviour: &mut watch::Receiver<Behaviour>) {
    if behaviour.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends in order. A socket that is closed with unread bytes resets, so they are read, for a while.
async fn close(stream: &mut TcpStream) {
    let _ = stream.shutdown().await;
    let mut unread = [0; 4096];
    let drain = async { while matches!(stream.read(&mut unread).await, Ok(n) if n > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut behaviour: watch::Receiver<Behaviour>,
    counts: &Counts,
) -> Result<(), Stop> {
    let mut piece = vec![0; PIECE];
    let mut passed = 0_u64;
    loop {
        let now = *behaviour.borrow_and_update();
        let most = match now {
            Behaviour::BlackHole => {
                silent(&mut behaviour).await;
                continue;
            }
            Behaviour::HalfOpen => return Err(Stop::HalfOpen),
            Behaviour::Delay(by) => {
                let counted = |n| counts.passed(direction, n);
                if late(&mut from, &mut to, by, &mut behaviour, counted).await? {
                    return to.shutdown().await.map_err(|_| Stop::Broken);
                }
                continue;
            }
            Behaviour::Cut { direction: cut, after, how } if cut == direction => {
                match usize::try_from(after.saturating_sub(passed)).unwrap_or(PIECE) {
                    0 => return Err(Stop::Cut(how)),
                    left => left.min(PIECE),
                }
            }
            // Twenty pieces a second, so that the rate is even.
            Behaviour::Slow(rate) => usize::try_from(rate / 20).unwrap_or(PIECE).clamp(1, PIECE),
            _ => PIECE,
        };
        let n = tokio::select! {
            read = from.read(&mut piece[..most]) => read.map_err(|_| Stop::Broken)?,
            () = silent(&mut behaviour) => continue,
        };
        if let Behaviour::Slow(rate) = now {
            tokio::time::sleep(Duration::from_secs(1).mul_f64(n as f64 / rate.max(1) as f64)).await;
        }
        if n == 0 {
            // This way is done; the other may still have something to say.
            return to.shutdown().await.map_err(|_| Stop::Broken);
        }
        to.write_all(&piece[..n]).await.map_err(|_| Stop::Broken)?;
        passed += n as u64;
        counts.passed(direction, n as u64);
    }
}

/// A long line: each piece arrives so much later, and those behind it follow without waiting for it. Answers whether the
/// sender has ended; if not, the behaviour has changed.
async fn late(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    by: Duration,
    behaviour: &mut watch::Receiver<Behaviour>,
    counted: impl Fn(u64),
) -> Result<bool, Stop> {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_LINE / PIECE);
    let reading = async move {
        loop {
            let mut piece = vec![0; PIECE];
            let n = tokio::select! {
                read = from.read(&mut piece) => read.map_err(|_| Stop::Broken)?,
                () = silent(behaviour) => return Ok(false),
            };
            if n == 0 {
                return Ok(true);
            }
            piece.truncate(n);
            if send.send((Instant::now() + by, piece)).await.is_err() {
                return Err(Stop::Broken);
            }
        }
    };
    let writing = async {
        while let Some((due, piece)) = receive.recv().await {
            tokio::time::sleep_until(due).await;
            to.write_all(&piece).await.map_err(|_| Stop::Broken)?;
            counted(piece.len() as u64);
        }
        Ok(())
    };
    let (has_ended, ()) = tokio::try_join!(reading, writing)?;
    Ok(has_ended)
}
