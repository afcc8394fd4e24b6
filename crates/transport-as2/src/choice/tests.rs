use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn window(name: &str, from: Option<i64>, until: Option<i64>) -> Dated {
    Dated { from: from.map(at), until: until.map(at), ..Dated::always(name.to_owned()) }
}

fn choices(all: &[Dated], overlap: u64) -> Choices {
    Choices { all: all.to_vec(), overlap: Duration::from_secs(overlap) }
}

fn names(found: &[&Dated]) -> Vec<String> {
    found.iter().map(|dated| dated.name.clone()).collect()
}

#[test]
fn without_windows_the_order_of_the_list_decides() {
    let two = Choices::from(vec!["new".to_owned(), "old".to_owned()]);
    assert_eq!(names(&two.sending(at(0))), ["new", "old"]);
    assert_eq!(names(&two.reading(at(0))), ["new", "old"]);
    assert_eq!(names(&two.instead_of("new", at(0))), ["old"]);
    assert_eq!(two.gap(), None);
}

#[test]
fn a_new_key_decrypts_before_it_signs_and_an_old_one_after() {
    let change = choices(&[window("old", None, Some(100)), window("new", Some(60), None)], 50);
    for (now, sends, reads) in [
        (0, vec!["old"], vec!["old", "new"]),
        (59, vec!["old"], vec!["old", "new"]),
        // Both may, and the new one does.
        (60, vec!["new", "old"], vec!["old", "new"]),
        (99, vec!["new", "old"], vec!["old", "new"]),
        (100, vec!["new"], vec!["new", "old"]),
        (149, vec!["new"], vec!["new", "old"]),
        (150, vec!["new"], vec!["new"]),
    ] {
        assert_eq!(names(&change.sending(at(now))), sends, "{now}");
        assert_eq!(names(&change.reading(at(now))), reads, "{now}");
    }
}

