use super::*;
use proptest::prelude::*;
use std::collections::HashSet;
use std::hash::Hash;

/// All states that events can lead to from a beginning.
fn reachable<S: Lifecycle + Hash>(from: S, events: &[S::Event]) -> HashSet<S> {
    let mut found = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(state) = open.pop() {
        for event in events {
            if let Ok(next) = transition(state, *event)
                && found.insert(next)
            {
                open.push(next);
            }
        }
    }
    found
}

#[test]
fn every_state_is_reached_and_every_open_one_can_end() {
    assert_eq!(reachable(OfferState::Seen, &OfferEvent::ALL).len(), OfferState::ALL.len());
    assert_eq!(reachable(TransferState::Staged, &TransferEvent::ALL).len(), TransferState::ALL.len());
    assert_eq!(reachable(DeliveryState::Pending, &DeliveryEvent::ALL).len(), DeliveryState::ALL.len());
    for state in DeliveryState::ALL {
        assert!(reachable(*state, &DeliveryEvent::ALL).iter().any(|s| s.is_final()), "{state}");
    }
    for state in TransferState::ALL {
        assert!(reachable(*state, &TransferEvent::ALL).iter().any(|s| s.is_final()), "{state}");
    }
}

#[test]
fn a_person_alone_moves_what_is_final() {
    for state in DeliveryState::ALL.iter().filter(|s| s.is_final()) {
        for event in DeliveryEvent::ALL {
            let by_itself = transition(*state, event).is_ok()
                && !matches!(event, DeliveryEvent::Cancel | DeliveryEvent::Requeue);
            let negative_receipt = (*state, event) == (DeliveryState::Delivered, DeliveryEvent::Fail);
            assert_eq!(by_itself, negative_receipt, "{state} {event:?}");
        }
    }
    for state in TransferState::ALL.iter().filter(|s| !s.is_final() && **s != TransferState::Held) {
        assert_eq!(transition(*state, TransferEvent::Hold), Ok(TransferState::Held));
    }
}

#[test]
fn a_refused_event_says_what_and_where() {
    let error = transition(DeliveryState::Delivered, DeliveryEvent::Claim).unwrap_err();
    assert_eq!(error.to_string(), "a Delivery in state 'delivered' does not allow 'Claim'");
}

#[test]
fn stable_names_read_back() {
    for state in DeliveryState::ALL {
        assert_eq!(DeliveryState::parse(state.as_str()), Some(*state));
    }
    assert_eq!(TransferState::parse("lost"), None);
}

fn any_delivery() -> impl Strategy<Value = DeliveryState> {
    proptest::sample::select(DeliveryState::ALL)
}

proptest! {
    #[test]
    fn any_walk_stays_lawful(events in proptest::collection::vec(proptest::sample::select(&DeliveryEvent::ALL[..]), 0..60)) {
        let mut state = DeliveryState::Pending;
        let mut claims = 0_i32;
        for event in events {
            let before = state;
            match transition(state, event) {
                Ok(next) => {
                    state = next;
                    if event == DeliveryEvent::Claim { claims += 1; }
                    // Nothing is delivered that nobody sent.
                    prop_assert!(state != DeliveryState::Delivered || claims > 0);
                }
                Err(_) => prop_assert_eq!(before, state),
            }
        }
    }

    #[test]
    fn a_transfer_ends_when_and_only_when_all_deliveries_did(states in proptest::collection::vec(any_delivery(), 0..6)) {
        let ended = TransferState::ended_by(&states);
        prop_assert_eq!(ended.is_some(), !states.is_empty() && states.iter().all(|s| s.is_final()));
        prop_assert_eq!(ended == Some(TransferEvent::Complete),
            !states.is_empty() && states.iter().all(|s| *s == DeliveryState::Delivered));
        if let Some(event) = ended {
            prop_assert!(transition(TransferState::Delivering, event).unwrap().is_final());
        }
    }
}
