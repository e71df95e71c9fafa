//! `dashboards`: what Grafana shows.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Lang;

#[derive(Debug, Subcommand)]
pub(crate) enum DashboardsCommand {
    /// Write the seven dashboards (Classic JSON, Grafana 10.1 to 13), for file provisioning or import.
    ///
    /// With --datasource and --lang into DIR itself, without them all four sets into DIR/prometheus-zh and so on. Files
    /// that are there under the same names are overwritten, others left alone. See docs/grafana.md.
    Export(Export),
    /// Write the alert rules that watch lampguard itself: DIR/alerts.rules.yaml for Prometheus and vmalert,
    /// DIR/grafana/alerting/lampguard.yaml for Grafana.
    Alerts {
        /// Language of Grafana's file; the other one tells in both.
        #[arg(long, value_enum, default_value_t = Lang::Zh)]
        lang: Lang,
        /// Directory to write into, such as deploy.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Look for faults in dashboards: questions that cannot be read, names that nobody makes, links that lead nowhere.
    Lint {
        /// Files, or directories of them (*.json). Those of one call are taken to be loaded together.
        #[arg(required = true, value_name = "FILE_OR_DIR")]
        paths: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What Grafana asks: prometheus is VictoriaMetrics, influxql InfluxDB 1, 2 (by its mapping) and 3.
    #[arg(long, value_enum, requires = "lang")]
    pub(crate) datasource: Option<SourceName>,
    /// Language of titles.
    #[arg(long, value_enum, requires = "datasource")]
    pub(crate) lang: Option<Lang>,
    /// Where the browsers of the wall find lampguard: `[web] public_url`.
    #[arg(long, value_name = "URL", default_value = lampguard_dashboards::PUBLIC_URL)]
    pub(crate) public_url: String,
    /// Zone in which times are shown and days begin: `[site] time_zone`, or browser for that of who looks.
    #[arg(long, value_name = "ZONE", default_value = lampguard_dashboards::TIME_ZONE)]
    pub(crate) time_zone: String,
    /// Directory to write into; made when it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceName {
    /// Prometheus' protocol: VictoriaMetrics.
    Prometheus,
    /// InfluxDB by InfluxQL.
    Influxql,
}
