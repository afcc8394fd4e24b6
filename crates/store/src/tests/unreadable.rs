//! One row that this version cannot read hides no other: not in lists, and not from the work.

use super::fixture::{claim, claim_one, delivered, failed, lease, now, recorded};
use crate::testing::{TestStore, both, event};
use crate::{ConnectionFilter, EventFilter, NewUser, Page, TransferFilter};
use model::{
    ConnectionId, ConnectionOpened, Direction, Protocol, Purpose, Role, Secret, Security, Timestamp,
};
use uuid::Uuid;

async fn connection(store: &TestStore, at: Timestamp) -> Uuid {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::now_v7();
    let node: model::NodeName = "n1".parse().unwrap();
    let journal = crate::Journal::open(crate::JournalSettings::new(dir.path()), node.clone(), at).unwrap();
    let opened = ConnectionOpened {
        id: ConnectionId::new(id),
        at,
        node,
        direction: Direction::Outbound,
        protocol: Protocol::Sftp,
        purpose: Purpose::Deliver,
        endpoint: Some("globex".into()),
        host: None,
        remote: None,
        local: None,
        proxy: None,
        security: Security::None,
        control: None,
        through: None,
    };
    journal.append(crate::JournalEntry::Opened(opened)).await.unwrap();
    journal.ship_pending(store, at).await.unwrap();
    id
}

fn literal(store: &TestStore, id: Uuid) -> String {
    if store.url.starts_with("sqlite:") { format!("x'{}'", id.simple()) } else { format!("'{id}'") }
}

both! {
    every_list_shows_the_rest(store) {
        let lease = lease(&store, "n1").await;
        let (_, good) = recorded(&store, &lease, "a", &["x"]).await;
        let (_, bad) = recorded(&store, &lease, "b", &["x"]).await;
        for one in claim(&store, &lease).await {
            store.finish(&one.claim, failed(false), now(), vec![]).await.unwrap();
        }
        let (seen, unseen) = (connection(&store, now()).await, connection(&store, now()).await);
        store.append_events(vec![event(1), event(2)]).await.unwrap();
        for name in ["ada", "bob"] {
            let user = NewUser { name: name.into(), password_hash: Secret::new("x".into()), role: Role::Viewer };
            store.create_user(user, now(), vec![]).await.unwrap();
        }
        let (transfer, other) = (literal(&store, bad.transfer.id.uuid()), literal(&store, unseen));
        for sql in [
            format!("UPDATE connections SET protocol = 'quic' WHERE id = {other}"),
            format!("UPDATE transfers SET state = 'pondering' WHERE id = {transfer}"),
            format!("UPDATE deliveries SET file_name = '%zz' WHERE transfer_id = {transfer}"),
            "UPDATE users SET role = 'wizard' WHERE name = 'bob'".to_owned(),
        ] {
            assert_eq!(store.tamper(&sql).await, 1, "{sql}");
        }
        let page = Page::first(50);

        let found = store.connections(&ConnectionFilter::default(), page).await.unwrap();
        assert_eq!(found.rows.iter().map(|row| row.id.uuid()).collect::<Vec<_>>(), [seen]);
        assert_eq!(found.unreadable[0].id, Some(unseen));
        assert!(found.unreadable[0].error.contains("quic"), "{:?}", found.unreadable);
        // A page that ends with such a row goes on behind it.
        let first = store.connections(&ConnectionFilter::default(), Page::first(1)).await.unwrap();
        assert_eq!((first.rows.len(), first.unreadable.len()), (0, 1));
        let behind = Page { after: first.next, limit: 1 };
        let second = store.connections(&ConnectionFilter::default(), behind).await.unwrap();
        assert_eq!(second.rows[0].id.uuid(), seen);

        let found = store.transfers(&TransferFilter::default(), page).await.unwrap();
        assert_eq!(found.rows.iter().map(|row| row.id).collect::<Vec<_>>(), [good.transfer.id]);
        assert!(found.unreadable[0].error.contains("pondering"), "{:?}", found.unreadable);

        let (users, unreadable) = store.users().await.unwrap();
        assert_eq!(users.len(), 1);
        assert!(unreadable[0].error.contains("wizard"), "{unreadable:?}");

        let overview = store.overview(now()).await.unwrap();
        assert_eq!((overview.failing.len(), overview.unreadable.len()), (1, 1));

        // Of a transfer that can be read, what cannot be is named.
        store.tamper(&format!("UPDATE transfers SET state = 'failed' WHERE id = {transfer}")).await;
        let waybill = store.waybill(bad.transfer.id).await.unwrap().unwrap();
        assert_eq!((waybill.deliveries.len(), waybill.unreadable.len()), (0, 1));

        if store.url.starts_with("sqlite:") {
            // Columns that do not even hold what a column of theirs holds.
            store.tamper("UPDATE audit_events SET detail = 'no json' WHERE position = 1").await;
            let last = "(SELECT max(position) FROM audit_events)";
            store.tamper(&format!("UPDATE audit_events SET at = 'never' WHERE position = {last}")).await;
        } else {
            store.tamper("UPDATE audit_events SET detail = '[]' WHERE id = (SELECT id FROM audit_events ORDER BY at LIMIT 1)").await;
        }
        let found = store.events(&EventFilter::default(), page).await.unwrap();
        assert!(found.rows.len() >= 3);
        assert_eq!(found.unreadable.len(), if store.url.starts_with("sqlite:") { 2 } else { 1 });
        store.overview(now()).await.unwrap();
        store.metrics(now()).await.unwrap();
    }

    the_work_goes_on_around_it(store) {
        let lease = lease(&store, "n1").await;
        let (bad_offer, bad) = recorded(&store, &lease, "b", &["x"]).await;
        let (good_offer, good) = recorded(&store, &lease, "a", &["x"]).await;
        let (transfer, offer) =
            (literal(&store, bad.transfer.id.uuid()), literal(&store, bad_offer.uuid()));
        store.tamper(&format!("UPDATE transfers SET kind = 'riddle' WHERE id = {transfer}")).await;
        store.tamper(&format!("UPDATE offers SET path = '%zz' WHERE id = {offer}")).await;
        let to_settle = store.offers_to_settle("orders", "acme", now(), 10).await.unwrap();
        assert_eq!(to_settle.iter().map(|due| due.offer.id).collect::<Vec<_>>(), [good_offer]);
        let one = claim_one(&store, &lease).await;
        assert_eq!(one.transfer.id, good.transfer.id);
        store.finish(&one.claim, delivered(), now(), vec![]).await.unwrap();
        // Put off, with its reason on show, and not claimed again at once.
        assert!(claim(&store, &lease).await.is_empty());
        store.tamper(&format!("UPDATE transfers SET kind = 'payload' WHERE id = {transfer}")).await;
        let waybill = store.waybill(bad.transfer.id).await.unwrap().unwrap();
        assert!(waybill.deliveries[0].error.as_deref().unwrap().contains("cannot be read"));
        assert!(waybill.deliveries[0].attempts.is_empty());
        assert!(waybill.deliveries[0].due_at > now());
    }
}
