//! PromQL, as far as our questions use it, and what a question touches.
//!
//! Grammar and functions are Prometheus' own: what only MetricsQL has is a fault, because the same file has to work with a
//! plain Prometheus. `dashboards/tests/promtool.rs` has Prometheus' own parser read every question as well.

use super::tokens::{Reader, Token};

/// Functions over a range, and those of a moment. `true`: the (last) argument is a range.
const FUNCTIONS: [(&str, bool); 40] = [
    ("abs", false),
    ("absent", false),
    ("absent_over_time", true),
    ("avg_over_time", true),
    ("ceil", false),
    ("changes", true),
    ("clamp", false),
    ("clamp_max", false),
    ("clamp_min", false),
    ("count_over_time", true),
    ("delta", true),
    ("deriv", true),
    ("exp", false),
    ("floor", false),
    ("histogram_quantile", false),
    ("hour", false),
    ("idelta", true),
    ("increase", true),
    ("irate", true),
    ("label_join", false),
    ("label_replace", false),
    ("last_over_time", true),
    ("max_over_time", true),
    ("min_over_time", true),
    ("minute", false),
    ("predict_linear", true),
    ("present_over_time", true),
    ("quantile_over_time", true),
    ("rate", true),
    ("resets", true),
    ("round", false),
    ("scalar", false),
    ("sgn", false),
    ("sort", false),
    ("sort_desc", false),
    ("sqrt", false),
    ("sum_over_time", true),
    ("time", false),
    ("timestamp", false),
    ("vector", false),
];
const AGGREGATIONS: [&str; 12] = [
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
];

/// A selector: what is asked for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    /// Metric.
    pub(super) name: String,
    /// Labels of its conditions, with their texts.
    pub(super) labels: Vec<(String, String)>,
    /// Over a range of so many milliseconds, or inside of a question over one.
    pub(super) window_ms: Option<u64>,
}

/// What a question touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Selectors.
    pub(super) selectors: Vec<Selector>,
    /// Labels of `by`, `on` and the like, with the number of selectors before them and behind.
    pub(super) grouped: Vec<(String, usize, usize)>,
    /// `topk` and `bottomk` stand in it.
    pub(super) top: bool,
    /// What `by` and the like leave of labels; for each aggregation, outermost last.
    pub(super) by: Vec<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    Instant,
    Range,
}

/// Reads a question.
///
/// # Errors
/// Where it is no PromQL.
pub(super) fn read(text: &str) -> Result<Touched, String> {
    let mut parser = Parser { reader: Reader::new(text)?, touched: Touched::default() };
    let kind = parser.expression(0)?;
    parser.reader.end()?;
    if kind == Kind::Range {
        return Err("a range stands where values of a moment are needed".to_owned());
    }
    Ok(parser.touched)
}

struct Parser<'t> {
    reader: Reader<'t>,
    touched: Touched,
}

/// How tight an operator binds.
fn binding(token: Option<&Token>) -> Option<u8> {
    Some(match token? {
        Token::Word("or") => 1,
        Token::Word("and" | "unless") => 2,
        Token::Sign("==" | "!=" | "<=" | ">=" | "<" | ">") => 3,
        Token::Sign("+" | "-") => 4,
        Token::Sign("*" | "/" | "%") => 5,
        Token::Sign("^") => 6,
        _ => return None,
    })
}

/// `1h30m`.
fn milliseconds(span: &str) -> Option<u64> {
    let (mut all, mut rest) = (0u64, span);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "y" => 31_536_000_000,
            _ => return None,
        };
        rest = &rest[letters..];
        all = all.checked_add(number.checked_mul(unit)?)?;
    }
    Some(all)
}

