//! States as words with a picture: never by colour alone.

use askama::filters::HtmlSafe;
use model::{DeliveryState, Direction, Severity, TransferState};
use std::fmt;

/// A picture of the console's own set, 16 by 16, drawn in the text's colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Icon {
    Check,
    Cross,
    Warning,
    Clock,
    Moving,
    Pause,
    Stop,
    Info,
    Repeat,
    In,
    Out,
    Sun,
    Moon,
    Contrast,
    Remove,
    File,
    Lock,
    Open,
    Link,
}

impl Icon {
    const fn drawing(self) -> &'static str {
        match self {
            Self::Check => "<circle cx='8' cy='8' r='6.25'/><path d='m5.2 8.2 2 2 3.6-4.2'/>",
            Self::Cross => "<circle cx='8' cy='8' r='6.25'/><path d='m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4'/>",
            Self::Warning => "<path d='M8 2 14.3 13.2H1.7zM8 6.4v3.1m0 1.9v.1'/>",
            Self::Clock => "<circle cx='8' cy='8' r='6.25'/><path d='M8 4.6V8l2.4 1.6'/>",
            Self::Moving => "<circle cx='8' cy='8' r='6.25'/><path d='M4.9 8h6m-2.5-2.6L11 8l-2.6 2.6'/>",
            Self::Pause => "<circle cx='8' cy='8' r='6.25'/><path d='M6.3 5.8v4.4m3.4-4.4v4.4'/>",
            Self::Stop => "<circle cx='8' cy='8' r='6.25'/><path d='m3.6 3.6 8.8 8.8'/>",
            Self::Info => "<circle cx='8' cy='8' r='6.25'/><path d='M8 7.4v3.8m0-6.2v.1'/>",
            Self::Repeat => {
                "<path d='M13.2 6.2A5.6 5.6 0 0 0 3 5.6M3 2.4v3.4h3.4M2.8 9.8A5.6 5.6 0 0 0 13 10.4m0 3.2v-3.4H9.6'/>"
            }
            Self::In => "<path d='M8 2.2v7.6M4.8 6.8 8 10l3.2-3.2M2.6 13.4h10.8'/>",
            Self::Out => "<path d='M8 10.2V2.6M4.8 5.8 8 2.6l3.2 3.2M2.6 13.4h10.8'/>",
            Self::Sun => {
                "<circle cx='8' cy='8' r='3'/><path d='M8 1.4v1.4m0 10.4v1.4M1.4 8h1.4m10.4 0h1.4M3.3 3.3l1 1m7.4 7.4 1 1m0-9.4-1 1m-7.4 7.4-1 1'/>"
            }
            Self::Moon => "<path d='M13.4 9.7A5.8 5.8 0 0 1 6.3 2.6a5.8 5.8 0 1 0 7.1 7.1z'/>",
            Self::Contrast => {
                "<circle cx='8' cy='8' r='6.25'/><path d='M8 1.75v12.5a6.25 6.25 0 0 0 0-12.5z' fill='currentColor'/>"
            }
            Self::Remove => "<path d='m4.5 4.5 7 7m0-7-7 7'/>",
            Self::File => "<path d='M3.6 1.8h5.6l3.2 3.2v9.2H3.6zM9 2v3.2h3.2'/>",
            Self::Lock => "<path d='M3.4 7.2h9.2v6.4H3.4zM5.4 7V4.8a2.6 2.6 0 0 1 5.2 0V7'/>",
            Self::Open => "<path d='M3.4 7.2h9.2v6.4H3.4zM5.4 7V4.4a2.6 2.6 0 0 1 5-1'/>",
            Self::Link => {
                "<path d='M6.8 9.2a2.7 2.7 0 0 0 3.8 0l2.2-2.2A2.7 2.7 0 0 0 9 3.2l-.9.9m1.1 2.7a2.7 2.7 0 0 0-3.8 0L3.2 9A2.7 2.7 0 0 0 7 12.8l.9-.9'/>"
            }
        }
    }
}

