use super::*;

fn file(path: &str, source: &str) -> File {
    File {
        path: PathBuf::from(path),
        code: Code::new(source),
    }
}

/// Faults of a tree with all modules of the table, into which these files are put.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let mut tree: Vec<File> = LAYERS
        .iter()
        .map(|(name, _)| file(&format!("{name}/mod.rs"), ""))
        .collect();
    tree.extend(files.iter().map(|(path, source)| file(path, source)));
    edge_faults(&tree).iter().map(ToString::to_string).collect()
}

#[test]
fn the_table_itself_has_no_cycle() {
    let edges = LAYERS
        .iter()
        .map(|(name, uses)| {
            (
                (*name).to_owned(),
                uses.iter().map(|used| (*used).to_owned()).collect(),
            )
        })
        .collect();
    assert_eq!(cycle(&edges), None);
}

#[test]
fn an_allowed_edge_is_no_fault() {
    assert_eq!(
        faults(&[(
            "model/flow.rs",
            "use crate::{event::Ifindex, inventory::Link};"
        )]),
        [""; 0]
    );
}

#[test]
fn each_spelling_of_a_forbidden_edge_is_found() {
    for source in [
        "use crate::net::Link;",
        "use crate::net;",
        "pub(crate) use crate::net as n;",
        "use crate::{event::{Ifindex, Tuple}, net::Link};",
        "use crate::{\n event::Ifindex, net};",
        "use {std::fmt, crate::net::Link};",
        "use super::super::net::Link;",
        "use super::{flow, super::net::Link};",
        "fn f() -> crate::net::Link { 1 }",
        "fn f() { super::super::net::links(); }",
        "mod inner { use super::super::super::net::Link; }",
        "mod inner {} use super::super::net::Link;",
    ] {
        let found = faults(&[("model/store.rs", source)]);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(
            found[0].ends_with("model must not use net"),
            "{source}: {found:?}"
        );
    }
}

#[test]
fn a_fault_names_file_and_line() {
    let found = faults(&[("view/text.rs", "//! Text.\n\nuse crate::probe::Session;\n")]);
    assert_eq!(found, ["view/text.rs:3: view must not use probe"]);
}

#[test]
fn names_that_only_look_like_an_edge_are_none() {
    for source in [
        "// use crate::net::Link;",
        "/* /* nested */ use crate::net::Link; */",
        r##"const A: &str = r#"crate::net::x " "#; const B: &str = "crate::net::\"x";"##,
        "use super::net::Link;",
        "use crate::event::net::Link;",
        "pub(crate) fn net() {}",
        "fn f<'a>(c: char, s: &'a str) { if c == '{' { net::x(s) } }",
        "mod inner { use super::super::net::Link; }",
    ] {
        assert_eq!(faults(&[("model/store.rs", source)]), [""; 0], "{source}");
    }
}

#[test]
fn tests_may_use_any_module() {
    assert_eq!(
        faults(&[("model/tests.rs", "use crate::net::Link;")]),
        [""; 0]
    );
    let source = "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { crate::net::f(); '}'; } }\n";
    assert_eq!(faults(&[("model/flow.rs", source)]), [""; 0]);
}

#[test]
fn code_behind_a_test_module_is_checked() {
    let source = "#[cfg(test)]\nmod tests { fn g() {} }\nuse crate::net::Link;";
    let found = faults(&[("model/flow.rs", source)]);
    assert_eq!(found, ["model/flow.rs:3: model must not use net"]);
}

#[test]
fn the_core_does_not_ask_the_machine() {
    let found = faults(&[("diagnose/mtu.rs", "use rtnetlink::Handle;")]);
    assert_eq!(
        found,
        ["diagnose/mtu.rs:1: diagnose must not use crate rtnetlink"]
    );
    assert_eq!(
        faults(&[("net/link.rs", "use rtnetlink::Handle;")]),
        [""; 0]
    );
}

#[test]
fn the_shared_bytes_are_for_those_who_exchange_them() {
    assert_eq!(
        faults(&[("decode/record.rs", "use tracer_abi::record::Kind;")]),
        [""; 0]
    );
    let found = faults(&[("view/json.rs", "use tracer_abi::record::Kind;")]);
    assert_eq!(
        found,
        ["view/json.rs:1: view must not use crate tracer_abi"]
    );
}

#[test]
fn a_module_must_be_in_the_table() {
    let found = faults(&[("misc.rs", "")]);
    assert_eq!(
        found,
        ["misc.rs:1: module misc is not in the table of layers"]
    );
}

#[test]
fn a_cycle_is_shown_as_a_chain() {
    let found = faults(&[
        ("event/a.rs", "use crate::inventory::X;"),
        ("inventory/b.rs", "use crate::event::Y;"),
    ]);
    assert!(
        found.contains(&"lib.rs:1: modules use each other: event → inventory → event".to_owned()),
        "{found:?}"
    );
}

#[test]
fn lines_of_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(MAX_LINES);
    let tests = format!(
        "#[cfg(test)]\nmod tests {{\n{}}}\n",
        "    // more\n".repeat(100)
    );
    let fits = file("a.rs", &(code.clone() + &tests));
    let long = file("b.rs", &(code.clone() + "fn g() {}\n"));
    let test_file = file("a/tests.rs", &code.repeat(2));
    let found = size_faults(&[fits, long, test_file]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "b.rs:1: 401 lines without tests, more than 400"
    );
}