#[test]
fn which_one_is_out_of_its_time_is_told() {
    let change = choices(&[window("old", None, Some(100)), window("new", Some(60), None)], 50);
    let standing = |name, now| change.standing(name, at(now)).unwrap();
    assert_eq!((standing("old", 0), standing("new", 0)), (Standing::InForce, Standing::NotYet(at(60))));
    assert_eq!((standing("old", 60), standing("new", 60)), (Standing::Replaced(at(60)), Standing::InForce));
    assert_eq!(standing("old", 100), Standing::Over(at(100)));
    assert_eq!(change.standing("other", at(0)), None);
    // Where nothing is dated, all are in force.
    let two = Choices::from(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(two.standing("b", at(0)), Some(Standing::InForce));
}

#[test]
fn one_that_only_reads_is_replaced_by_a_newer_one_that_reads() {
    let verifies = |dated: Dated| Dated { sends: false, ..dated };
    let apart = [
        Dated { reads: false, ..Dated::always("encrypts".into()) },
        verifies(Dated::always("old".into())),
        verifies(window("new", Some(60), None)),
    ];
    let apart = choices(&apart, 0);
    assert_eq!(apart.standing("old", at(59)), Some(Standing::InForce));
    assert_eq!(apart.standing("old", at(60)), Some(Standing::Replaced(at(60))));
    assert_eq!(apart.standing("encrypts", at(60)), Some(Standing::InForce));
    let newest = |all: &Choices, name, now| all.is_newest_to_read_with(name, at(now));
    assert_eq!(
        [newest(&apart, "old", 59), newest(&apart, "old", 60), newest(&apart, "new", 60)],
        [true, false, true]
    );
    assert!(!newest(&apart, "new", 59) && !newest(&apart, "encrypts", 60) && !newest(&apart, "other", 60));
    // It is still encrypted for, but another one signs by now.
    let both = choices(&[Dated::always("old".into()), verifies(window("new", Some(60), None))], 0);
    assert_eq!(both.standing("old", at(60)), Some(Standing::InForce));
    assert!(newest(&both, "old", 59) && !newest(&both, "old", 60));
    let two = Choices::from(vec!["a".to_owned(), "b".to_owned()]);
    assert!(newest(&two, "a", 0) && newest(&two, "b", 0));
}

#[test]
fn the_other_side_is_told_to_encrypt_for_what_decrypts() {
    let signs = Dated { reads: false, ..window("signs", Some(50), None) };
    let apart = choices(&[Dated { sends: false, ..Dated::always("decrypts".into()) }, signs], 0);
    assert_eq!(apart.to_read_with(at(60)).unwrap().name, "decrypts");
    let change = choices(&[window("old", None, Some(100)), window("new", Some(60), None)], 50);
    let told = |now| change.to_read_with(at(now)).map(|dated| dated.name.as_str());
    assert_eq!([told(59), told(60), told(100)], [Some("old"), Some("new"), Some("new")]);
}

#[test]
fn what_never_is_the_best_is_never_sent_with() {
    let all = [
        Dated::always("old".into()),
        Dated::always("second".into()),
        window("new", Some(60), Some(90)),
        Dated { sends: false, ..window("reads", Some(70), None) },
    ];
    assert_eq!(names(&choices(&all, 0).ever_sending()), ["old", "new"]);
}

#[test]
fn a_date_on_the_new_key_alone_is_enough() {
    let change = choices(&[Dated::always("old".into()), window("new", Some(60), None)], 0);
    assert_eq!(names(&change.sending(at(59))), ["old"]);
    assert_eq!(names(&change.sending(at(60))), ["new", "old"]);
    assert_eq!(names(&change.reading(at(9_999))), ["old", "new"]);
}

#[test]
fn a_key_is_used_for_what_it_is_for() {
    let signs = Dated { reads: false, ..Dated::always("signs".into()) };
    let decrypts = Dated { sends: false, ..Dated::always("decrypts".into()) };
    let apart = choices(&[decrypts, signs], 0);
    assert_eq!(names(&apart.sending(at(0))), ["signs"]);
    assert_eq!(names(&apart.reading(at(0))), ["decrypts"]);
    assert!(apart.instead_of("signs", at(0)).is_empty());
}

#[test]
fn what_is_tried_instead_is_what_the_other_side_has_changed_to_or_not_yet_changed_from() {
    let three = choices(
        &[
            window("older", None, Some(0)),
            window("old", Some(0), Some(1_000)),
            window("new", Some(1_000), None),
        ],
        500,
    );
    // Nearer to the change that comes, or to the one that was.
    assert_eq!(names(&three.instead_of("old", at(900))), ["new"]);
    assert_eq!(names(&three.instead_of("old", at(100))), ["older", "new"]);
    assert_eq!(names(&three.instead_of("new", at(1_100))), ["old"]);
    // Its overlap is over.
    assert!(three.instead_of("new", at(1_500)).is_empty());
    let open = choices(&[Dated::always("old".into()), window("new", Some(60), None)], 0);
    assert_eq!(names(&open.instead_of("new", at(70))), ["old"]);
    assert_eq!(names(&open.instead_of("old", at(50))), ["new"]);
}

#[test]
fn a_time_without_any_key_is_found() {
    let gap = |all: &[Dated]| choices(all, 1_000).gap();
    assert_eq!(gap(&[window("a", None, Some(10)), window("b", Some(20), None)]), Some((at(10), at(20))));
    assert_eq!(gap(&[window("b", Some(20), None), window("a", None, Some(10))]), Some((at(10), at(20))));
    assert_eq!(gap(&[window("a", None, Some(10)), window("b", Some(10), None)]), None);
    assert_eq!(gap(&[window("a", None, Some(10)), window("b", Some(5), Some(30))]), None);
    assert_eq!(gap(&[window("long", None, None), window("b", Some(20), Some(30))]), None);
    // One that ends early, within a longer one.
    let within =
        [window("a", Some(0), Some(50)), window("b", Some(10), Some(20)), window("c", Some(50), None)];
    assert_eq!(gap(&within), None);
    let decrypts = Dated { sends: false, ..window("d", Some(10), Some(20)) };
    let apart = [window("a", None, Some(10)), decrypts, window("c", Some(20), None)];
    assert_eq!(gap(&apart), Some((at(10), at(20))));
    assert_eq!(gap(&[]), None);
}

#[test]
fn names_stand_alone_or_in_tables() {
    let text = |text: &str| Value::Text(text.to_owned());
    let table = Values::of([
        ("name", text("new")),
        ("from", Value::Time(at(5))),
        ("uses", Value::List(vec![text("decrypt")])),
    ]);
    let side = Values::of([
        ("keys", Value::List(vec![text("old"), Value::Table(table)])),
        ("overlap", Value::Duration(Duration::from_secs(7))),
    ]);
    let read = Choices::of(&side, "keys", KEY_USES);
    let new = Dated { sends: false, ..window("new", Some(5), None) };
    assert_eq!(read, choices(&[Dated::always("old".into()), new], 7));
    assert_eq!(read.names().collect::<Vec<_>>(), ["old", "new"]);
}

/// Up to five keys with windows anywhere around the moments that are asked for.
fn any_choices() -> impl Strategy<Value = Choices> {
    let moment = || proptest::option::of(0_i64..100);
    let one = (moment(), moment(), any::<bool>(), any::<bool>());
    let all = proptest::collection::vec(one, 0..5);
    (all, 0_u64..50).prop_map(|(all, overlap)| {
        let all = all.into_iter().enumerate().map(|(number, (from, until, sends, reads))| Dated {
            sends,
            reads,
            ..window(&number.to_string(), from, until)
        });
        choices(&all.collect::<Vec<_>>(), overlap)
    })
}

proptest! {
    #[test]
    fn nothing_signs_before_its_time_or_after_it(choices in any_choices(), now in 0_i64..160) {
        let now = at(now);
        for used in choices.sending(now) {
            prop_assert!(used.sends);
            prop_assert!(used.from.is_none_or(|from| from <= now));
            prop_assert!(used.until.is_none_or(|until| now < until));
        }
    }

    #[test]
    fn some_key_signs_whenever_one_is_usable(choices in any_choices(), now in 0_i64..160) {
        let usable = choices.all.iter().filter(|dated| {
            let begun = dated.from.is_none_or(|from| from <= at(now));
            dated.sends && begun && dated.until.is_none_or(|until| at(now) < until)
        });
        let found = choices.sending(at(now));
        prop_assert_eq!(found.len(), usable.clone().count());
        // No other one began later.
        let best = found.first().map(|dated| dated.from);
        prop_assert_eq!(best, usable.map(|dated| dated.from).max());
    }

    #[test]
    fn what_we_send_with_is_read_with_as_well(choices in any_choices(), now in 0_i64..160) {
        let reading = choices.reading(at(now));
        for used in choices.sending(at(now)).into_iter().filter(|dated| dated.reads) {
            prop_assert!(reading.contains(&used));
        }
        for dated in &choices.all {
            let end = dated.until.map(|until| until + choices.overlap);
            let is_over = end.is_some_and(|end| end <= at(now));
            prop_assert_eq!(reading.contains(&dated), dated.reads && !is_over);
        }
    }

    #[test]
    fn where_no_gap_is_found_the_change_leaves_none(choices in any_choices(), now in 0_i64..100) {
        let windows = || choices.all.iter().filter(|dated| dated.sends && !dated.is_never());
        let begins = windows().map(|dated| dated.from).min().flatten().is_none_or(|from| from <= at(now));
        let ends = windows().any(|dated| dated.until.is_none_or(|until| at(now) < until));
        if windows().count() > 0 && begins && ends && choices.gap().is_none() {
            prop_assert!(!choices.sending(at(now)).is_empty());
        }
        if let Some((end, next)) = choices.gap() {
            prop_assert!(end < next && choices.sending(end).is_empty());
        }
    }
}
