use super::told;
use crate::check::tests::check;

fn endpoint(rest: &str) -> String {
    format!("[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\n{rest}\n")
}

#[test]
fn limits_of_endpoints_and_pools() {
    let flow = |rest: &str| {
        format!(
            "{}[flow.f]\nsource = {{ endpoint = \"e\", after = \"delete\", read_limit = 10 }}\n{rest}\n\
             [[flow.f.destination]]\nendpoint = \"folder\"\n",
            endpoint("connections = 2")
        )
    };
    told(&[
        (&endpoint("pool = \"slow\""), "error: endpoint.e.pool: there is no worker_pool 'slow'"),
        (
            "[worker_pool.slow]\nsize = 0",
            "error: worker_pool.slow.size: must be a whole number from 1 to 4096",
        ),
        ("[worker_pool.slow]", "error: worker_pool.slow: 'size' is missing"),
        (
            &endpoint("throttle = { bandwidth = \"10MiB\" }"),
            "error: endpoint.e.throttle.bandwidth: must be a bandwidth such as \"512KiB/s\"",
        ),
        (
            &endpoint("throttle = { bandwidth = \"10/s\" }"),
            "error: endpoint.e.throttle.bandwidth: must be at least \"1KiB/s\"",
        ),
        (
            &endpoint("throttle = { between = { from = \"08:00\", to = \"18:00\" } }"),
            "error: endpoint.e.throttle.between: 'bandwidth' is missing",
        ),
        (
            &endpoint("throttle = { between = { from = \"8\", to = \"18:00\", bandwidth = \"1MiB/s\" } }"),
            "error: endpoint.e.throttle.between.from: \"8\" is not a time of day",
        ),
        (&endpoint("throttle = { between = [] }"), "error: endpoint.e.throttle.between: is empty"),
        (
            &endpoint("throttle = { time_zone = \"Mars\" }"),
            "error: endpoint.e.throttle.time_zone: \"Mars\" is not a time zone",
        ),
        (
            &endpoint("connections = 2\nthrottle = { deliveries = 3 }"),
            "warning: endpoint.e.throttle.deliveries: is more than 'connections', which is 2",
        ),
        (
            &endpoint("connections = 2\npool = \"slow\"\n[worker_pool.slow]\nsize = 3"),
            "warning: endpoint.e.pool: has 3 deliveries, but 'connections' is 2",
        ),
        (
            &flow(""),
            "warning: flow.f.source.read_limit: is more than the endpoint's 'connections', which is 2",
        ),
        (&flow("pool = \"slow\""), "error: flow.f.pool: there is no worker_pool 'slow'"),
    ]);
}

#[test]
fn limits_come_out_as_they_are_written() {
    let text = "pool = \"default\"\nthrottle = { deliveries = 2, queue = 500, bandwidth = \"10MiB/s\", time_zone = \
                \"Europe/Berlin\", between = [{ from = \"08:00\", to = \"18:00\", days = \"mon-fri\", bandwidth = \
                \"1MiB/s\" }] }\n[worker_pool.slow]\nsize = 3";
    let (definitions, problems) = check(&endpoint(text));
    assert!(problems.is_empty(), "{problems:#?}");
    let definitions = definitions.unwrap();
    let endpoint = &definitions.endpoints["e"];
    assert_eq!(endpoint.pool.as_deref(), Some("default"));
    assert_eq!((endpoint.throttle.deliveries, endpoint.throttle.queue), (Some(2), Some(500)));
    let bandwidth = |at: &str| endpoint.throttle.bandwidth_at(at.parse().unwrap());
    assert_eq!(bandwidth("2026-11-27T07:30:00Z"), Some(1 << 20));
    assert_eq!(bandwidth("2026-11-28T07:30:00Z"), Some(10 << 20));
    assert_eq!(definitions.worker_pools["slow"].size, 3);
}
