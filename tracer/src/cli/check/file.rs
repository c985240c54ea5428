//! A file of checks (`docs/checks.md`): TOML whose keys are the long options of the command line.
//!
//! A table becomes the words of a command line, so that a file and a command line cannot differ in
//! what they accept or mean.

use std::time::Duration;

use toml::{Table as Toml, Value};

use crate::cli::{args::CheckArgs, duration};

/// The words of one check as clap reads them.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "check", disable_help_flag = true)]
pub(super) struct Table {
    #[command(flatten)]
    pub(super) check: CheckArgs,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// How long to look at most.
    pub(super) time: Option<Duration>,
    pub(super) checks: Vec<Named>,
}

/// A check and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// As on a command line, the program first.
    pub(super) words: Vec<String>,
}

/// Reads the text of a file; the error says where and what.
pub(super) fn parse(text: &str) -> Result<File, String> {
    let file: Toml = text.parse().map_err(|e| format!("{e}"))?;
    let (mut time, mut checks) = (None, Vec::new());
    for (key, value) in &file {
        match (key.as_str(), value) {
            ("for", Value::String(text)) => {
                time = Some(duration::parse(text).map_err(|e| format!("for: {e}"))?);
            }
            ("check", Value::Array(tables)) => {
                for (i, table) in tables.iter().enumerate() {
                    let Value::Table(table) = table else {
                        return Err("check: expected tables, each under [[check]]".into());
                    };
                    checks.push(named(table, i + 1)?);
                }
            }
            ("for", _) => return Err("for: expected a time in quotes, such as \"30s\"".into()),
            ("check", _) => return Err("check: expected tables, each under [[check]]".into()),
            (other, _) => {
                return Err(format!(
                    "{other}: not known here; there are `for` and [[check]]"
                ));
            }
        }
    }
    if checks.is_empty() {
        return Err("there is no [[check]]".into());
    }
    let mut names: Vec<&str> = checks.iter().map(|c| c.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two checks are called {:?}", pair[0])),
        None => Ok(File { time, checks }),
    }
}

fn named(table: &Toml, number: usize) -> Result<Named, String> {
    let name = match table.get("name") {
        None => format!("check {number}"),
        Some(Value::String(name)) if !name.trim().is_empty() => name.clone(),
        Some(_) => return Err(format!("check {number}: name: expected text in quotes")),
    };
    let mut words = vec!["check".to_owned()];
    for (key, value) in table.iter().filter(|(k, _)| *k != "name" && *k != "filter") {
        option(&mut words, key, value).map_err(|e| format!("check {name:?}: {key}: {e}"))?;
    }
    match table.get("filter") {
        None => {}
        // behind `--` nothing of it is an option
        Some(Value::String(filter)) => words.extend(["--".into(), filter.clone()]),
        Some(_) => return Err(format!("check {name:?}: filter: expected text in quotes")),
    }
    Ok(Named { name, words })
}

/// `--key=value`, so that no value is ever taken for an option.
fn option(words: &mut Vec<String>, key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Boolean(true) => words.push(format!("--{key}")),
        Value::Boolean(false) => {}
        Value::String(text) => words.push(format!("--{key}={text}")),
        Value::Integer(number) => words.push(format!("--{key}={number}")),
        Value::Array(values) => {
            for value in values {
                match value {
                    Value::String(_) | Value::Integer(_) => option(words, key, value)?,
                    _ => return Err("expected a list of texts or numbers".into()),
                }
            }
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            return Err("expected text in quotes, a number, true, or a list".into());
        }
    }
    Ok(())
}

/// What clap says about one check, without what is about command lines.
pub(super) fn in_a_file(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_table_is_a_command_line() {
        let file = parse(
            r#"
            for = "10s"
            [[check]]
            name = "native"
            filter = "dst net 10.244.2.0/24 and not icmp"
            no-tunnel = true
            via = ["eth0", "eth1"]
            min-packets = 10
            fail-on = "no-route"
            [[check]]
            tunnel = "vxlan"
            reply-tunnel = true
            probe = "10.96.0.10:53"
            probe-proto = "udp"
            "#,
        )
        .unwrap();
        assert_eq!(file.time, Some(Duration::from_secs(10)));
        let args: Vec<CheckArgs> = file
            .checks
            .iter()
            .map(|c| Table::try_parse_from(&c.words).unwrap().check)
            .collect();
        assert_eq!(file.checks[0].name, "native");
        assert_eq!(args[0].filter, ["dst net 10.244.2.0/24 and not icmp"]);
        assert_eq!(args[0].expect.via, ["eth0", "eth1"]);
        assert!(args[0].expect.no_tunnel);
        assert_eq!(args[0].expect.min_packets, Some(10));
        assert_eq!(args[0].expect.fail_on, ["no-route"]);
        assert_eq!(file.checks[1].name, "check 2");
        assert_eq!(args[1].expect.tunnel.as_deref(), Some("vxlan"));
        assert_eq!(args[1].expect.reply_tunnel.as_deref(), Some(""));
        assert_eq!(args[1].probe.probe.unwrap().port, Some(53));
    }

    #[rstest]
    #[case("", "there is no [[check]]")]
    #[case("for = 3\n[[check]]", "for: expected a time")]
    #[case("for = \"3x\"\n[[check]]", "for: expected a time")]
    #[case("chekc = 1", "chekc: not known here")]
    #[case("check = 1", "check: expected tables")]
    #[case("[[check]]\nname = 1", "check 1: name: expected text")]
    #[case("[[check]]\nfilter = 1", "check \"check 1\": filter: expected text")]
    #[case("[[check]]\nmin-packets = 1.5", "min-packets: expected")]
    #[case("[[check]]\nvia = [[1]]", "via: expected a list")]
    #[case(
        "[[check]]\nname = 'a'\n[[check]]\nname = 'a'",
        "two checks are called \"a\""
    )]
    #[case("[[check]\n", "TOML parse error at line 1")]
    fn what_is_wrong_is_said(#[case] text: &str, #[case] message: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case("no-tunel = true", "unexpected argument '--no-tunel' found")]
    #[case("for = '3s'", "unexpected argument '--for' found")]
    #[case("o = 'json'", "unexpected argument '--o' found")]
    #[case(
        "min-packets = -1",
        "invalid value '-1' for '--min-packets <N>': invalid digit found in string"
    )]
    #[case(
        "fail-on = 'no-rout'",
        "invalid value 'no-rout' for '--fail-on <FINDING>': there are: "
    )]
    fn a_key_is_an_option(#[case] line: &str, #[case] message: &str) {
        let file = parse(&format!("[[check]]\n{line}")).unwrap();
        let error = Table::try_parse_from(&file.checks[0].words).unwrap_err();
        let error = in_a_file(&error.to_string());
        assert!(error.starts_with(message), "{error}");
    }
}
