//! E-mail by SMTP: TLS from the start, STARTTLS, or plain where the server is this machine.
#![expect(clippy::disallowed_methods, reason = "an exchange has a deadline")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use lampguard_model::Timestamp;
use lettre::Message;
use lettre::address::Address;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::fault::{Fault, SendError};
use super::http::{TIMEOUT, is_private, literal, private};
use super::letter::{Letter, Sent};
use super::secret::{HiddenUrl, Scrubber, Secret};

/// Longest text of a mail in bytes.
const TEXT_MAX: usize = 32 << 10;

/// Addresses of one name that are tried; the rest are not.
const ADDRESSES_MAX: usize = 4;

/// How a connection is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte: port 465.
    Wrapped,
    /// After STARTTLS, which has to be there: port 587.
    StartTls,
    /// Not at all: this machine only.
    Plain,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is kept secret.
    pub tls: Tls,
    /// Login; empty: none.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// Sender.
    pub from: String,
    /// Who gets every mail whose person has no address of their own.
    pub to: Vec<String>,
    /// Addresses of people by name.
    pub addresses: BTreeMap<String, String>,
    /// The host name may resolve to a private address.
    pub allow_private: bool,
    /// PEM of the authority to trust instead of the public ones; empty: the public ones.
    pub ca: Vec<u8>,
}

/// A mail server at work.
pub(super) struct Mailer {
    smtp: Smtp,
    scrubber: Scrubber,
}

impl Mailer {
    pub(super) fn new(smtp: &Smtp) -> Self {
        Self { smtp: smtp.clone(), scrubber: Scrubber::new(&HiddenUrl::default(), &smtp.password) }
    }

    pub(super) fn send(&self, letter: &Letter<'_>, now: Timestamp) -> Result<Sent, SendError> {
        let (text, named) = letter.chat(TEXT_MAX, now);
        let message = self.message(letter, text)?;
        self.exchange(Some(&message)).map(|()| Sent::named(named))
    }

    /// Whether the server is there, TLS holds and the login is taken. No mail goes.
    pub(super) fn reach(&self) -> Result<(), SendError> {
        self.exchange(None)
    }

    fn message(&self, letter: &Letter<'_>, text: String) -> Result<Message, SendError> {
        let (notice, attempt) = letter.first();
        let own = self.smtp.addresses.get(&notice.to).map(std::slice::from_ref);
        let to = own.unwrap_or(&self.smtp.to);
        let bad = |what: &str| {
            let text = format!("{what:?} is no mail address; cure: `to` and `addresses` of the channel");
            SendError::permanent(Fault::Address, text)
        };
        let from: Mailbox = self.smtp.from.parse().map_err(|_| bad(&self.smtp.from))?;
        let subject = if letter.jobs.len() == 1 {
            format!("{} {}", letter.title(), crate::notice_words::clean(&notice.words.place))
        } else {
            text.lines().next().unwrap_or_default().to_owned()
        };
        let mut message = Message::builder().from(from).subject(subject);
        for to in to {
            message = message.to(to.parse().map_err(|_| bad(to))?);
        }
        if to.is_empty() {
            return Err(bad(&notice.to));
        }
        // The same on every attempt: mail programs put repeats together.
        let host = self.smtp.from.rsplit('@').next().unwrap_or("lampguard").trim_end_matches('>');
        let id = if attempt > 1 {
            format!("<{}.{attempt}@{host}>", notice.id)
        } else {
            format!("<{}@{host}>", notice.id)
        };
        let message = message.message_id(Some(id)).header(ContentType::TEXT_PLAIN);
        message.body(text).map_err(|_| bad(&notice.to))
    }

