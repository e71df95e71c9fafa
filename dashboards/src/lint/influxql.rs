//! InfluxQL, as far as our questions use it, and whether what it names exists.
//!
//! Names stand in double quotes (a bare one that happens to be a key word is a fault in InfluxDB only when it runs), texts in
//! single ones. Each name has to be a field, a tag or a column of the question inside.

use std::collections::BTreeSet;

use lampguard_model::series;

use super::tokens::{Reader, Token};

const FUNCTIONS: [&str; 15] = [
    "sum",
    "min",
    "max",
    "mean",
    "median",
    "last",
    "first",
    "count",
    "spread",
    "top",
    "bottom",
    "percentile",
    "difference",
    "non_negative_difference",
    "non_negative_derivative",
];
const FILLS: [&str; 5] = ["none", "null", "previous", "linear", "0"];

/// What is wrong with a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no InfluxQL of ours.
    Syntax(String),
    /// It names what does not exist.
    Name(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Syntax(text)
    }
}

/// What a question touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Measurements.
    pub(super) measurements: BTreeSet<String>,
    /// Tags that conditions name.
    pub(super) conditions: BTreeSet<String>,
    /// Tags that the outermost question groups by.
    pub(super) groups: BTreeSet<String>,
    /// Time that is asked for is bounded somewhere.
    pub(super) bounded: bool,
    /// `top` or `bottom` stands in it.
    pub(super) top: bool,
}

type Columns = BTreeSet<String>;
/// The names that an item uses, and those it is known by outside.
type Item = (Vec<String>, Vec<String>);

/// Reads a question.
///
/// # Errors
/// Where it is no InfluxQL, or names what does not exist.
pub(super) fn read(text: &str) -> Result<Touched, Fault> {
    let mut parser = Parser { reader: Reader::new(text)?, touched: Touched::default() };
    if parser.reader.word("SHOW") {
        parser.show()?;
    } else {
        parser.select()?;
    }
    parser.reader.end()?;
    Ok(parser.touched)
}

struct Parser<'t> {
    reader: Reader<'t>,
    touched: Touched,
}

/// The columns of a measurement: fields, tags, time.
fn columns(measurement: &str) -> Option<Columns> {
    let known = series::measurement(measurement)?;
    let fields = known.fields.iter().map(|field| field.name.to_owned());
    let tags = known.tags.iter().map(|tag| tag.name.to_owned());
    Some(fields.chain(tags).chain(["time".to_owned()]).collect())
}

impl<'t> Parser<'t> {
    fn key(&mut self, word: &str) -> Result<(), Fault> {
        if self.reader.word(word) {
            return Ok(());
        }
        Err(Fault::Syntax(format!("{word} is missing before {}", self.reader.here())))
    }

