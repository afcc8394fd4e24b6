use super::super::flow;
use super::told;

#[test]
fn flows() {
    let to_folder = "endpoint = \"folder\"\n";
    let source = |fields: &str| flow(fields, to_folder);
    let destination = |fields: &str| flow("after = \"keep\"", fields);
    let from_folder = |fields: &str| {
        format!(
            "[flow.f]\nsource = {{ endpoint = \"folder\", {fields} }}\n[[flow.f.destination]]\nendpoint = \"orders\""
        )
    };
    let receive = |fields: &str| {
        format!("[flow.f]\nsource = {{ {fields} }}\n[[flow.f.destination]]\nendpoint = \"folder\"")
    };
    told(&[
        ("[flow.f]\n", "x.toml:1:7: error: flow.f: 'source' is missing: Where the files come from"),
        (
            "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\" }",
            "error: flow.f: 'destination' is missing",
        ),
        (
            "[flow.f]\ndestination = []\nsource = { endpoint = \"orders\", after = \"keep\" }",
            "error: flow.f.destination: is empty",
        ),
        (
            "[flow.f]\nsource = {}\ndestination = 1",
            "error: flow.f.destination: must be tables, written [[flow.f.destination]]",
        ),
        (
            &source("evry = \"5s\""),
            "x.toml:2:33: error: flow.f.source: unknown key 'evry'; did you mean 'every'?",
        ),
        (
            &source(""),
            "x.toml:2:1: error: flow.f.source: 'after' is missing: What becomes of a file that was taken",
        ),
        (
            &source("after = \"delte\""),
            "error: flow.f.source.after: must be one of delete, keep, not \"delte\"; did you mean \"delete\"?",
        ),
        (
            &source("after = \"archive\""),
            "error: flow.f.source.after: 'archive' needs a value: write { archive = … }",
        ),
        (
            &source("after = {}"),
            "error: flow.f.source.after: needs one of 'archive', 'archive_locally', 'move'",
        ),
        (
            &source("after = { archiv = \"done\" }"),
            "error: flow.f.source.after: unknown key 'archiv'; did you mean 'archive'?",
        ),
        (
            &source("after = { archive = \"\" }"),
            "error: flow.f.source.after.archive: must be the name of a directory",
        ),
        (
            &source("after = { archive = \"a\", move = \"b\" }"),
            "error: flow.f.source.after.move: cannot be used together with 'archive'; remove one of them",
        ),
        (
            &source("after = { move = \"a\", timestamp = true }"),
            "error: flow.f.source.after.timestamp: needs one of 'archive', 'archive_locally' as well",
        ),
        (
            &source("after = { archive_locally = \"/var/done\" }"),
            "error: flow.f.source.after.archive_locally: /var/done is outside the directories in roots.files",
        ),
        (
            &source("after = { archive_locally = \"done\" }"),
            "error: flow.f.source.after.archive_locally: done is not an absolute path",
        ),
        (
            &source("after = { archive = \"out/done\" }"),
            "x.toml:2:53: error: flow.f.source.after.archive: 'out/done' is inside the polled directory",
        ),
        (&source("after = { move = \"x/../out\" }"), "error: flow.f.source.after.move: 'x/../out' is inside"),
        (
            &source("after = \"keep\", error_directory = \"out/bad\""),
            "error: flow.f.source.error_directory: 'out/bad' is inside",
        ),
        (
            &from_folder("after = \"keep\", error_directory = \"/srv/in/bad\""),
            "error: flow.f.source.error_directory: '/srv/in/bad' is inside",
        ),
        (
            &from_folder("after = \"keep\", error_directory = \"bad\""),
            "error: flow.f.source.error_directory: bad is not an absolute path",
        ),
        (
            &from_folder("error_directory = \"/srv/bad\", after = { archive = \"/var/done\" }"),
            "error: flow.f.source.after.archive: /var/done is outside the directories in roots.files",
        ),
        (
            &from_folder("error_directory = \"/srv/bad\", after = { archive = \"/srv/x/../in/a\" }"),
            "error: flow.f.source.after.archive: /srv/x/../in/a contains '..'",
        ),
        (
            &source("after = \"keep\", expect = { by = \"25:00\" }"),
            "error: flow.f.source.expect.by: \"25:00\" is not a time of day",
        ),
        (
            &source("after = \"keep\", expect = { by = \"18:00\", at_least = 0 }"),
            "error: flow.f.source.expect.at_least: must be",
        ),
        (
            &source("after = \"keep\", every = \"500ms\""),
            "error: flow.f.source.every: must be at least \"1s\"",
        ),
        (
            &source("after = \"keep\", every = \"4s\", stable_for = \"1s\""),
            "x.toml:2:57: warning: flow.f.source.every: is less than 5s",
        ),
        (
            &source("after = \"keep\", every = \"60s\", cron = \"* * * * *\""),
            "error: flow.f.source.cron: cannot be used together with 'every'; remove one of them",
        ),
        (
            &source("after = \"keep\", cron = \"* * * *\""),
            "error: flow.f.source.cron: \"* * * *\" is not a cron expression",
        ),
        (
            &source("after = \"keep\", cron = \"* * * * *\", time_zone = \"Europe/Berlyn\""),
            "error: flow.f.source.time_zone: \"Europe/Berlyn\" is not a time zone of the IANA database, such as \
             \"Europe/Berlin\" or \"UTC\"; did you mean 'Europe/Berlin'",
        ),
        (
            &source("after = \"keep\", time_zone = \"Europe/Berlin\""),
            "warning: flow.f.source.time_zone: has no effect without 'cron', 'between', 'not_on', 'expect' or a date in a directory",
        ),
        (
            &source("after = \"keep\", between = []"),
            "error: flow.f.source.between: is empty: no poll would ever begin",
        ),
        (
            &source("after = \"keep\", between = [{ from = \"06:00\" }]"),
            "error: flow.f.source.between[1]: 'to' is missing",
        ),
        (
            &source("after = \"keep\", between = [{ from = \"06:00\", to = \"25:00\" }]"),
            "error: flow.f.source.between[1].to: \"25:00\" is not a time of day",
        ),
        (
            &source("after = \"keep\", between = { from = \"06:00\", to = \"20:00\", days = [\"mo\"] }"),
            "flow.f.source.between.days: \"mo\" names no days of the week",
        ),
        (
            &source("after = \"keep\", cron = \"0 3 * * *\", between = { from = \"06:00\", to = \"20:00\" }"),
            "error: flow.f.source.cron: no poll would begin within the next eight years",
        ),
        (
            &source("after = \"keep\", not_on = \"holidays\""),
            "error: flow.f.source.not_on: there is no calendar 'holidays'",
        ),
        (
            &format!(
                "[calendar.c]\ndays_off = [\"2026-13-01\"]\n{}",
                source("after = \"keep\", not_on = \"c\"")
            ),
            "x.toml:2:13: error: calendar.c.days_off: \"2026-13-01\" is not a day",
        ),
        (
            &format!(
                "[calendar.c]\ndays_off = [\"1999-12-25\"]\n{}",
                source("after = \"keep\", not_on = \"c\"")
            ),
            "warning: calendar.c: has no day off from today on",
        ),
        (
            &source("after = \"keep\", read_limit = -1"),
            "error: flow.f.source.read_limit: must be a whole number from 0",
        ),
        (
            &source("after = \"keep\", order = \"arival\""),
            "error: flow.f.source.order: must be one of listing, arrival, name, not \"arival\"; did you mean \"arrival\"?",
        ),
        (
            &source("after = \"keep\", settle = \"later\""),
            "error: flow.f.source.settle: must be one of recorded, after_delivery",
        ),
        (
            &source("after = \"keep\", mask = \"a/b\""),
            "error: flow.f.source.mask: mask \"a/b\": a mask is compared with the file name only",
        ),
        (
            &source("after = \"keep\", mask = [\"*\", \"(\"], mask_is_regex = true"),
            "error: flow.f.source.mask: mask \"*\": ",
        ),
        (
            &source("after = \"keep\", mask = \"*.edi,*.csv\""),
            "warning: flow.f.source.mask: \"*.edi,*.csv\" is one mask and matches only names that contain the separator; \
             write a list: mask = [\"*.edi\", \"*.csv\"]",
        ),
        (
            &source("after = \"keep\", exclude = [\"~*\", \"*.tmp \"]"),
            "warning: flow.f.source.exclude: \"*.tmp \" begins or ends with a space",
        ),
        (
            &receive("listener = \"as2\", mask = \"*.{edi,csv}\""),
            "warning: flow.f.source.mask: \"*.{edi,csv}\" matches only names with braces",
        ),
        (
            &source("after = \"keep\", mask = \"*.edi\", exclude = \"*\""),
            "warning: flow.f.source.exclude: excludes every name that the mask matches",
        ),
        (&source("after = \"keep\", exclude = [\"\"]"), "error: flow.f.source.exclude: mask \"\": is empty"),
        (
            &source("after = \"keep\", retry = { attempts = 0 }"),
            "error: flow.f.source.retry.attempts: must be a whole number from 1",
        ),
        (
            &source("after = \"keep\", partner = \"globex\""),
            "error: flow.f.source.partner: can be used with 'listener' only",
        ),
        (
            &receive("endpoint = \"order\", after = \"keep\""),
            "error: flow.f.source.endpoint: there is no endpoint 'order'; did you mean 'orders'?",
        ),
        (&receive("mask = \"*\""), "error: flow.f.source: needs 'endpoint' (to poll it) or 'listener'"),
        (
            &receive("listener = \"as2\", endpoint = \"orders\""),
            "error: flow.f.source.listener: cannot be used together with 'endpoint'",
        ),
        (
            &receive("listener = \"sftp\""),
            "error: flow.f.source.listener: there is no listener 'sftp'; choose one of: as2",
        ),
        (
            &source("after = \"keep\", where = { as2_subject = \"*\" }"),
            "error: flow.f.source.where: can be used with 'listener' only",
        ),
        (
            &receive("listener = \"as2\", where = \"as2_subject\""),
            "error: flow.f.source.where: must be a table, written [flow.f.source.where]",
        ),
        (
            &receive("listener = \"as2\", where = { As2_Subject = \"*\" }"),
            "error: flow.f.source.where: cannot have the key 'As2_Subject'",
        ),
        (
            &receive("listener = \"as2\", where = { as2_subject = [] }"),
            "error: flow.f.source.where: has no mask for 'as2_subject'",
        ),
        (
            &receive("listener = \"as2\", where = { as2_subject = 1 }"),
            "error: flow.f.source.where.as2_subject: must be a list of texts",
        ),
        (
            &receive("listener = \"as2\", mask_is_regex = true, where = { as2_subject = \"(\" }"),
            "error: flow.f.source.where.as2_subject: mask \"(\": ",
        ),
        (
            &receive("listener = \"as2\", where = { as2_subject = \"*urgent*,*today*\" }"),
            "warning: flow.f.source.where.as2_subject: \"*urgent*,*today*\" is one mask",
        ),
        (
            &receive("listener = \"as2\", where = {}"),
            "warning: flow.f.source.where: has no effect: it names no key",
        ),
        (
            &receive("listener = \"as2\", every = \"60s\""),
            "error: flow.f.source.every: has no effect with 'listener'",
        ),
        (
            &format!(
                "[partner.mute]\ntitle = \"No AS2\"\n{}",
                receive("listener = \"as2\", partner = \"mute\"")
            ),
            "error: flow.f.source.partner: 'mute' has no [partner.mute.as2], so nothing that comes by this listener",
        ),
        (
            &receive("listener = \"as2\", partner = \"gloex\""),
            "error: flow.f.source.partner: there is no partner 'gloex'; did you mean 'globex'?",
        ),
        (
            &receive("endpoint = \"globex-as2\", after = \"keep\", every = \"60s\""),
            "error: flow.f.source.endpoint: transport 'as2' cannot be polled: partners send files by \
            themselves; define a listener, and receive with source = { listener = \"NAME\" }",
        ),
        (
            &destination("endpoint = \"${env:UNSET:-folder}\"\noverwrite = \"perhaps\""),
            "error: flow.f.destination[1].overwrite: must be one of refuse, replace, not \"perhaps\"",
        ),
        (
            &destination("endpoint = \"foldr\""),
            "x.toml:4:12: error: flow.f.destination[1].endpoint: there is no endpoint 'foldr'; did you mean 'folder'?",
        ),
        (&destination("name = \"x\""), "x.toml:3:1: error: flow.f.destination[1]: 'endpoint' is missing"),
        (
            &destination("endpoint = \"folder\"\nresponse = true"),
            "error: flow.f.destination[1].response: transport 'file' is one-way",
        ),
        (
            &destination("endpoint = \"folder\"\n[[flow.f.destination]]\nendpoint = \"folder\""),
            "error: flow.f.destination[2].endpoint: this flow has another destination 'folder'",
        ),
        (
            &destination("endpoint = \"folder\"\nname = \"A\""),
            "error: flow.f.destination[1].name: 'A' cannot be a name",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"{steam}\""),
            "error: flow.f.destination[1].file_name: template \"{steam}\": no field '{steam}'; did you mean '{stem}'?",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"a*\""),
            "error: flow.f.destination[1].file_name: template \"a*\": '*' cannot be part",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"{stem}{metadata.Subject}\""),
            "error: flow.f.destination[1].file_name: template \"{stem}{metadata.Subject}\": '{metadata.Subject}': name a key",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"{metadata.subject}{ext}\""),
            "error: flow.f.destination[1].file_name: template \"{metadata.subject}{ext}\": gives an empty name",
        ),
        (
            &destination("endpoint = \"folder\"\nfile_name = \"{archive.name}\""),
            "error: flow.f.destination[1].file_name: names the copy in the archive of the flow's source, which has none",
        ),
        (
            &destination("endpoint = \"folder\"\n[flow.f.metadata]\nfile_name = \"{counter}\""),
            "error: flow.f.metadata: has for 'file_name' the template \"{counter}\": '{counter}' is for 'file_name' alone",
        ),
        (
            &destination("endpoint = \"folder\"\n[flow.f.metadata]\nbatch = \"{failure.flow}\""),
            "error: flow.f.metadata: names for 'batch' what failed",
        ),
        (
            &destination("endpoint = \"folder\"\n[flow.f.metadata]\nbatch = \"{archive.name}\""),
            "error: flow.f.metadata: for 'batch' names the copy in the archive",
        ),
        (
            &destination("endpoint = \"folder\"\n[flow.f.metadata]\nsource_path = \"x\""),
            "error: flow.f.metadata: cannot have the key 'source_path'",
        ),
        (
            &destination("endpoint = \"folder\"\nbetween = []"),
            "error: flow.f.destination[1].between: is empty: no delivery would ever begin",
        ),
        (
            &destination("endpoint = \"folder\"\nbetween = { from = \"06:00\", to = \"6pm\" }"),
            "error: flow.f.destination[1].between.to: \"6pm\" is not a time of day",
        ),
        (
            &destination("endpoint = \"folder\"\ntime_zone = \"Europe/Berlin\""),
            "warning: flow.f.destination[1].time_zone: has no effect without 'between', 'not_on', or a date in a template, as 'file_name' is one",
        ),
        (
            &destination("endpoint = \"folder\"\nnot_on = \"holidays\""),
            "error: flow.f.destination[1].not_on: there is no calendar 'holidays'",
        ),
        (
            &destination("endpoint = \"folder\"\nexpires_after = \"0s\""),
            "error: flow.f.destination[1].expires_after: must be longer than 0s",
        ),
        (
            &destination("endpoint = \"folder\"\nretry = { first = \"0s\" }"),
            "error: flow.f.destination[1].retry.first: must be longer than 0s",
        ),
        (
            &destination("endpoint = \"folder\"\nretry = { first = \"2h\" }"),
            "error: flow.f.destination[1].retry.first: the longest wait must not be shorter",
        ),
        (
            "[flow.f]\n[flow.f.source]\nafter = { move = \"nowhere\" }\nendpoint = \"orders\"\n\
             [[flow.f.destination]]\nendpoint = \"folder\"",
            "x.toml:3:11: error: flow.f.source.after.move: is nowhere",
        ),
        (
            &destination("endpoint = \"orders\""),
            "error: flow.f.destination[1].endpoint: is a directory that this flow polls",
        ),
        (&format!("{}[flow.f]\nretention = \"month\"", ""), "error: flow.f.retention: must be a duration"),
        (
            &format!(
                "{}\n",
                source("after = \"keep\"").replace("[flow.f]\n", "[flow.f]\ncontinue_after_failure = true\n")
            ),
            "warning: flow.f.continue_after_failure: has no effect without ordered",
        ),
    ]);
}

