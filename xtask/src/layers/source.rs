//! Just enough of Rust's syntax to see which modules a file names.

/// Source text in which comments, literals and test modules are spaces. Line breaks stay.
pub(crate) struct Code {
    text: String,
    /// Lines that belong to no test module.
    pub(crate) lines: usize,
}

/// A path that starts at the crate root, `crate::name…`, or in another crate, `name::…`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) name: String,
    pub(crate) line: usize,
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

impl Code {
    pub(crate) fn new(source: &str) -> Self {
        let mut text = blank_literals(source);
        let total = source.lines().count();
        let mut test_lines = 0;
        while let Some((start, end)) = test_module(&text) {
            let blank: String = text[start..end]
                .chars()
                .map(|c| if c == '\n' { c } else { ' ' })
                .collect();
            test_lines += blank.matches('\n').count() + 1;
            text.replace_range(start..end, &blank);
        }
        Self {
            text,
            lines: total - test_lines.min(total),
        }
    }

    /// First names behind `crate::`, however it is spelled: in a group, or as so many `super` that
    /// they lead out of a module `depth` levels below the crate root.
    pub(crate) fn crate_paths(&self, depth: usize) -> Vec<Path> {
        let tokens = tokens(&self.text);
        let mut paths = Vec::new();
        // for each open brace, whether it is the one of an inline module
        let mut braces = Vec::new();
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            let inline = braces.iter().filter(|module| **module).count();
            match token.text {
                "use" => {
                    tree(&tokens, i + 1, depth + inline, &mut paths);
                    let len = tokens[i..].iter().position(|token| token.text == ";");
                    i = len.map_or(tokens.len(), |len| i + len);
                }
                "{" => braces.push(i >= 2 && tokens[i - 2].text == "mod"),
                "}" => drop(braces.pop()),
                "crate" | "super" if i == 0 || tokens[i - 1].text != "::" => {
                    tree(&tokens, i, depth + inline, &mut paths);
                }
                _ => {}
            }
            i += 1;
        }
        paths
    }

    /// First names of all other paths: crates, and what `use` brought in.
    pub(crate) fn foreign_paths(&self) -> Vec<Path> {
        let tokens = tokens(&self.text);
        let starts = (0..tokens.len()).filter(|&i| {
            is_name(tokens[i].text)
                && tokens.get(i + 1).is_some_and(|next| next.text == "::")
                && (i == 0 || tokens[i - 1].text != "::")
        });
        starts
            .map(|i| Path {
                name: tokens[i].text.to_owned(),
                line: tokens[i].line,
            })
            .collect()
    }
}

/// Follows one path or tree of `use` from token `i`, which is relative to `depth`. Returns the
/// index behind it.
fn tree(tokens: &[Token<'_>], i: usize, depth: usize, paths: &mut Vec<Path>) -> usize {
    let Some(token) = tokens.get(i) else { return i };
    let goes_on = tokens.get(i + 1).is_some_and(|next| next.text == "::");
    match token.text {
        "crate" if goes_on => tree(tokens, i + 2, 0, paths),
        "self" if goes_on => tree(tokens, i + 2, depth, paths),
        "super" if goes_on => tree(tokens, i + 2, depth.saturating_sub(1), paths),
        "{" => {
            let mut next = i + 1;
            while tokens.get(next).is_some_and(|token| token.text != "}") {
                let behind = tree(tokens, next, depth, paths);
                // whatever follows the entry's first name belongs to that entry
                next = skip_entry(tokens, behind.max(next));
            }
            next + 1
        }
        name if is_name(name) && depth == 0 => {
            paths.push(Path {
                name: name.to_owned(),
                line: token.line,
            });
            i + 1
        }
        _ => i,
    }
}

fn skip_entry(tokens: &[Token<'_>], mut i: usize) -> usize {
    let mut open = 0;
    while let Some(token) = tokens.get(i) {
        match token.text {
            "{" => open += 1,
            "}" if open == 0 => return i,
            "}" => open -= 1,
            "," if open == 0 => return i + 1,
            _ => {}
        }
        i += 1;
    }
    i
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            tokens.push(Token {
                text: &rest[..len],
                line,
            });
        }
        rest = &rest[len..];
    }
    tokens
}

/// Byte range of the first `#[cfg(test)] mod name { … }`.
fn test_module(text: &str) -> Option<(usize, usize)> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut from = 0;
    while let Some(at) = text[from..].find(ATTRIBUTE) {
        let start = from + at;
        from = start + ATTRIBUTE.len();
        let item = &text[from..];
        let Some(open) = item.find(['{', ';']) else {
            continue;
        };
        let is_module = item[..open].split_whitespace().any(|word| word == "mod");
        if !is_module || item[open..].starts_with(';') {
            continue;
        }
        let mut depth = 0;
        for (i, c) in item[open..].char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 {
                return Some((start, from + open + i + 1));
            }
        }
    }
    None
}

/// Comments, strings and character literals become spaces.
fn blank_literals(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let in_word = before.is_alphanumeric() || before == '_';
        let len = literal_len(rest, in_word);
        let taken = if len == 0 { first.len_utf8() } else { len };
        for c in rest[..taken].chars() {
            out.push(if len == 0 || c == '\n' { c } else { ' ' });
        }
        before = first;
        rest = &rest[taken..];
    }
    out
}

/// Bytes of the comment or literal that `rest` starts with, 0 if it starts with none.
fn literal_len(rest: &str, in_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if !in_word && let Some(len) = raw_string_len(rest) {
        return len;
    }
    if rest.starts_with('"') {
        return quoted_len(rest, '"');
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut chars = inner.chars();
        return match (chars.next(), chars.next()) {
            (Some('\\'), _) => quoted_len(rest, '\''),
            (Some(c), Some('\'')) => c.len_utf8() + 2,
            // a lifetime
            _ => 0,
        };
    }
    0
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn raw_string_len(rest: &str) -> Option<usize> {
    let body = ["r", "br", "cr"].iter().find_map(|prefix| {
        rest.strip_prefix(prefix)
            .filter(|body| body.starts_with(['"', '#']))
    })?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let quoted = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let close = quoted.find(&end).map_or(quoted.len(), |at| at + end.len());
    Some(rest.len() - quoted.len() + close)
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}
