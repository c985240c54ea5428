//! The grammar, as pcap-filter(7) has it: `not` binds tightest, `and` and `or` bind equally and
//! group from the left, and a value without a keyword takes over that of the value before it.

use winnow::{
    ModalResult, Parser as _,
    combinator::{alt, cut_err, opt, peek, preceded},
    error::{ErrMode, ParserError},
    stream::{LocatingSlice, Location as _, Stateful, Stream as _},
    token::{rest_len, take_while},
};

use super::{
    FilterError,
    ast::{Expr, Layer, Side},
    head::Head,
    hint, primitive,
};

/// Longest filter, in bytes.
pub(super) const MAX_LEN: usize = 8192;
/// Deepest nesting: parentheses and `not` in the text, levels in the tree.
pub(super) const MAX_DEPTH: usize = 64;

/// What the grammar remembers while it reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Open parentheses and `not`s.
    depth: usize,
    /// The qualifiers that a bare value takes over.
    pub(super) carried: Option<Head>,
    /// Within `port (80 or 443)`: only values may stand here.
    pub(super) values_only: bool,
}

pub(super) type Input<'i> = Stateful<LocatingSlice<&'i str>, State>;
pub(super) type PResult<T> = ModalResult<T, Fault>;

/// A mistake at a place. Everything that is wrong is final (`Cut`); `Backtrack` only means that an
/// optional part is not there.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl<'i> ParserError<Input<'i>> for Fault {
    type Inner = Self;

    fn from_input(input: &Input<'i>) -> Self {
        let at = input.current_token_start();
        Self {
            at,
            len: 1,
            message: "expected a primitive".to_owned(),
            hint: None,
        }
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

/// A final error about the `len` bytes from `at` on.
pub(super) fn fault<T>(
    at: usize,
    len: usize,
    message: impl Into<String>,
    hint: Option<String>,
) -> PResult<T> {
    Err(ErrMode::Cut(Fault {
        at,
        len,
        message: message.into(),
        hint,
    }))
}

/// Parses a whole filter; `None` when it is empty, which accepts everything.
pub(super) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    let error = |f: Fault| FilterError {
        text: text.to_owned(),
        at: f.at.min(text.len()),
        len: f.len,
        message: f.message,
        hint: f.hint,
    };
    if text.len() > MAX_LEN {
        return Err(error(Fault {
            at: text.floor_char_boundary(MAX_LEN),
            len: 1,
            message: format!("the filter is longer than {MAX_LEN} bytes"),
            hint: Some("use `net` for many addresses, or filter what tracer prints".to_owned()),
        }));
    }
    let mut input = Input {
        input: LocatingSlice::new(text),
        state: State::default(),
    };
    whole(&mut input)
        .map_err(|e| error(e.into_inner().unwrap_or_else(|_| Fault::from_input(&input))))
}

fn whole(input: &mut Input<'_>) -> PResult<Option<Expr>> {
    space(input)?;
    if rest_len.parse_next(input)? == 0 {
        return Ok(None);
    }
    let e = expr(input)?;
    if rest_len.parse_next(input)? == 0 {
        return Ok(Some(e));
    }
    let at = input.current_token_start();
    if input.input.starts_with(')') {
        return fault(at, 1, "this `)` closes nothing", None);
    }
    let word = peek(word).parse_next(input).unwrap_or_default();
    let hint = if word.is_empty() && input.input.starts_with(['&', '|']) {
        Some("write `and` (`&&`) or `or` (`||`)".to_owned())
    } else if word.is_empty() {
        None
    } else {
        Some(hint::juxtaposed(input.state.carried, word))
    };
    fault(
        at,
        word.len().max(1),
        "expected `and`, `or` or the end of the filter",
        hint,
    )
}

/// Blanks between words.
fn space(input: &mut Input<'_>) -> PResult<()> {
    take_while(0.., char::is_whitespace)
        .void()
        .parse_next(input)
}

/// Ends a word.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '!' | '&' | '|')
}

/// A word and the blanks behind it.
pub(super) fn word<'i>(input: &mut Input<'i>) -> PResult<&'i str> {
    let w = take_while(1.., |c| !ends_word(c)).parse_next(input)?;
    space(input)?;
    Ok(w)
}

/// The keyword `want`.
pub(super) fn keyword<'i>(want: &'static str) -> impl FnMut(&mut Input<'i>) -> PResult<()> {
    move |input| word.verify(|w: &str| w == want).void().parse_next(input)
}

