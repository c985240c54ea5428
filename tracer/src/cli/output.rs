//! Where output goes and how it looks there.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
};

use anyhow::Result;
use jiff::tz::TimeZone;
use ratatui::crossterm::terminal;

use super::args::{Color, Format, Options};
use crate::{
    decode::drop_text::meaning,
    inventory::Inventory,
    pipeline::Ready,
    view::{ViewContext, WallClock, text::Style},
};

/// stdout with a style. Buffered: flush when something is to be seen.
pub(super) struct Output {
    pub(super) stdout: BufWriter<Box<dyn Write>>,
    pub(super) style: Style,
    pub(super) format: Format,
    pub(super) numeric: bool,
}

impl Output {
    pub(super) fn new(options: &Options) -> Self {
        let stdout = io::stdout();
        let width = stdout
            .is_terminal()
            .then(|| terminal::size().ok())
            .flatten();
        let style = Style {
            color: colored(options.color, &stdout),
            ascii: options.ascii || !utf8(|name| env::var(name).ok()),
            width: width.map(|(columns, _)| usize::from(columns)),
        };
        Self {
            stdout: BufWriter::new(Box::new(stdout.lock())),
            style,
            format: options.output,
            numeric: options.numeric,
        }
    }

    /// What views need.
    pub(super) fn context<'a>(
        &self,
        inventory: &'a Inventory,
        clock: &'a WallClock,
    ) -> ViewContext<'a> {
        ViewContext {
            inventory,
            clock,
            meaning,
            numeric: self.numeric,
        }
    }

    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())
    }

    /// The line that scripts wait for, on stderr.
    pub(super) fn ready(&self, ready: &Ready, filter: &str) -> io::Result<()> {
        let mut err = io::stderr().lock();
        if self.format == Format::Json {
            return writeln!(err, "{{\"type\":\"ready\"}}");
        }
        let Ready {
            inventory,
            devices,
            limits,
            intent,
            ..
        } = ready;
        let node = self.style.name(&inventory.node);
        let s = if *devices == 1 { "" } else { "s" };
        let only = if filter.is_empty() {
            String::new()
        } else {
            format!(", {filter}")
        };
        let only = self.style.sentence(&only);
        writeln!(
            err,
            "tracer: ready: {devices} device{s} on {node}, Linux {}{only}",
            inventory.kernel
        )?;
        if !intent.sources.is_empty() {
            let meant = intent.sources.join("; ");
            writeln!(err, "tracer: meant: {}", self.style.sentence(&meant))?;
        }
        for limit in limits {
            writeln!(
                err,
                "tracer: not seen: {}",
                self.style.sentence(&limit.text)
            )?;
        }
        Ok(())
    }
}

/// Local time from the offset between the kernel's clock and the wall clock.
pub(super) fn clock(wall_offset_ns: u64) -> WallClock {
    let offset_ns = i64::try_from(wall_offset_ns).unwrap_or(i64::MAX);
    WallClock {
        offset_ns,
        zone: Some(TimeZone::system()),
    }
}

/// Colours are wanted there. `NO_COLOR` (any value but empty) turns off what was not asked for.
pub(super) fn colored(color: Color, to: &impl IsTerminal) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let set = |name| env::var_os(name).filter(|v| !v.is_empty());
            set("NO_COLOR").is_none() && set("TERM").is_none_or(|t| t != "dumb") && to.is_terminal()
        }
    }
}

/// The locale says UTF-8, in the order that setlocale(3) asks.
fn utf8(var: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|n| var(n).filter(|v| !v.is_empty()));
    // no locale at all is a service or a container, where a pipe reads UTF-8
    locale.is_none_or(|l| {
        let l = l.to_ascii_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    })
}

/// One line on stderr for an error with its causes.
pub(super) fn complain(e: &anyhow::Error) {
    let text = format!("{e:#}");
    // nothing is left to do when stderr is closed
    drop(writeln!(
        io::stderr().lock(),
        "tracer: {}",
        crate::view::escape::sentence(&text, false)
    ));
}

/// Words of the command line as one filter; `None` (and a caret under the mistake on stderr) when
/// it makes no sense.
pub(super) fn filter(words: &[String]) -> Result<Option<crate::filter::Filter>> {
    match crate::filter::Filter::parse(&words.join(" ")) {
        Ok(filter) => Ok(Some(filter)),
        Err(e) => {
            writeln!(io::stderr().lock(), "tracer: {e}")?;
            Ok(None)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{cell::RefCell, rc::Rc};

    use rstest::rstest;

    use super::*;

    /// What was written, shared with the writer.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Page(Rc<RefCell<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        /// Everything so far.
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    /// Plain output to a page.
    pub(in crate::cli) fn page(format: Format) -> (Output, Page) {
        let page = Page::default();
        let stdout = BufWriter::new(Box::new(page.clone()) as Box<dyn Write>);
        let (style, numeric) = (Style::default(), false);
        (
            Output {
                stdout,
                style,
                format,
                numeric,
            },
            page,
        )
    }

    #[rstest]
    #[case(&[], true)]
    #[case(&[("LANG", "C")], false)]
    #[case(&[("LANG", "de_DE.UTF-8")], true)]
    #[case(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "POSIX")], false)]
    #[case(&[("LANG", "C"), ("LC_CTYPE", "C.utf8")], true)]
    #[case(&[("LC_ALL", ""), ("LANG", "C.utf8")], true)]
    fn locales(#[case] vars: &[(&str, &str)], #[case] expected: bool) {
        let var = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        assert_eq!(utf8(var), expected);
    }
}
