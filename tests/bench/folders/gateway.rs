//! The whole way of the same files, through a gateway on SQLite, from its start to the last file's arrival.

use crate::folders::site::{Site, measure};
use crate::folders::{Times, at_once, timed};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;
use suites::{GatewayBuilder, eventually};

/// From a local directory to the server, and back.
pub(crate) fn whole(site: &Site, place: &Path, [large, small]: [&Path; 2]) -> Times {
    let count = Cell::new(0);
    let copy = |is_upload: bool| {
        let count = &count;
        move |local: &Path, directory: &str| {
            count.set(count.get() + 1);
            one(site, place, &format!("gateway-{}", count.get()), local, directory, is_upload);
        }
    };
    let seconds = [(large, true), (large, false), (small, true), (small, false)]
        .map(|(local, is_upload)| timed(site, place, local, is_upload, &copy(is_upload)));
    Times { name: "Waybill, whole flow".into(), seconds }
}

fn one(site: &Site, place: &Path, name: &str, local: &Path, directory: &str, is_upload: bool) {
    let mut gateway = GatewayBuilder::new(place, name).build();
    let settings = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), format!("{settings}[limits]\ndeliveries = {}\n", at_once().max(32)))
        .unwrap();
    let (from, to) = if is_upload { ("local", "site") } else { ("site", "local") };
    gateway.define(
        "flow.toml",
        &format!(
            "{}[endpoint.local]\ntransport = \"file\"\nurl = \"file://{}\"\n[flow.copy]\n\
             source = {{ endpoint = \"{from}\", mask = \"*\", every = \"2s\", stable_for = \"0s\", read_limit = 0, after = \"keep\" }}\n\
             [[flow.copy.destination]]\nendpoint = \"{to}\"\n",
            site.document(directory, gateway.directory()),
            local.display(),
        ),
    );
    let (expected, arriving) = match is_upload {
        true => (measure(local), site.files.join(directory)),
        false => (measure(&site.files.join(directory)), local.to_owned()),
    };
    gateway.start();
    eventually("all files are there", Duration::from_secs(3600), || {
        (names(&arriving) >= expected.0 && measure(&arriving) == expected).then_some(())
    });
    drop(gateway);
    std::fs::remove_dir_all(place.join(name)).unwrap();
}

/// How many names a directory has; looking at each file would take the time of those who copy.
fn names(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}
