//! Which endpoint a file goes to that a person sends to a partner.

use crate::{Caller, Control};
use model::schema::Section;
use model::{
    Error, ErrorKind, Permission, Result, StoredDefinition, Suspension, SuspensionKind, did_you_mean,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of the endpoint: its partner or its own name, or both.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ChooseEndpoint {
    /// The transport that it speaks.
    pub transport: String,
    /// The partner that it belongs to.
    pub partner: Option<String>,
    /// Its name.
    pub endpoint: Option<String>,
    /// The identity under which it sends.
    pub identity: Option<String>,
}

/// The endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChosenEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Its partner.
    pub partner: Option<String>,
    /// The identity under which it sends.
    pub identity: Option<String>,
    /// The revision in force, of which it is.
    pub revision: i64,
}

impl Control {
    /// Finds the endpoint that is meant, in the definitions in force.
    ///
    /// # Errors
    /// The caller may not send files; `NotFound` for names that are not defined; `ConfigInvalid` where several endpoints
    /// are meant; `Rejected` where a person set it offline; the database failed.
    pub async fn choose_endpoint(&self, caller: &Caller, request: &ChooseEndpoint) -> Result<ChosenEndpoint> {
        caller.require(Permission::OperateTransfers)?;
        let state = self.0.store.current_definitions().await?;
        let chosen = choose(&state.definitions, request)?;
        let suspensions = self.0.store.suspensions().await?;
        let offline: Vec<Suspension> =
            suspensions.into_iter().filter(|found| found.kind == SuspensionKind::Endpoint).collect();
        let own = offline.iter().find(|found| found.name == chosen.name).cloned();
        if let Some(found) =
            own.or_else(|| self.offline_on_the_way(&state.definitions, &offline, &chosen.name))
        {
            return Err(Error::permanent(ErrorKind::Rejected, OPERATION)
                .with("endpoint", &chosen.name)
                .advice(format!(
                    "endpoint {} is {}; `waybill endpoint online {}` ends that",
                    found.name,
                    found.words(),
                    found.name
                )));
        }
        Ok(ChosenEndpoint {
            endpoint: chosen.name.clone(),
            partner: text(chosen, "partner").map(str::to_owned),
            identity: text(chosen, "identity").map(str::to_owned),
            revision: state.number,
        })
    }
}

const OPERATION: &str = "find the endpoint to send to";

fn text<'a>(definition: &'a StoredDefinition, field: &str) -> Option<&'a str> {
    definition.document.get(field).and_then(Value::as_str)
}

