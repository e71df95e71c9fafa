//! A mail server: EHLO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA. How TLS is spoken says whoever starts it
//! (`smtp_tls.rs`), so that this file needs none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One mail as it came.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body as they came.
    pub data: String,
}

impl Mail {
    /// The text, unwrapped from base64 or quoted-printable.
    pub fn text(&self) -> String {
        let (head, body) = self.data.split_once("\r\n\r\n").unwrap_or((&self.data, ""));
        let head = head.to_ascii_lowercase();
        if head.contains("content-transfer-encoding: base64") {
            let joined: String = body.split_whitespace().collect();
            return String::from_utf8(STANDARD.decode(joined).unwrap()).unwrap();
        }
        if head.contains("quoted-printable") {
            let joined = body.replace("=\r\n", "");
            return super::unescape(&joined.replace('%', "%25").replace('+', "%2B").replace('=', "%"));
        }
        body.to_owned()
    }
}

/// What the server does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Says 550 to every recipient.
    NoSuchPerson,
    /// Says nothing at all.
    Silent,
    /// Says 451 to every mail.
    Later,
}

/// A connection, plain or not.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Makes a plain connection a secret one; none: the handshake failed.
pub type Secure = Arc<dyn Fn(TcpStream) -> Option<Box<dyn Wire>> + Send + Sync>;

/// When connections become secret.
#[derive(Clone)]
pub enum When {
    Never,
    FromTheStart(Secure),
    AfterStartTls(Secure),
}

/// A mail server on 127.0.0.1.
#[derive(Clone)]
pub struct Smtp {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    fault: Arc<Mutex<Fault>>,
    /// Every line that came in the clear.
    clear: Arc<Mutex<String>>,
    when: When,
}

impl Smtp {
    pub fn start(user: &str, password: &str) -> Self {
        Self::start_with(user, password, When::Never)
    }

    pub fn start_with(user: &str, password: &str, when: When) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, mails: Arc::default(), fault: Arc::default(), clear: Arc::default(), when };
        let login = STANDARD.encode(format!("\0{user}\0{password}"));
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, login) = (own.clone(), login.clone());
                std::thread::spawn(move || own.greet(stream, &login));
            }
        });
        server
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// What came in the clear, line by line.
    pub fn clear(&self) -> String {
        self.clear.lock().unwrap().clone()
    }

    pub fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn greet(&self, stream: TcpStream, login: &str) -> Option<()> {
        if *self.fault.lock().unwrap() == Fault::Silent {
            std::thread::sleep(std::time::Duration::from_secs(30));
            return None;
        }
        let mut talk = match &self.when {
            When::FromTheStart(secure) => Talk { wire: secure(stream.try_clone().ok()?)?, clear: None },
            _ => Talk { wire: Box::new(stream.try_clone().ok()?), clear: Some(self.clear.clone()) },
        };
        talk.say("220 emulator")?;
        self.serve(&mut talk, &stream_of(&self.when, stream), login)
    }

    fn serve(&self, talk: &mut Talk, plain: &Option<(TcpStream, Secure)>, login: &str) -> Option<()> {
        let fault = *self.fault.lock().unwrap();
        let (mut known, mut mail) =
            (false, Mail { from: String::new(), to: Vec::new(), data: String::new() });
        while let Some(line) = talk.line() {
            let upper = line.to_ascii_uppercase();
            let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match upper.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    talk.say("250-emulator")?;
                    if plain.is_some() && talk.clear.is_some() {
                        talk.say("250-STARTTLS")?;
                    }
                    talk.say("250-AUTH PLAIN LOGIN")?;
                    talk.say("250 8BITMIME")?;
                }
                "STARTTLS" => {
                    let Some((stream, secure)) = plain else {
                        talk.say("502 not here")?;
                        continue;
                    };
                    talk.say("220 go ahead")?;
                    *talk = Talk { wire: secure(stream.try_clone().ok()?)?, clear: None };
                }
                "AUTH" => {
                    known = line.rsplit(' ').next() == Some(login);
                    talk.say(if known { "235 welcome" } else { "535 authentication failed" })?;
                }
                "MAIL" if !known => talk.say("530 authentication required")?,
                "MAIL" if fault == Fault::Later => talk.say("451 try again later")?,
                "MAIL" => {
                    mail = Mail { from: address(), to: Vec::new(), data: String::new() };
                    talk.say("250 ok")?;
                }
                "RCPT" if fault == Fault::NoSuchPerson => talk.say("550 no such person")?,
                "RCPT" => {
                    mail.to.push(address());
                    talk.say("250 ok")?;
                }
                "DATA" => {
                    talk.say("354 go on")?;
                    loop {
                        let line = talk.line()?;
                        if line == "." {
                            break;
                        }
                        mail.data += line.strip_prefix('.').unwrap_or(&line);
                        mail.data += "\r\n";
                    }
                    self.mails.lock().unwrap().push(mail.clone());
                    talk.say("250 taken")?;
                }
                "QUIT" => {
                    talk.say("221 bye")?;
                    return None;
                }
                _ => talk.say("250 ok")?,
            }
        }
        None
    }
}

/// What STARTTLS needs.
fn stream_of(when: &When, stream: TcpStream) -> Option<(TcpStream, Secure)> {
    match when {
        When::AfterStartTls(secure) => Some((stream, secure.clone())),
        _ => None,
    }
}

struct Talk {
    wire: Box<dyn Wire>,
    /// Where lines in the clear are kept; none behind TLS.
    clear: Option<Arc<Mutex<String>>>,
}

impl Talk {
    fn say(&mut self, text: &str) -> Option<()> {
        self.wire.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        self.wire.flush().ok()
    }

    /// Byte by byte: what follows STARTTLS belongs to the handshake.
    fn line(&mut self) -> Option<String> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.wire.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        if let Some(clear) = &self.clear {
            clear.lock().unwrap().push_str(&format!("{line}\n"));
        }
        (byte[0] == b'\n').then_some(line)
    }
}
