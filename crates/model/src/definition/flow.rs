//! A flow: source, steps, destinations.

use crate::connection::words;
use crate::schedule::{Expectation, Schedule};
use crate::schema::{TransportSpec, Values, joined};
use crate::{
    DirectoryTemplate, Error, ErrorKind, Mask, MaskSpec, MetadataConditions, NameTemplate, NodeName,
    RemotePath, Result,
};
use chrono::{Days, NaiveDate};
use std::time::Duration;

/// Moves files from one source to its destinations.
#[derive(Clone, PartialEq, Debug)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// Whether it takes anything now.
    pub enabled: bool,
    /// Where the files come from.
    pub source: FlowSource,
    /// What is done to each file before its deliveries, in this order.
    pub steps: Vec<StepDefinition>,
    /// Where they go; at least one.
    pub destinations: Vec<Destination>,
    /// Whether deliveries keep the order of arrival, in one lane per destination.
    pub ordered: bool,
    /// In an ordered flow: whether the next file is delivered after a delivery has failed permanently. Otherwise the destination waits until a person retries or cancels that delivery.
    pub continue_after_failure: bool,
    /// Whether the files of one message, or of one offer, are one transfer: the first, with the others as its attachments.
    pub together: bool,
    /// How long the content of files is kept after their transfer has ended.
    pub retention: Duration,
    /// Where a transfer goes that failed for good.
    pub on_failure: Option<OnFailure>,
    /// What is added to the metadata of its transfers: keys, and templates of their values.
    pub metadata: Vec<(String, NameTemplate)>,
    /// The worker pool of its deliveries to endpoints that name none; `None`: `default`.
    pub pool: Option<String>,
}

/// A step: a stream that makes one payload of another. What the kinds are, the crate `steps` says.
#[derive(Clone, PartialEq, Debug)]
pub struct StepDefinition {
    /// Its kind.
    pub kind: String,
    /// What the kind declares, defaults filled in.
    pub options: Values,
}

/// Where a transfer goes that failed for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OnFailure {
    /// To a destination of the flow itself, which gets nothing else.
    Destination(String),
    /// Through another flow.
    Flow(String),
}

impl Flow {
    /// What stands for a flow where a file goes to one destination and no flow says so: nothing is done to it, and nothing
    /// comes from its source.
    ///
    /// # Errors
    /// `Internal`: a mask for every name cannot be made.
    pub fn of_one_destination(name: &str, destination: Destination, retention: Duration) -> Result<Self> {
        let mask = Mask::new(&MaskSpec::default()).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "make a mask for every name").caused_by(error)
        })?;
        let source = ReceiveSource {
            listener: String::new(),
            partner: None,
            mask,
            conditions: MetadataConditions::default(),
            options: Values::default(),
        };
        Ok(Self {
            name: name.to_owned(),
            title: None,
            enabled: true,
            source: FlowSource::Receive(source),
            steps: Vec::new(),
            destinations: vec![destination],
            ordered: false,
            continue_after_failure: false,
            together: false,
            retention,
            on_failure: None,
            metadata: Vec::new(),
            pool: None,
        })
    }

    /// The destinations that every transfer goes to: all but that of failures.
    pub fn usual_destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().filter(|destination| !self.is_for_failures(&destination.name))
    }

    /// What is done to a file before it is sent to one of these destinations: the flow's own steps, then the
    /// destination's. What failed goes to the destination for failures as it was received.
    pub fn steps_to<'a>(&'a self, destination: &'a Destination) -> impl Iterator<Item = &'a StepDefinition> {
        let own = if self.is_for_failures(&destination.name) { &[] } else { self.steps.as_slice() };
        own.iter().chain(&destination.steps)
    }

    /// Whether a destination gets only what failed.
    #[must_use]
    pub fn is_for_failures(&self, destination: &str) -> bool {
        matches!(&self.on_failure, Some(OnFailure::Destination(name)) if name == destination)
    }
}

/// Where a flow's files come from.
#[derive(Clone, PartialEq, Debug)]
pub enum FlowSource {
    /// A place that is looked at now and then.
    Poll(PollSource),
    /// A listener that receives what partners send.
    Receive(ReceiveSource),
}