fn choose<'a>(definitions: &'a [StoredDefinition], request: &ChooseEndpoint) -> Result<&'a StoredDefinition> {
    let ChooseEndpoint { transport, partner, endpoint, identity } = request;
    let of = |section: Section| definitions.iter().filter(move |found| found.section == section.as_str());
    let unknown = |section: Section, name: &str| {
        let near = did_you_mean(name, of(section).map(|found| found.name.as_str()));
        Error::permanent(ErrorKind::NotFound, OPERATION)
            .with("name", name)
            .advice(format!("no {} has this name{near}", section.as_str()))
    };
    for (section, name) in [(Section::PARTNER, partner), (Section::IDENTITY, identity)] {
        if let Some(name) = name
            && !of(section).any(|found| found.name == *name)
        {
            return Err(unknown(section, name));
        }
    }
    let speaks = |found: &&StoredDefinition| text(found, "transport") == Some(transport.as_str());
    if let Some(name) = endpoint {
        let found = of(Section::ENDPOINT).find(|found| found.name == *name);
        let found = found.ok_or_else(|| unknown(Section::ENDPOINT, name))?;
        let differs = |field: &str, wanted: &Option<String>| {
            wanted.as_deref().is_some_and(|wanted| text(found, field) != Some(wanted))
        };
        let field = [("partner", partner), ("identity", identity)]
            .into_iter()
            .find(|(field, wanted)| differs(field, wanted));
        if !speaks(&found) || field.is_some() {
            let field = field.map_or("transport", |(field, _)| field);
            return Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
                .with("endpoint", name)
                .with(
                    if field == "transport" { "its transport" } else { "its value" },
                    text(found, field).unwrap_or("none"),
                )
                .advice(format!("the endpoint has another {field}: choose another endpoint")));
        }
        return Ok(found);
    }
    let Some(partner) = partner else {
        return Err(
            Error::permanent(ErrorKind::ConfigInvalid, OPERATION).advice("name the partner, or the endpoint")
        );
    };
    let is_meant = |found: &&StoredDefinition| {
        text(found, "partner") == Some(partner.as_str())
            && identity.as_deref().is_none_or(|identity| text(found, "identity") == Some(identity))
    };
    let found: Vec<&StoredDefinition> = of(Section::ENDPOINT).filter(speaks).filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::permanent(ErrorKind::NotFound, OPERATION)
            .with("partner", partner)
            .advice(format!("no {transport} endpoint has this partner: define an [endpoint.NAME] with its url, partner and identity"))),
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
                .with("partner", partner)
                .advice(format!("several endpoints have this partner: choose one of {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(section: &str, name: &str, document: Value) -> StoredDefinition {
        StoredDefinition {
            section: section.into(),
            name: name.into(),
            origin: "/etc/flows".into(),
            file: "flows.toml".into(),
            position: 0,
            document,
        }
    }

    fn definitions() -> Vec<StoredDefinition> {
        let to = |name: &str, partner: &str, identity: &str| {
            let document = json!({"transport": "as2", "partner": partner, "identity": identity, "url": "https://x.example/"});
            definition("endpoint", name, document)
        };
        vec![
            to("globex-as2", "globex", "acme"),
            to("initech-a", "initech", "acme"),
            to("initech-b", "initech", "acme-eu"),
            definition("endpoint", "dock", json!({"transport": "file", "url": "file:///x"})),
            definition("partner", "globex", json!({})),
            definition("partner", "initech", json!({})),
            definition("partner", "umbrella", json!({})),
            definition("identity", "acme", json!({})),
            definition("identity", "acme-eu", json!({})),
        ]
    }

    fn meant(partner: Option<&str>, endpoint: Option<&str>, identity: Option<&str>) -> Result<String> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let request = ChooseEndpoint {
            transport: "as2".into(),
            partner: own(partner),
            endpoint: own(endpoint),
            identity: own(identity),
        };
        choose(&definitions(), &request).map(|found| found.name.clone())
    }

    #[test]
    fn an_endpoint_is_found_by_its_partner_its_identity_or_its_name() {
        assert_eq!(meant(Some("globex"), None, None).unwrap(), "globex-as2");
        assert_eq!(meant(Some("initech"), None, Some("acme-eu")).unwrap(), "initech-b");
        assert_eq!(meant(None, Some("initech-a"), None).unwrap(), "initech-a");
        assert_eq!(meant(Some("initech"), Some("initech-a"), Some("acme")).unwrap(), "initech-a");
    }

    #[test]
    fn what_is_unknown_or_means_several_is_refused_with_what_helps() {
        for (partner, endpoint, identity, words) in [
            (Some("initech"), None, None, "choose one of initech-a, initech-b"),
            (Some("globx"), None, None, "did you mean 'globex'?"),
            (Some("umbrella"), None, None, "define an [endpoint.NAME]"),
            (Some("initech"), None, Some("acm"), "did you mean 'acme'"),
            (None, Some("dock"), None, "another transport"),
            (Some("globex"), Some("initech-a"), None, "another partner"),
            (None, Some("initech-a"), Some("acme-eu"), "another identity"),
            (None, Some("initech"), None, "no endpoint has this name"),
            (None, None, None, "name the partner"),
        ] {
            let error = meant(partner, endpoint, identity).unwrap_err().chain();
            assert!(error.contains(words), "{error}");
        }
    }
}
