use super::decisions::WAITS;
use super::*;
use proptest::prelude::*;

fn judged(status: u16, held: Option<u64>, from: u64) -> Judged {
    judge(StatusCode::from_u16(status).unwrap(), held, from, 1000)
}

#[test]
fn a_416_says_where_to_go_on() {
    assert_eq!(judged(416, Some(300), 500), Judged::GoOn(300));
    assert_eq!(judged(416, Some(700), 0), Judged::GoOn(700));
    assert_eq!(judged(416, Some(1000), 500), Judged::GoOn(1000));
    assert_eq!(judged(416, Some(0), 500), Judged::GoOn(0));
    // More than all, the very byte that was refused, nothing: that leads nowhere.
    for held in [Some(1001), Some(500), None] {
        assert_eq!(judged(416, held, 500), Judged::Refused, "{held:?}");
    }
    assert_eq!(judged(416, Some(0), 0), Judged::Refused);
}

#[test]
fn what_a_server_without_restart_answers_is_told_from_an_answer_to_the_message() {
    // Firewalls for web servers refuse Content-Range in a request with 403, 405 or 406.
    for status in [400, 403, 405, 406, 417, 501] {
        assert_eq!((judged(status, None, 0), judged(status, None, 5)), (Judged::Refused, Judged::Refused));
    }
    for status in [409, 412, 422, 500] {
        assert_eq!((judged(status, None, 0), judged(status, None, 5)), (Judged::Take, Judged::Refused));
    }
    for status in [200, 202, 301, 401, 404, 408, 411, 413, 429, 502, 503, 504] {
        for from in [0, 5] {
            assert_eq!(judged(status, Some(7), from), Judged::Take, "{status}");
        }
    }
}

#[test]
fn a_lost_connection_is_told_from_other_failures() {
    let lost = |kind, retry| is_lost(&Error::new(kind, retry, "test"));
    assert!(lost(ErrorKind::Unreachable, Retry::Transient) && lost(ErrorKind::Unreachable, Retry::Ambiguous));
    assert!(lost(ErrorKind::Timeout, Retry::Transient) && !lost(ErrorKind::Timeout, Retry::Ambiguous));
    for kind in [ErrorKind::ClaimLost, ErrorKind::Internal, ErrorKind::StorageFull, ErrorKind::Busy] {
        assert!(!lost(kind, Retry::Transient), "{kind:?}");
    }
    assert!(!lost(ErrorKind::Unreachable, Retry::Permanent));
}

#[test]
fn only_what_may_come_of_wrong_bytes_is_sent_again_whole() {
    assert!(is_about_bytes(&Disposition::Error(DispositionError::IntegrityCheckFailed)));
    for other in [
        Disposition::Processed,
        Disposition::Error(DispositionError::UnknownTradingPartner),
        Disposition::Error(DispositionError::InsufficientMessageSecurity),
        Disposition::Failure("unsupported format".into()),
    ] {
        assert!(!is_about_bytes(&other), "{other}");
    }
}

proptest! {
    /// Whatever a partner says, an attempt ends; while it gets further, its connection is made again.
    #[test]
    fn an_attempt_ends(held in proptest::collection::vec(0_u64..50, 0..2000)) {
        let mut tries = Tries::default();
        let (mut waits, mut most, mut idle) = (0_usize, 0, 0);
        for held in held.into_iter().chain(std::iter::repeat_n(50, WAITS.len() + 1)) {
            if tries.next_wait().is_none() {
                break;
            }
            waits += 1;
            idle = if held > most { 0 } else { idle + 1 };
            most = most.max(held);
            tries.reached(held);
            prop_assert!(idle <= WAITS.len());
        }
        prop_assert!(waits <= 51 * (WAITS.len() + 1));
        prop_assert!(tries.next_wait().is_none());
    }
}