impl FlowSource {
    /// The names it takes.
    #[must_use]
    pub const fn mask(&self) -> &Mask {
        match self {
            Self::Poll(poll) => &poll.mask,
            Self::Receive(receive) => &receive.mask,
        }
    }
}

/// A polled source.
#[derive(Clone, PartialEq, Debug)]
pub struct PollSource {
    /// The endpoint.
    pub endpoint: String,
    /// Which names.
    pub mask: Mask,
    /// When it is polled.
    pub schedule: Schedule,
    /// The node that polls it as long as it is alive; `None` for any.
    pub preferred_node: Option<NodeName>,
    /// How many files are expected by a time of the day; `None` for any.
    pub expect: Option<Expectation>,
    /// Most offers a poll takes; 0 for no limit. Applied after sorting.
    pub read_limit: usize,
    /// In which order.
    pub order: Order,
    /// When files that were taken are settled at the source.
    pub settle: SettleWhen,
    /// How often a file that cannot be read is tried, and how long between.
    pub retry: RetryPolicy,
    /// What the endpoint's transport declares for sources, defaults filled in.
    pub options: Values,
}

/// What polling does to its place, as far as others must know: flows that use the same place, and the gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PollEffects {
    /// The directory below the endpoint's that it polls; of dated ones, the one that all of them are in. `None` for the
    /// endpoint's own.
    pub directory: Option<RemotePath>,
    /// Whether it takes files of directories below the polled one too.
    pub is_recursive: bool,
    /// The dated directories, of a source that polls those alone.
    pub dated: Option<DatedPoll>,
    /// Whether files that were taken stay where they are.
    pub keeps_files: bool,
    /// Whether files that cannot be taken are moved away.
    pub moves_refused: bool,
    /// Whether the path that a file will have in its archive is known before it is archived: it has the time at which the
    /// file was found in its name, so that no other file has it.
    pub names_archive: bool,
    /// The directory of this machine that a copy of each file is archived to before it is settled at its source.
    pub local_archive: Option<LocalArchive>,
    /// Whether files are not staged: each is read when it is delivered.
    pub streams: bool,
}

/// Polls of dated directories: those of the present day and of some days before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatedPoll {
    /// Their name, below the endpoint's directory.
    pub template: DirectoryTemplate,
    /// How many days before the present one are polled too.
    pub past_days: u32,
    /// Whether the directories below each of them are polled too.
    pub is_recursive: bool,
}

impl DatedPoll {
    /// The last day of this century on which a directory, below the endpoint's, is polled; `None` if it never is.
    #[must_use]
    pub fn last_day(&self, directory: &RemotePath) -> Option<NaiveDate> {
        let named = match self.is_recursive {
            true => self.template.last_day_above(directory),
            false => self.template.last_day(directory),
        };
        named?.checked_add_days(Days::new(self.past_days.into()))
    }
}

/// Where a destination writes, below its endpoint's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryDirectory {
    /// The directory; where another one is written each day, those of some days
    /// ([`DirectoryTemplate::examples`]).
    pub examples: Vec<RemotePath>,
}

impl Default for DeliveryDirectory {
    /// The endpoint's own directory.
    fn default() -> Self {
        Self { examples: vec![RemotePath::default()] }
    }
}

/// An archive on the gateway's own machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalArchive {
    /// The directory, a template ([`DirectoryTemplate`]).
    pub directory: String,
    /// Whether the time at which a file was found is added to its name.
    pub timestamp: bool,
    /// How long a file stays there; `None` without limit.
    pub keep_for: Option<Duration>,
}

/// A listener as source.
#[derive(Clone, PartialEq, Debug)]
pub struct ReceiveSource {
    /// The listener.
    pub listener: String,
    /// Only what this partner sends; `None` for any known partner.
    pub partner: Option<String>,
    /// Which names.
    pub mask: Mask,
    /// What the metadata of a file and its message must say (`where`).
    pub conditions: MetadataConditions,
    /// What the listener's transport declares for sources, defaults filled in.
    pub options: Values,
}

