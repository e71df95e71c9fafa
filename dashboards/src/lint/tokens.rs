//! Words of PromQL and InfluxQL.

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'t> {
    /// A bare word: name, key word, function.
    Word(&'t str),
    /// In `"`.
    Double(&'t str),
    /// In `'`.
    Single(&'t str),
    /// In `/`, where a regular expression may stand.
    Regex(&'t str),
    /// A number.
    Number(&'t str),
    /// A number with a unit of time: `10m`, `1h30m`, `5ms`.
    Span(&'t str),
    /// Everything else: `(`, `=~`, `>=`.
    Sign(&'t str),
}

/// Signs of two characters; before those of one.
const DOUBLE_SIGNS: [&str; 6] = ["=~", "!~", "!=", ">=", "<=", "=="];
const SIGNS: &str = "(){}[],+-*/%^=<>:@";

fn is_span(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        rest = &rest[digits..];
        let unit = ["ms", "s", "m", "h", "d", "w", "y"].into_iter().find(|unit| {
            rest.strip_prefix(unit)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        match (digits, unit) {
            (1.., Some(unit)) => rest = &rest[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

/// The end of a text in quotes, its first one left out.
fn quoted(text: &str, quote: char) -> Result<usize, String> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Ok(at),
            _ => {}
        }
    }
    Err(format!("a text in {quote} has no end"))
}

/// Cuts a text into words. A `/` begins a regular expression behind `=~` and `!~` alone.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let pattern = matches!(found.last(), Some(Token::Sign("=~" | "!~")));
        let (token, length) = match first {
            '"' | '\'' => {
                let end = quoted(&rest[1..], first)?;
                let inner = &rest[1..=end];
                (if first == '"' { Token::Double(inner) } else { Token::Single(inner) }, end + 2)
            }
            '/' if pattern => {
                let end = quoted(&rest[1..], '/')?;
                (Token::Regex(&rest[1..=end]), end + 2)
            }
            _ if first.is_ascii_digit() => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
                let word = &rest[..end];
                if word.parse::<f64>().is_ok() {
                    (Token::Number(word), end)
                } else if is_span(word) {
                    (Token::Span(word), end)
                } else {
                    return Err(format!("{word} is neither a number nor a time such as 10m"));
                }
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Word(&rest[..end]), end)
            }
            _ => match DOUBLE_SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None if SIGNS.contains(first) => (Token::Sign(&rest[..1]), 1),
                None => return Err(format!("{first} has no meaning here")),
            },
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

/// Goes through words.
pub(super) struct Reader<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, String> {
        Ok(Self { tokens: tokens(text)?, at: 0 })
    }

    pub(super) fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    pub(super) fn need(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(format!("{sign} is missing before {}", self.here())) }
    }

    /// A key word, in whatever letters.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(here)) if here.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    pub(super) fn here(&self) -> String {
        self.peek().map_or_else(|| "the end".to_owned(), |token| format!("{token:?}"))
    }

    pub(super) fn end(&self) -> Result<(), String> {
        if self.peek().is_none() { Ok(()) } else { Err(format!("{} is left over", self.here())) }
    }
}
