//! What a transport declares, and what it checks beyond the types of its fields.

use crate::definition::{
    Definitions, DeliveryDirectory, Destination, Endpoint, Identity, KeyDefinition, Listener, Partner,
    PollEffects, PollSource, PublicKey, ReceiveSource,
};
use crate::schema::{Finding, Findings, TransportSpec, Values};
use crate::{CertificateExchangeFormat, HostKeyFormat, Result, Timestamp};

/// A transport's declaration and its own checks.
///
/// A check is asked of each definition once its fields could be read. It does no I/O, and reports every mistake at its
/// own field, in words for the person who wrote it. `definitions` holds what was read before and had no error:
/// certificates, keys, credentials and proxies, then identities, partners, listeners and endpoints, in this order.
pub trait Declaration: Send + Sync {
    /// The transport as data.
    fn spec(&self) -> &'static TransportSpec;

    /// The effects of a flow's polling on the source: whether it polls subdirectories, keeps files, and moves
    /// refused ones. By default: files of one directory, which are kept.
    fn poll_effects(&self, _poll: &PollSource) -> PollEffects {
        PollEffects { keeps_files: true, ..PollEffects::default() }
    }

    /// Where a destination of a flow with these options writes, below its endpoint's directory. By default in that directory
    /// itself.
    fn delivery_directory(&self, _flow: &str, _options: &Values) -> DeliveryDirectory {
        DeliveryDirectory::default()
    }

    /// Checks an identity that has a table of this transport. Paths begin at that table.
    fn check_identity(&self, _: &Identity, _definitions: &Definitions, _: &mut Findings<'_>) {}

    /// Checks a partner that has a table of this transport. Paths begin at that table.
    fn check_partner(&self, _: &Partner, _definitions: &Definitions, _: &mut Findings<'_>) {}

    /// Checks a listener.
    fn check_listener(&self, _: &Listener, _definitions: &Definitions, _: &mut Findings<'_>) {}

    /// Checks an endpoint. Its addresses may be left out: those that cannot be read are reported already.
    fn check_endpoint(&self, _: &Endpoint, _definitions: &Definitions, _: &mut Findings<'_>) {}

    /// Checks the source of a flow that polls an endpoint. Paths begin at the source. The endpoint's own mistakes are
    /// reported already, and it is not used if it has some.
    fn check_source(&self, _: &Endpoint, _: &PollSource, _: &mut Findings<'_>) {}

    /// Checks the source of a flow that receives by a listener. Paths begin at the source.
    fn check_received(&self, _: &Listener, _: &ReceiveSource, _: &mut Findings<'_>) {}

    /// Checks one destination of a flow. Paths begin at the destination; of the endpoint as for
    /// [`Declaration::check_source`].
    fn check_destination(&self, _: &Endpoint, _: &Destination, _: &mut Findings<'_>) {}

    /// Checks one destination of a flow that streams: each file is read from its source while it is sent, so neither its
    /// bytes nor its checksum are known before. Paths begin at the destination. By default nothing can be streamed there.
    fn check_streamed(&self, _: &Endpoint, _: &Destination, findings: &mut Findings<'_>) {
        let message = format!(
            "cannot be streamed to: transport '{}' needs the whole file before it sends it; remove 'stream' from the flow's source",
            self.spec().name
        );
        findings.error("endpoint", message);
    }

    /// The public half of a key in OpenSSH's form, from a transport that logs in with such keys; `None` from others, which is
    /// the default. Blocks for as long as decrypting the key takes.
    fn public_key(&self, _: &KeyDefinition) -> Option<Result<PublicKey>> {
        None
    }

    /// What the transport knows of the list of known hosts, if its servers show host keys; `None`, the default, for others.
    fn host_keys(&self) -> Option<&dyn HostKeyFormat> {
        None
    }

    /// How the transport writes messages about certificates, if it can exchange them; `None`, the default, for others.
    fn certificate_exchange(&self) -> Option<&dyn CertificateExchangeFormat> {
        None
    }

    /// Checks definitions beside each other, of all kinds, those of the transport's own sections included. `now` is for
    /// validity dates.
    fn check_definitions(&self, _: &Definitions, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }
}
