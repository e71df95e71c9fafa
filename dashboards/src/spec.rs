//! The words in which a dashboard is specified: once, for both languages and both kinds of data source.

use lampguard_model::series::Code;

/// Language of titles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// Chinese.
    Zh,
    /// English.
    En,
}

impl Lang {
    /// The word in names of files and tags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
}

/// Kind of data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Prometheus' protocol: VictoriaMetrics.
    Prometheus,
    /// InfluxDB by InfluxQL: 1.x, 2.x with its mapping, 3.x.
    Influxql,
}

impl Source {
    /// The word in names of files and tags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Influxql => "influxql",
        }
    }

    /// Grafana's name of the plugin.
    pub const fn plugin(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Influxql => "influxdb",
        }
    }
}

/// A text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Chinese.
    pub zh: &'static str,
    /// English.
    pub en: &'static str,
}

impl Text {
    /// In one of them.
    pub const fn of(self, lang: Lang) -> &'static str {
        match lang {
            Lang::Zh => self.zh,
            Lang::En => self.en,
        }
    }
}

/// A text in both languages.
pub const fn t(zh: &'static str, en: &'static str) -> Text {
    Text { zh, en }
}

/// Colours. What is normal has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// As text: normal.
    Plain,
    /// Look at it.
    Yellow,
    /// Soon.
    Orange,
    /// Danger.
    Red,
    /// No data: never green.
    Purple,
}

impl Hue {
    /// Grafana's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "text",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Red => "red",
            Self::Purple => "purple",
        }
    }
}

/// Words for numbers.
#[derive(Clone, Copy, Debug)]
pub enum Words {
    /// Numbers of the table of codes, each with its colour.
    Codes(&'static [Code], fn(u8) -> Hue),
    /// Words of a tag.
    Tags(&'static [(&'static str, Text)]),
    /// A colour for a range, both ends in it.
    Range(Option<f64>, Option<f64>, Hue),
}

/// Width of a step that is counted over.
const BY_INTERVAL: &str = "$interval";

/// One question, in both languages of questions.
#[derive(Clone, Debug)]
pub struct Ask {
    /// PromQL.
    pub prom: String,
    /// InfluxQL.
    pub influx: String,
    /// Text of a line; `{tag}` stands for the value of a tag.
    pub legend: Text,
    /// Least width of a step over time, where it is another one than the panel's.
    pub every: Option<&'static str>,
}

impl Ask {
    /// With a text for its lines.
    pub const fn legend(mut self, zh: &'static str, en: &'static str) -> Self {
        self.legend = t(zh, en);
        self
    }

    /// Counted over `$interval`: one step of that width after the other.
    pub const fn by_interval(mut self) -> Self {
        self.every = Some(BY_INTERVAL);
        self
    }

    /// It is counted over `$interval`.
    pub(crate) fn is_by_interval(&self) -> bool {
        self.every == Some(BY_INTERVAL)
    }
}

/// One question, in both languages of questions.
pub fn ask(prom: impl Into<String>, influx: impl Into<String>) -> Ask {
    Ask { prom: prom.into(), influx: influx.into(), legend: t("", ""), every: None }
}

/// Where a click leads: a page of ours, or a dashboard.
#[derive(Clone, Copy, Debug)]
pub struct To {
    /// Text.
    pub title: Text,
    /// A path of ours from `/`, or `/d/UID?…` of Grafana.
    pub path: &'static str,
}

/// One column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name where PromQL is asked.
    pub prom: &'static str,
    /// Its name where InfluxQL is asked.
    pub influx: &'static str,
    /// Its title.
    pub title: Text,
    /// Unit.
    pub unit: Option<&'static str>,
    /// Words for its numbers.
    pub words: Vec<Words>,
    /// Colours from values on.
    pub steps: &'static [(f64, Hue)],
    /// Where a click leads.
    pub to: Vec<To>,
}

impl Column {
    /// With a unit.
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// With words for numbers.
    pub fn words(mut self, words: Words) -> Self {
        self.words.push(words);
        self
    }

    /// With colours from values on.
    pub fn steps(mut self, steps: &'static [(f64, Hue)]) -> Self {
        self.steps = steps;
        self
    }

    /// With a link.
    pub fn to(mut self, to: To) -> Self {
        self.to.push(to);
        self
    }
}

/// A column, by its name in both.
pub const fn column(prom: &'static str, influx: &'static str, title: Text) -> Column {
    Column { prom, influx, title, unit: None, words: Vec::new(), steps: &[], to: Vec::new() }
}

/// How lines are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// As lines.
    Lines,
    /// As bars.
    Bars,
    /// As steps, which hold until the next.
    Steps,
}

