//! `cargo xtask build`: tracer with its BPF object.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::sh;

/// Builds tracer and returns where the program is.
pub(crate) fn tracer(release: bool) -> Result<PathBuf> {
    tracer_with(if release { &["--release"] } else { &[] })
}

/// The same with more options of cargo.
pub(crate) fn tracer_with(options: &[&str]) -> Result<PathBuf> {
    let mut cargo = sh::cargo()?;
    cargo.args(["build", "--package", "tracer", "--bin", "tracer"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.args(options);
    let messages = sh::stdout(&mut cargo)?;
    executable(&messages).with_context(|| format!("`{}` built no program", sh::line(&cargo)))
}

/// The program that cargo's messages, one JSON object a line, name.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message.pointer("/profile/test") == Some(&Value::Bool(true));
        if is_test {
            return None;
        }
        message.get("executable")?.as_str().map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/t/deps/tracer-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/t/debug/tracer"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/tracer")));
        assert_eq!(executable(""), None);
    }
}
