//! A mail server: EHLO, AUTH PLAIN, MAIL, RCPT, DATA.

use std::io::{BufRead, BufReader, Write};
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

/// A mail server on 127.0.0.1.
#[derive(Clone)]
pub struct Smtp {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    fault: Arc<Mutex<Fault>>,
}

impl Smtp {
    pub fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, mails: Arc::default(), fault: Arc::default() };
        let login = STANDARD.encode(format!("\0{user}\0{password}"));
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (own, login) = (own.clone(), login.clone());
                std::thread::spawn(move || own.serve(stream, &login));
            }
        });
        server
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    pub fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn serve(&self, stream: TcpStream, login: &str) -> Option<()> {
        let fault = *self.fault.lock().unwrap();
        if fault == Fault::Silent {
            std::thread::sleep(std::time::Duration::from_secs(30));
            return None;
        }
        let mut out = stream.try_clone().ok()?;
        let mut lines = BufReader::new(stream).lines();
        let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes()).ok();
        say("220 emulator")?;
        let (mut known, mut mail) =
            (false, Mail { from: String::new(), to: Vec::new(), data: String::new() });
        while let Some(Ok(line)) = lines.next() {
            let upper = line.to_ascii_uppercase();
            let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            match upper.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    say("250-emulator")?;
                    say("250-AUTH PLAIN LOGIN")?;
                    say("250 8BITMIME")?;
                }
                "AUTH" => {
                    known = line.rsplit(' ').next() == Some(login);
                    say(if known { "235 welcome" } else { "535 authentication failed" })?;
                }
                "MAIL" if !known => say("530 authentication required")?,
                "MAIL" if fault == Fault::Later => say("451 try again later")?,
                "MAIL" => {
                    mail = Mail { from: address(), to: Vec::new(), data: String::new() };
                    say("250 ok")?;
                }
                "RCPT" if fault == Fault::NoSuchPerson => say("550 no such person")?,
                "RCPT" => {
                    mail.to.push(address());
                    say("250 ok")?;
                }
                "DATA" => {
                    say("354 go on")?;
                    for line in lines.by_ref() {
                        let line = line.ok()?;
                        if line == "." {
                            break;
                        }
                        mail.data += line.strip_prefix('.').unwrap_or(&line);
                        mail.data += "\r\n";
                    }
                    self.mails.lock().unwrap().push(mail.clone());
                    say("250 taken")?;
                }
                "QUIT" => {
                    say("221 bye")?;
                    return None;
                }
                _ => say("250 ok")?,
            }
        }
        None
    }
}