/// What a panel is.
#[derive(Clone, Debug)]
pub enum Look {
    /// Single numbers.
    Stat,
    /// Bars, one for each line.
    Gauge,
    /// Lines over time.
    Lines(Draw),
    /// A table, sorted by columns of these titles, greatest first or not; among equals by the next one.
    Table(Vec<Column>, Vec<(Text, bool)>),
    /// Words over time, one row for each line.
    Timeline,
    /// Posts on a map.
    Map,
    /// Words.
    Words(Text),
    /// A title over the panels that follow; once for each zone.
    Row,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Title.
    pub title: Text,
    /// What it says, and what to do then.
    pub about: Text,
    /// Width of 24.
    pub w: u32,
    /// Height.
    pub h: u32,
    /// What it is.
    pub look: Look,
    /// What it asks.
    pub asks: Vec<Ask>,
    /// Unit.
    pub unit: &'static str,
    /// Digits behind the point.
    pub decimals: Option<u8>,
    /// Colours from values on; below the first there is none.
    pub steps: &'static [(f64, Hue)],
    /// Words for numbers.
    pub words: Vec<Words>,
    /// Scale.
    pub scale: (Option<f64>, Option<f64>),
    /// Where a click leads.
    pub to: Vec<To>,
    /// Text where there is nothing; else "no data".
    pub nothing: Option<Text>,
    /// Least width of a step over time.
    pub every: &'static str,
    /// A line of which nothing came for so many minutes is broken there.
    pub gap_min: u32,
    /// Lines of the second question have this unit, on the right.
    pub right: Option<&'static str>,
}

impl Panel {
    /// Of this size.
    pub fn size(mut self, w: u32, h: u32) -> Self {
        (self.w, self.h) = (w, h);
        self
    }

    /// With one more question.
    pub fn asks(mut self, ask: Ask) -> Self {
        self.asks.push(ask);
        self
    }

    /// With a unit.
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// With digits behind the point.
    pub fn decimals(mut self, decimals: u8) -> Self {
        self.decimals = Some(decimals);
        self
    }

    /// With colours from values on.
    pub fn steps(mut self, steps: &'static [(f64, Hue)]) -> Self {
        self.steps = steps;
        self
    }

    /// With words for numbers.
    pub fn words(mut self, words: Words) -> Self {
        self.words.push(words);
        self
    }

    /// With a scale.
    pub fn scale(mut self, min: f64, max: Option<f64>) -> Self {
        self.scale = (Some(min), max);
        self
    }

    /// With a link.
    pub fn to(mut self, to: To) -> Self {
        self.to.push(to);
        self
    }

    /// What it says where there is nothing. Nothing may always be that there are no data, and the words have to say so.
    pub fn nothing(mut self, zh: &'static str, en: &'static str) -> Self {
        self.nothing = Some(t(zh, en));
        self
    }

    /// With a least width of a step.
    pub fn every(mut self, width: &'static str) -> Self {
        self.every = width;
        self
    }

    /// With a line that is broken after so many minutes without a value.
    pub fn gap(mut self, minutes: u32) -> Self {
        self.gap_min = minutes;
        self
    }

    /// With another title.
    pub fn titled(mut self, title: Text) -> Self {
        self.title = title;
        self
    }

    /// The second question in another unit, on the right.
    pub fn right(mut self, unit: &'static str) -> Self {
        self.right = Some(unit);
        self
    }
}

/// A panel.
pub fn panel(look: Look, title: Text, about: Text) -> Panel {
    Panel {
        title,
        about,
        w: 6,
        h: 4,
        look,
        asks: Vec::new(),
        unit: "none",
        decimals: None,
        steps: &[],
        words: Vec::new(),
        scale: (None, None),
        to: Vec::new(),
        nothing: None,
        every: "30s",
        gap_min: 20,
        right: None,
    }
}

/// Variables beside `ds`, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Var {
    /// Zones: several, or all.
    Zones,
    /// One zone.
    Zone,
    /// Roads that have something abnormal: several, or all.
    Roads,
    /// One post of the zone.
    Post,
    /// Width of time that is counted over.
    Interval,
}

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Board {
    /// Its name in addresses.
    pub uid: &'static str,
    /// Title.
    pub title: Text,
    /// What it is for.
    pub about: Text,
    /// Looked at again after.
    pub refresh: &'static str,
    /// Shown at first, back from now.
    pub back: &'static str,
    /// Variables.
    pub vars: &'static [Var],
    /// Panels, in the order of reading.
    pub panels: Vec<Panel>,
}