    fn name(&mut self, what: &str) -> Result<&'t str, Fault> {
        match self.reader.next() {
            Some(Token::Double(name)) => Ok(name),
            other => Err(Fault::Syntax(format!("{what} in double quotes is missing, there is {other:?}"))),
        }
    }

    /// `SHOW TAG VALUES FROM "m", "n" WITH KEY = "k" WHERE …`
    fn show(&mut self) -> Result<(), Fault> {
        for word in ["TAG", "VALUES", "FROM"] {
            self.key(word)?;
        }
        let known = self.measurements()?;
        self.key("WITH")?;
        self.key("KEY")?;
        self.reader.need("=")?;
        let tag = self.name("a tag")?;
        is_known(&known, tag)?;
        self.touched.bounded = true;
        if self.reader.word("WHERE") { self.condition(&known) } else { Ok(()) }
    }

    /// `"m", "n"`: what is named has to exist in each of them.
    fn measurements(&mut self) -> Result<Columns, Fault> {
        let mut known = self.measurement()?;
        while self.reader.sign(",") {
            let further = self.measurement()?;
            known.retain(|column| further.contains(column));
        }
        Ok(known)
    }

    fn measurement(&mut self) -> Result<Columns, Fault> {
        let name = self.name("a measurement")?;
        self.touched.measurements.insert(name.to_owned());
        columns(name).ok_or_else(|| Fault::Name(format!("there is no measurement {name}")))
    }

    /// Reads a question and tells its columns.
    fn select(&mut self) -> Result<Columns, Fault> {
        self.key("SELECT")?;
        // What is asked for is known only behind FROM: its words are read first and looked up then.
        let asked = self.list()?;
        self.key("FROM")?;
        let known = if self.reader.sign("(") {
            let inner = self.select()?;
            self.reader.need(")")?;
            inner
        } else {
            self.measurements()?
        };
        for (names, _) in &asked {
            names.iter().try_for_each(|name| is_known(&known, name))?;
        }
        if self.reader.word("WHERE") {
            self.condition(&known)?;
        }
        let groups = if self.reader.word("GROUP") { self.groups(&known)? } else { Columns::new() };
        self.order()?;
        let mut out: Columns = asked.into_iter().flat_map(|(_, outs)| outs).collect();
        out.extend(groups.iter().cloned());
        out.insert("time".to_owned());
        self.touched.groups = groups;
        Ok(out)
    }

    /// `ORDER BY time DESC LIMIT 1 tz('Asia/Shanghai')`
    fn order(&mut self) -> Result<(), Fault> {
        if self.reader.word("ORDER") {
            self.key("BY")?;
            self.key("time")?;
            self.key("DESC")?;
        }
        if self.reader.word("LIMIT") && !matches!(self.reader.next(), Some(Token::Number(_))) {
            return Err(Fault::Syntax("LIMIT has no number".to_owned()));
        }
        if self.reader.word("tz") {
            self.reader.need("(")?;
            if !matches!(self.reader.next(), Some(Token::Single(_))) {
                return Err(Fault::Syntax("tz takes a time zone in single quotes".to_owned()));
            }
            self.reader.need(")")?;
        }
        Ok(())
    }

    /// What is asked for.
    fn list(&mut self) -> Result<Vec<Item>, Fault> {
        let mut found = Vec::new();
        loop {
            let mut names = Vec::new();
            let mut outs = self.sum(&mut names)?;
            if self.reader.word("AS") {
                let alias = self.name("a name behind AS")?.to_owned();
                // `top` keeps the tags beside its value.
                outs = std::iter::once(alias).chain(outs.into_iter().skip(1)).collect();
            }
            found.push((names, outs));
            if !self.reader.sign(",") {
                return Ok(found);
            }
        }
    }

    fn sum(&mut self, names: &mut Vec<String>) -> Result<Vec<String>, Fault> {
        let outs = self.item(names)?;
        while ["+", "-", "*", "/"].into_iter().any(|sign| self.reader.sign(sign)) {
            self.item(names)?;
        }
        Ok(outs)
    }

    fn item(&mut self, names: &mut Vec<String>) -> Result<Vec<String>, Fault> {
        match self.reader.next() {
            Some(Token::Number(_) | Token::Span(_)) => Ok(Vec::new()),
            Some(Token::Double(name)) => {
                names.push(name.to_owned());
                Ok(vec![name.to_owned()])
            }
            Some(Token::Sign("(")) => {
                let outs = self.sum(names)?;
                self.reader.need(")")?;
                Ok(outs)
            }
            Some(Token::Word(function)) => self.call(function, names),
            other => Err(Fault::Syntax(format!("a value is missing, there is {other:?}"))),
        }
    }

    fn call(&mut self, function: &str, names: &mut Vec<String>) -> Result<Vec<String>, Fault> {
        if !FUNCTIONS.contains(&function) {
            return Err(Fault::Syntax(format!(
                "{function} is neither a function of InfluxQL nor a name in double quotes"
            )));
        }
        self.reader.need("(")?;
        let mut arguments = Vec::new();
        loop {
            arguments.extend(self.sum(names)?);
            if !self.reader.sign(",") {
                break;
            }
        }
        self.reader.need(")")?;
        let picks = matches!(function, "top" | "bottom");
        self.touched.top |= picks;
        let beside = arguments.into_iter().skip(1).filter(|_| picks);
        Ok(std::iter::once(function.to_owned()).chain(beside).collect())
    }

    fn condition(&mut self, known: &Columns) -> Result<(), Fault> {
        loop {
            if self.reader.sign("(") {
                self.condition(known)?;
                self.reader.need(")")?;
            } else {
                self.comparison(known)?;
            }
            if !self.reader.word("AND") && !self.reader.word("OR") {
                return Ok(());
            }
        }
    }

    fn comparison(&mut self, known: &Columns) -> Result<(), Fault> {
        match self.reader.next() {
            Some(Token::Word("time")) => {
                self.touched.bounded = true;
                self.operator(&[">", "<", ">=", "<="])?;
                self.moment()
            }
            Some(Token::Double(name)) => {
                is_known(known, name)?;
                self.touched.conditions.insert(name.to_owned());
                let sign = self.operator(&["=", "!=", "<", ">", "<=", ">=", "=~", "!~"])?;
                match (sign, self.reader.next()) {
                    ("=~" | "!~", Some(Token::Regex(_))) => Ok(()),
                    ("=" | "!=", Some(Token::Single(_))) => Ok(()),
                    ("=~" | "!~", other) => {
                        Err(Fault::Syntax(format!("a pattern in / is missing, there is {other:?}")))
                    }
                    (_, Some(Token::Number(_))) => Ok(()),
                    (_, other) => Err(Fault::Syntax(format!(
                        "{name} is compared with {other:?}, which is no number and no text in single quotes"
                    ))),
                }
            }
            other => Err(Fault::Syntax(format!("a name in double quotes is missing, there is {other:?}"))),
        }
    }

    fn operator(&mut self, allowed: &[&'static str]) -> Result<&'static str, Fault> {
        let found = allowed.iter().find(|sign| self.reader.sign(sign));
        found
            .copied()
            .ok_or_else(|| Fault::Syntax(format!("an operator is missing before {}", self.reader.here())))
    }

    /// `now() - 5m`, `1700000000000ms - 2m`.
    fn moment(&mut self) -> Result<(), Fault> {
        if self.reader.word("now") {
            self.reader.need("(")?;
            self.reader.need(")")?;
        } else if !matches!(self.reader.next(), Some(Token::Span(_))) {
            return Err(Fault::Syntax("a time is missing".to_owned()));
        }
        while self.reader.sign("-") || self.reader.sign("+") {
            if !matches!(self.reader.next(), Some(Token::Span(_))) {
                return Err(Fault::Syntax("a time such as 5m is missing".to_owned()));
            }
        }
        Ok(())
    }

    fn groups(&mut self, known: &Columns) -> Result<Columns, Fault> {
        self.key("BY")?;
        let mut found = Columns::new();
        loop {
            match self.reader.next() {
                Some(Token::Double(name)) => {
                    is_known(known, name)?;
                    found.insert(name.to_owned());
                }
                Some(Token::Word("time")) => {
                    self.reader.need("(")?;
                    if !matches!(self.reader.next(), Some(Token::Span(_))) {
                        return Err(Fault::Syntax("time() has no width".to_owned()));
                    }
                    self.reader.need(")")?;
                }
                other => return Err(Fault::Syntax(format!("GROUP BY what? There is {other:?}"))),
            }
            if !self.reader.sign(",") {
                break;
            }
        }
        if self.reader.word("fill") {
            self.reader.need("(")?;
            match self.reader.next() {
                Some(Token::Word(how) | Token::Number(how)) if FILLS.contains(&how) => {}
                other => {
                    return Err(Fault::Syntax(format!(
                        "fill takes none, null, 0 and the like, not {other:?}"
                    )));
                }
            }
            self.reader.need(")")?;
        }
        Ok(found)
    }
}

fn is_known(known: &Columns, name: &str) -> Result<(), Fault> {
    if known.contains(name) {
        return Ok(());
    }
    let few: Vec<&str> = known.iter().map(String::as_str).take(12).collect();
    Err(Fault::Name(format!("there is no {name} among {} …", few.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_question_names_has_to_exist_in_what_it_asks() {
        for good in [
            r#"SELECT last("open_p1") FROM "zone" WHERE time > 5ms - 2m AND "zone" =~ /^.*$/ GROUP BY "zone""#,
            r#"SELECT sum("v") FROM (SELECT last("open_p1") AS "v" FROM "zone" WHERE time > now() - 2m GROUP BY "zone", "node")"#,
            r#"SELECT top("v", "post", "zone", 10) FROM (SELECT max("leakage_ma") AS "v" FROM "lamp" WHERE time >= 1ms GROUP BY "post", "zone")"#,
            r#"SELECT 100 * sum("a") / (sum("b") + 0.1) FROM (SELECT non_negative_difference("opened_total") AS "a", non_negative_difference("closed_total") AS "b" FROM "zone" WHERE time > 1ms) WHERE time > 1ms GROUP BY time(5m) fill(none)"#,
            r#"SELECT "leakage_ma" AS "l" FROM "lamp" WHERE time > 1ms GROUP BY "post" ORDER BY time DESC LIMIT 1"#,
            r#"SELECT max("leakage_ma") FROM "lamp", "cabinet" WHERE time > 1ms AND "post" =~ /^P1$/"#,
            r#"SHOW TAG VALUES FROM "lamp", "cabinet" WITH KEY = "post" WHERE "zone" =~ /^z1$/"#,
            r#"SHOW TAG VALUES FROM "abnormal" WITH KEY = "road" WHERE "zone" =~ /^z1$/"#,
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        let name = |text: &str| matches!(read(text), Err(Fault::Name(_)));
        let syntax = |text: &str| matches!(read(text), Err(Fault::Syntax(_)));
        assert!(name(r#"SELECT last("open_p5") FROM "zone" WHERE time > 1ms"#));
        assert!(name(r#"SELECT last("open_p1") FROM "zones" WHERE time > 1ms"#));
        assert!(name(r#"SELECT max("leakage_ma") FROM "lamp", "cabinets" WHERE time > 1ms"#));
        assert!(name(r#"SELECT max("leakage_ma") FROM "lamp", "zone" WHERE time > 1ms"#));
        assert!(name(
            r#"SELECT sum("open_p1") FROM (SELECT last("open_p1") AS "v" FROM "zone") WHERE time > 1ms"#
        ));
        assert!(name(r#"SELECT last("open_p1") FROM "zone" WHERE time > 1ms GROUP BY "road""#));
        assert!(syntax(r#"SELECT last(open_p1) FROM "zone""#));
        assert!(syntax(r#"SELECT latest("open_p1") FROM "zone""#));
        assert!(syntax(r#"SELECT last("open_p1") FROM "zone" WHERE "zone" = "z1""#));
        assert!(syntax(r#"SELECT last("open_p1" FROM "zone""#));
        assert!(syntax(r#"SELECT last("open_p1") FROM "zone" GROUP BY time(fast)"#));
        assert!(syntax(r#"SELECT "open_p1" FROM "zone" WHERE time > 1ms ORDER BY "zone""#));
    }
}