#[test]
fn steps() {
    let of_flow = |steps: &str| {
        flow("after = \"keep\"", "endpoint = \"folder\"\n")
            .replace("[flow.f]\n", &format!("[flow.f]\nsteps = {steps}\n"))
    };
    let of_destination =
        |steps: &str| flow("after = \"keep\"", &format!("endpoint = \"folder\"\nsteps = {steps}\n"));
    told(&[
        (
            &of_flow("[{ convert_charset = { from = \"UTF-9\" } }]"),
            "error: flow.f.steps[1].convert_charset.from: is 'UTF-9', which is no known character set; did you mean 'UTF-",
        ),
        (
            &of_flow("{ convert_charset = { to = \"latin-one\" } }"),
            "x.toml:2:31: error: flow.f.steps.convert_charset.to: is 'latin-one', which is no known character set; write one such as",
        ),
        (
            &of_destination("[{ convert_charset = {} }, { convert_charset = { invalid = \"ignore\" } }]"),
            "error: flow.f.destination[1].steps[2].convert_charset.invalid: must be one of fail, replace, not \"ignore\"",
        ),
        (
            &of_flow("[{ convert_charset = { encoding = \"UTF-8\" } }]"),
            "error: flow.f.steps[1].convert_charset: unknown key 'encoding'",
        ),
        (&of_flow("[{}]"), "error: flow.f.steps[1]: needs one of 'convert_charset'"),
        (
            &of_flow("[{ convert = {} }]"),
            "error: flow.f.steps[1]: unknown key 'convert'; did you mean 'convert_charset'?",
        ),
        (&of_flow("\"UTF-8\""), "error: flow.f.steps: must be tables, written [[flow.f.steps]]"),
    ]);
}