/// A sign such as `(` and the blanks behind it.
fn sign<'i>(want: &'static str) -> impl FnMut(&mut Input<'i>) -> PResult<()> {
    move |input| {
        want.void().parse_next(input)?;
        space(input)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Joint {
    And,
    Or,
}

fn joint(input: &mut Input<'_>) -> PResult<Joint> {
    alt((
        alt((sign("&&"), keyword("and"))).value(Joint::And),
        alt((sign("||"), keyword("or"))).value(Joint::Or),
    ))
    .parse_next(input)
}

/// Terms joined by `and` and `or`, from the left.
fn expr(input: &mut Input<'_>) -> PResult<Expr> {
    let mut left = term(input)?;
    loop {
        let at = input.current_token_start();
        let Some(joint) = opt(joint).parse_next(input)? else {
            return Ok(left);
        };
        let right = cut_err(term).parse_next(input)?;
        left = match joint {
            Joint::And => left.and(right),
            Joint::Or => left.or(right),
        };
        if left.depth() > MAX_DEPTH {
            return too_deep(at);
        }
    }
}

fn too_deep<T>(at: usize) -> PResult<T> {
    fault(
        at,
        1,
        format!("the filter is nested more than {MAX_DEPTH} levels deep"),
        None,
    )
}

/// `f` one level deeper.
fn nested<T>(
    input: &mut Input<'_>,
    at: usize,
    f: impl FnOnce(&mut Input<'_>) -> PResult<T>,
) -> PResult<T> {
    // a primitive below the last level makes the tree one level deeper than the text
    if input.state.depth + 1 >= MAX_DEPTH {
        return too_deep(at);
    }
    input.state.depth += 1;
    let result = f(input);
    input.state.depth -= 1;
    result
}

fn term(input: &mut Input<'_>) -> PResult<Expr> {
    let at = input.current_token_start();
    if opt(alt((sign("!"), keyword("not"))))
        .parse_next(input)?
        .is_some()
    {
        let e = nested(input, at, |i| cut_err(term).parse_next(i))?;
        return Ok(Expr::Not(Box::new(e)));
    }
    if opt(sign("(")).parse_next(input)?.is_some() {
        return nested(input, at, |i| group(i, at));
    }
    primitive::primitive(input)
}

/// The rest of a parenthesis that was opened at `open`.
fn group(input: &mut Input<'_>, open: usize) -> PResult<Expr> {
    let e = expr(input)?;
    if opt(sign(")")).parse_next(input)?.is_some() {
        return Ok(e);
    }
    if rest_len.parse_next(input)? == 0 {
        return fault(open, 1, "this `(` is not closed", None);
    }
    let at = input.current_token_start();
    fault(at, 1, "expected `and`, `or` or `)`", None)
}

/// A parenthesis of values that share `head`, when one starts here: `port (80 or 443)`.
pub(super) fn values(input: &mut Input<'_>, head: Head) -> PResult<Option<Expr>> {
    let at = input.current_token_start();
    if opt(peek(sign("("))).parse_next(input)?.is_none() {
        return Ok(None);
    }
    let outside = input.state.values_only;
    input.state.carried = Some(head);
    input.state.values_only = true;
    let e = nested(input, at, |i| {
        preceded(sign("("), |i: &mut Input<'_>| group(i, at)).parse_next(i)
    });
    input.state.values_only = outside;
    e.map(Some)
}

/// `src`, `dst`, and both joined by `or` or `and`.
pub(super) fn side(input: &mut Input<'_>) -> PResult<Side> {
    let start = input.checkpoint();
    let first = word(input)?;
    let other = match first {
        "src" => "dst",
        "dst" => "src",
        _ => {
            input.reset(&start);
            return Err(ErrMode::Backtrack(Fault::from_input(input)));
        }
    };
    let joined = opt((joint, keyword(other)).map(|(j, ())| j)).parse_next(input)?;
    Ok(match joined {
        Some(Joint::Or) => Side::Either,
        Some(Joint::And) => Side::Both,
        None if first == "src" => Side::Src,
        None => Side::Dst,
    })
}

/// `inner` or `outer`.
pub(super) fn layer(input: &mut Input<'_>) -> PResult<Layer> {
    alt((
        keyword("inner").value(Layer::Inner),
        keyword("outer").value(Layer::Outer),
    ))
    .parse_next(input)
}
