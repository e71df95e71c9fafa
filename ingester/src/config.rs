//! Configuration of sources, journal and databases. Keys are those of the contract; units stand in the names.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// One topic filter and the profile that reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// MQTT filter.
    pub filter: String,
    /// Name of a profile; `lampguard` is the canonical payload.
    pub profile: String,
}

/// One `[[broker]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Short name, in metrics and file names.
    pub id: String,
    /// `mqtt://host:port`, or `mqtts://host:port` with TLS.
    pub url: String,
    /// Which version of MQTT is spoken.
    #[serde(default)]
    pub protocol: Protocol,
    /// Fixed client id; without it a random one is made once and kept in the data directory.
    pub client_id: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that may sign for the broker, PEM; without it the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain, where the broker wants one, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// Group of a shared subscription (`$share/GROUP/…`): its members get a part of the messages each.
    pub shared_group: Option<String>,
    /// Whether this instance judges what comes from this broker; with `false` it stores and acknowledges alone.
    #[serde(default = "yes")]
    pub judge: bool,
    /// Which topics; without any the three canonical ones.
    #[serde(default)]
    pub mapping: Vec<MappingConfig>,
}

/// Which version of MQTT is spoken to a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 where the broker refuses it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// MQTT 3.1.1 alone.
    #[serde(rename = "3.1.1")]
    V4,
    /// MQTT 5 alone.
    #[serde(rename = "5")]
    V5,
}

fn yes() -> bool {
    true
}

/// `[listener]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port.
    pub bind: SocketAddr,
    /// Certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Whose client certificates are believed, PEM; with it a sensor is who its certificate says.
    pub client_ca: Option<PathBuf>,
    /// With `client_ca`: whoever shows no certificate is turned away; otherwise it has to log in.
    #[serde(default = "ListenerConfig::required_default")]
    pub certificate_required: bool,
    /// Address and port for MQTT over WebSocket; with `tls_cert` over TLS.
    pub websocket_bind: Option<SocketAddr>,
    /// Who may log in: lines `user:sha256 of a random token:topic filter`.
    pub credentials_file: Option<PathBuf>,
    /// Longest packet, bytes; a longer one ends the connection.
    #[serde(default = "ListenerConfig::packet_default")]
    pub max_packet_bytes: usize,
    /// Open connections in all.
    #[serde(default = "ListenerConfig::connections_default")]
    pub max_connections: usize,
    /// Open connections from one address; large, because carriers put many sensors behind one.
    #[serde(default = "ListenerConfig::connections_default")]
    pub per_address: usize,
    /// Which topics; without any the three canonical ones.
    #[serde(default)]
    pub mapping: Vec<MappingConfig>,
}

impl ListenerConfig {
    fn packet_default() -> usize {
        1024 * 1024
    }

    fn connections_default() -> usize {
        20_000
    }

    fn required_default() -> bool {
        true
    }

    /// A listener with all defaults.
    pub fn on(bind: SocketAddr) -> Self {
        Self {
            bind,
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            certificate_required: Self::required_default(),
            websocket_bind: None,
            credentials_file: None,
            max_packet_bytes: Self::packet_default(),
            max_connections: Self::connections_default(),
            per_address: Self::connections_default(),
            mapping: Vec::new(),
        }
    }
}

/// `[journal]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// All segments together, bytes; at the limit nothing is acknowledged until followers catch up.
    pub max_bytes: u64,
    /// Space left for others on the disk, bytes.
    pub min_free_bytes: u64,
    /// A database is sent the last seconds again after it was restarted: it may have lost them.
    pub replay_window_s: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { max_bytes: 8 << 30, min_free_bytes: 256 << 20, replay_window_s: 120 }
    }
}

/// `[quarantine]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuarantineConfig {
    /// Refused payloads kept, bytes; the oldest go first.
    pub max_bytes: u64,
}

impl Default for QuarantineConfig {
    fn default() -> Self {
        Self { max_bytes: 256 << 20 }
    }
}

/// Which write call a database takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/api/v2/write?org=&bucket=`
    #[default]
    V2,
    /// `/write?db=`
    V1,
}

/// How a database wants to know us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// `Authorization: Token …` (InfluxDB).
    Token,
    /// `Authorization: Bearer …`
    Bearer,
    /// `Authorization: Basic …`; the file holds `user:password`.
    Basic,
    /// None.
    None,
}

/// One `[[tsdb]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TsdbConfig {
    /// Short name, in metrics and file names.
    pub id: String,
    /// Root, `http://host:port`, a base path included where the database has one.
    pub url: String,
    /// Which write call.
    #[serde(default)]
    pub api: Api,
    /// Organisation (InfluxDB 2); ignored by others.
    #[serde(default = "TsdbConfig::name_default")]
    pub org: String,
    /// Bucket, or database name for `api = "v1"`.
    #[serde(default = "TsdbConfig::name_default")]
    pub bucket: String,
    /// How to log in; without it `token` when there is a `token_file`, else none.
    pub auth: Option<Auth>,
    /// File that holds the token; read again when the database says 401 or 403.
    pub token_file: Option<PathBuf>,
    /// Rows in one request.
    #[serde(default = "TsdbConfig::lines_default")]
    pub batch_lines: usize,
    /// Longest wait for a batch to fill, milliseconds.
    #[serde(default = "TsdbConfig::ms_default")]
    pub batch_ms: u64,
    /// Longest wait for an answer, seconds.
    #[serde(default = "TsdbConfig::timeout_default")]
    pub timeout_s: u64,
    /// Rows older than this are kept back: the database would drop them without a word.
    #[serde(default = "TsdbConfig::retention_default")]
    pub retention_days: u32,
    /// A database behind by more journal bytes is cut off with a stated gap.
    #[serde(default = "TsdbConfig::lag_default")]
    pub max_lag_bytes: u64,
}

impl TsdbConfig {
    fn name_default() -> String {
        "lampguard".to_owned()
    }

    fn lines_default() -> usize {
        5000
    }

    fn ms_default() -> u64 {
        1000
    }

    fn timeout_default() -> u64 {
        30
    }

    fn retention_default() -> u32 {
        390
    }

    fn lag_default() -> u64 {
        4 << 30
    }
}
