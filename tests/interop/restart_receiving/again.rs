//! Bytes that come again before a message goes on: the connection over which they come may break, or hang, as any other.

use super::{KEPT, begin, break_off, held, started};
use crate::hub::{PATIENCE, random};
use crate::restart_wire::{is_processed, rest};
use std::io::{ErrorKind, Read};
use suites::eventually;

#[test]
fn a_connection_that_breaks_or_hangs_while_bytes_come_again_gives_its_message_up() {
    let hub = started(KEPT);
    let payload = random(8 << 20);
    let message = hub.good("again.bin", &payload);
    let is = break_off(&hub, &message, 0, message.body.len() - 1000);
    let upto = usize::try_from(is / 2).unwrap();
    assert!(upto > 1 << 20, "{is}");
    // It breaks: this is on record, and what was held stays.
    assert_eq!(break_off(&hub, &message, 1, upto), is);
    // It hangs: nothing more comes, and nobody closes it.
    let mut hanging = begin(&hub, &message, 1, upto);
    eventually("the message goes on", PATIENCE, || {
        (hub.events("message.continued").len() == 2).then_some(())
    });
    assert_eq!(held(&hub), is);
    // It had ended before that was told.
    assert_eq!(hub.events("message.partial_kept").len(), 3);
    is_processed(&rest(&message, is).post(hub.gateway.http).unwrap());
    let mut said = Vec::new();
    if let Err(error) = hanging.read_to_end(&mut said) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    assert!(hub.wait_for_file("again.bin") == payload, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
}