words! {
    /// In which order offers of one poll are taken.
    Order {
        /// As the server lists them.
        Listing = "listing",
        /// Oldest first, over the whole listing.
        Arrival = "arrival",
        /// By name.
        Name = "name",
    }
}

words! {
    /// When the source is settled.
    SettleWhen {
        /// As soon as the file is recorded.
        Recorded = "recorded",
        /// When all its deliveries are final.
        AfterDelivery = "after_delivery",
    }
}

/// One destination of a flow.
#[derive(Clone, PartialEq, Debug)]
pub struct Destination {
    /// The name of this destination within the flow. Left out, the endpoint's name.
    pub name: String,
    /// The endpoint.
    pub endpoint: String,
    /// How files are named there; `None` keeps the name.
    pub file_name: Option<NameTemplate>,
    /// How failed deliveries are retried.
    pub retry: RetryPolicy,
    /// How long a delivery may take from its recording; `None` for no limit.
    pub expires_after: Option<Duration>,
    /// What is done to each file before it is sent here, after the steps of the flow.
    pub steps: Vec<StepDefinition>,
    /// The hours in which deliveries begin; its pace says nothing.
    pub hours: Schedule,
    /// What the endpoint's transport declares for destinations, defaults filled in.
    pub options: Values,
}

impl Destination {
    /// The flow through which payloads go that come with the answers to its deliveries, where its transport declares that and
    /// one is named (`response.flow`).
    #[must_use]
    pub fn response_flow(&self) -> Option<&str> {
        self.options.table("response").text("flow")
    }

    /// How urgent its deliveries are beside others to the same endpoint, from 1, the most urgent, to 5, where its transport
    /// declares that (`priority`) and it is said.
    #[must_use]
    pub fn priority(&self) -> Option<u8> {
        self.options.integer("priority").and_then(|priority| u8::try_from(priority).ok())
    }

    /// A destination of which nothing is said but its endpoint.
    ///
    /// # Errors
    /// `Internal`: a default that its transport declares does not fit its own field.
    pub fn usual(name: &str, endpoint: &str, spec: &TransportSpec) -> Result<Self> {
        let (fields, _) = joined(spec.destination);
        let options = Values::defaults(&fields).map_err(|reason| {
            Error::permanent(ErrorKind::Internal, "use a transport's defaults")
                .with("transport", spec.name)
                .with("reason", reason)
        })?;
        Ok(Self {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            file_name: None,
            retry: RetryPolicy::default(),
            expires_after: None,
            hours: Schedule::default(),
            steps: Vec::new(),
            options,
        })
    }
}

/// Exponential back-off with jitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Attempts in all; at least 1.
    pub attempts: u32,
    /// Wait after the first failure; doubles with each.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 12, first: Duration::from_secs(30), longest: Duration::from_secs(3600) }
    }
}

impl RetryPolicy {
    /// Whether no attempt follows by itself after this number of failed ones.
    #[must_use]
    pub fn is_last(&self, failures: u32) -> bool {
        failures >= self.attempts
    }

    /// The wait after a number of failed attempts (from 1), or `None` when there is no further one.
    /// `jitter` from 0 to 1 spreads it over the upper half, so that files that failed together do not
    /// return together.
    #[must_use]
    pub fn wait_after(&self, failures: u32, jitter: f64) -> Option<Duration> {
        if self.is_last(failures) {
            return None;
        }
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let whole = doubled.min(self.longest);
        Some(whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::RetryPolicy;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn waits_grow_within_their_bounds(failures in 1_u32..200, jitter in 0.0..1.0_f64, first in 1_u64..10_000, longest in 1_u64..100_000) {
            let policy = RetryPolicy { attempts: 100, first: Duration::from_millis(first), longest: Duration::from_millis(longest) };
            match policy.wait_after(failures, jitter) {
                None => prop_assert!(failures >= 100),
                Some(wait) => {
                    prop_assert!(wait <= policy.longest);
                    prop_assert!(wait >= policy.first.min(policy.longest) / 2);
                }
            }
        }
    }
}
