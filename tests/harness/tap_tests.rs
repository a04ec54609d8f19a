//! The unit tests of `tap`. They use cargo's own harness, which the tiers do not.

mod tap;

use tap::{Points, read};
fn points(ok: usize, not_ok: usize, skipped: &[&str]) -> Result<Points, String> {
    let skipped = skipped.iter().map(|&reason| reason.to_owned()).collect();
    Ok(Points {
        ok,
        not_ok,
        skipped,
    })
}

#[test]
fn points_are_counted() {
    assert_eq!(read("1..2\nok 1 - a\nok 2 - b\n"), points(2, 0, &[]));
    assert_eq!(read("1..2\nok 1\nnot ok 2\n"), points(1, 1, &[]));
    assert_eq!(read("ok 1 - a\n1..1\n"), points(1, 0, &[]));
    assert_eq!(
        read("1..2\nok 1 - a # SKIP it takes root\nok 2 - b"),
        points(2, 0, &["it takes root"])
    );
}

#[test]
fn other_lines_are_for_people() {
    let text = "# ok 7\n1..1\nokay\nok-ish 3\nnot okay 1\n not ok 1\nnothing\nok 1 - a\n";
    assert_eq!(read(text), points(1, 0, &[]));
}

#[test]
fn what_is_not_in_order_is_an_error() {
    for (text, why) in [
        ("", "no plan"),
        ("ok 1 - a\n", "no plan"),
        ("1..0\n", "not one test point"),
        ("1..2\nok 1 - a\n", "planned were 2"),
        ("1..1\nok 1 - a\nok 2 - b\n", "planned were 1"),
        ("1..1\nok 1 - a\n1..1\n", "a second plan"),
        ("1..1\n1..1\nok 1 - a\n", "a second plan"),
        ("1..one\nok 1 - a\n", "no plan"),
        ("1..+1\nok 1 - a\n", "no plan"),
        ("ok 1 - a\n1..1\nok 2 - b\n", "behind the plan"),
        ("1..2\nok 2 - b\nok 1 - a\n", "should be point 1"),
        ("1..2\nok 1 - a\nok 1 - a\n", "should be point 2"),
        ("1..1\nok - a\n", "should be point 1"),
        ("1..1\nok\n", "should be point 1"),
        ("1..1\nnot ok\n", "should be point 1"),
        ("1..1\nnot ok 1 - a # SKIP no\n", "skipped, and not ok"),
        ("1..1\nok 1 - a\nBail out! no disk\n", "Bail out! no disk"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(why), "{text:?}: {error}");
    }
}
