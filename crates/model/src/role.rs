//! Roles and permissions: the one table that says who may do what.
//!
//! Each console page and each operation of `control` names the [`Permission`] that it needs; [`Role::may`] says
//! whether a role has it. `docs/roles.md` shows the table.

use crate::connection::words;

words! {
    /// What a user may do. Each user has one role.
    Role {
        /// Sees flows, transfers and connections.
        Viewer = "viewer",
        /// Sees everything, changes nothing.
        Auditor = "auditor",
        /// Also works on transfers, flows and endpoints: retry, hold, cancel, run, pause, test.
        Operator = "operator",
        /// Also changes the definitions.
        Designer = "designer",
        /// Also manages users.
        Admin = "admin",
    }
}

words! {
    /// What a page or an operation needs.
    Permission {
        /// Flows, transfers, connections and metrics are shown.
        ViewTransfers = "view_transfers",
        /// The audit trail is searched and exported.
        ViewAudit = "view_audit",
        /// Definitions and their revisions are shown, compared with a directory, and exported. No secret is.
        ViewDefinitions = "view_definitions",
        /// Users, their roles and whether they are disabled are listed.
        ViewUsers = "view_users",
        /// What proves a message is saved: the message's content is part of it.
        ExportEvidence = "export_evidence",
        /// Transfers are retried, held, released, cancelled and sent again.
        OperateTransfers = "operate_transfers",
        /// Flows are run, paused and resumed; endpoints are tested and set online or offline.
        OperateFlows = "operate_flows",
        /// Definitions are applied and rolled back.
        ChangeDefinitions = "change_definitions",
        /// Users are added, disabled and enabled; they are given passwords and roles.
        ManageUsers = "manage_users",
        /// Master keys are rotated and forgotten; stored secrets may be shown to addresses that they were not given for.
        ManageSecrets = "manage_secrets",
    }
}

impl Role {
    /// Whether a user with this role has the permission.
    #[must_use]
    pub const fn may(self, permission: Permission) -> bool {
        use Permission as P;
        match permission {
            P::ViewTransfers => true,
            P::ViewAudit | P::ViewDefinitions | P::ExportEvidence => !matches!(self, Self::Viewer),
            P::ViewUsers => matches!(self, Self::Auditor | Self::Admin),
            P::OperateTransfers | P::OperateFlows => {
                matches!(self, Self::Operator | Self::Designer | Self::Admin)
            }
            P::ChangeDefinitions => matches!(self, Self::Designer | Self::Admin),
            P::ManageUsers | P::ManageSecrets => matches!(self, Self::Admin),
        }
    }
}

impl Permission {
    /// What it permits, as a sentence.
    #[must_use]
    pub const fn permits(self) -> &'static str {
        match self {
            Self::ViewTransfers => "See flows, transfers, connections and metrics.",
            Self::ViewAudit => "Search and export the audit trail.",
            Self::ViewDefinitions => {
                "See, compare and export definitions and their revisions, without secrets."
            }
            Self::ViewUsers => "List users with their roles.",
            Self::ExportEvidence => "Save what proves a message, with its content.",
            Self::OperateTransfers => {
                "Send files by hand; retry, hold, release, cancel and resubmit transfers."
            }
            Self::OperateFlows => "Run, pause and resume flows; test endpoints, set them online or offline.",
            Self::ChangeDefinitions => "Apply and roll back definitions; change the list of known hosts.",
            Self::ManageSecrets => {
                "Rotate and forget master keys; let stored secrets go to addresses that they were not given for."
            }
            Self::ManageUsers => "Add, disable and enable users; set their passwords and roles.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permissions of each role, as letters in the order of [`Permission::ALL`].
    #[test]
    fn each_role_may_do_what_its_line_says() {
        let table = [
            (Role::Viewer, "x---------"),
            (Role::Auditor, "xxxxx-----"),
            (Role::Operator, "xxx-xxx---"),
            (Role::Designer, "xxx-xxxx--"),
            (Role::Admin, "xxxxxxxxxx"),
        ];
        for (role, line) in table {
            let may: String = Permission::ALL
                .iter()
                .map(|permission| if role.may(*permission) { 'x' } else { '-' })
                .collect();
            assert_eq!(may, line, "{role}");
        }
        assert_eq!(table.len(), Role::ALL.len());
    }
}