impl HtmlSafe for Icon {}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<svg class='icon' viewBox='0 0 16 16' aria-hidden='true' focusable='false'>")?;
        f.write_str(self.drawing())?;
        f.write_str("</svg>")
    }
}

/// The colour of a badge. The stylesheet has a class of each name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Busy,
    Quiet,
    Warn,
    Bad,
}

impl Tone {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Quiet => "quiet",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A state: picture, word and colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Badge {
    pub(crate) tone: Tone,
    pub(crate) icon: Icon,
    pub(crate) word: &'static str,
}

impl HtmlSafe for Badge {}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span class='badge {}'>{}{}</span>", self.tone, self.icon, self.word)
    }
}

impl Badge {
    pub(crate) const fn new(tone: Tone, icon: Icon, word: &'static str) -> Self {
        Self { tone, icon, word }
    }

    pub(crate) const fn transfer(state: TransferState) -> Self {
        match state {
            TransferState::Staged => Self::new(Tone::Quiet, Icon::Clock, "Staged"),
            TransferState::Processing => Self::new(Tone::Busy, Icon::Moving, "Processing"),
            TransferState::Delivering => Self::new(Tone::Busy, Icon::Moving, "Delivering"),
            TransferState::Completed => Self::new(Tone::Good, Icon::Check, "Completed"),
            TransferState::PartlyFailed => Self::new(Tone::Warn, Icon::Warning, "Partly failed"),
            TransferState::Failed => Self::new(Tone::Bad, Icon::Cross, "Failed"),
            TransferState::Cancelled => Self::new(Tone::Quiet, Icon::Stop, "Cancelled"),
            TransferState::Held => Self::new(Tone::Warn, Icon::Pause, "Held"),
        }
    }

    pub(crate) const fn delivery(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::new(Tone::Quiet, Icon::Clock, "Pending"),
            DeliveryState::Sending => Self::new(Tone::Busy, Icon::Moving, "Sending"),
            DeliveryState::AwaitingReceipt => Self::new(Tone::Busy, Icon::Clock, "Awaiting receipt"),
            DeliveryState::Delivered => Self::new(Tone::Good, Icon::Check, "Delivered"),
            DeliveryState::Retrying => Self::new(Tone::Warn, Icon::Repeat, "Retrying"),
            DeliveryState::Failed => Self::new(Tone::Bad, Icon::Cross, "Failed"),
            DeliveryState::Expired => Self::new(Tone::Bad, Icon::Clock, "Expired"),
            DeliveryState::Cancelled => Self::new(Tone::Quiet, Icon::Stop, "Cancelled"),
        }
    }

    pub(crate) const fn severity(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::new(Tone::Quiet, Icon::Info, "Info"),
            Severity::Warning => Self::new(Tone::Warn, Icon::Warning, "Warning"),
            Severity::Error => Self::new(Tone::Bad, Icon::Cross, "Error"),
        }
    }

    /// How an attempt ended: a delivery's state, `interrupted`, or nothing yet.
    pub(crate) fn attempt(outcome: Option<&str>) -> Self {
        match outcome {
            None => Self::new(Tone::Busy, Icon::Moving, "Running"),
            Some("interrupted") => Self::new(Tone::Warn, Icon::Warning, "Interrupted"),
            Some("retrying") => Self::new(Tone::Warn, Icon::Repeat, "Failed, retrying"),
            Some(word) => match DeliveryState::parse(word) {
                Some(state) => Self::delivery(state),
                None => Self::new(Tone::Quiet, Icon::Info, "Ended"),
            },
        }
    }
}

/// Which way a connection was opened.
pub(crate) const fn direction(direction: Direction) -> (Icon, &'static str) {
    match direction {
        Direction::Inbound => (Icon::In, "Inbound"),
        Direction::Outbound => (Icon::Out, "Outbound"),
    }
}
