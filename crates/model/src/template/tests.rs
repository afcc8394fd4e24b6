use super::*;
use proptest::prelude::*;

fn archived() -> ArchivedCopy {
    let mut metadata = serde_json::Map::new();
    ArchivedCopy::new("done/2026/po-1.edi".into(), crate::Sha256([0xab; 32])).note(&mut metadata);
    ArchivedCopy::noted(&metadata).unwrap()
}

fn render(template: &str, name: &[u8]) -> Vec<u8> {
    NameTemplate::parse(template).unwrap().render(&TemplateValues {
        name,
        received: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        flow: "orders",
        transfer: crate::TransferId::new(uuid::Uuid::nil()),
        sequence: 7,
        archive: Some(&archived()),
        failure: Some(FailureValues {
            flow: "sales",
            destination: "globex",
            endpoint: "globex-drop",
            error: "rejected",
        }),
        metadata: &Map::from_iter([
            ("as2_subject".to_owned(), Value::from("Orders: ../of/\r\nMay")),
            ("as2_parts".to_owned(), Value::from(2)),
            ("query.page".to_owned(), serde_json::json!(["a", 2])),
        ]),
    })
}

#[test]
fn values_of_metadata_are_safe_parts_of_names_and_empty_where_they_are_missing() {
    for (template, name) in [
        ("{metadata.as2_subject}-{name}", "Orders_ .._of___May-po.edi"),
        ("{stem}-{metadata.as2_parts}{ext}", "po-2.edi"),
        ("{stem}-{metadata.query.page}{ext}", "po-a,2.edi"),
        ("{stem}-{metadata.form_application}{ext}", "po-.edi"),
        // No name begins or ends with a dot because a key is missing.
        ("{metadata.form_application}.{name}", "po.edi"),
        ("{stem}.{metadata.form_application}", "po"),
        ("{stem}.{counter:3}{metadata.form_application}", "po.000"),
        (".{metadata.form_application}{name}", ".po.edi"),
    ] {
        assert_eq!(String::from_utf8(render(template, b"po.edi")).unwrap(), name, "{template}");
    }
    // As much is taken of them as a file system allows.
    let long = render("{metadata.as2_subject}{counter:5}{metadata.as2_subject}{name}", &[b'n'; 230]);
    assert_eq!(String::from_utf8(long).unwrap(), format!("Or00000Or{}", "n".repeat(230)));
    assert!(!NameTemplate::parse("{name}{metadata.a}").unwrap().is_of_the_name_alone());
    assert!(NameTemplate::parse_text("{metadata.a}").is_ok(), "a text may be empty");
}

#[test]
fn fields_are_filled() {
    assert_eq!(render("{stem}-{received:%Y%m%d}{ext}", b"po.850.edi"), b"po.850-20231114.edi");
    assert_eq!(render("{flow}_{sequence:4}_{name}", b"caf\xe9"), b"orders_0007_caf\xe9");
    assert_eq!(render("{{{stem}}}", b".hidden"), b"{.hidden}");
    assert_eq!(render("{failure.flow}-{failure.error}-{name}", b"a"), b"sales-rejected-a");
    let expected = format!("po-1.edi.{}", "ab".repeat(32));
    assert_eq!(render("{archive.name}.{archive.sha256}", b"a"), expected.as_bytes());
    assert!(NameTemplate::parse("{archive.name}").unwrap().needs_archive());
    assert!(!NameTemplate::parse("{name}").unwrap().needs_archive());
    assert_eq!(render("{failure.destination}@{failure.endpoint}", b"a"), b"globex@globex-drop");
}

#[test]
fn counters_are_filled_in_later_and_have_the_day_of_their_zone() {
    let values = TemplateValues {
        name: b"po.edi",
        // 23:30 in UTC, the next day in Berlin.
        received: chrono::DateTime::from_timestamp(1_700_004_600, 0).unwrap(),
        flow: "orders",
        transfer: crate::TransferId::new(uuid::Uuid::nil()),
        sequence: 1,
        archive: None,
        failure: None,
        metadata: &Map::new(),
    };
    let text = "{stem}-{received:%d}-{counter:4:daily}_{counter}{ext}";
    for (zone, day) in [("UTC", "14"), ("Europe/Berlin", "15")] {
        let template = NameTemplate::parse(text).unwrap().in_zone(TimeZone::parse(zone).unwrap());
        let (name, counters) = template.render_open(&values);
        let filled = NameCounter::fill(&name, &counters, [7, 12_345]);
        assert_eq!(filled, format!("po-{day}-0007_12345.edi").as_bytes());
        let days: Vec<_> = counters.iter().map(NameCounter::day).collect();
        assert_eq!(days, [Some(&*format!("202311{day}")), None]);
        assert_eq!(template.render(&values), format!("po-{day}-0000_0.edi").as_bytes());
        assert!(template.has_dates());
    }
    assert!(!NameTemplate::parse("{counter:3}{ext}").unwrap().has_dates());
    for wrong in ["{counter:0}", "{counter:19}", "{counter:weekly}", "{counter:3:weekly}", "{counter:}"] {
        let error = NameTemplate::parse(wrong).unwrap_err().to_string();
        assert!(error.contains("{counter:6:daily}"), "{wrong}: {error}");
    }
}

#[test]
fn a_text_may_hold_what_no_file_name_may() {
    let text = NameTemplate::parse_text("/srv/{flow}/{received:%Y/%m}/{name}?").unwrap();
    let values = TemplateValues {
        name: b"po.edi",
        received: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        flow: "orders",
        transfer: crate::TransferId::new(uuid::Uuid::nil()),
        sequence: 1,
        archive: None,
        failure: None,
        metadata: &Map::new(),
    };
    assert_eq!(text.render(&values), b"/srv/orders/2023/11/po.edi?");
    for (wrong, words) in [("{counter:6}", "'file_name' alone"), ("a\u{7}", "control"), ("{steam}", "{stem}")]
    {
        let error = NameTemplate::parse_text(wrong).unwrap_err().to_string();
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[test]
fn mistakes_are_named() {
    for (template, words) in [
        ("{steam}", "did you mean '{stem}'"),
        ("{stem", "not closed"),
        ("a}", "without '{'"),
        ("a/b", "cannot be part"),
        ("{received:%Q}", "time format"),
        ("{received:%D}", "'/'"),
        ("{received:%H:%M}", "':' cannot be part"),
        ("{stem}:{flow}", "':' cannot be part"),
        ("a|b", "'|' cannot be part"),
        ("{name:3}", "does not take a format"),
        ("", "is empty"),
        ("{name}{metadata}", "'{metadata.KEY}'"),
        ("{name}{metadata.}", "name a key of the metadata"),
        ("{name}{metadata.As2}", "name a key of the metadata"),
        ("{name}{metadata.a:3}", "without a format"),
        ("{metadata.a}.{metadata.b}{ext}", "gives an empty name"),
    ] {
        let error = NameTemplate::parse(template).unwrap_err().to_string();
        assert!(error.contains(words), "{template}: {error}");
    }
}

proptest! {
    #[test]
    fn no_template_panics(text in ".{0,60}", name in proptest::collection::vec(any::<u8>(), 0..40)) {
        if NameTemplate::parse(&text).is_ok() { render(&text, &name); }
    }

    #[test]
    fn stem_and_extension_make_the_name(name in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(render("{stem}{ext}", &name), name);
    }
}
