//! The first screen of each demo says what is wrong, and `docs/screens.md` shows such a screen.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, ensure};
use harness::Lab;

use super::{LATER, SIZE, open};

/// With `TRACER_SCREENS=write` the screens of the page are replaced by those that were seen.
const WRITE: &str = "TRACER_SCREENS";

/// What the first screen has to say, without a key; and that the page has such a screen.
fn first_screen(name: &str, finding: &str, marks: &[char]) -> Result<()> {
    let lab = Lab::raise_named(name)?;
    let terminal = open(lab.node(), SIZE)?;
    let enough = AtomicBool::new(false);
    let screen = thread::scope(|scope| {
        let traffic = scope.spawn(|| lab.traffic_until(&enough));
        let before = RefCell::new(String::new());
        let screen = terminal.wait_for(finding, LATER, |s| {
            let rows: Vec<&str> = s.lines().collect();
            let head = rows.iter().position(|l| l.starts_with("! FLOW"));
            // what is wrong is said above the flows, the first of them is one in trouble, and the
            // next step is below
            let said = head.is_some_and(|h| {
                rows[..h]
                    .iter()
                    .any(|l| l.contains(&format!("[{finding}]")))
                    && rows.get(h + 1).is_some_and(|l| l.starts_with(marks))
                    && rows[h..].iter().any(|l| l.contains("next ["))
            });
            // not while it is being drawn
            said && *before.replace(s.to_owned()) == *s
        });
        enough.store(true, Ordering::Relaxed);
        traffic
            .join()
            .unwrap_or_else(|p| std::panic::resume_unwind(p))?;
        screen
    })?;
    if env::var(WRITE).is_ok_and(|how| how == "write") {
        return write(name, &screen);
    }
    let page = fs::read_to_string(page()).context("the page of the screens")?;
    let (_, shown, _) = section(&page, name)?;
    let [was, is] = [shown, &screen].map(outline);
    ensure!(
        was == is,
        "docs/screens.md shows another screen: run the test with {WRITE}=write.\nwas {was:#?}\nis \
         {is:#?}\n{screen}"
    );
    Ok(())
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/screens.md")
}

/// What is before the screen of `name`, the screen, and what is behind it.
fn section<'p>(page: &'p str, name: &str) -> Result<(&'p str, &'p str, &'p str)> {
    let at = page.find(&format!("\n## {name}\n"));
    let at = at.with_context(|| format!("no section {name}"))?;
    let begin = page[at..].find("```text\n").context("no screen")? + at + "```text\n".len();
    let end = page[begin..].find("```").context("no end of a screen")? + begin;
    Ok((&page[..begin], &page[begin..end], &page[end..]))
}

/// Tests run at once, and there is one page.
static PAGE: Mutex<()> = Mutex::new(());

fn write(name: &str, screen: &str) -> Result<()> {
    let _lock = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(page()).context("the page of the screens")?;
    let (before, _, after) = section(&text, name)?;
    let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let text = format!("{before}{}\n{after}", rows.join("\n"));
    fs::write(page(), text).context("the page of the screens")
}

/// What is the same on every first screen of a lab: where things are, the panes, the columns, the keys,
/// what the finding says, and the beginning of the next command. Numbers, and what depends on which
/// packets were first, are not.
#[derive(Debug, PartialEq)]
struct Outline {
    rows: usize,
    /// The words of the first rows and of the last one.
    header: Vec<String>,
    figures: String,
    panes: Vec<String>,
    finding: Vec<String>,
    columns: Vec<String>,
    next: String,
    keys: String,
}

fn outline(screen: &str) -> Outline {
    let rows: Vec<&str> = screen.lines().collect();
    let row = |n: usize| rows.get(n).copied().unwrap_or_default();
    let find = |wanted: &dyn Fn(&str) -> bool| rows.iter().find(|r| wanted(r)).copied();
    // without digits, which are counts, times and the numbers of a run
    let plain = |word: &str| -> String { word.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let words = |row: &str| -> Vec<String> {
        let words = row.split_whitespace().map(plain);
        words.filter(|w| !w.is_empty()).collect()
    };
    let finding = find(&|r| r.starts_with(" error [") || r.starts_with(" warning ["));
    let next = find(&|r| r.trim_start().starts_with("next ["));
    let figures = row(1);
    Outline {
        rows: rows.len(),
        header: [0, 1, 4]
            .map(|n| words(row(0)).get(n).cloned())
            .into_iter()
            .flatten()
            .collect(),
        figures: ["flow", "│", "pkt/s", "drops/s"]
            .map(|w| if figures.contains(w) { w } else { "-" })
            .join(" "),
        panes: words(row(2)),
        // a lab's name is cut where its number makes it too long
        finding: words(finding.unwrap_or_default())
            .into_iter()
            .take(4)
            .collect(),
        columns: words(find(&|r| r.starts_with("! FLOW")).unwrap_or_default()),
        next: next.unwrap_or_default().chars().take(30).collect(),
        keys: row(rows.len().saturating_sub(1)).trim_end().to_owned(),
    }
}

#[test]
fn native_tunnel_shows_its_problem_without_a_key() -> Result<()> {
    first_screen("native-tunnel", "tunnel-in-native-mode", &['!'])
}

#[test]
fn aws_eni_shows_its_problem_without_a_key() -> Result<()> {
    first_screen("aws-eni", "duplicate-default", &['!', '?', '✗'])
}

#[test]
fn overlapping_vpc_shows_its_problem_without_a_key() -> Result<()> {
    first_screen("overlapping-vpc", "tunnel-unanswered", &['?'])
}

#[test]
fn ipv6_prefix_shows_its_problem_without_a_key() -> Result<()> {
    first_screen("ipv6-prefix", "onlink-prefix-mismatch", &['?'])
}

#[test]
fn encap_loss_shows_its_problem_without_a_key() -> Result<()> {
    first_screen("encap-loss", "encap-mtu", &['✗', '!', '?'])
}
