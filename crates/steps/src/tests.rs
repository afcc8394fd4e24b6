use super::*;

#[test]
fn every_kind_has_defaults_that_make_a_step_and_says_what_it_is() {
    for kind in &KINDS {
        let options = Values::defaults(kind.group.fields).unwrap();
        let made = step(&StepDefinition { kind: kind.name.to_owned(), options }).unwrap();
        assert!(made.describe().starts_with(kind.name), "{}", made.describe());
        assert!(kind.doc.ends_with('.') && made.buffers() > 0, "{}", kind.name);
    }
    assert_eq!(NAMES.len(), STEP.fields.len());
}

#[test]
fn a_step_of_another_build_is_refused() {
    let unknown = StepDefinition { kind: "encrypt".to_owned(), options: Values::default() };
    let error = step(&unknown).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    let options = Values::defaults(KINDS[0].group.fields).unwrap();
    let options = options.with("from", model::schema::Value::Text("UTF-9".to_owned()));
    let error = step(&StepDefinition { kind: KINDS[0].name.to_owned(), options }).err().unwrap().chain();
    assert!(error.contains("field from") && error.contains("UTF-9"), "{error}");
}
