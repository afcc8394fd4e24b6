//! What a flow asks of written files beside their content: permissions and owner.
//!
//! A place that cannot set them takes the file all the same, and the receipt says what was not set and why.

use model::definition::Destination;
use model::schema::{Field, Group, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The destination option for Unix permissions.
pub static PERMISSIONS: Group = Group::of(&[Field::optional(
    "permissions",
    Kind::Text,
    "Permissions of delivered files, in octal (\"0640\"); left out, the place decides. A place that does not set them \
     takes the file all the same, and the receipt says `permissions_not_set`.",
)]);

/// The destination option for the owner of files.
pub static OWNER: Group = Group::of(&[Field::optional(
    "owner",
    Kind::Text,
    "Owner of delivered files: `USER`, `USER:GROUP` or `:GROUP`; left out, the place decides. Over SFTP users and groups \
     are numbers (`1001:1001`), as the protocol has no names for them; on this machine also names from `/etc/passwd` and \
     `/etc/group`. It needs the right to give files away: on this machine `CAP_CHOWN`, or for a group that the \
     gateway's user belongs to nothing more. A place that does not set it takes the file all the same, and the receipt \
     says `owner_not_set`. Not with `overwrite = \"append\"`.",
)]);

/// Who owns delivered files. At least one of both is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The user; `None` leaves it as the place has it.
    pub user: Option<Principal>,
    /// The group; `None` leaves it as the place has it.
    pub group: Option<Principal>,
}

/// A user or group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

impl Principal {
    /// Its number; `None` for a name.
    #[must_use]
    pub const fn id(&self) -> Option<u32> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse::<u32>() {
            // The highest number means "leave it" to the system.
            return (id != u32::MAX && text.bytes().all(|digit| digit.is_ascii_digit()))
                .then_some(Self::Id(id));
        }
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        (text.len() <= 256 && !text.is_empty() && !text.starts_with('-') && text.chars().all(is_name))
            .then(|| Self::Name(text.to_owned()))
    }
}

impl Owner {
    /// Reads `USER`, `USER:GROUP` or `:GROUP`.
    ///
    /// # Errors
    /// What is wrong, for a finding at the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let user = (!user.is_empty()).then(|| Principal::parse(user));
        let group = group.map(Principal::parse);
        match (user, group) {
            (None, None) | (Some(None), _) | (_, Some(None)) => Err(format!(
                "'{text}' cannot be used: write USER, USER:GROUP or :GROUP, with names or numbers"
            )),
            (user, group) => Ok(Self { user: user.flatten(), group: group.flatten() }),
        }
    }

    /// Whether it names users and groups by numbers alone.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        [&self.user, &self.group].into_iter().flatten().all(|principal| principal.id().is_some())
    }
}

/// The owner of delivered files, from [`OWNER`]; with `None` the place decides.
///
/// # Errors
/// As [`Owner::parse`].
pub fn owner(destination: &Destination) -> Result<Option<Owner>, String> {
    let text = destination.options.text("owner").unwrap_or_default();
    if text.is_empty() { Ok(None) } else { Owner::parse(text).map(Some) }
}

/// The mode of delivered files, from [`PERMISSIONS`]; with `None` the server decides.
///
/// # Errors
/// What is wrong, for a finding at the field: the value is not an octal number with three or four digits.
pub fn permissions(destination: &Destination) -> Result<Option<u32>, String> {
    let text = destination.options.text("permissions").unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    // Checked separately, because `from_str_radix` also accepts a sign.
    let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    let wrong = || {
        format!(
            "'{text}' cannot be used: write permissions in octal, with three or four digits, such as \"0640\""
        )
    };
    mode.map(Some).ok_or_else(wrong)
}

/// Why a place has not set an attribute of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNotSet {
    /// It has no such command.
    Unsupported,
    /// This user may not set it.
    NotPermitted,
    /// It gave no reason.
    Refused,
    /// It knows no user or group with that name.
    UnknownName,
}

impl WhyNotSet {
    fn words(self, attribute: &str) -> String {
        match self {
            Self::Unsupported => format!("the server cannot set {attribute}"),
            Self::NotPermitted => format!("the server does not let this user set {attribute}"),
            Self::Refused => format!("the server refused to set {attribute}"),
            Self::UnknownName => {
                "the gateway's machine has no such user in /etc/passwd, or no such group in /etc/group".into()
            }
        }
    }
}

/// What of a flow's wishes a place has not set. The file is delivered all the same, and the receipt says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NotSet {
    /// Why it does not have the permissions that the flow asks for; `None` if it has, or none are asked for.
    pub permissions: Option<WhyNotSet>,
    /// The same of its owner.
    #[serde(default)]
    pub owner: Option<WhyNotSet>,
}

impl NotSet {
    /// Adds it to a receipt's details.
    pub(super) fn tell(self, detail: &mut Map<String, Value>) {
        if let Some(why) = self.permissions {
            detail.insert("permissions_not_set".into(), Value::from(why.words("permissions")));
        }
        if let Some(why) = self.owner {
            detail.insert("owner_not_set".into(), Value::from(why.words("the owner of files")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_users_groups_or_both() {
        let (id, name) = (|id| Some(Principal::Id(id)), |name: &str| Some(Principal::Name(name.into())));
        for (text, user, group) in [
            ("1001", id(1001), None),
            ("1001:0", id(1001), id(0)),
            (":edi", None, name("edi")),
            ("erp-1:edi$", name("erp-1"), name("edi$")),
        ] {
            assert_eq!(Owner::parse(text).unwrap(), Owner { user, group }, "{text}");
        }
        assert!(Owner::parse("1001:2").unwrap().is_numeric());
        assert!(!Owner::parse("1001:edi").unwrap().is_numeric());
        for wrong in ["", ":", "a:", "a b", "a:b:c", "-1", "+1", "4294967295", "4294967296:1x/", "a/b"] {
            let error = Owner::parse(wrong).unwrap_err();
            assert!(error.contains("USER:GROUP"), "{wrong}: {error}");
        }
    }
}