impl Parser<'_> {
    fn expression(&mut self, least: u8) -> Result<Kind, String> {
        let before = self.touched.selectors.len();
        let mut kind = self.unary()?;
        while let Some(tight) = binding(self.reader.peek()).filter(|tight| *tight > least) {
            self.reader.next();
            self.reader.word("bool");
            self.matching(before)?;
            let right = self.expression(tight)?;
            if kind == Kind::Range || right == Kind::Range {
                return Err("an operator cannot take a range".to_owned());
            }
            kind = if kind == Kind::Scalar { right } else { kind };
        }
        Ok(kind)
    }

    /// `on (…)`, `ignoring (…)`, `group_left (…)`.
    fn matching(&mut self, before: usize) -> Result<(), String> {
        if self.reader.word("on") || self.reader.word("ignoring") {
            for label in self.labels()? {
                self.touched.grouped.push((label, before, usize::MAX));
            }
            let keeps = self.reader.word("group_left") || self.reader.word("group_right");
            if keeps && self.reader.peek() == Some(&Token::Sign("(")) {
                self.labels()?;
            }
        }
        Ok(())
    }

    fn labels(&mut self) -> Result<Vec<String>, String> {
        self.reader.need("(")?;
        let mut found = Vec::new();
        while !self.reader.sign(")") {
            match self.reader.next() {
                Some(Token::Word(label)) => found.push(label.to_owned()),
                other => return Err(format!("a label is missing, there is {other:?}")),
            }
            if !self.reader.sign(",") && self.reader.peek() != Some(&Token::Sign(")")) {
                return Err(format!("a list of labels has no ) before {}", self.reader.here()));
            }
        }
        Ok(found)
    }

    fn unary(&mut self) -> Result<Kind, String> {
        if self.reader.sign("-") || self.reader.sign("+") {
            return self.unary();
        }
        let before = self.touched.selectors.len();
        let kind = self.primary()?;
        self.postfix(kind, before)
    }

    /// `[5m]`, `[1h:1m]`, `offset 1h`.
    fn postfix(&mut self, mut kind: Kind, before: usize) -> Result<Kind, String> {
        loop {
            if self.reader.sign("[") {
                let window_ms = Some(self.span()?);
                if self.reader.sign(":") {
                    if self.reader.peek() != Some(&Token::Sign("]")) {
                        self.span()?;
                    }
                } else if kind != Kind::Instant || self.touched.selectors.len() != before + 1 {
                    return Err("only a selector takes a range; anything else one with a colon".to_owned());
                }
                self.reader.need("]")?;
                self.touched.selectors[before..]
                    .iter_mut()
                    .for_each(|one| one.window_ms = one.window_ms.max(window_ms));
                kind = Kind::Range;
            } else if self.reader.word("offset") {
                self.reader.sign("-");
                self.span()?;
            } else {
                return Ok(kind);
            }
        }
    }

    /// Milliseconds.
    fn span(&mut self) -> Result<u64, String> {
        match self.reader.next() {
            Some(Token::Span(span)) => {
                milliseconds(span).ok_or_else(|| format!("{span} is no time such as 5m or 1h30m"))
            }
            other => Err(format!("a time such as 5m is missing, there is {other:?}")),
        }
    }

    fn primary(&mut self) -> Result<Kind, String> {
        match self.reader.next() {
            Some(Token::Number(_)) => Ok(Kind::Scalar),
            Some(Token::Double(_) | Token::Single(_)) => Ok(Kind::Scalar),
            Some(Token::Sign("(")) => {
                let kind = self.expression(0)?;
                self.reader.need(")")?;
                Ok(kind)
            }
            Some(Token::Word(word)) => self.named(word),
            Some(Token::Sign("{")) => self.by_name(),
            other => Err(format!("a value is missing, there is {other:?}")),
        }
    }

    fn named(&mut self, word: &str) -> Result<Kind, String> {
        if AGGREGATIONS.contains(&word) {
            return self.aggregation(word);
        }
        if self.reader.peek() == Some(&Token::Sign("(")) {
            return self.call(word);
        }
        let mut selector = Selector { name: word.to_owned(), labels: Vec::new(), window_ms: None };
        if self.reader.sign("{") {
            self.conditions(&mut selector)?;
        }
        self.touched.selectors.push(selector);
        Ok(Kind::Instant)
    }

    /// `{__name__=~"a|b",…}`: a selector for each name.
    fn by_name(&mut self) -> Result<Kind, String> {
        let mut selector = Selector { name: String::new(), labels: Vec::new(), window_ms: None };
        self.conditions(&mut selector)?;
        let place = selector.labels.iter().position(|(label, _)| label == "__name__");
        let Some(place) = place else {
            return Err("a selector without a name asks for everything".to_owned());
        };
        let (_, names) = selector.labels.remove(place);
        let each = names.split('|').map(|name| Selector { name: name.to_owned(), ..selector.clone() });
        self.touched.selectors.extend(each);
        Ok(Kind::Instant)
    }

    fn conditions(&mut self, selector: &mut Selector) -> Result<(), String> {
        while !self.reader.sign("}") {
            let Some(Token::Word(label)) = self.reader.next() else {
                return Err(format!("a label is missing before {}", self.reader.here()));
            };
            if !["=", "!=", "=~", "!~"].into_iter().any(|sign| self.reader.sign(sign)) {
                return Err(format!("a condition on {label} has no = before {}", self.reader.here()));
            }
            let Some(Token::Double(text) | Token::Single(text)) = self.reader.next() else {
                return Err(format!("a condition on {label} has no text in quotes"));
            };
            selector.labels.push((label.to_owned(), text.to_owned()));
            if !self.reader.sign(",") && self.reader.peek() != Some(&Token::Sign("}")) {
                return Err(format!("conditions have no }} before {}", self.reader.here()));
            }
        }
        Ok(())
    }

    fn arguments(&mut self) -> Result<Vec<Kind>, String> {
        self.reader.need("(")?;
        let mut found = Vec::new();
        while !self.reader.sign(")") {
            found.push(self.expression(0)?);
            if !self.reader.sign(",") && self.reader.peek() != Some(&Token::Sign(")")) {
                return Err(format!(") is missing before {}", self.reader.here()));
            }
        }
        Ok(found)
    }

    fn aggregation(&mut self, name: &str) -> Result<Kind, String> {
        let before = self.touched.selectors.len();
        let mut by = self.grouping(before)?;
        let arguments = self.arguments()?;
        if by.is_none() {
            by = self.grouping(before)?;
        }
        self.close_grouping(before);
        let needs = if matches!(name, "topk" | "bottomk" | "quantile" | "count_values") { 2 } else { 1 };
        if arguments.len() != needs || arguments.last() != Some(&Kind::Instant) {
            return Err(format!("{name} takes {needs} argument(s), the last one values of a moment"));
        }
        let picks = matches!(name, "topk" | "bottomk");
        self.touched.top |= picks;
        if !picks {
            self.touched.by.push(by.unwrap_or_default());
        }
        Ok(Kind::Instant)
    }

    fn grouping(&mut self, before: usize) -> Result<Option<Vec<String>>, String> {
        if !self.reader.word("by") && !self.reader.word("without") {
            return Ok(None);
        }
        let labels = self.labels()?;
        self.touched.grouped.extend(labels.iter().map(|label| (label.clone(), before, usize::MAX)));
        Ok(Some(labels))
    }

    /// Labels of a grouping are those of the selectors inside of it.
    fn close_grouping(&mut self, before: usize) {
        let now = self.touched.selectors.len();
        let open =
            self.touched.grouped.iter_mut().filter(|(_, from, to)| *from == before && *to == usize::MAX);
        open.for_each(|(_, _, to)| *to = now);
    }

    fn call(&mut self, name: &str) -> Result<Kind, String> {
        let Some((_, range)) = FUNCTIONS.into_iter().find(|(known, _)| *known == name) else {
            return Err(format!("{name} is no function of PromQL"));
        };
        let arguments = self.arguments()?;
        let has_range = arguments.contains(&Kind::Range);
        if range != has_range {
            let what = if range { "a range such as [5m]" } else { "values of a moment" };
            return Err(format!("{name} takes {what}"));
        }
        if arguments.is_empty() && !matches!(name, "time" | "hour" | "minute") {
            return Err(format!("{name} has no argument"));
        }
        Ok(if matches!(name, "time" | "scalar") { Kind::Scalar } else { Kind::Instant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_sum_of_numbers_with_their_units() {
        assert_eq!(milliseconds("1h30m"), Some(5_400_000));
        assert_eq!((milliseconds("5ms"), milliseconds("2d")), (Some(5), Some(172_800_000)));
        assert_eq!((milliseconds("5"), milliseconds("m"), milliseconds("5q")), (None, None, None));
    }
}
