use super::told;

#[test]
fn failure_routes() {
    let flow = |name: &str, on_failure: &str, more: &str| {
        format!(
            "[flow.{name}]\non_failure = \"{on_failure}\"\nsource = {{ listener = \"as2\", partner = \"globex\", mask = \
             \"{name}*\" }}\n[[flow.{name}.destination]]\nendpoint = \"folder\"\n{more}\n"
        )
    };
    let second = "[[flow.a.destination]]\nendpoint = \"globex-as2\"";
    told(&[
        (
            &flow("a", "operation", ""),
            "error: flow.a.on_failure: there is no destination 'operation' in this flow, and no flow of that name",
        ),
        (&flow("a", "folder", ""), "error: flow.a.on_failure: is the flow's only destination"),
        (
            &flow("a", "a", ""),
            "error: flow.a.on_failure: flows hand what fails to each other in a circle (a → a)",
        ),
        (
            &(flow("a", "b", "") + &flow("b", "c", "") + &flow("c", "a", "")),
            "error: flow.b.on_failure: flows hand what fails to each other in a circle (b → c → a → b)",
        ),
        (
            &flow("a", "globex-as2", &format!("response = {{ flow = \"x\" }}\n{second}")),
            "error: flow.a.destination[1].response: transport 'file' is one-way",
        ),
    ]);
    let both = flow("a", "globex-as2", second) + &flow("b", "a", "");
    let (definitions, problems) = super::check(&both);
    let definitions = definitions.unwrap_or_else(|| panic!("{problems:#?}"));
    let a = &definitions.flows["a"];
    assert_eq!(a.usual_destinations().map(|to| to.name.as_str()).collect::<Vec<_>>(), ["folder"]);
}