    fn exchange(&self, message: Option<&Message>) -> Result<(), SendError> {
        let deadline = Instant::now() + TIMEOUT;
        let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let me = ClientId::Domain("lampguard".to_owned());
        let tls = match self.smtp.tls {
            Tls::Plain => None,
            Tls::Wrapped | Tls::StartTls => Some(self.tls()?),
        };
        let wrap = tls.as_ref().filter(|_| self.smtp.tls == Tls::Wrapped);
        let addresses = self.addresses()?;
        let failed = |e: lettre::transport::smtp::Error| self.failed(&e);
        let connect = |(place, address): (usize, &SocketAddr)| {
            // Each of those that are left has the same share of the time.
            let share = left() / (addresses.len() - place) as u32;
            SmtpConnection::connect(address, Some(share), &me, wrap, None).map_err(failed)
        };
        // A name may have addresses at which nobody listens; whoever answers, well or not, decides.
        let mut tries = addresses.iter().enumerate();
        let mut server = tries.next().map_or_else(|| Err(self.unknown()), connect);
        while let Err(SendError { fault: Fault::Connect | Fault::Timeout, .. }) = &server
            && let Some(next) = tries.next()
        {
            server = connect(next);
        }
        let mut server = server?;
        let patience = |server: &mut SmtpConnection| {
            let broke =
                |_| SendError::new(Fault::Connect, format!("{}: the connection broke", self.smtp.host));
            server.set_timeout(Some(left())).map_err(broke)
        };
        if let (Tls::StartTls, Some(tls)) = (self.smtp.tls, &tls) {
            patience(&mut server)?;
            if !server.can_starttls() {
                let text =
                    format!("{} offers no STARTTLS; cure: smtps://, or a server with TLS", self.smtp.host);
                return Err(SendError::permanent(Fault::Tls, text));
            }
            server.starttls(tls, &me).map_err(failed)?;
        }
        if !self.smtp.username.is_empty() {
            patience(&mut server)?;
            let login = Credentials::new(self.smtp.username.clone(), self.smtp.password.text().to_owned());
            server.auth(&[Mechanism::Plain, Mechanism::Login], &login).map_err(failed)?;
        }
        patience(&mut server)?;
        if let Some(message) = message {
            server.send(message.envelope(), &message.formatted()).map_err(failed)?;
        }
        // It is accepted; how they say good-bye does not matter.
        let _ = server.set_timeout(Some(Duration::from_millis(500)));
        let _ = server.quit();
        Ok(())
    }

    fn unknown(&self) -> SendError {
        SendError::new(Fault::Dns, format!("looking up {}: the host is not known", self.smtp.host))
    }

    /// The addresses that are connected to are those that were checked; never none.
    fn addresses(&self) -> Result<Vec<SocketAddr>, SendError> {
        let host = &self.smtp.host;
        let found = (host.as_str(), self.smtp.port).to_socket_addrs().map_err(|_| self.unknown())?;
        let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        let bad = |ip: IpAddr| is_private(ip) && !self.smtp.allow_private && literal(host).is_none();
        if let Some(socket) = found.iter().find(|socket| bad(socket.ip())) {
            return Err(SendError::permanent(Fault::Private, private(host, socket.ip())));
        }
        if found.is_empty() {
            return Err(self.unknown());
        }
        if self.smtp.tls == Tls::Plain && found.iter().any(|socket| !socket.ip().is_loopback()) {
            let text = format!(
                "{host} is not this machine: plain SMTP would show everybody the text; cure: smtps:// or smtp+starttls://"
            );
            return Err(SendError::permanent(Fault::Tls, text));
        }
        Ok(found)
    }

    fn tls(&self) -> Result<TlsParameters, SendError> {
        let failed =
            |_| SendError::permanent(Fault::Tls, format!("{}: TLS cannot be set up", self.smtp.host));
        let mut tls = TlsParameters::builder(self.smtp.host.clone());
        if !self.smtp.ca.is_empty() {
            tls = tls.certificate_store(CertificateStore::None);
            tls = tls.add_root_certificate(Certificate::from_pem(&self.smtp.ca).map_err(failed)?);
        }
        tls.build().map_err(failed)
    }

    fn failed(&self, error: &lettre::transport::smtp::Error) -> SendError {
        let host = &self.smtp.host;
        let text = self.scrubber.line(&format!("{host}: {}", whole(error)), 300);
        if error.is_timeout() {
            return SendError::new(Fault::Timeout, format!("{host}: no whole answer within 10 s"));
        }
        let code = error.status().map(u16::from);
        match code {
            Some(421 | 450..=452) => SendError::new(Fault::Busy, text),
            Some(530 | 534 | 535 | 538) => SendError::permanent(Fault::Refused, text),
            Some(500..=599) => SendError::permanent(Fault::Address, text),
            Some(_) => SendError::new(Fault::Server, text),
            None if error.is_tls() || text.contains("ertificate") => SendError::new(Fault::Tls, text),
            None if error.is_client() || error.is_response() => SendError::new(Fault::Answer, text),
            None => SendError::new(Fault::Connect, text),
        }
    }
}

/// An error with what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// True when a text can be a mail address.
pub fn is_mail_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok() || text.parse::<Address>().is_ok()
}
