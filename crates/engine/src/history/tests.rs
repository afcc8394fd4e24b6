use super::*;
use testkit::defined;
use testkit::fake::SPEC;

struct Nothing;

#[async_trait]
impl FlowHistory for Nothing {
    async fn flow(&self, name: &str, revision: i64) -> Result<Option<FlowAt>> {
        Ok((revision < 1000).then(|| flow(name)))
    }
}

fn flow(name: &str) -> FlowAt {
    let poll = defined::poll("in", transport::folder::After::Delete);
    let destinations = vec![defined::destination(&SPEC, "out", &[])];
    let flow = Flow { destinations, ..defined::flow(name, poll) };
    FlowAt { flow: Arc::new(flow), transports: [("out".to_owned(), "fake".to_owned())].into() }
}

fn delivery(destination: &str) -> Delivery {
    Delivery {
        id: model::DeliveryId::new(uuid::Uuid::nil()),
        transfer: model::TransferId::new(uuid::Uuid::nil()),
        destination: destination.into(),
        endpoint: "out".into(),
        revision: None,
        file_name: "po.edi".into(),
        state: model::DeliveryState::Pending,
        attempt: 0,
        lane: None,
        due_at: model::Timestamp::default(),
        expires_at: None,
    }
}

#[test]
fn an_endpoint_that_speaks_another_transport_now_is_told() {
    let at = flow("orders");
    assert_eq!(at.destination(&delivery("out"), "fake").unwrap().name, "out");
    let other = at.destination(&delivery("out"), "as2").unwrap_err();
    assert!(other.to_string().contains("another transport"), "{other}");
    let unknown = at.destination(&delivery("elsewhere"), "fake").unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn a_bounded_number_of_flows_is_kept() {
    let kept = KeptFlows::new(Arc::new(Nothing));
    let in_force = Definitions::default();
    for revision in 1..1000 {
        kept.flow(&in_force, "orders", revision).await.unwrap();
    }
    assert_eq!(kept.kept.lock().unwrap().flows.len(), KEPT);
    let none = kept.flow(&in_force, "orders", 1000).await.unwrap_err();
    assert_eq!(none.retry(), model::Retry::Permanent);
}
